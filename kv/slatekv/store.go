package slatekv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// Store is a kv.Store on a slate database opened for writing. Its methods may
// be called concurrently.
type Store struct {
	db     *slate.DB
	bucket bucket.Bucket // closed with the store; nil if it is the caller's
	closed atomic.Bool
}

var _ kv.Store = (*Store)(nil)

// Open opens the database at a URL for writing, and creates it if there is
// none; see bucket.Open for the URLs. It fences every other writer. Close
// releases the bucket too.
//
// It returns ErrInvalid for a URL, an option or a bucket that will not do,
// ErrNewerFormat or ErrCorrupt for files it cannot read, ErrDenied or
// ErrUnavailable where the bucket says so.
func Open(ctx context.Context, url string, opts slate.Options) (*Store, error) {
	b, path, err := bucket.Open(ctx, url)
	if err != nil {
		return nil, shared(err)
	}
	s, err := OpenBucket(ctx, path, b, opts)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	s.bucket = b
	return s, nil
}

// OpenBucket is Open for the database at path in b. The caller keeps b and
// closes it after the store.
func OpenBucket(ctx context.Context, path string, b bucket.Bucket, opts slate.Options) (*Store, error) {
	if opts.DefaultTTL != 0 {
		return nil, shared(fmt.Errorf("open %q: %w: DefaultTTL is %v: what a kv.Store is given has to stay", path, slate.ErrInvalid, opts.DefaultTTL))
	}
	if opts.Prefixes == nil {
		opts.Prefixes = Prefixes
	}
	db, err := slate.Open(ctx, path, b, opts)
	if err != nil {
		return nil, shared(err)
	}
	return &Store{db: db}, nil
}

// DB is the database below, for what the engine alone can do: compaction,
// flushing memtables, looking at its objects. It must not be closed. What is written to
// it directly counts for open transactions as another's commit.
func (s *Store) DB() *slate.DB { return s.db }

func (s *Store) check(ctx context.Context) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	return get(ctx, s, s.db, key)
}

// Scan implements kv.Store.
func (s *Store) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return scan(ctx, s, s.db, r)
}

// Snapshot implements kv.Store.
func (s *Store) Snapshot(ctx context.Context) (kv.Snapshot, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	sn, err := s.db.Snapshot()
	if err != nil {
		return nil, shared(err)
	}
	return &snapshot{store: s, view: sn, release: sn.Close}, nil
}

// Begin implements kv.Store.
func (s *Store) Begin(ctx context.Context, opts kv.TxOptions) (kv.Tx, error) {
	if err := s.check(ctx); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	t, err := s.db.Begin(slate.TxOptions{
		Isolation: slate.Isolation(opts.Isolation),
		Write:     slate.WriteOptions{Volatile: true}, // Commit waits by itself
	})
	if err != nil {
		return nil, fmt.Errorf("begin: %w", shared(err))
	}
	return &tx{store: s, tx: t, volatile: opts.Volatile}, nil
}

// Flush implements kv.Store.
func (s *Store) Flush(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return shared(s.db.Flush(ctx))
}

// Close implements kv.Store. It returns the error that ended the database
// before, if one had.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.db.Close()
	if s.bucket != nil {
		err = errors.Join(err, s.bucket.Close())
	}
	return shared(err)
}

// Reader is a kv.Store on a slate database opened for reading: one fixed view,
// as it was when it was opened. It writes nothing to the bucket and fences
// nobody; its Begin returns kv.ErrReadOnly. Its methods may be called
// concurrently.
type Reader struct {
	db     *slate.Reader
	bucket bucket.Bucket
	closed atomic.Bool
}

var _ kv.Store = (*Reader)(nil)

// OpenReader opens the database at a URL for reading. It returns an error that
// matches slate.ErrNoDatabase and kv.ErrNotFound if there is none, and creates
// nothing. Close releases the bucket too.
func OpenReader(ctx context.Context, url string, opts slate.ReaderOptions) (*Reader, error) {
	b, path, err := bucket.Open(ctx, url)
	if err != nil {
		return nil, shared(err)
	}
	r, err := OpenBucketReader(ctx, path, b, opts)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	r.bucket = b
	return r, nil
}

// OpenBucketReader is OpenReader for the database at path in b. The caller
// keeps b and closes it after the reader.
func OpenBucketReader(ctx context.Context, path string, b bucket.Bucket, opts slate.ReaderOptions) (*Reader, error) {
	if opts.Prefixes == nil {
		opts.Prefixes = Prefixes
	}
	db, err := slate.OpenReader(ctx, path, b, opts)
	if err != nil {
		return nil, shared(err)
	}
	return &Reader{db: db}, nil
}

func (r *Reader) check(ctx context.Context) error {
	if r.closed.Load() {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// Get implements kv.Store.
func (r *Reader) Get(ctx context.Context, key []byte) ([]byte, error) {
	return get(ctx, r, r.db, key)
}

// Scan implements kv.Store.
func (r *Reader) Scan(ctx context.Context, rg kv.Range) iter.Seq2[kv.Pair, error] {
	return scan(ctx, r, r.db, rg)
}

// Snapshot implements kv.Store. It is the reader's own view.
func (r *Reader) Snapshot(ctx context.Context) (kv.Snapshot, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	return &snapshot{store: r, view: r.db, release: func() {}}, nil
}

// Begin implements kv.Store: it returns kv.ErrReadOnly.
func (r *Reader) Begin(ctx context.Context, _ kv.TxOptions) (kv.Tx, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("begin: the database is open for reading: %w", kv.ErrReadOnly)
}

// Flush implements kv.Store. There is nothing to do.
func (r *Reader) Flush(ctx context.Context) error { return r.check(ctx) }

// Close implements kv.Store.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	err := r.db.Close()
	if r.bucket != nil {
		err = errors.Join(err, r.bucket.Close())
	}
	return shared(err)
}
