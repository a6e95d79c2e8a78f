package slate

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sort"

	"github.com/stele-db/stele/slate/bucket"
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
	return table{Table: store.Open(sstKey(m, s.ID, root), *s), keys: s.Range()}
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

// get fills dst with the newest version of key at or below seq.
func (v *view) get(ctx context.Context, key []byte, seq uint64, dst *format.Row) (bool, error) {
	for _, m := range v.mems {
		if m.Get(key, seq, dst) {
			return true, nil
		}
	}
	for i := range v.tree.l0 {
		if !v.tree.l0[i].keys.Contains(key) {
			continue
		}
		if found, err := v.tree.l0[i].Get(ctx, key, seq, dst); found || err != nil {
			return found, err
		}
	}
	for _, r := range v.tree.runs {
		for i := r.seek(key); i < len(r) && r[i].keys.Contains(key); i++ {
			if found, err := r[i].Get(ctx, key, seq, dst); found || err != nil {
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

// iter returns all versions of the keys in [lower, upper).
func (v *view) iter(r Range) merge.Iterator {
	var all []merge.Iterator
	for _, m := range v.mems {
		all = append(all, m.Iter(r.Lower, r.Upper, r.Reverse))
	}
	for i := range v.tree.l0 {
		if v.tree.l0[i].overlaps(r) {
			all = append(all, v.tree.l0[i].iter(r, false))
		}
	}
	for _, run := range v.tree.runs {
		if it := run.iter(r, false); it != nil {
			all = append(all, it)
		}
	}
	return merge.Sorted(all, r.Reverse)
}

func (t table) overlaps(r Range) bool {
	return !(r.Upper != nil && bytes.Compare(t.keys.Start.Key, r.Upper) >= 0) &&
		!(r.Lower != nil && t.keys.End.Kind != format.Unbounded && bytes.Compare(t.keys.End.Key, r.Lower) < 0)
}

func (t table) iter(r Range, noFill bool) merge.Iterator {
	return t.Iter(sst.IterOptions{Lower: r.Lower, Upper: r.Upper, Reverse: r.Reverse, NoFill: noFill})
}

// iter walks the run's tables one after the other; nil if none overlaps.
func (r run) iter(rng Range, noFill bool) merge.Iterator {
	var in []table
	for _, t := range r {
		if t.overlaps(rng) {
			in = append(in, t)
		}
	}
	if len(in) == 0 {
		return nil
	}
	return &runIter{tables: in, rng: rng, noFill: noFill}
}

type runIter struct {
	tables []table // still to come, ascending
	rng    Range
	noFill bool
	cur    merge.Iterator
}

func (it *runIter) Next(ctx context.Context) (*format.Row, error) {
	for {
		if it.cur == nil {
			if len(it.tables) == 0 {
				return nil, nil
			}
			next, rest := it.tables[0], it.tables[1:]
			if it.rng.Reverse {
				last := len(it.tables) - 1
				next, rest = it.tables[last], it.tables[:last]
			}
			it.cur, it.tables = next.iter(it.rng, it.noFill), rest
		}
		row, err := it.cur.Next(ctx)
		if row != nil || err != nil {
			return row, err
		}
		it.cur.Close()
		it.cur = nil
	}
}

func (it *runIter) Close() {
	if it.cur != nil {
		it.cur.Close()
		it.cur = nil
	}
	it.tables = nil
}

// source is what reads go through: a current view, and a way to load a newer
// one when an object that the view names is gone.
type source interface {
	current() *view
	// refresh loads the latest manifest. It returns a view other than old, or
	// an error if there is none.
	refresh(ctx context.Context, old *view) (*view, error)
	// rules are those of a read that begins now.
	rules() merge.Rules
}

func readRules(op MergeOperator, hideExpired bool, c Clock) merge.Rules {
	s := merge.Rules{Operator: op, HideExpired: hideExpired}
	if hideExpired {
		s.Now = c.Now().UnixMilli()
	}
	return s
}

// get reads key from the view and at the seq that at returns, which is asked
// again when an object that the view names is gone. It appends the value to
// dst.
func get(ctx context.Context, src source, at func() (*view, uint64), key, dst []byte) ([]byte, error) {
	var row format.Row
	rules := src.rules()
	for {
		v, seq := at()
		found, err := v.get(ctx, key, seq, &row)
		if found && row.Kind == format.Merge {
			var merged *format.Row
			if merged, err = v.merged(ctx, key, seq, rules); merged != nil {
				return append(dst, merged.Value...), nil
			}
			found = false
		}
		if errors.Is(err, bucket.ErrNotFound) {
			if _, err = src.refresh(ctx, v); err == nil {
				continue
			}
		}
		switch {
		case err != nil:
			return nil, err
		case !found:
			return nil, ErrNotFound
		}
		if kind, _ := rules.Kind(&row); kind == format.Tombstone {
			return nil, ErrNotFound
		}
		return append(dst, row.Value...), nil
	}
}

// ctxEvery is how many rows a scan yields between two looks at its context.
const ctxEvery = 256

// scan yields what a reader at seq sees of r. When an object is gone it goes on
// behind the last key in a newer view.
func scan(ctx context.Context, src source, v *view, seq uint64, r Range) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		var last []byte
		rules := src.rules()
		for rows := 0; ; {
			it := merge.Visible(v.iter(r), seq, r.Reverse, rules)
			var err error
			for {
				var row *format.Row
				if rows++; rows%ctxEvery == 0 {
					err = ctx.Err()
				}
				if err == nil {
					row, err = it.Next(ctx)
				}
				if err != nil {
					break
				}
				if row == nil {
					it.Close()
					return
				}
				last = append(last[:0], row.Key...)
				if !yield(KV{row.Key, row.Value}, nil) {
					it.Close()
					return
				}
			}
			it.Close()
			if errors.Is(err, bucket.ErrNotFound) {
				if v, err = src.refresh(ctx, v); err == nil {
					r = after(r, last)
					continue
				}
			}
			yield(KV{}, err)
			return
		}
	}
}

// after is what remains of r behind the key last, all of it if last is empty.
func after(r Range, last []byte) Range {
	switch {
	case len(last) == 0:
	case r.Reverse:
		r.Upper = bytes.Clone(last)
	default:
		r.Lower = append(bytes.Clone(last), 0)
	}
	return r
}
