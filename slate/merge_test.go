package slate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func mergeInto(t testing.TB, db *slate.DB, key, operand string) {
	t.Helper()
	if err := db.Merge(t.Context(), []byte(key), []byte(operand)); err != nil {
		t.Fatalf("merge %q: %v", key, err)
	}
}

// SlateDB's merged rows, in the log, in L0 and in runs, read as SlateDB reads
// them: by a reader, by a writer, after our flush and after our compaction.
func TestSlateDBsMerges(t *testing.T) {
	b, m := load(t, "merges")
	r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{MergeOperator: slate.Concat})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, "reader", r, m)

	opts := slate.Options{MergeOperator: slate.Concat, CompactL0: -1}
	db := open(t, b, opts)
	everything(t, "writer", db, m)
	for k := range m {
		mergeInto(t, db, k, "+ours")
		m[k] += "+ours"
	}
	everything(t, "after merges", db, m)
	mustFlush(t, db)
	everything(t, "after a flush", db, m)
	mustCompact(t, db)
	everything(t, "after compaction", db, m)
	mustClose(t, db)
	everything(t, "reopened", open(t, b, opts), m)
}

// Without the operator nothing is harmed: writes and reads of operands are
// refused by key, a compaction fails, and with the operator all is there.
func TestOperandsWithoutOperator(t *testing.T) {
	b := bucket.NewInMemBucket()
	opts := slate.Options{MergeOperator: slate.Concat, CompactL0: -1}
	db := open(t, b, opts)
	put(t, db, "a", "1")
	put(t, db, "z", "26")
	for _, v := range []string{"2", "3"} { // no flush folds over a snapshot
		s, err := db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		mergeInto(t, db, "a", v)
		mustFlush(t, db)
	}
	mustClose(t, db)

	db = open(t, b, slate.Options{CompactL0: -1})
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, slate.ErrNoOperator) || !strings.Contains(err.Error(), `key "a"`) {
			t.Errorf("%s: %v, want no operator for key a", what, err)
		}
	}
	refused("merge", db.Merge(t.Context(), []byte("a"), []byte("x")))
	_, err := db.Get(t.Context(), []byte("a"))
	refused("get", err)
	for _, r := range []slate.Range{{}, {Reverse: true}} {
		for _, err = range db.Scan(t.Context(), r) {
			if err != nil {
				refused("scan", err)
			}
		}
	}
	put(t, db, "b", "still writable")               // and no snapshot holds the operands apart any more
	if err := db.Compact(t.Context()); err != nil { // keeps them
		t.Fatal(err)
	}
	checkGet(t, db, model{"z": "26"}, "z")
	_, err = db.Get(t.Context(), []byte("a"))
	refused("get after a compaction", err)
	mustClose(t, db)
	db = open(t, b, opts)
	mustCompact(t, db)
	everything(t, "with the operator", db, model{"a": "123", "b": "still writable", "z": "26"})
}

// Operands in the log are flushed as they are without the operator.
func TestFlushWithoutOperator(t *testing.T) {
	b := bucket.NewInMemBucket()
	opts := slate.Options{MergeOperator: slate.Concat}
	put(t, open(t, b, opts), "a", "1")
	mergeInto(t, open(t, b, opts), "a", "2") // each open fences the one before
	if err := open(t, b, slate.Options{}).FlushMemtable(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
	if s := shape(t, b); s.Total.Rows.Operands == 0 {
		t.Errorf("what was flushed: %+v", s.Total)
	}
	everything(t, "with the operator", open(t, b, opts), model{"a": "12"})
}

// In a batch the last put or delete of a key counts, with the merges behind it.
func TestMergesInABatch(t *testing.T) {
	for _, c := range []struct {
		ops, below string
		want       string // the key's value; "" is none
		kind       string // of the row written
	}{
		{"m1", "", "1", "merge"},
		{"m1 m2 m3", "", "123", "merge"},
		{"m1 m2", "0", "012", "merge"},
		{"p1 m2", "0", "12", "value"},
		{"m1 p2", "0", "2", "value"},
		{"m1 p2 m3 m4", "0", "234", "value"},
		{"d m3", "0", "3", "value"},
		{"m1 d", "0", "", "tombstone"},
		{"p1 d m2 p3 m4", "0", "34", "value"},
	} {
		t.Run(c.ops+" on "+c.below, func(t *testing.T) {
			b := bucket.NewInMemBucket()
			db := open(t, b, slate.Options{MergeOperator: slate.Concat})
			m := model{}
			if c.below != "" {
				put(t, db, "k", c.below)
			}
			if c.want != "" {
				m["k"] = c.want
			}
			var batch slate.Batch
			batch.Put([]byte("l"), []byte("other"))
			m["l"] = "other"
			for _, o := range strings.Fields(c.ops) {
				switch o[0] {
				case 'p':
					batch.Put([]byte("k"), []byte(o[1:]))
				case 'm':
					batch.Merge([]byte("k"), []byte(o[1:]))
				case 'd':
					batch.Delete([]byte("k"))
				}
			}
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			if batch.Len() != 2 {
				t.Errorf("%d rows for two keys", batch.Len())
			}
			everything(t, "written", db, m)
			if got := logged(t, b, "k"); got[len(got)-1] != c.kind {
				t.Errorf("rows in the log are %v, want the last to be a %s", got, c.kind)
			}
		})
	}
}

// logged returns the kinds of key's rows in the log.
func logged(t *testing.T, b bucket.Bucket, key string) []string {
	t.Helper()
	var kinds []string
	for id := uint64(1); ; id++ {
		rows, err := slate.ReadWAL(t.Context(), "db", b, id, slate.InspectOptions{})
		if errors.Is(err, bucket.ErrNotFound) {
			return kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if string(r.Key) == key {
				kinds = append(kinds, r.Kind)
			}
		}
	}
}

// A snapshot between two operands sees the first, after any rewriting.
func TestSnapshotsBetweenOperands(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{MergeOperator: slate.Concat, CompactL0: -1})
	var snaps []*slate.Snapshot
	for i := range 6 {
		s, err := db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		snaps = append(snaps, s)
		mergeInto(t, db, "k", fmt.Sprint(i))
		if i%2 == 1 {
			mustFlush(t, db)
		}
	}
	check := func(from int) {
		t.Helper()
		for i, s := range snaps[from:] {
			m := model{"k": "012345"[:from+i]}
			if from+i == 0 {
				m = model{}
			}
			everything(t, fmt.Sprintf("snapshot %d", from+i), s, m)
		}
		everything(t, "now", db, model{"k": "012345"})
	}
	check(0)
	mustCompact(t, db)
	check(0)
	for _, s := range snaps[:3] {
		s.Close()
	}
	put(t, db, "l", "")
	if err := db.Delete(t.Context(), []byte("l")); err != nil {
		t.Fatal(err)
	}
	mustCompact(t, db)
	check(3)
}

// Many operands of one key, spread over every level, fold in order.
func TestManyOperands(t *testing.T) {
	for _, cache := range []int64{-1, 1 << 20} {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{MergeOperator: slate.Concat, CompactL0: -1, MaxL0: 100, CacheBytes: cache, MinFilterKeys: 1})
		s, err := db.Snapshot() // nothing is folded
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for i := range 1500 {
			operand := fmt.Sprintf("%d,", i)
			want += operand
			var batch slate.Batch
			batch.Merge([]byte("k"), []byte(operand))
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
				t.Fatal(err)
			}
			switch {
			case i == 500:
				err = db.Compact(t.Context())
			case i%300 == 299:
				err = db.FlushMemtable(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		everything(t, "unfolded", db, model{"k": want})
		everything(t, "before all", s, model{})
		s.Close()
		mustCompact(t, db)
		everything(t, "folded", db, model{"k": want})
	}
}

// longest keeps the longest of the operands.
type longest struct{}

func (longest) Name() string { return "longest" }

func (longest) Merge(_, existing []byte, _ bool, operands [][]byte) ([]byte, error) {
	return slices.MaxFunc(append([][]byte{existing}, operands...), func(a, b []byte) int { return len(a) - len(b) }), nil
}

// One database holds values of several kinds; what no operator could fold is
// refused when it is written, and a key that cannot be folded harms no other.
func TestMergeByType(t *testing.T) {
	op := slate.MergeByType(map[byte]slate.MergeOperator{'c': slate.Concat, 'l': longest{}})
	if want := "by type (0x63: concat, 0x6c: longest)"; op.Name() != want {
		t.Errorf("name is %s, want %s", op.Name(), want)
	}
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{MergeOperator: op, CompactL0: -1})
	for _, kv := range []string{"texts=cab", "texts=cd", "long=lxx", "long=lyyyy", "long=lz"} {
		k, v, _ := strings.Cut(kv, "=")
		mergeInto(t, db, k, v)
	}
	for _, bad := range []string{"", "?x"} {
		if err := db.Merge(t.Context(), []byte("k"), []byte(bad)); !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("operand %q: %v, want invalid", bad, err)
		}
	}
	m := model{"texts": "cabd", "long": "lyyyy"}
	everything(t, "unfolded", db, m)

	put(t, db, "mixed", "cab")
	mergeInto(t, db, "mixed", "lx")
	for range 2 {
		if _, err := db.Get(t.Context(), []byte("mixed")); !errors.Is(err, slate.ErrInvalid) || !strings.Contains(err.Error(), `key "mixed"`) {
			t.Errorf("get of mixed types: %v", err)
		}
		for _, k := range []string{"texts", "long"} {
			checkGet(t, db, m, k)
		}
		mustCompact(t, db)
	}
	put(t, db, "mixed", "cured")
	m["mixed"] = "cured"
	everything(t, "cured", db, m)
}

// Writing a batch that cannot be folded changes neither database nor batch.
func TestBatchThatCannotBeFolded(t *testing.T) {
	op := slate.MergeByType(map[byte]slate.MergeOperator{'c': slate.Concat, 'l': longest{}})
	db := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: op})
	var batch slate.Batch
	batch.Put([]byte("a"), []byte("1"))
	batch.Put([]byte("a"), []byte("2"))
	batch.Merge([]byte("b"), []byte("c1"))
	batch.Merge([]byte("b"), []byte("l2"))
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); !errors.Is(err, slate.ErrInvalid) {
		t.Fatalf("write: %v, want invalid", err)
	}
	everything(t, "after it", db, model{})
	batch.Put([]byte("b"), []byte("c3"))
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	everything(t, "mended", db, model{"a": "2", "b": "c3"})
}

// refusing cannot make anything of any operand.
type refusing struct{}

func (refusing) Name() string { return "refusing" }

func (refusing) Merge(_, _ []byte, _ bool, _ [][]byte) ([]byte, error) {
	return nil, errors.New("refused")
}

// Operands that a put or a delete has hidden since are nobody's business: neither
// order of a scan stumbles over them, with the wrong operator nor with none.
func TestHiddenOperandsAreNotFolded(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1, MergeOperator: refusing{}})
	var batch slate.Batch
	for range 100 { // as many as are folded at a time
		batch.Reset()
		batch.Merge([]byte("k"), []byte("x"))
		batch.Merge([]byte("l"), []byte("x"))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
	}
	m := model{"a": "1", "k": "value", "z": "1"}
	for k, v := range m {
		put(t, db, k, v)
	}
	if err := db.Delete(t.Context(), []byte("l")); err != nil {
		t.Fatal(err)
	}
	everything(t, "an operator that refuses", db, m)
	everything(t, "none", mustOpen(t, b), m)

	mergeInto(t, db, "k", "seen")
	for _, reverse := range []bool{false, true} {
		var last error
		for _, err := range db.Scan(t.Context(), slate.Range{Reverse: reverse}) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), `key "k"`) {
			t.Errorf("reverse %v: an operand that is seen: %v", reverse, last)
		}
	}
}

// The manifest of a flush is in the bucket and its reply is not there. Meanwhile
// the writer reads the latest manifest for another reason: the operands, in L0 and
// still in memory, count once, and a transaction copies what is there.
func TestOperandsCountOnceWhileTheirFlushIsPublished(t *testing.T) {
	for _, noLog := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
			db := open(t, b, slate.Options{CompactL0: -1, MergeOperator: slate.Concat, MaxUnflushedBytes: 1000, L0Bytes: 400, DisableWAL: noLog})
			mergeInto(t, db, "k", "a")
			mustFlush(t, db)
			gate := make(chan struct{})
			b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
				After: func(_ context.Context, _ faulty.Request, err error) error { <-gate; return err }})
			var batch slate.Batch
			batch.Merge([]byte("k"), []byte("b"))
			batch.Put([]byte("fill"), make([]byte, 500)) // so that it is flushed
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			var wg sync.WaitGroup
			wg.Go(func() { put(t, db, "more", string(make([]byte, 500))) }) // waits for room: the watch looks
			time.Sleep(1500 * time.Millisecond)
			checkGet(t, db, model{"k": "ab"}, "k")
			var once sync.Once
			err := db.Update(t.Context(), slate.TxOptions{}, func(tx *slate.Tx) error {
				v, err := tx.Get(t.Context(), []byte("k"))
				once.Do(func() { close(gate) })
				if err != nil {
					return err
				}
				return tx.Put([]byte("copy"), v)
			})
			if err != nil {
				t.Error(err)
			}
			wg.Wait()
			checkGet(t, db, model{"k": "ab", "copy": "ab"}, "copy")
			mustClose(t, db)
		})
	}
}
