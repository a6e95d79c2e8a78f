package memkv

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/internal/overlay"
	"github.com/stele-db/stele/kv/internal/sorted"
)

// Store is a kv.Store in memory. Its methods may be called concurrently.
type Store struct {
	*data
	readOnly bool
	closed   atomic.Bool
}

// data is what a store and its read-only windows share.
type data struct {
	lock *overlay.Lock
	// live belongs to the holder of lock. view is a clone of it that is never
	// changed, so that readers need no lock.
	live *sorted.Map[[]byte]
	view atomic.Pointer[sorted.Map[[]byte]]
}

var _ kv.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	d := &data{lock: overlay.NewLock(), live: sorted.New[[]byte]()}
	d.view.Store(d.live.Clone())
	return &Store{data: d}
}

// ReadOnly returns s as a store that was opened for reading: it shows what s
// holds at any time, and its Begin returns kv.ErrReadOnly. Closing it leaves s
// open; closing s ends it too.
func (s *Store) ReadOnly() *Store { return &Store{data: s.data, readOnly: true} }

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	return s.reader().Get(ctx, key)
}

// Scan implements kv.Store.
func (s *Store) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) { s.reader().Scan(ctx, r)(yield) }
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(ctx context.Context) (kv.Snapshot, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s.reader(), nil
}

// reader pins the current state.
func (s *Store) reader() *snapshot { return &snapshot{store: s, view: s.view.Load()} }

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, _ kv.TxOptions) (kv.Tx, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if s.readOnly {
		return nil, fmt.Errorf("begin: %w", kv.ErrReadOnly)
	}
	if err := s.lock.Acquire(ctx); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	return overlay.Begin(s.reader(), overlay.Hooks{Apply: s.apply, Release: s.lock.Release}), nil
}

// apply is called by the holder of the lock.
func (s *Store) apply(ctx context.Context, writes iter.Seq2[[]byte, overlay.Write]) (func(context.Context) error, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	for key, w := range writes {
		if w.Delete {
			s.live.Delete(key)
		} else {
			s.live.Set(key, w.Value)
		}
	}
	s.view.Store(s.live.Clone())
	return nil, nil
}

func (s *Store) check(ctx context.Context) error {
	if s.closed.Load() || s.lock.Closed() {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// Flush implements kv.Store. There is nothing to do.
func (s *Store) Flush(ctx context.Context) error { return s.check(ctx) }

// Close implements kv.Store.
func (s *Store) Close() error {
	s.closed.Store(true)
	if !s.readOnly {
		s.lock.Close()
	}
	return nil
}

// snapshot is a fixed view of a store.
type snapshot struct {
	store  *Store
	view   *sorted.Map[[]byte]
	closed atomic.Bool
}

func (sn *snapshot) check(ctx context.Context) error {
	if sn.closed.Load() {
		return fmt.Errorf("snapshot: %w", kv.ErrClosed)
	}
	return sn.store.check(ctx)
}

// Get implements kv.Reader.
func (sn *snapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := sn.check(ctx); err != nil {
		return nil, err
	}
	if err := kv.CheckKey(key); err != nil {
		return nil, err
	}
	value, ok := sn.view.Get(key)
	if !ok {
		return nil, kv.ErrNotFound
	}
	return append([]byte{}, value...), nil
}

// Scan implements kv.Reader.
func (sn *snapshot) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		var p kv.Pair // its memory is used for all
		c := sn.view.Cursor(r)
		for {
			if err := sn.check(ctx); err != nil {
				yield(kv.Pair{}, err)
				return
			}
			if !c.Next() {
				return
			}
			p.Key = append(p.Key[:0], c.Key()...)
			p.Value = append(p.Value[:0], c.Value()...)
			if !yield(p, nil) {
				return
			}
		}
	}
}

// Close implements kv.Snapshot.
func (sn *snapshot) Close() { sn.closed.Store(true) }
