package memkv

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv/internal/sorted"
)

// Store is a kv.Store in memory. Its methods may be called concurrently.
type Store struct {
	*data
	readOnly bool
	closed   atomic.Bool
}

// data is what a store and its read-only windows share.
type data struct {
	closed atomic.Bool // the store itself
	view   atomic.Pointer[version]
	recent *conflict.History

	mu   sync.Mutex          // held by the transaction that commits
	live *sorted.Map[[]byte] // guarded by mu
}

// version is the state that a commit left. It is never changed.
type version struct {
	pairs *sorted.Map[[]byte]
	seq   uint64 // of the commit, from 1
}

// Bounds of what is remembered of the keys that open transactions read, each,
// and that were written meanwhile, in bytes.
const (
	readLimit   = 1 << 20
	recentLimit = 16 << 20
)

var _ kv.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	d := &data{recent: conflict.New(recentLimit), live: sorted.New[[]byte]()}
	d.view.Store(&version{pairs: d.live.Clone()})
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
func (s *Store) reader() *snapshot { return &snapshot{store: s, version: s.view.Load()} }

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opts kv.TxOptions) (kv.Tx, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if s.readOnly {
		return nil, fmt.Errorf("begin: %w", kv.ErrReadOnly)
	}
	if opts.Isolation > kv.SnapshotIsolation {
		return nil, fmt.Errorf("begin: isolation %d: %w", opts.Isolation, kv.ErrInvalid)
	}
	mark := s.recent.Begin() // before the state is read
	return &tx{
		store: s, opts: opts, base: s.reader(), mark: mark,
		reads: conflict.Keys{Limit: readLimit}, writes: sorted.New[change](),
	}, nil
}

// commit applies the writes of t, unless others wrote what it read or writes.
func (s *Store) commit(ctx context.Context, t *tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil || t.writes.Len() == 0 {
		return err
	}
	if key, _, _, err := s.recent.Find(t.mark, t.base.seq, t.touches); key != nil || err != nil {
		return &kv.ConflictError{Key: key}
	}
	t.Rollback() // what others write from here on is behind it
	for key, c := range t.writes.Scan(kv.Range{}) {
		if c.deleted {
			s.live.Delete(key)
		} else {
			s.live.Set(key, c.value)
		}
	}
	next := &version{pairs: s.live.Clone(), seq: s.view.Load().seq + 1}
	s.view.Store(next)
	if s.recent.Open() {
		s.recent.Written(next.seq, func(yield func([]byte) bool) {
			for key := range t.writes.Scan(kv.Range{}) {
				if !yield(key) {
					return
				}
			}
		})
	}
	return nil
}

func (s *Store) check(ctx context.Context) error {
	if s.closed.Load() || s.data.closed.Load() {
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
		s.data.closed.Store(true)
	}
	return nil
}

// snapshot is a fixed view of a store.
type snapshot struct {
	*version
	store  *Store
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
	value, ok := sn.pairs.Get(key)
	if !ok {
		return nil, kv.ErrNotFound
	}
	return append([]byte{}, value...), nil
}

// Scan implements kv.Reader.
func (sn *snapshot) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		var p kv.Pair // its memory is used for all
		c := sn.pairs.Cursor(r)
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
