package sst

import (
	"bytes"
	"context"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
)

// IterOptions are the settings of an Iter.
type IterOptions struct {
	// Lower and Upper bound the keys: [Lower, Upper). An empty Lower is the
	// first key; a nil Upper is after the last. They must not change while the
	// iterator is used.
	Lower, Upper []byte
	// Reverse walks from the last row to the first: keys descending, the
	// versions of a key from the oldest to the newest.
	Reverse bool
	// NoFill leaves the blocks that are read out of the cache: for compaction
	// and for whole scans.
	NoFill bool
	// ReadAhead is the most bytes to fetch in one request. Zero: the store's
	// setting, reached by doubling, so that a scan which ends soon reads little.
	// Negative: one block each.
	ReadAhead int
}

// Iter walks over the rows of an SST, all versions of all keys, that lie in
// its bounds and are visible. It may not be used concurrently. It holds no
// goroutine and no connection.
type Iter struct {
	t     *Table
	opts  IterOptions
	lower []byte // first key to give, empty for all
	upper []byte // first key not to give, nil for none

	index      *format.Index // nil until the first Next
	next, last int           // next block to open, and the last
	ahead      int           // bytes that the next request may fetch
	maxAhead   int

	window     []byte // stored bytes of blocks windowFrom to windowTo-1
	windowFrom int
	windowTo   int

	rows   format.BlockIter
	open   bool // rows stands in a block
	at     int  // which one
	sought bool // some block was opened
	row    format.Row
	done   bool
	err    error
}

// Iter returns an iterator over the table. It reads nothing before the first
// Next.
func (t *Table) Iter(opts IterOptions) *Iter {
	r := format.KeyRange{}
	if len(opts.Lower) > 0 {
		r.Start = format.Bound{Kind: format.Included, Key: opts.Lower}
	}
	if opts.Upper != nil {
		r.End = format.Bound{Kind: format.Excluded, Key: opts.Upper}
	}
	outside := r.Intersect(t.visible).Empty()
	if t.sst.Visible != nil {
		r = r.Intersect(*t.sst.Visible)
	}
	it := &Iter{t: t, opts: opts, done: outside || r.Empty()}
	it.lower, it.upper = halfOpen(r)
	it.maxAhead = opts.ReadAhead
	if it.maxAhead == 0 {
		it.maxAhead = t.store.opts.ReadAhead
	}
	switch {
	case opts.ReadAhead > 0:
		it.ahead = opts.ReadAhead
	case !opts.Reverse && opts.Upper != nil, opts.Reverse && len(opts.Lower) > 0:
		it.ahead = min(boundedReadAhead, it.maxAhead)
	}
	return it
}

// halfOpen returns the range as [lower, upper): the key after k, and nothing
// between, is k with a zero byte behind.
func halfOpen(r format.KeyRange) (lower, upper []byte) {
	switch r.Start.Kind {
	case format.Included:
		lower = r.Start.Key
	case format.Excluded:
		lower = append(bytes.Clone(r.Start.Key), 0)
	}
	switch r.End.Kind {
	case format.Included:
		upper = append(bytes.Clone(r.End.Key), 0)
	case format.Excluded:
		upper = r.End.Key
		if upper == nil {
			upper = []byte{}
		}
	}
	return lower, upper
}

// Next returns the next row, nil at the end. The row and its key are valid
// until the next Next; its value may be kept, but aliases a block and must not
// be changed. After an error, which is one of the bucket's or matches
// format.ErrCorrupt (*format.ObjectError), the iterator stays where it is and
// Next returns the same error.
func (it *Iter) Next(ctx context.Context) (*format.Row, error) {
	if it.err != nil || it.done {
		return nil, it.err
	}
	row, err := it.step(ctx)
	if err != nil {
		it.err = err
		return nil, err
	}
	if row == nil {
		it.end()
	}
	return row, nil
}

// Seek moves on to the first row whose key is at least key, in reverse to the
// first whose key is at most key. It does not move back, and keeps key. What was
// fetched already is not fetched again.
func (it *Iter) Seek(key []byte) {
	if it.done || it.err != nil {
		return
	}
	if it.opts.Reverse {
		key = append(slices.Clip(key), 0)
		if it.upper != nil && bytes.Compare(key, it.upper) >= 0 {
			return
		}
		it.upper = key
	} else {
		if bytes.Compare(key, it.lower) <= 0 {
			return
		}
		it.lower = key
	}
	if it.index == nil {
		return
	}
	i := it.index.SeekGE(key)
	if it.open && (i == it.at || it.beyond(it.at, i)) {
		if err := it.within(); err != nil {
			it.err = it.t.fail(it.index.Offset(it.at), err)
		}
		return
	}
	it.open, it.sought = false, false
	if it.beyond(i, it.next) {
		it.next = i
	}
}

// beyond reports whether block i comes after block j.
func (it *Iter) beyond(i, j int) bool { return i > j && !it.opts.Reverse || i < j && it.opts.Reverse }

// within moves to the near bound in the open block.
func (it *Iter) within() error {
	if it.opts.Reverse {
		return it.rows.SeekLT(it.rows.Block(), it.upper)
	}
	return it.rows.SeekGE(it.rows.Block(), it.lower)
}

// Close frees what the iterator holds. Next gives no row after it.
func (it *Iter) Close() { it.end() }

func (it *Iter) end() { it.done, it.window, it.rows = true, nil, format.BlockIter{} }

func (it *Iter) step(ctx context.Context) (*format.Row, error) {
	if it.index == nil {
		if err := it.start(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if it.open {
			ok, err := it.move()
			if err != nil {
				return nil, it.t.fail(it.index.Offset(it.at), err)
			}
			if ok && !it.t.possible(it.row.Seq) {
				return nil, it.t.impossible(it.row.Seq, it.index.Offset(it.at))
			}
			if ok {
				return it.inside(), nil
			}
			it.open = false
		}
		if it.beyond(it.next, it.last) {
			return nil, nil
		}
		if err := it.openBlock(ctx); err != nil {
			return nil, err
		}
	}
}

func (it *Iter) move() (bool, error) {
	if it.opts.Reverse {
		return it.rows.Prev(&it.row)
	}
	return it.rows.Next(&it.row)
}

// inside returns the current row, nil if it lies beyond the far bound.
func (it *Iter) inside() *format.Row {
	if it.opts.Reverse {
		if bytes.Compare(it.row.Key, it.lower) < 0 {
			return nil
		}
	} else if it.upper != nil && bytes.Compare(it.row.Key, it.upper) >= 0 {
		return nil
	}
	return &it.row
}

// start reads the index and finds the first and the last block.
func (it *Iter) start(ctx context.Context) error {
	index, err := it.t.indexOnly(ctx)
	if err != nil {
		return err
	}
	it.index = index
	if len(it.lower) > 0 {
		it.next = index.SeekGE(it.lower)
	}
	it.last = index.Len() - 1
	if it.upper != nil {
		it.last = index.SeekGE(it.upper)
	}
	if it.opts.Reverse {
		it.next, it.last = it.last, it.next
	}
	return nil
}

// openBlock opens the next block and moves before the first row in bounds.
// Only the first block opened can hold rows before the near bound.
func (it *Iter) openBlock(ctx context.Context) error {
	i := it.next
	b, err := it.load(ctx, i)
	if err != nil {
		return err
	}
	switch {
	case it.opts.Reverse && it.upper != nil && !it.sought:
		err = it.rows.SeekLT(b, it.upper)
	case it.opts.Reverse:
		err = it.rows.Last(b)
	case len(it.lower) > 0 && !it.sought:
		err = it.rows.SeekGE(b, it.lower)
	default:
		it.rows.First(b)
	}
	if err != nil {
		return it.t.fail(it.index.Offset(i), err)
	}
	it.open, it.sought, it.at = true, true, i
	if it.opts.Reverse {
		it.next--
	} else {
		it.next++
	}
	return nil
}

// load returns block i: from the window, from the cache, or by a request that
// makes a new window.
func (it *Iter) load(ctx context.Context, i int) (*format.Block, error) {
	t, offset := it.t, it.index.Offset(i)
	if i < it.windowFrom || i >= it.windowTo {
		if b, ok := t.store.cache.get(t.sst.ID, offset).(*format.Block); ok {
			return b, nil
		}
		if err := it.fetch(ctx, i); err != nil {
			return nil, err
		}
	}
	base := it.index.Offset(it.windowFrom)
	part := it.window[offset-base : it.index.Offset(i+1)-base]
	fill := !it.opts.NoFill && t.store.cache != nil
	b, err := t.decodeBlock(it.index, i, part, fill && it.windowTo-it.windowFrom > 1)
	if err != nil {
		return nil, err
	}
	if fill {
		t.store.cache.set(t.sst.ID, offset, b)
	}
	return b, nil
}

// fetch makes a window that begins, in the iterator's direction, with block i.
func (it *Iter) fetch(ctx context.Context, i int) error {
	from := i
	to := it.t.extend(it.index, i, it.last, it.ahead)
	if to < from {
		from, to = to, from
	}
	base := it.index.Offset(from)
	data, err := it.t.store.read(ctx, it.t.object, base, it.index.Offset(to+1)-base)
	if err != nil {
		return err
	}
	it.window, it.windowFrom, it.windowTo = data, from, to+1
	it.ahead = min(max(2*it.ahead, 16<<10), it.maxAhead)
	return nil
}
