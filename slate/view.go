package slate

import (
	"bytes"
	"context"
	"sort"

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
	l0       []table // newest first
	runs     []run   // newest first
}

type table struct {
	*sst.Table
	keys format.KeyRange
}

type run []table // ascending

func newTree(id uint64, m *format.Manifest, store *sst.Store, root layout.Root) *tree {
	t := &tree{id: id, manifest: m}
	for i := range m.L0 {
		t.l0 = append(t.l0, openTable(m, &m.L0[i], store, root))
	}
	for i := range m.Runs {
		r := make(run, len(m.Runs[i].SSTs))
		for j := range r {
			r[j] = openTable(m, &m.Runs[i].SSTs[j], store, root)
		}
		t.runs = append(t.runs, r)
	}
	return t
}

func openTable(m *format.Manifest, s *format.SST, store *sst.Store, root layout.Root) table {
	t := store.Open(sstKey(m, s.ID, root), *s)
	t.MaxSeq = m.LastL0Seq
	return table{Table: t, keys: s.Range()}
}

// sstKey names the object of an SST: in this database, or in the one that the
// manifest, of a clone, says it belongs to.
func sstKey(m *format.Manifest, id format.ULID, root layout.Root) string {
	for i := range m.ExternalDBs {
		for _, ext := range m.ExternalDBs[i].SSTs {
			if ext == id {
				return layout.NewRoot(m.ExternalDBs[i].Path).SST(id)
			}
		}
	}
	return root.SST(id)
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
	return sort.Search(len(r), func(i int) bool {
		end := r[i].keys.End
		return end.Kind == format.Unbounded || bytes.Compare(end.Key, key) >= 0
	})
}

// iter returns all versions of the keys in r.
func (v *view) iter(r Range, opts *ReadOptions) merge.Seeker {
	var all []merge.Iterator
	for _, m := range v.mems {
		all = append(all, m.Iter(r.Lower, r.Upper, r.Reverse))
	}
	for i := range v.tree.l0 {
		if v.tree.l0[i].overlaps(r) {
			all = append(all, v.tree.l0[i].iter(r, opts))
		}
	}
	for _, run := range v.tree.runs {
		if it := run.iter(r, opts); it != nil {
			all = append(all, it)
		}
	}
	it := merge.Sorted(all, r.Reverse)
	if v.own != nil {
		it = v.withOwn(r, it)
	}
	return it.(merge.Seeker)
}

// withOwn lays a transaction's writes over the rest.
func (v *view) withOwn(r Range, rest merge.Iterator) merge.Iterator {
	own := v.own.Iter(r.Lower, r.Upper, r.Reverse)
	return merge.Sorted([]merge.Iterator{own, merge.UpTo(rest, v.upTo)}, r.Reverse)
}

func (t table) overlaps(r Range) bool {
	return !(r.Upper != nil && bytes.Compare(t.keys.Start.Key, r.Upper) >= 0) &&
		!(r.Lower != nil && t.keys.End.Kind != format.Unbounded && bytes.Compare(t.keys.End.Key, r.Lower) < 0)
}

func (t table) iter(r Range, opts *ReadOptions) *sst.Iter {
	return t.Iter(sst.IterOptions{
		Lower: r.Lower, Upper: r.Upper, Reverse: r.Reverse, NoFill: opts.NoFill, ReadAhead: opts.ReadAhead,
	})
}

// iter walks the run's tables one after the other; nil if none overlaps.
func (r run) iter(rng Range, opts *ReadOptions) merge.Iterator {
	var in []table
	for _, t := range r {
		if t.overlaps(rng) {
			in = append(in, t)
		}
	}
	if len(in) == 0 {
		return nil
	}
	return &runIter{tables: in, rng: rng, opts: opts}
}

type runIter struct {
	tables []table // still to come, ascending, after the current one
	rng    Range
	opts   *ReadOptions
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
	it.cur = it.table.iter(it.rng, it.opts)
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
