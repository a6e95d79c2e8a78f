package sst

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync/atomic"

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
	// NoFill leaves what is read out of the cache: for compaction and for whole
	// scans.
	NoFill bool
	// ReadAhead is the most bytes to fetch in one request. Zero: the store's
	// setting, reached by doubling, so that a scan which ends soon reads little.
	// Negative: one block each.
	ReadAhead int
	// Ahead lets the iterator fetch what comes next while what it has is being
	// read, once the scan has shown that it goes on; nil: it does not.
	Ahead *Ahead
	// Prefix, if not empty, is the prefix that the store's Prefixer takes from
	// every key within the bounds. An SST whose filter rules it out is not read.
	Prefix []byte
}

// Ahead bounds how many windows the iterators of one scan fetch or hold in
// advance.
type Ahead struct{ free atomic.Int32 }

// NewAhead returns an Ahead of n windows, nil if n is zero or less.
func NewAhead(n int) *Ahead {
	if n <= 0 {
		return nil
	}
	a := &Ahead{}
	a.free.Store(int32(min(n, math.MaxInt32)))
	return a
}

func (a *Ahead) take() bool {
	if a == nil {
		return false
	}
	if a.free.Add(-1) < 0 {
		a.free.Add(1)
		return false
	}
	return true
}

func (a *Ahead) give() { a.free.Add(1) }

// coming is a window that is fetched in advance. Its owner holds one of the
// scan's slots.
type coming struct {
	from, to int // as in window
	cancel   context.CancelFunc
	done     chan struct{}
	win      window // once done, empty if it could not be read or is in the cache
}

// Iter walks over the rows of an SST, all versions of all keys, that lie in
// its bounds and are visible. It may not be used concurrently. It must be
// closed, which ends what it fetches in advance.
type Iter struct {
	t     *Table
	opts  IterOptions
	lower []byte // first key to give, empty for all
	upper []byte // first key not to give, nil for none

	index      *format.Index // nil until the first Next
	next, last int           // next block to open, and the last
	ahead      int           // bytes that the next request may fetch
	maxAhead   int

	win     window
	fetches int
	coming  []*coming // next first

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
	it.maxAhead = min(it.maxAhead, maxAhead)
	switch {
	case opts.ReadAhead > 0:
		it.ahead = it.maxAhead
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

func (it *Iter) end() {
	it.done, it.open, it.win, it.rows = true, false, window{}, format.BlockIter{}
	for len(it.coming) > 0 {
		it.forget()
	}
}

// forget gives up the first window that is fetched in advance.
func (it *Iter) forget() {
	c := it.coming[0]
	c.cancel()
	<-c.done
	it.coming = it.coming[1:]
	it.opts.Ahead.give()
}

// Ready reports whether the first row costs no request, or there is none.
func (it *Iter) Ready() bool {
	if it.done || it.err != nil || it.open {
		return true
	}
	if it.index == nil {
		f, known := it.t.cachedFilter()
		switch index := it.t.cachedIndex(); {
		case len(it.opts.Prefix) > 0 && !known:
			return false
		case known && it.ruledOut(f):
			it.end()
			return true
		case index == nil:
			return false
		default:
			it.begin(index)
		}
	}
	return it.beyond(it.next, it.last) || it.t.store.cache.has(it.t.sst.ID, it.index.Offset(it.next))
}

// Prime fetches what the first row needs. Its error is that of the next Next.
func (it *Iter) Prime(ctx context.Context) {
	if it.Ready() {
		return
	}
	if it.index == nil {
		if it.err = it.start(ctx); it.err != nil || it.done {
			return
		}
	}
	if !it.beyond(it.next, it.last) {
		it.err = it.openBlock(ctx)
	}
}

func (it *Iter) step(ctx context.Context) (*format.Row, error) {
	if it.index == nil {
		if err := it.start(ctx); err != nil || it.done {
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

// start reads the index, and the filter if it may rule the SST out.
func (it *Iter) start(ctx context.Context) error {
	fill := !it.opts.NoFill
	if len(it.opts.Prefix) == 0 {
		index, err := it.t.indexOnly(ctx, fill)
		if err == nil {
			it.begin(index)
		}
		return err
	}
	f, index, err := it.t.meta(ctx, fill)
	switch {
	case err != nil:
		return err
	case it.ruledOut(f):
		it.end()
	default:
		it.begin(index)
	}
	return nil
}

func (it *Iter) ruledOut(f *filter) bool {
	return len(it.opts.Prefix) > 0 && !f.mayContainPrefix(format.BloomHash(it.opts.Prefix))
}

// begin finds the first and the last block.
func (it *Iter) begin(index *format.Index) {
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
	t := it.t
	if it.win.has(i) || it.arrive(ctx, i) {
		return t.fromWindow(it.index, &it.win, i, it.opts.NoFill)
	}
	if b, ok := t.store.cache.get(t.sst.ID, it.index.Offset(i)).(*format.Block); ok {
		return b, nil
	}
	b, w, err := t.fetch(ctx, it.index, i, t.extend(it.index, i, it.last, it.ahead), it.opts.NoFill)
	if err != nil {
		return nil, err
	}
	it.win = w
	it.grow()
	it.fetchAhead(ctx, i)
	return b, nil
}

// grow lets the next request fetch twice as much.
func (it *Iter) grow() {
	it.fetches++
	it.ahead = min(max(2*it.ahead, 16<<10), it.maxAhead)
}

// arrive waits for the window fetched in advance that has block i, and reports
// whether there is one. Windows before it are given up.
func (it *Iter) arrive(ctx context.Context, i int) bool {
	for len(it.coming) > 0 {
		c := it.coming[0]
		if c.from <= i && i < c.to {
			select {
			case <-c.done:
			case <-ctx.Done():
				return false
			}
			it.win = c.win
			it.forget()
			it.fetchAhead(ctx, i)
			return it.win.has(i)
		}
		if !it.beyond(i, c.from) {
			return false
		}
		it.forget()
	}
	return false
}

// fetchAhead fetches the windows behind the one of block i, as many as the scan
// may hold. It does nothing before the second request, or a size that was asked
// for: a short scan fetches nothing in vain.
func (it *Iter) fetchAhead(ctx context.Context, i int) {
	if it.fetches < 2 && it.opts.ReadAhead <= 0 {
		return
	}
	for {
		far := i
		if n := len(it.coming); n > 0 {
			far = it.coming[n-1].far(it.opts.Reverse)
		} else if it.win.has(i) {
			far = it.win.far(it.opts.Reverse)
		}
		next := far + 1
		if it.opts.Reverse {
			next = far - 1
		}
		if it.beyond(next, it.last) || it.t.store.cache.has(it.t.sst.ID, it.index.Offset(next)) || !it.opts.Ahead.take() {
			return
		}
		it.coming = append(it.coming, it.send(ctx, next))
		it.grow()
	}
}

// send fetches the window that begins with block i.
func (it *Iter) send(ctx context.Context, i int) *coming {
	last := it.t.extend(it.index, i, it.last, it.ahead)
	c := &coming{from: min(i, last), to: max(i, last) + 1, done: make(chan struct{})}
	ctx, c.cancel = context.WithCancel(ctx)
	t, index, noFill := it.t, it.index, it.opts.NoFill
	go func() {
		defer close(c.done)
		if _, w, err := t.fetch(ctx, index, i, last, noFill); err == nil { // who needs it meets the error again
			c.win = w
		}
	}()
	return c
}

// far is the window's last block in the direction of reading.
func (w *window) far(reverse bool) int {
	if reverse {
		return w.from
	}
	return w.to - 1
}

func (c *coming) far(reverse bool) int {
	w := window{from: c.from, to: c.to}
	return w.far(reverse)
}
