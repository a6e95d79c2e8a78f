package memtable

import (
	"bytes"
	"context"
	"math"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
)

// Iter walks a table: forward by key ascending and seq descending, in reverse
// by the exact mirror. Rows added meanwhile may or may not be seen. An Iter is
// used by one goroutine.
type Iter struct {
	t            *Table
	lower, upper []byte
	reverse      bool
	started      bool
	at           Ref
	row          format.Row
}

// Iter returns an iterator over the keys k with lower <= k < upper; a nil bound
// is no bound.
func (t *Table) Iter(lower, upper []byte, reverse bool) *Iter {
	return &Iter{t: t, lower: lower, upper: upper, reverse: reverse}
}

// Next returns the next row, or nil at the end. Its slices point into the
// table; the row itself is reused by the next call.
func (it *Iter) Next(context.Context) (*format.Row, error) {
	switch {
	case !it.started:
		it.started = true
		it.at = it.first()
	case it.at == 0:
	case it.reverse:
		it.at = it.t.nodes.at(it.at)[wPrev].Load()
	default:
		it.at = it.t.next(it.at, 0)
	}
	if it.at == 0 {
		return nil, nil
	}
	it.t.Row(it.at, &it.row)
	if it.reverse && it.lower != nil && bytes.Compare(it.row.Key, it.lower) < 0 ||
		!it.reverse && it.upper != nil && bytes.Compare(it.row.Key, it.upper) >= 0 {
		it.at = 0
		return nil, nil
	}
	return &it.row, nil
}

// Seek moves on to the first row whose key is at least key, in reverse to the
// first whose key is at most key. It does not move back, and keeps key.
func (it *Iter) Seek(key []byte) {
	switch {
	case it.started && it.at == 0:
		return
	case it.reverse:
		it.upper = append(slices.Clip(key), 0)
	default:
		it.lower = key
	}
	it.started = false
}

func (it *Iter) first() Ref {
	switch {
	case it.reverse && it.upper == nil:
		return it.t.tail.Load()
	case it.reverse:
		return it.t.seekLT(it.upper, math.MaxUint64)
	case it.lower == nil:
		return it.t.next(0, 0)
	default:
		return it.t.seekGE(it.lower, math.MaxUint64)
	}
}

// Close does nothing; it is there so that all of the engine's iterators look
// alike.
func (it *Iter) Close() {}
