package slate

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/merge"
)

// ScanRecent yields the rows of r as they are stored, newest source first: the
// memtable, those that wait to become an SST, the SSTs of L0, the sorted runs.
// A source is read when the one before has come to its end, so whoever stops
// early pays for no more than what is new: nothing of the bucket while the rows
// lie in memory. An SST that cannot have keys of r, by its bounds or by its
// filter (Options.Prefixes), costs no block.
//
// Nothing is merged or hidden. A key appears once for each version that is
// stored, tombstones and merge operands included, and the caller decides what
// they amount to; versions that no snapshot needs may be there or not. All
// versions of a key come from the newest to the oldest. So do the sources as a
// whole, but not the rows of one source: those come by key ascending and seq
// descending, and exactly the other way round with Range.Reverse, a key's
// versions within a source from the oldest to the newest then.
//
// It sees what had been written when the iteration began, of durable rows only
// if ReadOptions.Durable says so. ReadOptions.HideExpired is ErrInvalid, as the
// version below would seem to be the newest; RowInfo.Expires tells. Parallel and
// ReadAhead are within one SST.
//
// A row's bytes are valid until the iteration goes on, and must not be changed.
// After an error nothing follows. An iteration longer than Options.ReaderGrace
// may find that what it needs has been collected, and ends with ErrUnavailable:
// run it again.
func (db *DB) ScanRecent(ctx context.Context, r Range, opts ReadOptions) iter.Seq2[RowInfo, error] {
	return scanRecent(ctx, db, db.failure, r, opts)
}

// ScanRecent is DB.ScanRecent up to the snapshot's seq. Rows that are newer are
// read and passed over.
func (s *Snapshot) ScanRecent(ctx context.Context, r Range, opts ReadOptions) iter.Seq2[RowInfo, error] {
	return scanRecent(ctx, s, s.alive, r, opts)
}

// ScanRecent is DB.ScanRecent of the reader's view, where the rows of the log
// are one source, or a few if they are gigabytes.
func (r *Reader) ScanRecent(ctx context.Context, rng Range, opts ReadOptions) iter.Seq2[RowInfo, error] {
	return scanRecent(ctx, r, r.alive, rng, opts)
}

func (r *Reader) alive() error {
	if r.closed.Load() {
		return ErrClosed
	}
	return nil
}

// errMoved ends a scan whose objects are gone where it cannot go on in another
// view.
var errMoved = fmt.Errorf("what was being read has been compacted and collected meanwhile; read again from the start: %w", ErrUnavailable)

func scanRecent(ctx context.Context, src source, alive func() error, r Range, opts ReadOptions) iter.Seq2[RowInfo, error] {
	return func(yield func(RowInfo, error) bool) {
		err := alive()
		if err == nil && opts.HideExpired {
			err = fmt.Errorf("%w: HideExpired in a scan of rows as they are stored", ErrInvalid)
		}
		if err != nil {
			yield(RowInfo{}, err)
			return
		}
		begun := false
		each := func(row *format.Row) bool {
			begun = true
			return yield(describeRow(row), nil)
		}
		for {
			v, seq := src.pin(opts.Durable)
			err := v.eachRecent(ctx, r, seq, &opts, each)
			if errors.Is(err, bucket.ErrNotFound) {
				missing := err
				_, err = src.refresh(ctx, v)
				switch {
				case err != nil:
					err = naming(missing, err)
				case !begun:
					continue
				default:
					err = errMoved
				}
			}
			if err != nil {
				yield(RowInfo{}, err)
			}
			return
		}
	}
}

// eachRecent calls each with the rows of r up to seq, source by source, until
// one of the calls returns false.
func (v *view) eachRecent(ctx context.Context, r Range, seq uint64, opts *ReadOptions, each func(*format.Row) bool) error {
	n := 0
	drain := func(it merge.Iterator) (more bool, err error) {
		defer it.Close()
		for {
			if n++; n%ctxEvery == 0 && ctx.Err() != nil {
				return false, ctx.Err()
			}
			row, err := it.Next(ctx)
			if row == nil || err != nil {
				return err == nil, err
			}
			if !each(row) {
				return false, nil
			}
		}
	}
	for source := range v.newestFirst(r, opts) {
		if more, err := drain(merge.UpTo(source, seq)); !more {
			return err
		}
	}
	return nil
}

// newestFirst yields the sources that may have rows of r. They have read
// nothing yet.
func (v *view) newestFirst(r Range, opts *ReadOptions) iter.Seq[merge.Iterator] {
	return func(yield func(merge.Iterator) bool) {
		for _, m := range v.mems {
			if !yield(m.Iter(r.Lower, r.Upper, r.Reverse)) {
				return
			}
		}
		how := v.how(r, opts)
		for _, t := range v.tree.l0 {
			if t.overlaps(r) && !yield(t.iter(r, &how)) {
				return
			}
		}
		for _, run := range v.tree.runs {
			if it := run.iter(r, &how); it != nil && !yield(it) {
				return
			}
		}
	}
}
