package slate_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
)

// editManifest publishes what edit makes of the latest manifest, as another
// program would.
func editManifest(t testing.TB, b bucket.Bucket, edit func(*format.Manifest)) {
	t.Helper()
	info, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	root := layout.NewRoot("db")
	data, err := b.Get(t.Context(), root.Manifest(info.ID))
	if err != nil {
		t.Fatal(err)
	}
	m, err := format.DecodeManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	edit(m)
	data = format.EncodeManifest(m)
	if _, err := format.DecodeManifest(data); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), root.Manifest(info.ID+1), data); err != nil {
		t.Fatal(err)
	}
}

// cut divides an SST into the keys before key and those from it on, as a clone
// of parts of a database has it. It returns the SST whole if one part were empty.
func cut(s format.SST, key string) []format.SST {
	left, right := s, s
	var all format.KeyRange
	if s.Visible != nil {
		all = *s.Visible
	}
	l, r := all, all
	l.End = format.Bound{Kind: format.Excluded, Key: []byte(key)}
	r.Start = format.Bound{Kind: format.Included, Key: []byte(key)}
	left.Visible, right.Visible = &l, &r
	if !s.Range().Contains([]byte(key)) || left.Range().Empty() || right.Range().Empty() {
		return []format.SST{s}
	}
	return []format.SST{left, right}
}

// The key at which a run is cut lies in the right part: for gets, for the base of
// a merge, and for a compaction above that wants to know whether a tombstone
// hides anything below.
func TestKeyAtTheCutOfAnSST(t *testing.T) {
	b := bucket.NewInMemBucket()
	opts := slate.Options{CompactL0: -1, MergeOperator: slate.Concat, ReaderGrace: -1}
	db := open(t, b, opts)
	m := model{}
	for _, k := range []string{"a", "m", "z"} {
		put(t, db, k, k)
		m[k] = k
	}
	mustCompact(t, db)
	mustClose(t, db)
	editManifest(t, b, func(m *format.Manifest) { m.Runs[0].SSTs = cut(m.Runs[0].SSTs[0], "m") })
	everything(t, "reader", mustOpen(t, b), m)

	db = open(t, b, opts)
	mergeInto(t, db, "m", "!")
	m["m"] = "m!"
	everything(t, "with an operand", db, m)
	if err := db.Delete(t.Context(), []byte("m")); err != nil {
		t.Fatal(err)
	}
	delete(m, "m")
	mustFlush(t, db)
	mustClose(t, db)
	if e := carryOut(t, b, slate.CompactionPlan{L0: 1, Destination: 1}, slate.Options{ReaderGrace: -1}); e.State != "completed" {
		t.Fatalf("%+v", e)
	}
	everything(t, "below a tombstone that was compacted", mustOpen(t, b), m)
}

// Databases whose SSTs are cut at random give the same answers: by gets and by
// cursors in both orders, with and without prefixes.
func TestCutDatabases(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := bucket.NewInMemBucket()
		opts := slate.Options{
			CompactL0: -1, MaxL0: 100, GCMinAge: -1, MinFlushInterval: -1, MergeOperator: slate.Concat,
			BlockBytes: 1 << 10, MaxSSTBytes: 600, MinFilterKeys: 1,
			Prefixes: rapid.SampledFrom([]slate.PrefixExtractor{nil, firstBytes(1), firstBytes(2)}).Draw(rt, "prefixes"),
		}
		db, err := slate.Open(rt.Context(), "db", b, opts)
		if err != nil {
			rt.Fatal(err)
		}
		key := rapid.StringMatching("[a-d]{1,3}")
		m := model{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "flushes") {
			var batch slate.Batch
			for range rapid.IntRange(1, 40).Draw(rt, "writes") {
				k := key.Draw(rt, "key")
				switch rapid.IntRange(0, 4).Draw(rt, "write") {
				case 0:
					batch.Delete([]byte(k))
					delete(m, k)
				case 1:
					batch.Merge([]byte(k), []byte("+"))
					m[k] += "+"
				default:
					m[k] = fmt.Sprint(i, strings.Repeat(".", rapid.IntRange(0, 150).Draw(rt, "padding")))
					batch.Put([]byte(k), []byte(m[k]))
				}
			}
			if _, err = db.Write(rt.Context(), &batch, slate.WriteOptions{}); err != nil {
				rt.Fatal(err)
			}
			if err = db.FlushMemtable(rt.Context()); err == nil && rapid.Bool().Draw(rt, "compact") {
				err = db.Compact(rt.Context())
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			rt.Fatal(err)
		}
		cutAll := func(ssts []format.SST) (out []format.SST) {
			for _, s := range ssts {
				parts := []format.SST{s}
				for range rapid.IntRange(0, 2).Draw(rt, "cuts") {
					last := len(parts) - 1
					parts = append(parts[:last], cut(parts[last], key.Draw(rt, "cut"))...)
				}
				out = append(out, parts...)
			}
			return out
		}
		editManifest(t, b, func(m *format.Manifest) {
			m.L0 = cutAll(m.L0)
			for i := range m.Runs {
				m.Runs[i].SSTs = cutAll(m.Runs[i].SSTs)
			}
		})
		rd, err := slate.OpenReader(rt.Context(), "db", b, slate.ReaderOptions{MergeOperator: slate.Concat, Prefixes: opts.Prefixes})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = rd.Close() }()
		for range 3 {
			walk(rt, rd, m, key)
		}
		for range 20 {
			k := key.Draw(rt, "get")
			v, err := rd.Get(rt.Context(), []byte(k))
			if want, there := m[k]; string(v) != want || (err == nil) != there {
				rt.Fatalf("get %q: %q, %v; want %q", k, v, err, want)
			}
		}
	})
}
