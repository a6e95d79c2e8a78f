package slate

import (
	"context"
	"iter"
	"sync"
)

// Get returns the newest value of key, which the caller owns, or ErrNotFound.
// It sees every write that has returned, durable or not.
func (db *DB) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := db.failure(); err != nil {
		return nil, err
	}
	return get(ctx, db, db.pin, key, nil)
}

// pin returns the newest seq that reads may see, with a view that has it. A
// view that stayed the same while the seq was read holds all rows up to it, and
// none of those that a reader at that seq sees has been dropped from it.
func (db *DB) pin() (*view, uint64) {
	for {
		v := db.pic.Load()
		seq := db.committed.Load()
		if db.pic.Load() == v {
			return v, seq
		}
	}
}

// Scan yields the keys of r with their newest values, all from the state at
// the start of the iteration. After an error nothing follows.
func (db *DB) Scan(ctx context.Context, r Range) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		s, err := db.Snapshot()
		if err != nil {
			yield(KV{}, err)
			return
		}
		defer s.Close()
		s.Scan(ctx, r)(yield)
	}
}

// Snapshot is a fixed view of the database in this process. It costs nothing
// but that versions which it sees are kept until it is closed. Its methods may
// be called concurrently.
type Snapshot struct {
	db    *DB
	seq   uint64
	close sync.Once
	done  chan struct{}
}

// Snapshot pins the current state. It must be closed.
func (db *DB) Snapshot() (*Snapshot, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.state.err != nil {
		return nil, db.state.err
	}
	s := &Snapshot{db: db, seq: db.committed.Load(), done: make(chan struct{})}
	db.state.snapshots[s.seq]++
	return s, nil
}

// Seq is the sequence number that the snapshot reads at.
func (s *Snapshot) Seq() uint64 { return s.seq }

// Get returns the value of key as of the snapshot, or ErrNotFound.
func (s *Snapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	return get(ctx, s.db, func() (*view, uint64) { return s.db.current(), s.seq }, key, nil)
}

// Scan yields the keys of r with their values as of the snapshot.
func (s *Snapshot) Scan(ctx context.Context, r Range) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		if err := s.alive(); err != nil {
			yield(KV{}, err)
			return
		}
		scan(ctx, s.db, s.db.current(), s.seq, r)(yield)
	}
}

func (s *Snapshot) alive() error {
	select {
	case <-s.done:
		return ErrClosed
	default:
		return s.db.failure()
	}
}

// Close releases the snapshot. Closing it again does nothing.
func (s *Snapshot) Close() {
	s.close.Do(func() {
		close(s.done)
		s.db.mu.Lock()
		defer s.db.mu.Unlock()
		if s.db.state.snapshots[s.seq]--; s.db.state.snapshots[s.seq] == 0 {
			delete(s.db.state.snapshots, s.seq)
		}
	})
}
