package slate

import (
	"context"
	"iter"
	"sync"

	"github.com/stele-db/stele/slate/internal/merge"
)

// Get returns the newest value of key, which the caller owns, or ErrNotFound.
// It sees every write that has returned, durable or not.
func (db *DB) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, _, err := db.GetRow(ctx, key, nil, ReadOptions{})
	return value, err
}

// GetRow appends the newest value of key to dst and returns the result, with
// what the engine knows of the row. If dst has room and the row lies in memory,
// it allocates nothing. With an error, ErrNotFound for one, it returns dst as it
// was.
func (db *DB) GetRow(ctx context.Context, key, dst []byte, opts ReadOptions) ([]byte, Meta, error) {
	if err := db.failure(); err != nil {
		return dst, Meta{}, err
	}
	return get(ctx, db, key, dst, &opts)
}

// pin returns the newest seq that reads may see, with a view that has it. A
// view that stayed the same while the seq was read holds all rows up to it, and
// none of those that a reader at that seq sees has been dropped from it: only
// durable rows are ever flushed.
func (db *DB) pin(durable bool) (*view, uint64) {
	for {
		v := db.pic.Load()
		seq := db.readable(durable)
		if db.pic.Load() == v {
			return v, seq
		}
	}
}

func (db *DB) readable(durable bool) uint64 {
	seq := db.committed.Load()
	if durable {
		seq = min(seq, db.log.Durable())
	}
	return seq
}

// Scan yields the keys of r with their newest values, all from the state at
// the start of the iteration. After an error nothing follows.
func (db *DB) Scan(ctx context.Context, r Range) iter.Seq2[KV, error] {
	return db.ScanRows(ctx, r, ReadOptions{})
}

// ScanRows is Scan with options.
func (db *DB) ScanRows(ctx context.Context, r Range, opts ReadOptions) iter.Seq2[KV, error] {
	return scan(ctx, func() (*Cursor, error) { return db.Cursor(r, opts) })
}

// Cursor opens a cursor over r on the current state. It reads nothing yet.
func (db *DB) Cursor(r Range, opts ReadOptions) (*Cursor, error) {
	s, err := db.snapshot(func() uint64 { return db.readable(opts.Durable) })
	if err != nil {
		return nil, err
	}
	return s.cursor(r, opts, s.Close), nil
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

// Snapshot pins the current state: every write that has returned and none that
// comes later. It copies nothing; until it is closed, which it must be,
// compactions keep what it sees. It returns ErrClosed, or the error that ended
// the database. It may be called concurrently.
func (db *DB) Snapshot() (*Snapshot, error) { return db.snapshot(db.committed.Load) }

// snapshot pins the state at the seq that at returns, which is either the
// newest or the newest durable one: the versions seen at any other may be gone.
func (db *DB) snapshot(at func() uint64) (*Snapshot, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.state.err != nil {
		return nil, db.state.err
	}
	s := &Snapshot{db: db, seq: at(), done: make(chan struct{})}
	db.state.snapshots[s.seq]++
	return s, nil
}

// Seq is the sequence number that the snapshot reads at.
func (s *Snapshot) Seq() uint64 { return s.seq }

// Get returns the value of key as of the snapshot, or ErrNotFound.
func (s *Snapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, _, err := s.GetRow(ctx, key, nil, ReadOptions{})
	return value, err
}

// GetRow appends the value of key as of the snapshot to dst; see DB.GetRow.
func (s *Snapshot) GetRow(ctx context.Context, key, dst []byte, opts ReadOptions) ([]byte, Meta, error) {
	if err := s.alive(); err != nil {
		return dst, Meta{}, err
	}
	return get(ctx, s, key, dst, &opts)
}

// Scan yields the keys of r with their values as of the snapshot.
func (s *Snapshot) Scan(ctx context.Context, r Range) iter.Seq2[KV, error] {
	return s.ScanRows(ctx, r, ReadOptions{})
}

// ScanRows is Scan with options.
func (s *Snapshot) ScanRows(ctx context.Context, r Range, opts ReadOptions) iter.Seq2[KV, error] {
	return scan(ctx, func() (*Cursor, error) { return s.Cursor(r, opts) })
}

// Cursor opens a cursor over r as of the snapshot, which must stay open
// meanwhile.
func (s *Snapshot) Cursor(r Range, opts ReadOptions) (*Cursor, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	if !opts.Durable {
		return s.cursor(r, opts, nil), nil
	}
	pin, err := s.db.snapshot(func() uint64 { return min(s.seq, s.db.readable(true)) })
	if err != nil {
		return nil, err
	}
	return pin.cursor(r, opts, pin.Close), nil
}

func (s *Snapshot) cursor(r Range, opts ReadOptions, release func()) *Cursor {
	return &Cursor{
		src: s, view: s.db.current(), seq: s.seq, rules: s.rules(opts.HideExpired),
		opts: opts, bounds: r, rest: r, release: release,
	}
}

// pin implements source.
func (s *Snapshot) pin(durable bool) (*view, uint64) {
	v, seq := s.db.current(), s.seq
	if durable {
		seq = min(seq, s.db.log.Durable())
	}
	return v, seq
}

func (s *Snapshot) refresh(ctx context.Context, old *view) (*view, error) {
	return s.db.refresh(ctx, old)
}

func (s *Snapshot) rules(hideExpired bool) merge.Rules { return s.db.rules(hideExpired) }

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
