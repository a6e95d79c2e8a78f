package slate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync/atomic"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

// ReaderOptions are the settings and components of a reader. The zero value is
// the default.
type ReaderOptions struct {
	// WALBucket and WALPath say where the log of a database lies that was created
	// with them; see Options.
	WALBucket bucket.Bucket
	WALPath   string
	// CacheBytes is the budget of the block cache. Default 64 MiB; negative: no
	// cache.
	CacheBytes int64
	// MaxReads and Prefixes are as in Options.
	MaxReads int
	Prefixes PrefixExtractor
	// BlockTransformer is the one that the database is written with; see Options.
	BlockTransformer BlockTransformer
	// MergeOperator folds merge operands. Default: none; then reading one is
	// ErrNoOperator.
	MergeOperator MergeOperator
	// HideExpired hides rows from the moment at which they expire. Default: they
	// are seen, as in SlateDB, until a flush or compaction rewrites them.
	HideExpired bool
	// Clock is where time comes from. Default: the machine's.
	Clock Clock
}

// Reader is a database opened for reading: one fixed view, as durable when it
// was opened. It writes nothing, not even a checkpoint, and fences nobody. Its
// methods may be called concurrently.
type Reader struct {
	opts      ReaderOptions
	bucket    bucket.Bucket
	root      layout.Root
	logAt     wal.Place
	manifests *manifest.Store[format.Manifest]
	tables    *sst.Store
	pic       atomic.Pointer[view]
	loading   chan struct{} // held by who loads a newer view
	loads     atomic.Uint64 // that have begun
	failed    struct {      // the last that failed; it is whose who holds loading
		load uint64
		err  error
	}
	closed atomic.Bool
}

// OpenReader opens the database at path in b for reading: the newest manifest
// and all of the log behind it. A bucket without conditional put will do.
//
// It returns ErrNoDatabase if there is none, ErrNewerFormat or ErrCorrupt for
// files it cannot read. The caller keeps b and closes it after the reader.
func OpenReader(ctx context.Context, path string, b bucket.Bucket, opts ReaderOptions) (*Reader, error) {
	set(&opts.CacheBytes, 64<<20)
	set(&opts.MaxReads, defaultMaxReads)
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	retry := bucket.RetryOptions{Clock: opts.Clock}
	b = bucket.WithRetry(b, retry)
	root := layout.NewRoot(path)
	r := &Reader{
		opts:   opts,
		bucket: b, root: root, loading: make(chan struct{}, 1), logAt: logPlace(b, root, opts.WALBucket, opts.WALPath, retry, opts.BlockTransformer),
		manifests: manifest.NewStore(b, root, opts.Clock, rand.Reader, manifest.Manifests),
		tables:    sst.NewStore(b, sst.NewCache(opts.CacheBytes), sst.StoreOptions{Reads: opts.MaxReads, Prefixer: opts.Prefixes, Transformer: opts.BlockTransformer}),
	}
	if _, err := r.load(ctx, 0); err != nil {
		return nil, fmt.Errorf("open %q for reading: %w", path, err)
	}
	return r, nil
}

// load makes the view of the newest manifest and the log behind it current. It
// starts again when an object vanishes between the two: a newer manifest has
// taken the object's place. A manifest no newer than old is no way out.
func (r *Reader) load(ctx context.Context, old uint64) (*view, error) {
	for {
		v, err := r.manifests.Latest(ctx)
		switch {
		case errors.Is(err, bucket.ErrNotFound):
			return nil, ErrNoDatabase
		case err != nil:
			return nil, err
		case v.Value.Segmented():
			return nil, errSegments
		case v.ID <= old:
			return nil, &CorruptError{Object: r.root.Manifest(v.ID), Offset: 0, Reason: "an SST that the manifest names is missing"}
		}
		mems, err := r.replay(ctx, v.Value)
		if errors.Is(err, bucket.ErrNotFound) {
			old = v.ID - 1
			continue
		}
		if err != nil {
			return nil, err
		}
		pic := &view{tree: newTree(v.ID, v.Value, r.tables, r.root), mems: mems}
		r.pic.Store(pic)
		return pic, nil
	}
}

// replay reads the log behind m into memtables, newest first: one, unless the log
// is larger than that can hold.
func (r *Reader) replay(ctx context.Context, m *format.Manifest) ([]*memtable.Table, error) {
	if err := checkLog(ctx, m, r.opts.WALBucket, r.logAt); err != nil {
		return nil, errors.Join(r.moved(ctx, m), err)
	}
	mems := []*memtable.Table{memtable.New(0)}
	ids, err := r.logAt.List(ctx, m.ReplayAfterWAL)
	if err != nil {
		return nil, err
	}
	var order wal.Order
	last := uint64(0)
	for id := m.ReplayAfterWAL + 1; len(ids) > 0 && id <= ids[len(ids)-1]; id++ {
		rows, err := r.logAt.Read(ctx, id)
		if errors.Is(err, bucket.ErrNotFound) { // perhaps the log has moved on with a newer manifest
			err = cmp.Or(r.moved(ctx, m), error(&CorruptError{Object: r.logAt.Key(id), Reason: "the object is missing from the log"}))
		}
		if err == nil {
			err = order.Next(r.logAt.Key(id), rows)
		}
		if err != nil {
			return nil, err
		}
		for j := range rows {
			if rows[j].Seq <= m.LastL0Seq {
				continue
			}
			if mems[0].Full() && rows[j].Seq > last { // a batch lies in one
				mems = slices.Insert(mems, 0, memtable.New(0))
			}
			mems[0].Add(&rows[j])
			last = rows[j].Seq
		}
	}
	return mems, nil
}

// moved returns bucket.ErrNotFound if a newer manifest replays from a later
// object than m does.
func (r *Reader) moved(ctx context.Context, m *format.Manifest) error {
	v, err := r.manifests.Latest(ctx)
	if err == nil && v.Value.ReplayAfterWAL > m.ReplayAfterWAL {
		return fmt.Errorf("%s: %w", r.logAt.Key(m.ReplayAfterWAL+1), bucket.ErrNotFound)
	}
	return err
}

func (r *Reader) current() *view { return r.pic.Load() }

func (r *Reader) rules(hideExpired bool) merge.Rules {
	return readRules(r.opts.MergeOperator, hideExpired || r.opts.HideExpired, r.opts.Clock)
}

// refresh loads a newer view for a read whose objects were collected. Of those
// that ask at the same time one does, and the others get what it has found.
func (r *Reader) refresh(ctx context.Context, old *view) (*view, error) {
	asked := r.loads.Load()
	release, err := acquire(ctx, r.loading)
	if err != nil {
		return nil, err
	}
	defer release()
	if v := r.current(); v.tree.id > old.tree.id {
		return v, nil
	}
	if r.failed.load > asked { // it began since: another one would find no more
		return nil, r.failed.err
	}
	load := r.loads.Add(1)
	v, err := r.load(ctx, old.tree.id)
	if err != nil && ctx.Err() == nil {
		r.failed.load, r.failed.err = load, err
	}
	return v, err
}

// pin implements source. All that a reader sees is durable.
func (r *Reader) pin(bool) (*view, uint64) { return r.current(), math.MaxUint64 }

// Get returns the value of key, which the caller owns, or ErrNotFound.
//
// Should the writer have compacted, and a collector removed what the view
// needs, the reader moves to the newest state.
func (r *Reader) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, _, err := r.GetRow(ctx, key, nil, ReadOptions{})
	return value, err
}

// GetRow appends the value of key to dst; see DB.GetRow.
func (r *Reader) GetRow(ctx context.Context, key, dst []byte, opts ReadOptions) ([]byte, Meta, error) {
	if r.closed.Load() {
		return dst, Meta{}, ErrClosed
	}
	return get(ctx, r, key, dst, &opts)
}

// Scan yields the keys of rng with their values. Should an object that it needs
// be collected while it runs, it ends with ErrUnavailable: the rows behind
// belong to a newer state, so run it again.
func (r *Reader) Scan(ctx context.Context, rng Range) iter.Seq2[KV, error] {
	return r.ScanRows(ctx, rng, ReadOptions{})
}

// ScanRows is Scan with options.
func (r *Reader) ScanRows(ctx context.Context, rng Range, opts ReadOptions) iter.Seq2[KV, error] {
	return scan(ctx, func() (*Cursor, error) { return r.Cursor(rng, opts) })
}

// Cursor opens a cursor over rng. It may end with ErrUnavailable, as Scan may.
func (r *Reader) Cursor(rng Range, opts ReadOptions) (*Cursor, error) {
	if r.closed.Load() {
		return nil, ErrClosed
	}
	src := &fixed{r}
	return &Cursor{
		src: src, view: r.current(), seq: math.MaxUint64, rules: src.rules(opts.HideExpired),
		opts: opts, bounds: rng, rest: rng,
	}, nil
}

// fixed is a reader as one cursor sees it, which must not change its view
// midway.
type fixed struct{ *Reader }

func (f *fixed) refresh(ctx context.Context, old *view) (*view, error) {
	if _, err := f.Reader.refresh(ctx, old); err != nil {
		return nil, err
	}
	return nil, errMoved
}

// Close releases the reader. The bucket stays open.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return ErrClosed
	}
	return nil
}
