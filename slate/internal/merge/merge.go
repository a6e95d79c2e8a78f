package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate/internal/format"
)

// ErrNoOperator: a row holds a merge operand and no merge operator is there to
// resolve it.
var ErrNoOperator = errors.New("row has merge operands but no merge operator is configured")

// Iterator yields row versions in one fixed order: forward by key ascending
// and seq descending, in reverse by the exact mirror. Next returns nil at the
// end; a row is valid until the next call of Next.
type Iterator interface {
	Next(ctx context.Context) (*format.Row, error)
	Close()
}

// Sorted merges iterators of one direction into one of the same. Rows equal in
// key and seq come out in the order of the iterators.
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
}

type head struct {
	row *format.Row
	src int
}

func (s *sorted) Next(ctx context.Context) (*format.Row, error) {
	if !s.started {
		s.started = true
		for i, it := range s.iters {
			r, err := it.Next(ctx)
			if err != nil {
				return nil, err
			}
			if r != nil {
				s.heap = append(s.heap, head{r, i})
			}
		}
		for i := len(s.heap)/2 - 1; i >= 0; i-- {
			s.sink(i)
		}
	} else if len(s.heap) > 0 {
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

// Visible reduces an iterator to what a reader at maxSeq sees: of every key
// the newest version with seq <= maxSeq, deleted keys left out.
func Visible(it Iterator, maxSeq uint64, reverse bool) Iterator {
	if reverse {
		return &visibleReverse{it: it, maxSeq: maxSeq}
	}
	return &visible{it: it, maxSeq: maxSeq}
}

type visible struct {
	it     Iterator
	maxSeq uint64
	key    []byte
	any    bool
}

func (v *visible) Next(ctx context.Context) (*format.Row, error) {
	for {
		r, err := v.it.Next(ctx)
		if r == nil || err != nil {
			return nil, err
		}
		if r.Seq > v.maxSeq || v.any && bytes.Equal(r.Key, v.key) {
			continue
		}
		v.key, v.any = append(v.key[:0], r.Key...), true
		switch r.Kind {
		case format.Tombstone:
			continue
		case format.Merge:
			return nil, operandError(r)
		}
		return r, nil
	}
}

func (v *visible) Close() { v.it.Close() }

// visibleReverse sees a key's versions oldest first, so it holds the newest
// visible one back until the key changes.
type visibleReverse struct {
	it      Iterator
	maxSeq  uint64
	held    [2]format.Row // the candidate and the row handed out, in turns
	cur     int
	holding bool
	done    bool
}

func (v *visibleReverse) Next(ctx context.Context) (*format.Row, error) {
	for !v.done {
		r, err := v.it.Next(ctx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			v.done = true
			if v.holding && v.held[v.cur].Kind != format.Tombstone {
				return v.hand(&v.held[v.cur])
			}
			return nil, nil
		}
		if r.Seq > v.maxSeq {
			continue
		}
		c := &v.held[v.cur]
		if !v.holding || bytes.Equal(c.Key, r.Key) {
			CopyRow(c, r)
			v.holding = true
			continue
		}
		v.cur = 1 - v.cur
		CopyRow(&v.held[v.cur], r)
		if c.Kind != format.Tombstone {
			return v.hand(c)
		}
	}
	return nil, nil
}

func (v *visibleReverse) hand(r *format.Row) (*format.Row, error) {
	if r.Kind == format.Merge {
		return nil, operandError(r)
	}
	return r, nil
}

func (v *visibleReverse) Close() { v.it.Close() }

// CopyRow makes dst a copy of src with bytes of its own, reusing dst's.
func CopyRow(dst, src *format.Row) {
	k, v := append(dst.Key[:0], src.Key...), append(dst.Value[:0], src.Value...)
	*dst = *src
	dst.Key, dst.Value = k, v
}

func operandError(r *format.Row) error { return fmt.Errorf("key %q: %w", r.Key, ErrNoOperator) }

// Policy says what Retain must keep.
type Policy struct {
	// MinSeq: every version above it is kept, and of the others what a reader
	// at MinSeq sees.
	MinSeq uint64
	// Tick: values that expire at or before this time (ms) become tombstones.
	Tick int64
	// Bottom: nothing older lies below, so tombstones that only hide older
	// versions are dropped.
	Bottom bool
}

// Retain reduces a forward iterator to the versions that a flush or compaction
// must keep (rules 2 to 4 of SlateDB's compaction: expiry, versions, bottom).
func Retain(it Iterator, p Policy) Iterator {
	return &retain{it: it, p: p}
}

type retain struct {
	it   Iterator
	p    Policy
	pend *format.Row // first row of the next key, read but not yet grouped

	kept []format.Row // versions of the current key, newest first
	n    int          // how many of kept are in use
	out  int          // next to hand out
	done bool
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
	c.n, c.out = 0, 0
	r := c.pend
	c.pend = nil
	var err error
	if r == nil {
		if r, err = c.it.Next(ctx); err != nil {
			return err
		}
	}
	ended := false // the version that a reader at MinSeq sees was kept
	for r != nil {
		if c.n > 0 && !bytes.Equal(r.Key, c.kept[0].Key) {
			c.pend = r
			break
		}
		if !ended {
			if r.Kind == format.Merge {
				return operandError(r)
			}
			if c.n == len(c.kept) {
				c.kept = append(c.kept, format.Row{})
			}
			k := &c.kept[c.n]
			CopyRow(k, r)
			c.n++
			if k.Kind == format.Value && k.HasExpire && k.ExpireTS <= c.p.Tick {
				k.Kind, k.Value, k.HasExpire, k.ExpireTS = format.Tombstone, k.Value[:0], false, 0
			}
			ended = k.Seq <= c.p.MinSeq
		}
		if r, err = c.it.Next(ctx); err != nil {
			return err
		}
	}
	if r == nil {
		c.done = true
	}
	if c.p.Bottom {
		for c.n > 0 && c.kept[c.n-1].Kind == format.Tombstone {
			c.n--
		}
	}
	return nil
}

func (c *retain) Close() { c.it.Close() }
