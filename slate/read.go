package slate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/merge"
)

// ReadOptions say how one read is done. The zero value is the default. They
// mean the same to a database, a snapshot and a reader.
type ReadOptions struct {
	// Durable leaves out what is not in the bucket yet: the read sees what a
	// crash would leave. Default: every write that has returned is seen. A Reader
	// sees nothing else.
	Durable bool
	// HideExpired hides rows that have expired when the read begins, also where
	// the database's option of that name does not.
	HideExpired bool
	// NoFill keeps what a scan fetches, and the blocks that a get fetches, out of
	// the block cache, from which they read all the same: for what nobody will
	// ask for again. Default: it is kept; a scan pushes nothing out that is in
	// use.
	NoFill bool
	// ReadAhead is the most bytes that a scan fetches in one request of one SST.
	// Default: 256 KiB, reached by doubling, so that a scan which ends soon reads
	// little. A positive size is used from the first request on; negative: one
	// block each. More: fewer requests, more memory, and more read in vain by a
	// scan that ends early.
	ReadAhead int
	// Parallel is how many requests a scan has under way at once: for the first
	// blocks of its SSTs, and then for the blocks that come next. Default 4; 1
	// or less: one. More: a faster scan of a remote bucket, and ReadAhead bytes of
	// memory for each.
	Parallel int
}

// parallel is Parallel with its default.
func (o *ReadOptions) parallel() int {
	if o.Parallel == 0 {
		return 4
	}
	return max(o.Parallel, 1)
}

// KV is a row: a key with its value, and what the engine knows of them. Both
// slices are valid until the iteration that yielded them goes on; copy what
// must last.
type KV struct {
	Key, Value []byte
	Meta
}

// Meta is what the engine knows of a row. Of a merged value it is the newest
// write's sequence number and creation, and the first expiry.
type Meta struct {
	// Seq is the write's place in the order of all writes.
	Seq uint64

	created, expires       int64 // ms
	hasCreated, hasExpires bool
}

func metaOf(r *format.Row) Meta {
	return Meta{Seq: r.Seq, created: r.CreateTS, hasCreated: r.HasCreate, expires: r.ExpireTS, hasExpires: r.HasExpire}
}

// Created is when the row was written, by the writer's clock, to the
// millisecond. It is the zero time where that is not known.
func (m Meta) Created() time.Time { return milli(m.created, m.hasCreated) }

// Expires is when the row expires. It is the zero time for one that does not.
func (m Meta) Expires() time.Time { return milli(m.expires, m.hasExpires) }

func milli(ms int64, ok bool) time.Time {
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// source is what reads go through: a current view, and a way to load a newer
// one when an object that the view names is gone.
type source interface {
	// pin returns the newest view and the highest seq that a read may see now,
	// of durable rows only if so asked. The view has all versions that such a
	// read sees.
	pin(durable bool) (*view, uint64)
	// refresh loads the latest manifest. It returns a view other than old, or
	// an error if there is none.
	refresh(ctx context.Context, old *view) (*view, error)
	// rules are those of a read that begins now.
	rules(hideExpired bool) merge.Rules
}

func readRules(op MergeOperator, hideExpired bool, c Clock) merge.Rules {
	s := merge.Rules{Operator: op, HideExpired: hideExpired}
	if hideExpired {
		s.Now = c.Now().UnixMilli()
	}
	return s
}

// get appends the newest value of key to dst. The source is asked again when an
// object that its view names is gone. On error it returns dst as it was.
func get(ctx context.Context, src source, key, dst []byte, opts *ReadOptions) ([]byte, Meta, error) {
	var row format.Row
	rules := src.rules(opts.HideExpired)
	for {
		v, seq := src.pin(opts.Durable)
		found, err := v.get(ctx, key, seq, opts.NoFill, &row)
		if found && row.Kind == format.Merge {
			var merged *format.Row
			if merged, err = v.merged(ctx, key, seq, rules, opts); merged != nil {
				return append(dst, merged.Value...), metaOf(merged), nil
			}
			found = false
		}
		if errors.Is(err, bucket.ErrNotFound) {
			missing := err
			if _, err = src.refresh(ctx, v); err == nil {
				continue
			}
			err = naming(missing, err)
		}
		switch {
		case err != nil:
			return dst, Meta{}, err
		case !found:
			return dst, Meta{}, ErrNotFound
		}
		if kind, _ := rules.Kind(&row); kind == format.Tombstone {
			return dst, Meta{}, ErrNotFound
		}
		return append(dst, row.Value...), metaOf(&row), nil
	}
}

// Cursor walks over the rows of a range, all from the state at which it was
// opened, and can skip:
//
//	c, err := db.Cursor(slate.Range{}, slate.ReadOptions{})
//	defer c.Close()
//	for c.Next(ctx) {
//		use(c.KV())
//	}
//	err = c.Err()
//
// It must be closed: until then the versions that it sees are kept. It is used
// by one goroutine at a time.
type Cursor struct {
	src     source
	view    *view
	seq     uint64
	opts    ReadOptions
	rules   merge.Rules
	bounds  Range // as it was asked for
	rest    Range // what is left of it, but for the rows read since the last Seek
	release func()
	tx      *Tx // whose cursor it is, or nil

	it   merge.Seeker // nil: to be opened
	kv   KV
	last []byte // key of the last row, if read says that there is one
	read bool   // a row was read
	past bool   // and none has been since the last Seek
	all  bool   // rest was read to its end, or as far as to an error
	rows int
	done bool
	err  error
}

// ctxEvery is how many rows a cursor reads between two looks at its context.
const ctxEvery = 256

// Next moves to the next row and reports whether there is one. It returns
// false at the end, after an error, and once the cursor is closed.
func (c *Cursor) Next(ctx context.Context) bool {
	for !c.done {
		row, err := c.step(ctx)
		if errors.Is(err, bucket.ErrNotFound) {
			missing := err
			if c.view, err = c.src.refresh(ctx, c.view); err == nil {
				c.remember()
				c.rest = c.left()
				c.closeIter()
				continue
			}
			err = naming(missing, err)
		}
		if err != nil || row == nil {
			c.err, c.all = err, true
			c.Close()
			return false
		}
		c.last, c.read, c.past = append(c.last[:0], row.Key...), true, false
		c.kv = KV{row.Key, row.Value, metaOf(row)}
		if c.tx != nil {
			c.kv.Meta = c.tx.known(c.kv.Meta)
		}
		return true
	}
	return false
}

func (c *Cursor) step(ctx context.Context) (*format.Row, error) {
	if c.rows++; c.rows%ctxEvery == 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if c.tx != nil && c.tx.ended {
		return nil, errTxEnded
	}
	if c.it == nil {
		c.it = merge.Visible(c.view.iter(ctx, c.rest, &c.opts), c.seq, c.rest.Reverse, c.rules)
	}
	return c.it.Next(ctx)
}

// KV is the row that Next moved to, valid until the next call of Next, Seek or
// Close.
func (c *Cursor) KV() KV { return c.kv }

// Err is the error that ended the cursor, nil if it came to the end.
func (c *Cursor) Err() error { return c.err }

// Seek skips: the next row will be the first with a key of at least key, with
// Range.Reverse the first with a key of at most key. It reads nothing. A key
// outside the cursor's range, or not beyond the last row and the last Seek, is
// ErrInvalid and changes nothing. After the end Seek does nothing.
func (c *Cursor) Seek(key []byte) error {
	switch {
	case c.err != nil:
		return c.err
	case !c.bounds.contains(key):
		return fmt.Errorf("%w: seek to %q, which lies outside the range", ErrInvalid, key)
	case !c.left().contains(key):
		return fmt.Errorf("%w: seek to %q, which lies behind the cursor", ErrInvalid, key)
	case c.done:
		return nil
	}
	c.remember()
	key = append([]byte{}, key...) // not nil, which is no key to sources
	if c.rest.Reverse {
		c.rest.Upper = append(bytes.Clone(key), 0)
	} else {
		c.rest.Lower = key
	}
	c.past = true
	if c.it != nil {
		c.it.Seek(key)
	}
	return nil
}

// left is what is left of the range: nothing of it has been read or skipped.
func (c *Cursor) left() Range {
	r := c.rest
	switch {
	case !c.read || c.past:
	case r.Reverse:
		r.Upper = bytes.Clone(c.last)
	default:
		r.Lower = append(bytes.Clone(c.last), 0)
	}
	return r
}

// remember tells the transaction what has been read since the last Seek.
func (c *Cursor) remember() {
	if c.tx == nil || !c.all && (!c.read || c.past) {
		return
	}
	r := c.rest
	switch {
	case c.all:
	case r.Reverse:
		r.Lower = c.last
	default:
		r.Upper = append(slices.Clip(c.last), 0)
	}
	c.tx.remember(r)
}

// Close releases the cursor. Closing it again does nothing.
func (c *Cursor) Close() {
	if !c.done {
		c.remember()
	}
	c.done, c.kv = true, KV{}
	c.closeIter()
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

func (c *Cursor) closeIter() {
	if c.it != nil {
		c.it.Close()
		c.it = nil
	}
}

func (r Range) contains(key []byte) bool {
	return bytes.Compare(key, r.Lower) >= 0 && (r.Upper == nil || bytes.Compare(key, r.Upper) < 0)
}

// scan yields what the cursor that open returns reads.
func scan(ctx context.Context, open func() (*Cursor, error)) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		c, err := open()
		if err != nil {
			yield(KV{}, err)
			return
		}
		defer c.Close()
		for c.Next(ctx) {
			if !yield(c.kv, nil) {
				return
			}
		}
		if c.err != nil {
			yield(KV{}, c.err)
		}
	}
}

// naming puts the name of the object that was missing into err, if err says
// that the database is corrupt without it.
func naming(missing, err error) error {
	c, corrupt := errors.AsType[*CorruptError](err)
	m, named := errors.AsType[*bucket.Error](missing)
	if !corrupt || !named || m.Key == "" {
		return err
	}
	return &CorruptError{Object: m.Key, Offset: c.Offset, Reason: c.Reason}
}
