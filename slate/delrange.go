package slate

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/merge"
)

// DeleteRangeOptions say how a range is deleted. The zero value is durable, and
// in several batches where one does not do.
type DeleteRangeOptions struct {
	// Atomic refuses, with ErrInvalid and before anything is deleted, a range
	// with more keys than one batch may hold.
	Atomic bool
	// Volatile lets the call return when the deletion is visible, before it is
	// durable. RangeDeletion.Last waits for the rest.
	Volatile bool
}

// RangeDeletion says what DeleteRange did.
type RangeDeletion struct {
	// Keys is how many keys were deleted.
	Keys int
	// Batches is how many batches that took. None: no key was there. One: all
	// keys went together. More: one batch after the other went, in the order of
	// the keys, and reads between them saw a part of the range.
	Batches int
	// Next is where to go on after an error: the keys of the range below it are
	// deleted. It is nil if there are none, and without an error.
	Next []byte
	// Last tells of the last batch; when it is durable, all are.
	Last WriteHandle
}

// DeleteRange deletes the keys of r, expired ones and merge operands included,
// with and without Options.MergeOperator. It reads them and writes a tombstone
// for each, for the format has no other way: the cost is that of a scan and of
// as many deletes. It keeps the keys of one batch in memory, and no values.
//
// What fits into one batch (Options.MaxBatchBytes: a million keys of 40 bytes
// by default) is deleted atomically: a batch that others write meanwhile comes
// wholly before the deletion or wholly behind it. Beyond that, unless
// DeleteRangeOptions.Atomic refuses it, each batch is atomic by itself and
// RangeDeletion.Batches says how many there were; each is that of a moment of
// its own. After an error, a crash included, the same call may be made again,
// or one that begins at RangeDeletion.Next.
//
// It returns what Write and Scan return, and an ErrConflict that can be tried
// again where Atomic is set and others write more keys than
// Options.MaxTxHistoryBytes holds while the range is read. If the context ends
// while it waits for durability, all of it has been applied.
func (db *DB) DeleteRange(ctx context.Context, r Range, opts DeleteRangeOptions) (RangeDeletion, error) {
	r.Reverse = false
	var done RangeDeletion
	p := rangePart{db: db, rest: r, limit: db.opts.MaxBatchBytes, all: opts.Atomic}
	for more := r.Upper == nil || bytes.Compare(r.Lower, r.Upper) < 0; more; {
		err := p.delete(ctx)
		if errors.Is(err, conflict.ErrForgotten) {
			if opts.Atomic {
				return done, &ConflictError{Start: p.seq}
			}
			p.limit = max(p.limit/2, 1) // read less at a time
			continue
		}
		if err != nil {
			return done, err
		}
		if n := p.batch.Len(); n > 0 {
			done.Keys, done.Batches, done.Last = done.Keys+n, done.Batches+1, p.handle
		}
		if more = p.end != nil; more {
			p.rest.Lower, done.Next = p.end, p.end
		}
	}
	if !opts.Volatile {
		await := done.Last.AwaitDurable
		if done.Batches == 0 { // what has deleted the keys before may not be durable yet
			await = db.Flush
		}
		if err := await(ctx); err != nil {
			return done, err
		}
	}
	done.Next = nil
	return done, nil
}

// rangePart is what one batch deletes of a range: the keys that a snapshot
// sees, and those that were written since.
type rangePart struct {
	db    *DB
	rest  Range // what is to be deleted, of which this is the beginning
	limit int64 // of the batch, in bytes
	all   bool  // this must be all of rest

	mark  conflict.Mark // what was written up to here is in the batch
	seq   uint64        // the snapshot's
	end   []byte        // the keys from here on are for the next part; nil: none are
	batch Batch

	handle WriteHandle
}

// delete deletes the part. An error changes nothing; it is ErrForgotten if others
// have written too much meanwhile.
func (p *rangePart) delete(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db := p.db
	begin := db.recent.Begin() // before the state is read
	ended := false
	end := func() {
		if !ended {
			ended = true
			db.recent.End(begin)
		}
	}
	defer end()
	p.mark, p.end = begin, nil
	p.batch.Reset()
	if err := p.read(ctx); err != nil {
		return err
	}
	// Look twice, so that little is left to compare while others wait.
	if err := p.addWritten(); err != nil || p.batch.Len() == 0 {
		return err
	}
	if err := db.lockWithRoom(ctx, p.batch.size); err != nil {
		return err
	}
	defer db.writeMu.Unlock()
	if err := p.addWritten(); err != nil {
		return err
	}
	end() // what others write from here on is behind it
	p.handle = db.apply(&p.batch, db.writer.seq+1)
	return nil
}

// read puts the keys that there are now into the batch, as many as fit.
func (p *rangePart) read(ctx context.Context) error {
	s, err := p.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Close()
	p.seq = s.seq
	c := s.cursor(p.rest, ReadOptions{NoFill: true}, nil)
	defer c.Close()
	c.rules = merge.Rules{Operator: present{}} // as stored: expired rows are there
	for c.Next(ctx) {
		key := c.KV().Key
		if p.batch.Len() > 0 && p.batch.size+memtable.EncodedSize(key, nil) > p.limit {
			return p.cut(key)
		}
		p.batch.Delete(key)
	}
	return c.Err()
}

// addWritten adds the keys of the part that were written since the last look.
func (p *rangePart) addWritten() error {
	part, before := p.rest, p.batch.Len()
	if p.end != nil {
		part.Upper = p.end
	}
	_, _, end, err := p.db.recent.Find(p.mark, p.seq, func(key []byte) bool {
		if part.contains(key) {
			p.batch.Delete(key)
		}
		return false
	})
	p.mark = end
	if err != nil || p.batch.Len() == before {
		return err
	}
	if err := p.batch.normalise(nil, Expiry{}); err != nil {
		return err
	}
	n := p.batch.Len()
	for ; n > 1 && p.batch.size > p.limit; n-- {
		p.batch.size -= memtable.EncodedSize(p.batch.key(p.batch.ops[n-1]), nil)
	}
	if n == p.batch.Len() {
		return nil
	}
	next := p.batch.key(p.batch.ops[n])
	p.batch.ops = p.batch.ops[:n]
	return p.cut(next)
}

// cut ends the part before key.
func (p *rangePart) cut(key []byte) error {
	if p.all {
		return fmt.Errorf("%w: the range has more keys than the %d bytes of a batch hold; the first ones reach up to %q", ErrInvalid, p.limit, key)
	}
	p.end = bytes.Clone(key)
	return nil
}

// present stands in for any merge operator where values are of no interest.
type present struct{}

func (present) Name() string { return "present" }

func (present) Merge(_, _ []byte, _ bool, _ [][]byte) ([]byte, error) { return nil, nil }
