package record

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// maxFetch is how many rows of an index scan are fetched at the same time. The
// number starts at one and doubles, so that a consumer who wants one row does
// not pay for many.
const maxFetch = 32

// found is a row on its way through a query: the place of its key after the
// path's prefix, its primary key and its record.
type found struct{ place, pk, rec []byte }

// run yields the rows of a plan. It returns nil if yield stopped it.
func (t *Table) run(ctx context.Context, r kv.Reader, p *Plan, yield func(Row) bool) error {
	if p.Access == AccessNone {
		return nil
	}
	if store, ok := r.(kv.Store); ok {
		snap, err := store.Snapshot(ctx)
		if err != nil {
			return err
		}
		defer snap.Close()
		r = snap
	}
	x := &execution{table: t, plan: p, reader: r, eval: newEvaluator(p.fields), yield: yield}
	if p.sort != nil {
		return x.sorted(ctx)
	}
	n := 0
	return x.matching(ctx, func(f found) (bool, error) {
		n++
		return yield(x.row(f)) && n != p.Limit, nil
	})
}

// execution is one run of a plan. It is used by one goroutine.
type execution struct {
	table  *Table
	plan   *Plan
	reader kv.Reader
	eval   *evaluator
	maker  entryMaker
	yield  func(Row) bool
}

func (x *execution) row(f found) Row {
	return Row{Record: f.rec, plan: x.plan, pk: f.pk, place: f.place}
}

// matching calls emit with each row of the path that fulfils the condition,
// once, until emit returns false or an error.
func (x *execution) matching(ctx context.Context, emit func(found) (bool, error)) error {
	return x.all(ctx, func(f found) (bool, error) {
		x.eval.reset(f.rec)
		ok, err := x.plan.residual.eval(x.eval)
		if err != nil {
			return false, stored(slices.Concat(rowPrefix(x.table.id), f.pk), err)
		}
		if ok != yes {
			return true, nil
		}
		if x.plan.path.many {
			if first, err := x.first(f); err != nil || !first {
				return err == nil, err
			}
		}
		return emit(f)
	})
}

// first reports whether the entry is the first of its row in the path's range,
// in the direction of the scan: so a row with several is taken once, without
// remembering which rows there were.
func (x *execution) first(f found) (bool, error) {
	x.maker.reset()
	x.maker.spans = x.maker.spans[:0]
	path := x.plan.path
	if err := x.maker.index(path.index, x.table.id, f.rec, f.pk); err != nil {
		return false, stored(slices.Concat(rowPrefix(x.table.id), f.pk), err)
	}
	var first []byte
	for _, sp := range x.maker.spans {
		key := x.maker.buf[sp.key:sp.end]
		if bytes.Compare(key, path.lower) < 0 || bytes.Compare(key, path.upper) >= 0 {
			continue
		}
		if first == nil || (bytes.Compare(key, first) > 0) == path.reverse {
			first = key
		}
	}
	return len(first) >= len(path.prefix) && bytes.Equal(first[len(path.prefix):], f.place), nil
}

// all calls emit with each row of the path.
func (x *execution) all(ctx context.Context, emit func(found) (bool, error)) error {
	p := x.plan.path
	switch {
	case p.index == nil && p.point:
		return x.getRow(ctx, emit)
	case p.index == nil:
		return x.scanRows(ctx, emit)
	}
	if _, serial := x.reader.(interface{ Commit(context.Context) error }); serial {
		return x.fetchSerially(ctx, emit)
	}
	if _, serial := x.reader.(*Tx); serial {
		return x.fetchSerially(ctx, emit)
	}
	return x.fetchAhead(ctx, emit)
}

// keys returns what the plan scans.
func (x *execution) keys() kv.Range {
	if x.plan.scan.Lower != nil {
		return x.plan.scan
	}
	return x.plan.path.scanRange()
}

func (x *execution) getRow(ctx context.Context, emit func(found) (bool, error)) error {
	p := x.plan.path
	rec, err := x.reader.Get(ctx, p.lower)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	pk := p.lower[len(p.prefix):]
	_, err = emit(found{place: pk, pk: pk, rec: rec})
	return err
}

func (x *execution) scanRows(ctx context.Context, emit func(found) (bool, error)) error {
	prefix := len(x.plan.path.prefix)
	for pair, err := range x.reader.Scan(ctx, x.keys()) {
		if err != nil {
			return err
		}
		pk := pair.Key[prefix:]
		if more, err := emit(found{place: pk, pk: pk, rec: pair.Value}); err != nil || !more {
			return err
		}
	}
	return nil
}

// entries calls emit with each entry of the path: its place and the primary key
// of its row, which are valid during the call.
func (x *execution) entries(ctx context.Context, emit func(place, pk []byte) (bool, error)) error {
	p := x.plan.path
	if p.point { // a get can ask a Bloom filter, a scan cannot
		owner, err := x.reader.Get(ctx, p.lower)
		if errors.Is(err, kv.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = emit(p.lower[len(p.prefix):], owner)
		return err
	}
	for pair, err := range x.reader.Scan(ctx, x.keys()) {
		if err != nil {
			return err
		}
		pk, err := entryRow(p.index, len(p.prefix), pair)
		if err != nil {
			return err
		}
		if more, err := emit(pair.Key[len(p.prefix):], pk); err != nil || !more {
			return err
		}
	}
	return nil
}

// fetchSerially fetches one row after the other.
func (x *execution) fetchSerially(ctx context.Context, emit func(found) (bool, error)) error {
	return x.entries(ctx, func(place, pk []byte) (bool, error) {
		l := x.newLookup(place, pk)
		l.get(ctx, x.reader)
		if l.err != nil {
			return false, x.missing(l)
		}
		return emit(l.found)
	})
}

// fetchAhead fetches the rows of the next entries, as many as the window holds,
// while the first is waited for; the order is kept. It returns when the last of
// its goroutines has.
func (x *execution) fetchAhead(ctx context.Context, emit func(found) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var queue []*lookup
	defer func() {
		cancel()
		for _, l := range queue {
			<-l.done
		}
	}()
	next := func() (bool, error) {
		l := queue[0]
		<-l.done
		queue = queue[1:]
		if l.err != nil {
			return false, x.missing(l)
		}
		return emit(l.found)
	}
	window, asked, stopped := 1, 0, false
	err := x.entries(ctx, func(place, pk []byte) (more bool, err error) {
		l := x.newLookup(place, pk)
		go l.run(ctx, x.reader)
		queue = append(queue, l)
		asked++
		if asked == x.enough() {
			return false, nil
		}
		if len(queue) < window {
			return true, nil
		}
		window = min(2*window, maxFetch)
		more, err = next()
		stopped = !more
		return more, err
	})
	for len(queue) > 0 && !stopped {
		more, nextErr := next()
		if nextErr != nil {
			return nextErr
		}
		stopped = !more
	}
	if stopped && err == nil {
		return nil
	}
	return err
}

// enough returns how many entries answer the query for sure; 0 if that is not
// known.
func (x *execution) enough() int {
	if len(x.plan.residual) > 0 || x.plan.path.many || x.plan.sort != nil {
		return 0
	}
	return x.plan.Limit
}

// lookup is the fetch of one row by an entry.
type lookup struct {
	found
	key  []byte // of the row
	err  error
	done chan struct{}
}

// newLookup copies what it keeps.
func (x *execution) newLookup(place, pk []byte) *lookup {
	prefix := rowPrefix(x.table.id)
	n := len(prefix) + len(pk)
	buf := make([]byte, 0, n+len(place))
	buf = append(append(append(buf, prefix...), pk...), place...)
	return &lookup{
		found: found{place: buf[n:], pk: buf[len(prefix):n:n]},
		key:   buf[:n:n],
		done:  make(chan struct{}),
	}
}

func (l *lookup) run(ctx context.Context, r kv.Reader) {
	defer close(l.done)
	l.get(ctx, r)
}

func (l *lookup) get(ctx context.Context, r kv.Reader) { l.rec, l.err = r.Get(ctx, l.key) }

// missing explains the error of a fetch: an entry without a row is damage.
func (x *execution) missing(l *lookup) error {
	if !errors.Is(l.err, kv.ErrNotFound) {
		return l.err
	}
	key := slices.Concat(x.plan.path.prefix, l.place)
	return errCorruptKey(key, fmt.Errorf("index %s has an entry for a row that is not there", x.plan.path.index.name))
}

// sorted keeps the first rows of all that match, in the wanted order.
func (x *execution) sorted(ctx context.Context) error {
	top := &topRows{limit: x.plan.Limit}
	var key []byte
	var values []tuple.Value
	err := x.matching(ctx, func(f found) (bool, error) {
		var err error
		if key, values, err = appendSortKey(key[:0], x.plan.sort, f.rec, values); err != nil {
			return false, stored(slices.Concat(rowPrefix(x.table.id), f.pk), err)
		}
		if x.plan.after == nil || bytes.Compare(key, x.plan.after) > 0 {
			top.add(key, f)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(top.rows, func(a, b found) int { return bytes.Compare(a.place, b.place) })
	for _, f := range top.rows {
		if !x.yield(x.row(f)) {
			break
		}
	}
	return nil
}

// topRows is a heap of the rows with the least sort keys, which are their
// places, the greatest at the root.
type topRows struct {
	limit int
	rows  []found
}

// add keeps a copy of the row, unless there are enough before it.
func (h *topRows) add(key []byte, f found) {
	if len(h.rows) == h.limit && bytes.Compare(key, h.rows[0].place) >= 0 {
		return
	}
	f = found{place: bytes.Clone(key), pk: bytes.Clone(f.pk), rec: bytes.Clone(f.rec)}
	if len(h.rows) < h.limit {
		heap.Push(h, f)
		return
	}
	h.rows[0] = f
	heap.Fix(h, 0)
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h *topRows) Len() int           { return len(h.rows) }
func (h *topRows) Less(i, j int) bool { return bytes.Compare(h.rows[i].place, h.rows[j].place) > 0 }
func (h *topRows) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *topRows) Push(f any)         { h.rows = append(h.rows, f.(found)) }
func (h *topRows) Pop() any {
	last := len(h.rows) - 1
	f := h.rows[last]
	h.rows = h.rows[:last]
	return f
}
