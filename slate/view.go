package slate

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// view is an immutable picture of where the rows are. Precedence for equal
// keys is the order of the fields: sequence numbers do not overlap between
// levels, so the first version found is the newest.
type view struct {
	own  *memtable.Table   // a transaction's writes, newer than all else; or nil
	upTo uint64            // with own: the rest is read up to this seq
	mems []*memtable.Table // newest first; the first one may still take rows
	tree *tree
}

// tree is a manifest opened for reading.
type tree struct {
	id       uint64 // the manifest's
	manifest *format.Manifest
	store    *sst.Store
	l0       []table // newest first
	runs     []run   // newest first
}

type table struct {
	*sst.Table
	keys format.KeyRange
}

type run []table // ascending

func newTree(id uint64, m *format.Manifest, store *sst.Store, root layout.Root) *tree {
	t := &tree{id: id, manifest: m, store: store}
	key := sstKeys(m, root)
	open := func(s *format.SST) table {
		t := store.Open(key(s.ID), *s)
		t.MaxSeq = m.LastL0Seq
		return table{Table: t, keys: s.Range()}
	}
	for i := range m.L0 {
		t.l0 = append(t.l0, open(&m.L0[i]))
	}
	for i := range m.Runs {
		r := make(run, len(m.Runs[i].SSTs))
		for j := range r {
			r[j] = open(&m.Runs[i].SSTs[j])
		}
		t.runs = append(t.runs, r)
	}
	return t
}

// sstKeys names the objects of the manifest's SSTs: in this database, or in the
// one that the manifest, of a clone, says they belong to.
func sstKeys(m *format.Manifest, root layout.Root) func(format.ULID) string {
	elsewhere := map[format.ULID]layout.Root{}
	for i := range m.ExternalDBs {
		at := layout.NewRoot(m.ExternalDBs[i].Path)
		for _, id := range m.ExternalDBs[i].SSTs {
			elsewhere[id] = at
		}
	}
	return func(id format.ULID) string {
		if at, ok := elsewhere[id]; ok {
			return at.SST(id)
		}
		return root.SST(id)
	}
}

// get fills dst with the newest version of key at or below seq. noFill keeps
// the blocks that it fetches out of the cache.
func (v *view) get(ctx context.Context, key []byte, seq uint64, noFill bool, dst *format.Row) (bool, error) {
	if v.own != nil {
		if v.own.Get(key, seq, dst) {
			return true, nil
		}
		seq = min(seq, v.upTo)
	}
	for _, m := range v.mems {
		if m.Get(key, seq, dst) {
			return true, nil
		}
	}
	if len(v.tree.l0) == 0 && len(v.tree.runs) == 0 {
		return false, nil
	}
	look := sst.Lookup{Key: key, Hash: format.BloomHash(key), MaxSeq: seq, NoFill: noFill}
	for i := range v.tree.l0 {
		if !v.tree.l0[i].keys.Contains(key) {
			continue
		}
		if found, err := v.tree.l0[i].Get(ctx, &look, dst); found || err != nil {
			return found, err
		}
	}
	for _, r := range v.tree.runs {
		for i := r.seek(key); i < len(r) && r[i].keys.Contains(key); i++ {
			if found, err := r[i].Get(ctx, &look, dst); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// seek returns the index of the first table that may hold key or something
// after it.
func (r run) seek(key []byte) int {
	return sort.Search(len(r), func(i int) bool { return !r[i].keys.EndsBefore(key) })
}

// iter returns all versions of the keys in r, its first blocks at hand.
func (v *view) iter(ctx context.Context, r Range, opts *ReadOptions) merge.Seeker {
	how := v.how(r, opts)
	all := make([]merge.Iterator, 0, len(v.mems)+len(v.tree.l0)+len(v.tree.runs))
	var first []*sst.Iter
	for _, m := range v.mems {
		all = append(all, m.Iter(r.Lower, r.Upper, r.Reverse))
	}
	for i := range v.tree.l0 {
		if v.tree.l0[i].overlaps(r) {
			it := v.tree.l0[i].iter(r, &how)
			all, first = append(all, it), append(first, it)
		}
	}
	for _, run := range v.tree.runs {
		if it := run.iter(r, &how); it != nil {
			it.open()
			all, first = append(all, it), append(first, it.cur)
		}
	}
	prime(ctx, first, opts.parallel())
	it := merge.Sorted(all, r.Reverse)
	if v.own != nil {
		it = v.withOwn(r, it)
	}
	return it.(merge.Seeker)
}

// how is how the SSTs are read for r.
func (v *view) how(r Range, opts *ReadOptions) sst.IterOptions {
	return sst.IterOptions{
		NoFill: opts.NoFill, ReadAhead: opts.ReadAhead, Ahead: sst.NewAhead(opts.parallel() - 1),
		Prefix: v.tree.store.CoveringPrefix(r.Lower, r.Upper),
	}
}

// withOwn lays a transaction's writes over the rest.
func (v *view) withOwn(r Range, rest merge.Iterator) merge.Iterator {
	own := v.own.Iter(r.Lower, r.Upper, r.Reverse)
	return merge.Sorted([]merge.Iterator{own, merge.UpTo(rest, v.upTo)}, r.Reverse)
}

// prime fetches the first blocks of those that have not got theirs in the
// cache, so many at once. With one left there is nothing to gain.
func prime(ctx context.Context, iters []*sst.Iter, parallel int) {
	cold := slices.DeleteFunc(iters, (*sst.Iter).Ready)
	if len(cold) < 2 || parallel < 2 {
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, it := range cold {
		slots <- struct{}{}
		wg.Go(func() {
			it.Prime(ctx)
			<-slots
		})
	}
	wg.Wait()
}

func (t table) overlaps(r Range) bool {
	return !(r.Upper != nil && bytes.Compare(t.keys.Start.Key, r.Upper) >= 0) &&
		!(r.Lower != nil && t.keys.EndsBefore(r.Lower))
}

func (t table) iter(r Range, how *sst.IterOptions) *sst.Iter {
	opts := *how
	opts.Lower, opts.Upper, opts.Reverse = r.Lower, r.Upper, r.Reverse
	return t.Iter(opts)
}

// iter walks the run's tables one after the other; nil if none overlaps.
func (r run) iter(rng Range, how *sst.IterOptions) *runIter {
	in := r[r.seek(rng.Lower):]
	if rng.Upper != nil {
		in = in[:sort.Search(len(in), func(i int) bool { return bytes.Compare(in[i].keys.Start.Key, rng.Upper) >= 0 })]
	}
	if len(in) == 0 {
		return nil
	}
	return &runIter{tables: in, rng: rng, how: how}
}

type runIter struct {
	tables []table // still to come, ascending, after the current one
	rng    Range
	how    *sst.IterOptions
	table  table     // the current one
	cur    *sst.Iter // nil: none yet, or no more of it
}

func (it *runIter) Next(ctx context.Context) (*format.Row, error) {
	for {
		if it.cur == nil && !it.open() {
			return nil, nil
		}
		row, err := it.cur.Next(ctx)
		if row != nil || err != nil {
			return row, err
		}
		it.closeTable()
	}
}

// open moves to the next table and reports whether there was one.
func (it *runIter) open() bool {
	n := len(it.tables)
	switch {
	case n == 0:
		return false
	case it.rng.Reverse:
		it.table, it.tables = it.tables[n-1], it.tables[:n-1]
	default:
		it.table, it.tables = it.tables[0], it.tables[1:]
	}
	it.cur = it.table.iter(it.rng, it.how)
	return true
}

// Seek implements merge.Seeker.
func (it *runIter) Seek(key []byte) {
	if it.rng.Reverse {
		it.rng.Upper = append(bytes.Clone(key), 0)
	} else {
		it.rng.Lower = key
	}
	if it.cur != nil && !it.table.overlaps(it.rng) {
		it.closeTable()
	}
	if it.cur != nil {
		it.cur.Seek(key)
		return
	}
	for n := len(it.tables); n > 0; n = len(it.tables) {
		switch {
		case it.rng.Reverse && !it.tables[n-1].overlaps(it.rng):
			it.tables = it.tables[:n-1]
		case !it.rng.Reverse && !it.tables[0].overlaps(it.rng):
			it.tables = it.tables[1:]
		default:
			return
		}
	}
}

func (it *runIter) closeTable() {
	if it.cur != nil {
		it.cur.Close()
		it.cur = nil
	}
}

// Close implements merge.Iterator.
func (it *runIter) Close() {
	it.closeTable()
	it.tables = nil
}
