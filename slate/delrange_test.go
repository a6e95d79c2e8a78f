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

func deleteRange(t testing.TB, db *slate.DB, r slate.Range, opts slate.DeleteRangeOptions) slate.RangeDeletion {
	t.Helper()
	done, err := db.DeleteRange(t.Context(), r, opts)
	if err != nil {
		t.Fatalf("delete %s: %v", rangeText(r), err)
	}
	return done
}

// A range is deleted wherever its rows lie: in a run, in L0, in memory; values,
// operands, and what has expired. What lies outside stays, and a second call
// finds nothing.
func TestDeleteRange(t *testing.T) {
	for _, c := range []struct {
		r    slate.Range
		left string
	}{
		{slate.Range{}, ""},
		{slate.Prefix([]byte("b")), "a1 a2 a3 c1 c2 c3"},
		{slate.Range{Lower: []byte("a2"), Upper: []byte("c2")}, "a1 c2 c3"},
		{slate.Range{Lower: []byte("a2"), Upper: []byte("c2"), Reverse: true}, "a1 c2 c3"},
		{slate.Range{Lower: []byte("b3")}, "a1 a2 a3 b1 b2"},
		{slate.Range{Upper: []byte("a2")}, "a2 a3 b1 b2 b3 c1 c2 c3"},
		{slate.Range{Lower: []byte("d")}, "a1 a2 a3 b1 b2 b3 c1 c2 c3"},
		{slate.Range{Lower: []byte("c"), Upper: []byte("a")}, "a1 a2 a3 b1 b2 b3 c1 c2 c3"},
		{slate.Range{Upper: []byte{}}, "a1 a2 a3 b1 b2 b3 c1 c2 c3"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bucket.NewInMemBucket()
			db := open(t, b, slate.Options{MergeOperator: slate.Concat})
			for i, settle := range []func(context.Context) error{db.Compact, db.FlushMemtable, db.Flush} {
				var batch slate.Batch
				batch.PutExpiring(fmt.Appendf(nil, "a%d", i+1), nil, slate.ExpireAfter(time.Minute))
				batch.Put(fmt.Appendf(nil, "b%d", i+1), nil)
				batch.Merge(fmt.Appendf(nil, "c%d", i+1), nil)
				if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
				if err := settle(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, db)
			time.Sleep(time.Hour)
			db = open(t, b, slate.Options{CompactL0: -1, HideExpired: true}) // and no operator
			left := strings.Fields(c.left)
			before, err := db.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			batches := min(9-len(left), 1)
			done := deleteRange(t, db, c.r, slate.DeleteRangeOptions{})
			if done.Keys != 9-len(left) || done.Batches != batches || done.Next != nil {
				t.Errorf("%s: %+v", rangeText(c.r), done)
			}
			if done := deleteRange(t, db, c.r, slate.DeleteRangeOptions{Atomic: true}); done.Batches != 0 || done.Last.Seq != 0 {
				t.Errorf("%s, again: %+v", rangeText(c.r), done)
			}
			mustClose(t, db)
			db = open(t, b, slate.Options{MergeOperator: slate.Concat})
			var got []string
			for kv, err := range db.Scan(t.Context(), slate.Range{}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(kv.Key))
			}
			if !slices.Equal(got, left) {
				t.Errorf("%s: %v is left, want %v", rangeText(c.r), got, left)
			}
			mustClose(t, db)
		})
	}
}

// A range with more keys than a batch holds goes in several batches, or, if it
// has to be one, not at all. A deletion that was broken off goes on where it was.
func TestDeleteRangeInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, slow(150*time.Millisecond), slate.Options{MaxBatchBytes: 1000, MaxUnflushedBytes: 4000})
		m := model{}
		for i := range 300 {
			k := fmt.Sprintf("%03d", i)
			m[k] = "v"
			var b slate.Batch
			b.Put([]byte(k), []byte("v"))
			if _, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true}); err != nil {
				t.Fatal(err)
			}
		}
		all := slate.Range{Lower: []byte("010"), Upper: []byte("290")}
		_, err := db.DeleteRange(t.Context(), all, slate.DeleteRangeOptions{Atomic: true})
		if !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("at once: %v, want invalid", err)
		}
		everything(t, "refused", db, m)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, err := db.DeleteRange(ctx, all, slate.DeleteRangeOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || first.Batches == 0 || first.Next == nil {
			t.Fatalf("broken off: %+v, %v", first, err)
		}
		remove := func(r slate.Range) {
			for k := range m {
				if inside(r, k) {
					delete(m, k)
				}
			}
		}
		remove(slate.Range{Lower: all.Lower, Upper: first.Next})
		everything(t, "broken off", db, m)
		second := deleteRange(t, db, slate.Range{Lower: first.Next, Upper: all.Upper}, slate.DeleteRangeOptions{})
		remove(all)
		everything(t, "done", db, m)
		if n := first.Keys + second.Keys; n != 280 || second.Batches < 2 || second.Next != nil {
			t.Errorf("%d keys are deleted; %+v", n, second)
		}
		mustClose(t, db)
	})
}

// whileRead calls meanwhile once while the range of 1000 old keys is read for its
// deletion.
func whileRead(t *testing.T, opts slate.Options, meanwhile func(db *slate.DB)) *slate.DB {
	t.Helper()
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	opts.CacheBytes = -1
	db := open(t, b, opts)
	var batch slate.Batch
	for i := range 1000 {
		batch.Put(fmt.Appendf(nil, "old%03d", i), make([]byte, 100))
	}
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	mustCompact(t, db)
	read := false
	b.Add(faulty.Rule{Keys: "*/compacted/*", Times: 1, Skip: 1, Before: func(context.Context, faulty.Request) error {
		read = true
		meanwhile(db)
		return nil
	}})
	t.Cleanup(func() {
		if !read {
			t.Error("nothing was read")
		}
	})
	return db
}

func load1000(t *testing.T, db *slate.DB, prefix string) {
	var batch slate.Batch
	for i := range 1000 {
		batch.Put(fmt.Appendf(nil, "%s%03d", prefix, i), nil)
	}
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
		t.Error(err)
	}
}

// What others write while the range is read goes with it, before what was read
// and behind it; if it does not fit, in the next batch, or not at all.
func TestDeleteRangeBesideWrites(t *testing.T) {
	all := slate.Range{Upper: []byte("z")}
	for _, c := range []struct {
		name    string
		opts    slate.Options
		atomic  bool
		want    error
		batches int
	}{
		{"one batch", slate.Options{}, false, nil, 1},
		{"one batch, atomic", slate.Options{}, true, nil, 1},
		// The old rows of 130 bytes fit into a batch; 5000 keys with some 30 each do not.
		{"no room", slate.Options{MaxBatchBytes: 140_000}, false, nil, 2},
		{"no room, atomic", slate.Options{MaxBatchBytes: 140_000}, true, slate.ErrInvalid, 0},
		{"forgotten", slate.Options{MaxTxHistoryBytes: 1000}, false, nil, 1},
		{"forgotten, atomic", slate.Options{MaxTxHistoryBytes: 1000}, true, slate.ErrConflict, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := whileRead(t, c.opts, func(db *slate.DB) {
				for _, prefix := range []string{"new", "pre", "mid", "old1x"} {
					load1000(t, db, prefix)
				}
				put(t, db, "zzz", "outside")
			})
			done, err := db.DeleteRange(t.Context(), all, slate.DeleteRangeOptions{Atomic: c.atomic})
			if !errors.Is(err, c.want) || c.want == nil && done.Batches < c.batches {
				t.Errorf("%+v, %v; want %d batches, %v", done, err, c.batches, c.want)
			}
			left := len(drain(t, db.Scan(t.Context(), slate.Range{})))
			if want := map[bool]int{true: 5001, false: 1}[c.want != nil]; left != want {
				t.Errorf("%d rows are left, want %d", left, want)
			}
		})
	}
}

// A deletion that waits for room has its turn before what comes after it.
func TestDeleteRangeThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(150 * time.Millisecond)
		db := open(t, b, slate.Options{MaxUnflushedBytes: 14_000, MaxFlushDelay: time.Minute, CompactL0: -1})
		var batch slate.Batch
		for i := range 100 {
			batch.Put(fmt.Appendf(nil, "%02d", i), make([]byte, 94)) // 120 bytes each: the keys alone, of 26, do not fit beside them
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var done slate.RangeDeletion
		var wg sync.WaitGroup
		wg.Go(func() {
			done = deleteRange(t, db, slate.Range{}, slate.DeleteRangeOptions{Atomic: true, Volatile: true})
		})
		time.Sleep(10 * time.Millisecond)
		for _, k := range []string{"055", "zz"} {
			wg.Go(func() { volatile(t, db, k, "behind") })
		}
		wg.Wait()
		rows := drain(t, db.Scan(t.Context(), slate.Range{}))
		if done.Keys != 100 || !slices.Equal(rows, []string{"055=behind", "zz=behind"}) || time.Since(began) < 150*time.Millisecond {
			t.Errorf("after %v: %+v, left %v", time.Since(began), done, rows)
		}
		mustClose(t, db)
	})
}

// Every snapshot sees the batches of others as wholly there or wholly deleted.
func TestDeleteRangeIsOneMoment(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{L0Bytes: 20_000})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				var batch slate.Batch
				for i := range 10 {
					batch.Put(fmt.Appendf(nil, "%d/%d", i, w), fmt.Append(nil, n))
				}
				if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		deleteRange(t, db, slate.Range{}, slate.DeleteRangeOptions{Atomic: true, Volatile: true})
		rows := drain(t, db.Scan(t.Context(), slate.Range{}))
		values := map[string]int{}
		for _, r := range rows { // number/writer=value
			values[r[2:]]++
		}
		for v, n := range values {
			if n != 10 {
				t.Fatalf("of the batch %s, %d of 10 rows are there: %v", v, n, rows)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// A transaction that has read a key of the range, or that there is none,
// conflicts with its deletion only if a key was deleted.
func TestDeleteRangeConflicts(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	put(t, db, "b", "1")
	put(t, db, "d", "1")
	for _, c := range []struct {
		script string
		want   error
	}{
		{"get b; put x 1", slate.ErrConflict},
		{"get a; put x 1", nil},
		{"scan a c; put x 1", slate.ErrConflict},
		{"put b 2", slate.ErrConflict},
		{"get d; put y 1", nil},
	} {
		put(t, db, "b", "1")
		tx := begin(t, db, slate.Serializable)
		do(t, tx, c.script)
		deleteRange(t, db, slate.Range{Lower: []byte("a"), Upper: []byte("c")}, slate.DeleteRangeOptions{})
		if _, err := tx.Commit(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.script, err, c.want)
		}
	}
}

// A deletion that waits for nothing is durable when its handle says so.
func TestDeleteRangeVolatile(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{MaxFlushDelay: time.Hour})
	put(t, db, "k", "v")
	done := deleteRange(t, db, slate.Range{}, slate.DeleteRangeOptions{Volatile: true})
	durable := func() int {
		n := 0
		for _, err := range db.ScanRows(t.Context(), slate.Range{}, slate.ReadOptions{Durable: true}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := durable(); n != 1 {
		t.Errorf("%d durable rows at once", n)
	}
	if err := done.Last.AwaitDurable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := durable(); n != 0 {
		t.Errorf("%d durable rows after the wait", n)
	}
}

// What DeleteRange has found deleted by a volatile write is durably so when it
// returns.
func TestDeleteRangeOfWhatIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{})
		put(t, db, "k", "v")
		var batch slate.Batch
		batch.Delete([]byte("k"))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.DeleteRange(t.Context(), slate.Range{}, slate.DeleteRangeOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := db.CloseWith(slate.CloseAtOnce); err != nil {
			t.Fatal(err)
		}
		db = open(t, b, slate.Options{})
		if v, err := db.Get(t.Context(), []byte("k")); err == nil {
			t.Errorf("after a crash the deleted key is %q", v)
		}
		mustClose(t, db)
	})
}
