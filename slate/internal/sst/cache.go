package sst

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/stele-db/stele/slate/internal/format"
)

// Cache keeps decoded blocks, indexes and filters of any number of SSTs under
// one budget of bytes. What is used often stays, so that a scan cannot flush
// it. A nil Cache keeps nothing. Its methods may be called concurrently; it
// needs no closing.
type Cache struct {
	c *otter.Cache[partKey, any] // *format.Block, *format.Index or *format.Bloom
}

// partKey names a part of an SST by its offset.
type partKey struct {
	id     format.ULID
	offset uint64
}

// entryOverhead is what an entry costs beside its content.
const entryOverhead = 128

// NewCache returns a cache of so many bytes, nil if that is zero or less.
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		return nil
	}
	return &Cache{c: otter.Must(&otter.Options[partKey, any]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ partKey, v any) uint32 { return weigh(v) },
		// Upkeep runs in the goroutine that causes it: it is short, and a database
		// then leaves no goroutine behind.
		Executor: func(fn func()) { fn() },
	})}
}

func weigh(v any) uint32 {
	n := entryOverhead
	switch v := v.(type) {
	case *format.Block:
		n += v.Size()
	case *format.Index:
		n += v.Size()
	case *format.Bloom:
		n += v.Size()
	}
	return uint32(min(n, math.MaxUint32))
}

// Bytes returns about how many bytes the cache holds.
func (c *Cache) Bytes() int64 {
	if c == nil {
		return 0
	}
	return int64(c.c.WeightedSize())
}

// get returns a part, nil if the cache does not hold it.
func (c *Cache) get(id format.ULID, offset uint64) any {
	if c == nil {
		return nil
	}
	v, _ := c.c.GetIfPresent(partKey{id, offset})
	return v
}

// has is get for who does not want the part now.
func (c *Cache) has(id format.ULID, offset uint64) bool {
	if c == nil {
		return false
	}
	_, ok := c.c.GetEntryQuietly(partKey{id, offset})
	return ok
}

func (c *Cache) set(id format.ULID, offset uint64, v any) {
	if c != nil {
		c.c.Set(partKey{id, offset}, v)
	}
}

// flights lets one caller load what several want at once.
type flights struct {
	mu   sync.Mutex
	open map[partKey]*flight
}

type flight struct {
	done chan struct{}
	v    any
	err  error
}

// do returns what load returns, or what the load of another caller for the
// same key, under way already, returns. If that caller gave up, it tries anew.
func (f *flights) do(ctx context.Context, key partKey, load func() (any, error)) (any, error) {
	for {
		f.mu.Lock()
		other := f.open[key]
		if other == nil {
			return f.leadLocked(key, load)
		}
		f.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(other.err, context.Canceled) && !errors.Is(other.err, context.DeadlineExceeded) {
			return other.v, other.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// leadLocked loads for everyone who comes meanwhile. It unlocks f.mu.
func (f *flights) leadLocked(key partKey, load func() (any, error)) (any, error) {
	if f.open == nil {
		f.open = map[partKey]*flight{}
	}
	own := &flight{done: make(chan struct{}), err: context.Canceled} // what others see should load panic
	f.open[key] = own
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.open, key)
		f.mu.Unlock()
		close(own.done)
	}()
	own.v, own.err = load()
	return own.v, own.err
}
