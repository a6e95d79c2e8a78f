package merge

import (
	"bytes"
	"context"

	"github.com/stele-db/stele/slate/internal/format"
)

// Iterator yields row versions in one fixed order: forward by key ascending
// and seq descending, in reverse by the exact mirror. Next returns nil at the
// end; a row is valid until the next call of Next, its value for as long as
// somebody keeps it.
type Iterator interface {
	Next(ctx context.Context) (*format.Row, error)
	Close()
}

// Seeker is an Iterator that can skip rows.
type Seeker interface {
	Iterator
	// Seek moves on to the first row whose key is at least key, in reverse to the
	// first whose key is at most key. It is called with keys beyond the last row
	// read and within the bounds of the iterator only. The key must not be changed
	// while the iterator is used.
	Seek(key []byte)
}

// Sorted merges iterators of one direction into one of the same. Rows equal in
// key and seq come out in the order of the iterators. It is a Seeker if all of
// them are.
func Sorted(iters []Iterator, reverse bool) Iterator {
	if len(iters) == 1 {
		return iters[0]
	}
	return &sorted{iters: iters, reverse: reverse}
}

type sorted struct {
	iters   []Iterator
	reverse bool
	heap    []head
	started bool
	seek    []byte // to move to at the next Next; nil: one step
}

type head struct {
	row *format.Row
	src int
}

func (s *sorted) Next(ctx context.Context) (*format.Row, error) {
	switch {
	case !s.started:
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	case s.seek != nil:
		if err := s.skip(ctx); err != nil {
			return nil, err
		}
	case len(s.heap) > 0:
		r, err := s.iters[s.heap[0].src].Next(ctx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			last := len(s.heap) - 1
			s.heap[0] = s.heap[last]
			s.heap = s.heap[:last]
		} else {
			s.heap[0].row = r
		}
		s.sink(0)
	}
	if len(s.heap) == 0 {
		return nil, nil
	}
	return s.heap[0].row, nil
}

func (s *sorted) start(ctx context.Context) error {
	s.started = true
	s.heap = make([]head, 0, len(s.iters))
	for i, it := range s.iters {
		r, err := it.Next(ctx)
		if err != nil {
			return err
		}
		if r != nil {
			s.heap = append(s.heap, head{r, i})
		}
	}
	s.order()
	return nil
}

// order makes a heap of the heads.
func (s *sorted) order() {
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.sink(i)
	}
}

// Seek is Seeker's. Only sources that stand before the key are moved.
func (s *sorted) Seek(key []byte) {
	if s.started {
		s.seek = key
		return
	}
	for _, it := range s.iters {
		it.(Seeker).Seek(key)
	}
}

func (s *sorted) skip(ctx context.Context) error {
	key := s.seek
	s.seek = nil
	heap := s.heap[:0]
	for _, h := range s.heap {
		if before(h.row.Key, key, s.reverse) {
			it := s.iters[h.src].(Seeker)
			it.Seek(key)
			var err error
			if h.row, err = it.Next(ctx); err != nil {
				return err
			}
		}
		if h.row != nil {
			heap = append(heap, h)
		}
	}
	s.heap = heap
	s.order()
	return nil
}

// before reports whether an iterator that moves to key passes over k.
func before(k, key []byte, reverse bool) bool {
	c := bytes.Compare(k, key)
	return c < 0 && !reverse || c > 0 && reverse
}

func (s *sorted) less(a, b head) bool {
	c := bytes.Compare(a.row.Key, b.row.Key)
	if s.reverse {
		c = -c
	}
	switch {
	case c != 0:
		return c < 0
	case a.row.Seq != b.row.Seq:
		return (a.row.Seq > b.row.Seq) != s.reverse
	}
	return (a.src < b.src) != s.reverse
}

func (s *sorted) sink(i int) {
	for {
		c := 2*i + 1
		if c >= len(s.heap) {
			return
		}
		if c+1 < len(s.heap) && s.less(s.heap[c+1], s.heap[c]) {
			c++
		}
		if !s.less(s.heap[c], s.heap[i]) {
			return
		}
		s.heap[i], s.heap[c] = s.heap[c], s.heap[i]
		i = c
	}
}

func (s *sorted) Close() {
	for _, it := range s.iters {
		it.Close()
	}
}

// steps counts rows that are passed over, of which there may be millions between
// two that are seen.
type steps uint

// next is it.Next, and looks at the context now and then: who reads rows in
// memory does not.
func (s *steps) next(ctx context.Context, it Iterator) (*format.Row, error) {
	if *s++; *s%256 == 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return it.Next(ctx)
}

// UpTo leaves out the rows with a seq above maxSeq. It is a Seeker if the
// iterator is one.
func UpTo(it Iterator, maxSeq uint64) Seeker { return &upTo{Iterator: it, maxSeq: maxSeq} }

type upTo struct {
	Iterator
	maxSeq uint64
	steps  steps
}

func (u *upTo) Next(ctx context.Context) (*format.Row, error) {
	for {
		r, err := u.steps.next(ctx, u.Iterator)
		if r == nil || err != nil || r.Seq <= u.maxSeq {
			return r, err
		}
	}
}

// Seek is Seeker's.
func (u *upTo) Seek(key []byte) { u.Iterator.(Seeker).Seek(key) }

// Visible reduces an iterator to what a reader at maxSeq sees: of every key
// the newest version with seq <= maxSeq, operands folded onto what they were
// written on, deleted keys left out. It is a
// Seeker if the iterator is one.
func Visible(it Iterator, maxSeq uint64, reverse bool, rules Rules) Seeker {
	if reverse {
		return &visibleReverse{it: it, maxSeq: maxSeq, rules: rules}
	}
	return &visible{it: it, maxSeq: maxSeq, rules: rules}
}

type visible struct {
	it     Iterator
	steps  steps
	maxSeq uint64
	rules  Rules
	key    []byte // its answer is known
	any    bool   // key is set
	pend   *format.Row
	fold   Fold
}

func (v *visible) Next(ctx context.Context) (*format.Row, error) {
	for {
		r, err := v.read(ctx)
		if r == nil || err != nil {
			return nil, err
		}
		if r.Seq > v.maxSeq || v.any && bytes.Equal(r.Key, v.key) {
			continue
		}
		kind, counts := v.rules.Kind(r)
		if !counts {
			continue
		}
		v.key, v.any = append(v.key[:0], r.Key...), true
		switch kind {
		case format.Tombstone:
			continue
		case format.Merge:
			return v.merged(ctx, r)
		}
		return r, nil
	}
}

func (v *visible) read(ctx context.Context) (*format.Row, error) {
	if r := v.pend; r != nil {
		v.pend = nil
		return r, nil
	}
	return v.steps.next(ctx, v.it)
}

// merged reads the key's older versions down to the first that is no operand.
func (v *visible) merged(ctx context.Context, r *format.Row) (*format.Row, error) {
	v.fold.Reset(v.rules.Operator, false)
	for {
		kind, counts := v.rules.Kind(r)
		switch {
		case !counts:
		case kind == format.Merge:
			if err := v.fold.Add(r); err != nil {
				return nil, err
			}
		case kind == format.Tombstone:
			return v.fold.Value(nil)
		default:
			return v.fold.Value(r)
		}
		var err error
		if r, err = v.steps.next(ctx, v.it); err != nil {
			return nil, err
		}
		if r == nil || !bytes.Equal(r.Key, v.key) {
			v.pend = r
			return v.fold.Value(nil)
		}
	}
}

// Seek is Seeker's.
func (v *visible) Seek(key []byte) {
	if v.pend != nil {
		if !before(v.pend.Key, key, false) {
			return
		}
		v.pend = nil
	}
	v.it.(Seeker).Seek(key)
}

func (v *visible) Close() { v.it.Close() }

// visibleReverse sees a key's versions oldest first, so it holds the newest
// visible one back, with the operands above it, until the key changes.
type visibleReverse struct {
	it      Iterator
	steps   steps
	maxSeq  uint64
	rules   Rules
	held    [2]heldRow // the candidate and the row handed out, in turns
	cur     int
	holding bool
	done    bool
}

// heldRow is the newest version of a key that is no operand, a tombstone if
// there is none, and the operands written since.
type heldRow struct {
	row  format.Row
	fold Fold
	err  error // of folding, if nothing newer makes it nobody's business
}

func (v *visibleReverse) Next(ctx context.Context) (*format.Row, error) {
	for !v.done {
		r, err := v.steps.next(ctx, v.it)
		if err != nil {
			return nil, err
		}
		if r == nil {
			v.done = true
			if v.holding {
				return v.held[v.cur].value()
			}
			return nil, nil
		}
		if r.Seq > v.maxSeq {
			continue
		}
		kind, counts := v.rules.Kind(r)
		if !counts {
			continue
		}
		c := &v.held[v.cur]
		if !v.holding || bytes.Equal(c.row.Key, r.Key) {
			c.take(r, kind, !v.holding, v.rules.Operator)
			v.holding = true
			continue
		}
		v.cur = 1 - v.cur
		v.held[v.cur].take(r, kind, true, v.rules.Operator)
		if row, err := c.value(); row != nil || err != nil {
			return row, err
		}
	}
	return nil, nil
}

// take adds the next newer version of the key, or the first of a new one.
func (h *heldRow) take(r *format.Row, kind format.Kind, first bool, op Operator) {
	if first || kind != format.Merge {
		h.fold.Reset(op, true)
		h.err = nil
	}
	switch {
	case kind != format.Merge:
		CopyRow(&h.row, r)
		h.row.Kind = kind
		return
	case first:
		h.row.Key, h.row.Kind = append(h.row.Key[:0], r.Key...), format.Tombstone
	}
	if h.err == nil {
		h.err = h.fold.Add(r)
	}
}

// value is the row that a reader sees, nil if the key is deleted.
func (h *heldRow) value() (*format.Row, error) {
	deleted := h.row.Kind == format.Tombstone
	switch {
	case h.err != nil:
		return nil, h.err
	case h.fold.Any() && deleted:
		return h.fold.Value(nil)
	case h.fold.Any():
		return h.fold.Value(&h.row)
	case deleted:
		return nil, nil
	}
	return &h.row, nil
}

// Seek is Seeker's.
func (v *visibleReverse) Seek(key []byte) {
	if v.holding {
		if !before(v.held[v.cur].row.Key, key, true) {
			return
		}
		v.holding = false
	}
	v.it.(Seeker).Seek(key)
}

func (v *visibleReverse) Close() { v.it.Close() }

// CopyRow makes dst a copy of src with bytes of its own, reusing dst's.
func CopyRow(dst, src *format.Row) {
	k, v := append(dst.Key[:0], src.Key...), append(dst.Value[:0], src.Value...)
	*dst = *src
	dst.Key, dst.Value = k, v
}

// Policy says what Retain must keep.
type Policy struct {
	// MinSeq: every version above it is kept, and of the others what a reader
	// at MinSeq sees.
	MinSeq uint64
	// Tick: values that expire at or before this time (ms) become tombstones,
	// operands vanish.
	Tick int64
	// Bottom: nothing older lies below, so tombstones that only hide older
	// versions are dropped. Where it is false, Below, if not nil, is asked for
	// keys in ascending order whether anything older may lie below them.
	Bottom bool
	Below  func(key []byte) bool
	// Edit, if not nil, is shown every version that is kept and may change its
	// kind and value, a value that it must not write into. It reports whether the
	// version stays.
	Edit func(r *format.Row) bool
	// Operator folds operands. Without one, or should it fail, the key's versions
	// stay as they are: reads tell of it, and nothing else is held up.
	Operator Operator
}

// Retain reduces a forward iterator to the versions that a flush or compaction
// must keep (rules 1 to 4 of SlateDB's compaction: operands, expiry, versions,
// bottom).
func Retain(it Iterator, p Policy) Iterator {
	return &retain{it: it, p: p}
}

type retain struct {
	it   Iterator
	p    Policy
	pend *format.Row // first row of the next key, read but not yet grouped

	key  []byte
	kept []format.Row // versions of the current key, newest first
	n    int          // how many of kept are in use
	out  int          // next to hand out
	done bool

	from     int // kept[from:n] are operands that wait to be folded
	operands [][]byte
}

func (c *retain) Next(ctx context.Context) (*format.Row, error) {
	for c.out >= c.n {
		if c.done {
			return nil, nil
		}
		if err := c.group(ctx); err != nil {
			return nil, err
		}
	}
	c.out++
	return &c.kept[c.out-1], nil
}

// group reads all versions of the next key and keeps what the policy wants.
func (c *retain) group(ctx context.Context) error {
	c.n, c.out, c.from = 0, 0, 0
	r := c.pend
	c.pend = nil
	var err error
	if r == nil {
		if r, err = c.it.Next(ctx); err != nil {
			return err
		}
	}
	if r != nil {
		c.key = append(c.key[:0], r.Key...)
	}
	ended := false // the version that a reader at MinSeq sees was kept
	for r != nil {
		if !bytes.Equal(r.Key, c.key) {
			c.pend = r
			break
		}
		if !ended {
			ended = c.keep(r)
		}
		if r, err = c.it.Next(ctx); err != nil {
			return err
		}
	}
	if r == nil {
		c.done = true
	}
	c.fold(false)
	if c.p.Edit != nil {
		c.edit()
	}
	if c.n > 0 && c.kept[c.n-1].Kind == format.Tombstone && (c.p.Bottom || c.p.Below != nil && !c.p.Below(c.key)) {
		for c.n > 0 && c.kept[c.n-1].Kind == format.Tombstone {
			c.n--
		}
	}
	return nil
}

// edit shows the kept versions to the policy's Edit.
func (c *retain) edit() {
	n := 0
	for i := range c.n {
		if c.p.Edit(&c.kept[i]) {
			c.kept[n], c.kept[i] = c.kept[i], c.kept[n]
			n++
		}
	}
	c.n = n
}

// keep takes the next older version of the key and reports whether no reader
// needs one older still.
func (c *retain) keep(r *format.Row) (ended bool) {
	operand, old := r.Kind == format.Merge, r.Seq <= c.p.MinSeq
	fits := c.from < c.n && sameExpiry(&c.kept[c.n-1], r)
	if !fits {
		c.fold(false)
	}
	if c.n == len(c.kept) {
		c.kept = append(c.kept, format.Row{})
	}
	key := append(c.kept[c.n].Key[:0], r.Key...)
	c.kept[c.n] = *r
	c.kept[c.n].Key = key
	c.n++
	switch {
	case operand && old:
		return false // waits for what is below
	case fits:
		c.fold(true)
	default:
		c.settle(c.n - 1)
	}
	return old && !operand
}

// fold makes one row of the operands that wait and, if there is one, the base
// behind them.
func (c *retain) fold(based bool) {
	from, end := c.from, c.n
	operands := c.kept[from:end]
	var base *format.Row
	if based {
		base = &operands[len(operands)-1]
		operands = operands[:len(operands)-1]
	}
	if c.p.Operator != nil && (len(operands) > 1 || len(operands) == 1 && based) {
		c.operands = c.operands[:0]
		for i := len(operands) - 1; i >= 0; i-- {
			c.operands = append(c.operands, operands[i].Value)
		}
		below := base
		if based && base.Kind == format.Tombstone {
			below = nil
		}
		if value, err := Apply(c.p.Operator, c.key, below, c.operands); err == nil {
			newest := &c.kept[from]
			for i := from + 1; i < end; i++ {
				absorb(newest, &c.kept[i])
			}
			if based {
				newest.Kind = format.Value
			}
			newest.Value = bytes.Clone(value) // it may be a part of any of them
			c.n = from + 1
		}
	}
	c.settle(from)
}

// settle ends the expired among kept[from:n], which nothing will be folded
// with any more.
func (c *retain) settle(from int) {
	n := from
	for i := from; i < c.n; i++ {
		k := &c.kept[i]
		expired := k.HasExpire && k.ExpireTS <= c.p.Tick
		if expired && k.Kind == format.Merge {
			continue
		}
		if expired && k.Kind == format.Value {
			k.Kind, k.Value, k.HasExpire, k.ExpireTS = format.Tombstone, nil, false, 0
		}
		if i != n {
			c.kept[n], c.kept[i] = c.kept[i], c.kept[n] // both have a buffer for the key
		}
		n++
	}
	c.n, c.from = n, n
}

func sameExpiry(a, b *format.Row) bool {
	return a.HasExpire == b.HasExpire && (!a.HasExpire || a.ExpireTS == b.ExpireTS)
}

func (c *retain) Close() { c.it.Close() }
