package overlay

import (
	"context"
	"sync"

	"github.com/stele-db/stele/kv"
)

// Lock is the writer lock of a store: whoever holds it is the one transaction
// that may write. Waiting for it ends with the context, or when the store is
// closed. It may be used concurrently.
type Lock struct {
	held   chan struct{} // holds one element while the lock is held
	closed chan struct{}
	once   sync.Once
}

// NewLock returns a lock that nobody holds.
func NewLock() *Lock {
	return &Lock{held: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Acquire waits for the lock. It returns the error of ctx, or kv.ErrClosed
// after Close.
func (l *Lock) Acquire(ctx context.Context) error {
	if err := l.err(ctx); err != nil {
		return err
	}
	select {
	case l.held <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return kv.ErrClosed
	}
	// Of several ready cases, select picks any.
	if err := l.err(ctx); err != nil {
		l.Release()
		return err
	}
	return nil
}

func (l *Lock) err(ctx context.Context) error {
	if l.Closed() {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// Release gives the lock back. Only its holder may call it.
func (l *Lock) Release() { <-l.held }

// Close ends all waiting, and reports whether it was the first call. Who holds
// the lock keeps it.
func (l *Lock) Close() (first bool) {
	l.once.Do(func() {
		first = true
		close(l.closed)
	})
	return first
}

// Closed reports whether Close has been called.
func (l *Lock) Closed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}
