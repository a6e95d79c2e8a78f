package slate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// readable is what a database, a snapshot and a reader have in common.
type readable interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	GetRow(ctx context.Context, key, dst []byte, opts slate.ReadOptions) ([]byte, slate.Meta, error)
	Scan(ctx context.Context, r slate.Range) iter.Seq2[slate.KV, error]
	ScanRows(ctx context.Context, r slate.Range, opts slate.ReadOptions) iter.Seq2[slate.KV, error]
	Cursor(r slate.Range, opts slate.ReadOptions) (*slate.Cursor, error)
}

var (
	_ readable = (*slate.DB)(nil)
	_ readable = (*slate.Snapshot)(nil)
	_ readable = (*slate.Tx)(nil)
	_ readable = (*slate.Reader)(nil)
)

func drawReadOptions(t *rapid.T) slate.ReadOptions {
	return slate.ReadOptions{
		NoFill:    rapid.Bool().Draw(t, "no fill"),
		ReadAhead: rapid.SampledFrom([]int{0, -1, 1500, 1 << 20}).Draw(t, "read-ahead"),
		Parallel:  rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "parallel"),
	}
}

// A cursor is a walk over a sorted list that can skip, in both orders, whatever
// the rows lie in and however they are read.
func TestCursorIsASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := drawOptions(t)
		opts.CompactL0, opts.MinFlushInterval = -1, -1
		opts.MaxL0 = 100
		opts.Prefixes = rapid.SampledFrom([]slate.PrefixExtractor{nil, firstBytes(1), firstBytes(2)}).Draw(t, "prefixes")
		opts.MaxReads = rapid.SampledFrom([]int{0, -1, 1}).Draw(t, "reads")
		b := bucket.NewInMemBucket()
		db, err := slate.Open(t.Context(), "db", b, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		m := model{}
		key := rapid.StringMatching("[a-d]{1,4}")
		for range rapid.IntRange(0, 5).Draw(t, "flushes") {
			var batch slate.Batch
			for range rapid.IntRange(1, 60).Draw(t, "writes") {
				k := key.Draw(t, "key")
				switch rapid.IntRange(0, 5).Draw(t, "op") {
				case 0:
					batch.Delete([]byte(k))
					delete(m, k)
				case 1:
					batch.Merge([]byte(k), []byte("+"))
					m[k] += "+"
				default:
					v := string(bytes.Repeat([]byte{'v'}, rapid.IntRange(0, 200).Draw(t, "length")))
					batch.Put([]byte(k), []byte(v))
					m[k] = v
				}
			}
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			switch rapid.IntRange(0, 3).Draw(t, "then") {
			case 0:
				err = db.Compact(t.Context())
			case 1, 2:
				err = db.FlushMemtable(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		snap, err := db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		rd, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{MergeOperator: slate.Concat, Prefixes: opts.Prefixes, HideExpired: opts.HideExpired,
			BlockTransformer: opts.BlockTransformer})
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		for i, from := range []readable{db, snap, rd} {
			t.Log("source", i)
			walk(t, from, m, key)
		}
	})
}

// walk takes a random walk with a cursor and with a sorted list.
func walk(t *rapid.T, from readable, m model, key *rapid.Generator[string]) {
	r := slate.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
	if rapid.Bool().Draw(t, "prefix") {
		p := slate.Prefix([]byte(key.Draw(t, "lower")))
		r.Lower, r.Upper = p.Lower, p.Upper
	} else if rapid.Bool().Draw(t, "bounded below") {
		r.Lower = []byte(key.Draw(t, "lower"))
	}
	if rapid.Bool().Draw(t, "bounded above") {
		r.Upper = []byte(key.Draw(t, "upper"))
	}
	rest := m.scan(r)
	cut := func(row string) string { return row[:bytes.IndexByte([]byte(row), '=')] }
	inside := func(k string) bool {
		return k >= string(r.Lower) && (r.Upper == nil || k < string(r.Upper))
	}
	beyond := func(a, b string) bool { return a > b && !r.Reverse || a < b && r.Reverse }

	c, err := from.Cursor(r, drawReadOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at, sought := "", "" // the last row and the last seek
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		if rapid.IntRange(0, 2).Draw(t, "step") == 0 {
			k := key.Draw(t, "seek")
			err := c.Seek([]byte(k))
			ok := inside(k) && (at == "" || beyond(k, at)) && (sought == "" || k == sought && (at == "" || beyond(k, at)) || beyond(k, sought))
			if (err == nil) != ok || err != nil && !errors.Is(err, slate.ErrInvalid) {
				t.Fatalf("range %+v, at %q, sought %q: seek to %q: %v", r, at, sought, k, err)
			}
			if ok {
				sought = k
				for len(rest) > 0 && beyond(k, cut(rest[0])) {
					rest = rest[1:]
				}
			}
			continue
		}
		if !c.Next(t.Context()) {
			if c.Err() != nil || len(rest) > 0 {
				t.Fatalf("range %+v: ended with %v before %q", r, c.Err(), rest)
			}
			return
		}
		kv := c.KV()
		got := string(kv.Key) + "=" + string(kv.Value)
		if len(rest) == 0 || got != rest[0] {
			t.Fatalf("range %+v, at %q, sought %q: row %q, want first of %q", r, at, sought, got, rest)
		}
		at, rest = string(kv.Key), rest[1:]
	}
}

// A cursor that was closed or has ended says so, and holds nothing back.
func TestCursorEnds(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	put(t, db, "a", "1")
	put(t, db, "b", "2")
	c, err := db.Cursor(slate.Range{Upper: []byte("x")}, slate.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"x", "y"} {
		if err := c.Seek([]byte(k)); !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("seek to %q, outside the range: %v", k, err)
		}
	}
	if !c.Next(t.Context()) || string(c.KV().Key) != "a" {
		t.Fatalf("after refused seeks the first row is %q, %v", c.KV().Key, c.Err())
	}
	if err := c.Seek([]byte("a")); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("seek to the row it stands on: %v", err)
	}
	if err := c.Seek([]byte("c")); err != nil {
		t.Error(err)
	}
	if c.Next(t.Context()) || c.Err() != nil {
		t.Errorf("row %q, %v behind the last", c.KV().Key, c.Err())
	}
	if err := c.Seek([]byte("d")); err != nil || c.Next(t.Context()) {
		t.Errorf("seek after the end: %v, row %q", err, c.KV().Key)
	}
	c.Close()
	c.Close()

	// Before the first key there can be none, in the order of reading.
	put(t, db, "c", "3")
	mustFlush(t, db)
	for _, k := range [][]byte{nil, {}} {
		if c, err = db.Cursor(slate.Range{Reverse: true}, slate.ReadOptions{}); err != nil {
			t.Fatal(err)
		}
		if !c.Next(t.Context()) || c.Seek(k) != nil || c.Next(t.Context()) || c.Err() != nil {
			t.Errorf("row %q, %v behind the empty key", c.KV().Key, c.Err())
		}
		c.Close()
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var batch slate.Batch
	for i := range 1000 {
		batch.Put(fmt.Appendf(nil, "%06d", i), nil)
	}
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if c, err = db.Cursor(slate.Range{}, slate.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	for c.Next(ended) {
	}
	if !errors.Is(c.Err(), context.Canceled) || !errors.Is(c.Seek([]byte("z")), context.Canceled) {
		t.Errorf("a cursor whose context ended: %v", c.Err())
	}
	c.Close()
	mustClose(t, db)
	if _, err := db.Cursor(slate.Range{}, slate.ReadOptions{}); !errors.Is(err, slate.ErrClosed) {
		t.Errorf("cursor of a closed database: %v", err)
	}
}

// Durable reads see what a crash would leave, in one consistent state, also
// while the rest is being flushed.
func TestDurableReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		db := open(t, b, slate.Options{MaxFlushDelay: time.Hour, BlockBytes: 1024})
		durable := model{}
		for i := range 100 {
			k := fmt.Sprintf("%03d", i)
			durable[k] = fmt.Sprintf("%0200d", i)
			put(t, db, k, durable[k])
		}
		mustFlush(t, db)
		volatile := maps.Clone(durable)
		for i := range 50 {
			var batch slate.Batch
			k, gone := fmt.Sprintf("%03d", 2*i), fmt.Sprintf("%03d", 2*i+1)
			batch.Put([]byte(k), []byte("new"))
			volatile[k] = "new"
			batch.Delete([]byte(gone))
			delete(volatile, gone)
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
				t.Fatal(err)
			}
		}
		snap, err := db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		if snap.Seq() != 150 {
			t.Errorf("snapshot at %d, want 150", snap.Seq())
		}
		check := func(when string, from readable, opts slate.ReadOptions, want model) {
			t.Helper()
			if got := drain(t, from.ScanRows(t.Context(), slate.Range{}, opts)); !slices.Equal(got, want.scan(slate.Range{})) {
				t.Errorf("%s: scan %+v gave %d rows, want %d", when, opts, len(got), len(want))
			}
			for i := range 100 {
				k := fmt.Sprintf("%03d", i)
				v, _, err := from.GetRow(t.Context(), []byte(k), nil, opts)
				if w, ok := want[k]; ok && (err != nil || string(v) != w) || !ok && !errors.Is(err, slate.ErrNotFound) {
					t.Errorf("%s: get %s %+v: %.10q, %v; want %.10q", when, k, opts, v, err, w)
				}
			}
		}
		only := slate.ReadOptions{Durable: true}
		for when, from := range map[string]readable{"before the flush": db, "snapshot before the flush": snap} {
			check(when, from, slate.ReadOptions{}, volatile)
			check(when, from, only, durable)
		}

		// Cursors begun now stay at the state that was durable when they began.
		var cursors []*slate.Cursor
		for _, from := range []readable{db, snap} {
			c, err := from.Cursor(slate.Range{}, only)
			if err != nil {
				t.Fatal(err)
			}
			if !c.Next(t.Context()) {
				t.Fatal(c.Err())
			}
			cursors = append(cursors, c)
		}
		mustCompact(t, db)
		if _, err := slate.CollectGarbage(t.Context(), "db", b, slate.GCOptions{MinAge: -1}); err != nil {
			t.Fatal(err)
		}
		want := durable.scan(slate.Range{})
		for i, c := range cursors {
			got := []string{string(c.KV().Key) + "=" + string(c.KV().Value)}
			for c.Next(t.Context()) {
				got = append(got, string(c.KV().Key)+"="+string(c.KV().Value))
			}
			if c.Err() != nil || !slices.Equal(got, want) {
				t.Errorf("cursor %d, over a flush and a compaction: %d rows, want %d; %v", i, len(got), len(want), c.Err())
			}
			c.Close()
		}
		check("after the flush", db, only, volatile)
		check("snapshot after the flush", snap, only, volatile)
		rd, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		check("reader", rd, only, volatile)
		snap.Close()
		mustClose(t, db)
	})
}

// Rows tell when they were written and when they expire, wherever they lie.
func TestRowMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{MergeOperator: slate.Concat, CompactL0: -1})
		type meta struct {
			value            string
			seq              uint64
			created, expires time.Time
			expired          bool
		}
		start := time.Now()
		ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
		want := map[string]meta{}
		put(t, db, "plain", "1")
		want["plain"] = meta{value: "1", seq: 1, created: ms(0)}
		time.Sleep(5 * time.Millisecond)
		var batch slate.Batch
		batch.PutExpiring([]byte("ttl"), []byte("2"), slate.ExpireAfter(time.Second))
		batch.PutExpiring([]byte("merged"), []byte("3"), slate.ExpireAfter(time.Hour))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		want["ttl"] = meta{value: "2", seq: 2, created: ms(5), expires: ms(1005), expired: true}
		mustFlush(t, db)
		time.Sleep(5 * time.Millisecond)
		mergeInto(t, db, "merged", "4")
		want["merged"] = meta{value: "34", seq: 3, created: ms(10), expires: ms(5).Add(time.Hour)}

		check := func(where string, from readable, opts slate.ReadOptions) {
			t.Helper()
			want := maps.Clone(want)
			if opts.HideExpired {
				maps.DeleteFunc(want, func(_ string, m meta) bool { return m.expired })
			}
			same := func(how, key, value string, m slate.Meta) {
				t.Helper()
				w := want[key]
				if value != w.value || m.Seq != w.seq || !m.Created().Equal(w.created) || !m.Expires().Equal(w.expires) {
					t.Errorf("%s, %s %q: %q, seq %d, created %v, expires %v; want %+v", where, how, key, value, m.Seq, m.Created(), m.Expires(), w)
				}
			}
			for key := range want {
				value, m, err := from.GetRow(t.Context(), []byte(key), []byte("head "), opts)
				if err != nil || !bytes.HasPrefix(value, []byte("head ")) {
					t.Fatalf("%s: get %q appended to a head: %q, %v", where, key, value, err)
				}
				same("get", key, string(value[5:]), m)
			}
			for _, reverse := range []bool{false, true} {
				rows := 0
				for kv, err := range from.ScanRows(t.Context(), slate.Range{Reverse: reverse}, opts) {
					if err != nil {
						t.Fatal(err)
					}
					same("scan", string(kv.Key), string(kv.Value), kv.Meta)
					rows++
				}
				if rows != len(want) {
					t.Errorf("%s: scan of %d rows, want %d", where, rows, len(want))
				}
			}
		}
		all := func(where string) {
			t.Helper()
			rd, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{MergeOperator: slate.Concat})
			if err != nil {
				t.Fatal(err)
			}
			for _, opts := range []slate.ReadOptions{{}, {HideExpired: true}} {
				check(where, db, opts)
				check(where+", reader", rd, opts)
			}
		}
		check("unexpired", db, slate.ReadOptions{})
		time.Sleep(2 * time.Second)
		all("memory and L0")
		if v, _, err := db.GetRow(t.Context(), []byte("ttl"), []byte("kept"), slate.ReadOptions{HideExpired: true}); !errors.Is(err, slate.ErrNotFound) || string(v) != "kept" {
			t.Errorf("hidden row: %q, %v", v, err)
		}
		mustFlush(t, db)
		all("L0")
		mustClose(t, db)
	})
}
