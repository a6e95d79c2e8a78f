package sst

import (
	"context"
	"sync"
)

// flights lets one caller load what several want at once.
type flights struct {
	mu   sync.Mutex
	open map[partKey]*flight
}

type flight struct {
	done   chan struct{}
	v      any
	err    error
	gaveUp bool // err is of the leader's context, or it panicked: nobody else's business
}

// do returns what load returns, or what the load of another caller for the
// same key, under way already, returns. If that caller gave up, it tries anew.
func (f *flights) do(ctx context.Context, key partKey, load func() (any, error)) (any, error) {
	for {
		f.mu.Lock()
		other := f.open[key]
		if other == nil {
			return f.leadLocked(ctx, key, load)
		}
		f.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !other.gaveUp {
			return other.v, other.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// leadLocked loads for everyone who comes meanwhile. It unlocks f.mu.
func (f *flights) leadLocked(ctx context.Context, key partKey, load func() (any, error)) (any, error) {
	if f.open == nil {
		f.open = map[partKey]*flight{}
	}
	own := &flight{done: make(chan struct{}), gaveUp: true}
	f.open[key] = own
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.open, key)
		f.mu.Unlock()
		close(own.done)
	}()
	own.v, own.err = load()
	own.gaveUp = own.err != nil && ctx.Err() != nil
	return own.v, own.err
}
