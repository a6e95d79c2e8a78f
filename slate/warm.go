package slate

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// CachePolicy says what of an SST enters its writer's block cache while it is
// in memory anyway, so that the first read of it need not fetch it. Nobody has
// asked for it yet: where the cache is full it pushes nothing out that is in
// use, and is the first to go.
type CachePolicy uint8

const (
	// CacheMetadata is filter and index of every SST that a flush or one of the
	// writer's own compactions writes: some two hundredths of the SST, for one
	// request less by its first reader.
	CacheMetadata CachePolicy = iota
	// CacheFlushed is the blocks of SSTs in L0 as well, for who reads what has
	// just been written. They are decoded and copied, which makes a flush slower,
	// and fill a cache that has room.
	CacheFlushed
	// CacheNothing leaves the cache to the readers: for a writer that reads
	// little.
	CacheNothing
)

// fill puts a new SST into the cache, as far as the policy says.
func (db *DB) fill(t format.SST, object []byte, flushed bool) {
	if db.opts.CacheNew != CacheNothing {
		db.tables.Open(db.root.SST(t.ID), t).Fill(object, flushed && db.opts.CacheNew == CacheFlushed)
	}
}

// WarmOptions say what Warm brings. The zero value is filters and indexes, with
// which a get costs a request at most and a scan one for each stretch of
// blocks.
type WarmOptions struct {
	// Blocks brings the rows too.
	Blocks bool
}

// Warmed says what Warm did.
type Warmed struct {
	// SSTs is how many overlap the range.
	SSTs int
	// Bytes is how much of the cache's budget is taken by what was asked for,
	// with what was there before.
	Bytes int64
	// Full says that there was more than the budget allows: the rest was left
	// out. If not, what was asked for is in the cache.
	Full bool
}

// warmers is how many SSTs are warmed at once: each holds 1 MiB at most beside
// the cache.
const warmers = 8

// Warm brings filters and indexes of the SSTs that overlap r, those of the
// newest first, and then with WarmOptions.Blocks the blocks that may hold keys
// of r, into the block cache. Reads of r then send no requests, until others
// push out what they leave unused, or flushes and compactions write new SSTs
// (see Options.CacheNew). It takes nine tenths of Options.CacheBytes at most,
// and makes room for itself at the expense of what is used less.
//
// It sends a request for filter and index of each SST where the cache has not
// got them, and one for each MiB of blocks side by side that it has not got; up
// to eight at a time, and of them and all other reads together no more than
// Options.MaxReads.
//
// It returns ErrInvalid where there is no cache, and what Get returns. After an
// error Warmed tells of what was brought until then. It may be called
// concurrently with everything.
func (db *DB) Warm(ctx context.Context, r Range, opts WarmOptions) (Warmed, error) {
	return warm(ctx, db, db.failure, r, opts)
}

// Warm is DB.Warm with the reader's cache.
func (r *Reader) Warm(ctx context.Context, rng Range, opts WarmOptions) (Warmed, error) {
	return warm(ctx, r, r.alive, rng, opts)
}

// Evict drops from the block cache the blocks that may hold keys of r, and the
// filters and indexes of SSTs all of whose keys lie in r, and returns how many
// bytes of the budget that frees. Reads elsewhere cost what they did, and those
// of r are right and send requests again. Blocks whose index is not in the cache
// any more stay until others push them out. It sends no request and may be
// called concurrently with everything.
func (db *DB) Evict(r Range) int64 { return db.current().evict(r) }

// Evict is DB.Evict with the reader's cache.
func (r *Reader) Evict(rng Range) int64 { return r.current().evict(rng) }

func warm(ctx context.Context, src source, alive func() error, r Range, opts WarmOptions) (Warmed, error) {
	if err := alive(); err != nil {
		return Warmed{}, err
	}
	for {
		v, _ := src.pin(false)
		if v.tree.store.Cache() == nil {
			return Warmed{}, fmt.Errorf("%w: there is no block cache to warm, CacheBytes is negative", ErrInvalid)
		}
		done, err := v.warm(ctx, r, opts)
		if errors.Is(err, bucket.ErrNotFound) {
			missing := err
			if _, err = src.refresh(ctx, v); err == nil {
				continue
			}
			err = naming(missing, err)
		}
		return done, err
	}
}

func (v *view) warm(ctx context.Context, r Range, opts WarmOptions) (Warmed, error) {
	tables := v.overlapping(r)
	w := v.tree.store.NewWarming()
	err := eachTable(ctx, tables, func(ctx context.Context, t table) error { return t.WarmMeta(ctx, w) })
	if err == nil && opts.Blocks {
		err = eachTable(ctx, tables, func(ctx context.Context, t table) error { return t.WarmBlocks(ctx, r.Lower, r.Upper, w) })
	}
	return Warmed{SSTs: len(tables), Bytes: w.Held(), Full: w.Full()}, err
}

func eachTable(ctx context.Context, tables []table, f func(context.Context, table) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(warmers)
	for _, t := range tables {
		g.Go(func() error { return f(ctx, t) })
	}
	return g.Wait()
}

func (v *view) evict(r Range) (freed int64) {
	for _, t := range v.overlapping(r) {
		freed += t.Evict(r.Lower, r.Upper)
	}
	return freed
}

// overlapping returns the SSTs that may have keys of r, newest first.
func (v *view) overlapping(r Range) (all []table) {
	for _, level := range append([]run{v.tree.l0}, v.tree.runs...) {
		for _, t := range level {
			if t.overlaps(r) {
				all = append(all, t)
			}
		}
	}
	return all
}
