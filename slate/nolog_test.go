package slate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func putVolatile(t testing.TB, db *slate.DB, key, value string) slate.WriteHandle {
	t.Helper()
	var b slate.Batch
	b.Put([]byte(key), []byte(value))
	h, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true})
	if err != nil {
		t.Fatalf("volatile write of %q: %v", key, err)
	}
	return h
}

func newestManifest(t testing.TB, b bucket.Bucket) *slate.ManifestInfo {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Without a log a durable write is an SST of L0 when it returns, a volatile one
// at the latest after MaxFlushDelay; the log holds the fence alone. A reader
// beside the writer, and every writer after a crash, finds what was durable.
func TestNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{DisableWAL: true, CompactL0: -1})
		reader := func() *slate.Reader {
			r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		durably := func(key string) error {
			_, _, err := db.GetRow(t.Context(), []byte(key), nil, slate.ReadOptions{Durable: true})
			return err
		}
		put(t, db, "a", "1")
		if m := newestManifest(t, b); len(m.L0) != 1 || m.LastL0Seq != 1 || m.ReplayAfterWAL != 1 {
			t.Errorf("after a put: %d SSTs up to seq %d, replay after %d; want one, 1, the fence", len(m.L0), m.LastL0Seq, m.ReplayAfterWAL)
		}
		everything(t, "reader", reader(), model{"a": "1"})

		h := putVolatile(t, db, "b", "2")
		if err := durably("b"); !errors.Is(err, slate.ErrNotFound) {
			t.Errorf("a volatile row, read as durable: %v", err)
		}
		checkGet(t, db, model{"b": "2"}, "b")
		time.Sleep(time.Minute - time.Millisecond) // the default
		synctest.Wait()
		if n := count(t, b, "db/compacted/"); n != 1 {
			t.Errorf("%d SSTs before the volatile row's time, want 1", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if err := durably("b"); err != nil {
			t.Errorf("a volatile row after MaxFlushDelay, read as durable: %v", err)
		}
		if err := h.AwaitDurable(t.Context()); err != nil {
			t.Error(err)
		}

		putVolatile(t, db, "c", "3")
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		everything(t, "reader", reader(), model{"a": "1", "b": "2", "c": "3"})
		if n := count(t, b, "db/compacted/"); n != 3 {
			t.Errorf("%d SSTs, want 3", n)
		}
		if err := db.Flush(t.Context()); err != nil || count(t, b, "db/compacted/") != 3 {
			t.Errorf("a flush of nothing: %v, %d SSTs", err, count(t, b, "db/compacted/"))
		}
		if n := count(t, b, "db/wal/"); n != 1 {
			t.Errorf("%d log objects, want the fence alone", n)
		}
		putVolatile(t, db, "d", "lost with the process")

		next := open(t, b, slate.Options{})
		everything(t, "after a crash, with a log", next, model{"a": "1", "b": "2", "c": "3"})
		put(t, next, "d", "4")
		last := open(t, b, slate.Options{DisableWAL: true})
		everything(t, "after another, without", last, model{"a": "1", "b": "2", "c": "3", "d": "4"})
		for _, old := range []*slate.DB{db, next} {
			_ = old.Close()
		}
		mustClose(t, last)
	})
}

// A hundred durable writes at once are two SSTs: the first one's, and all
// others'.
func TestNoLogSharesFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(50 * time.Millisecond)
		db := open(t, b, slate.Options{DisableWAL: true})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { put(t, db, fmt.Sprint(i), "v") })
		}
		wg.Wait()
		if took, n := time.Since(began), count(t, b, "db/compacted/"); took > 400*time.Millisecond || n > 2 {
			t.Errorf("100 durable puts took %v and %d SSTs, want two flushes of three requests", took, n)
		}
		mustClose(t, db)
	})
	synctest.Test(t, func(t *testing.T) {
		db := open(t, slow(time.Millisecond), slate.Options{DisableWAL: true, MinFlushInterval: time.Second, MaxFlushDelay: time.Hour})
		time.Sleep(time.Minute)
		began := time.Now()
		put(t, db, "k", "v")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a put after a quiet interval took %v", took)
		}
		put(t, db, "k", "w")
		if took := time.Since(began); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("two puts took %v, want the interval and one flush", took)
		}
		mustClose(t, db)
	})
}

// A bulk load is an SST for every L0Bytes, and one put for each row.
func TestNoLogBulkLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(5 * time.Millisecond)
		db := open(t, b, slate.Options{DisableWAL: true, L0Bytes: 10_000, CompactL0: -1, MaxL0: 1000})
		for i := range 400 {
			putVolatile(t, db, fmt.Sprintf("%04d", i), strings.Repeat("v", 200))
		}
		mustClose(t, db)
		s := db.Stats()
		if s.L0.Objects < 8 || s.L0.Objects > 14 || s.WAL.Objects != 1 {
			t.Errorf("%d SSTs and %d log objects, want about 11, and the fence", s.L0.Objects, s.WAL.Objects)
		}
		if a := s.WriteAmplification(); a > 1.2 {
			t.Errorf("%.2f bytes written for each, want about one", a)
		}
	})
}

// Whoever comes after a writer without a log fences it before it acknowledges
// anything more, and it fences those before it, by the object in the log where
// they have one. Nothing of a fenced write is there.
func TestNoLogFencing(t *testing.T) {
	for _, without := range [][2]bool{{true, true}, {true, false}, {false, true}} {
		synctest.Test(t, func(t *testing.T) {
			b := bucket.NewInMemBucket()
			first := open(t, b, slate.Options{DisableWAL: without[0]})
			put(t, first, "a", "1")
			volatile := putVolatile(t, first, "b", "never there")
			second := open(t, b, slate.Options{DisableWAL: without[1]})
			put(t, second, "c", "3")
			for _, err := range []error{
				first.Put(t.Context(), []byte("d"), nil), volatile.AwaitDurable(t.Context()), first.Flush(t.Context()),
				first.Put(t.Context(), []byte("e"), nil), first.Close(),
			} {
				if !errors.Is(err, slate.ErrFenced) || errors.Is(err, slate.ErrUnknownOutcome) {
					t.Errorf("without a log %v: %v, want fenced, and no doubt about it", without, err)
				}
			}
			mustClose(t, second)
			nextWriter(t, fmt.Sprint(without), b, slate.Options{}, model{"a": "1", "c": "3"})
		})
	}
}

// Of two memtables that were waited for together, one came in time before
// another writer: each is told what became of it.
func TestNoLogFencedBetweenMemtables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		first := open(t, b, slate.Options{DisableWAL: true, L0Bytes: 1, MaxFlushDelay: time.Hour})
		var second *slate.DB
		b.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Skip: 1, Times: 1,
			Before: func(context.Context, faulty.Request) error { second = open(t, inner, slate.Options{}); return nil }})
		gate := make(chan struct{})
		b.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Times: 1,
			Before: func(context.Context, faulty.Request) error { <-gate; return nil }})
		handles := []slate.WriteHandle{putVolatile(t, first, "a", "in time"), putVolatile(t, first, "b", "too late")}
		results := make([]error, len(handles))
		var wg sync.WaitGroup
		for i, h := range handles {
			wg.Go(func() { results[i] = h.AwaitDurable(t.Context()) })
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if results[0] != nil || !errors.Is(results[1], slate.ErrFenced) || errors.Is(results[1], slate.ErrUnknownOutcome) {
			t.Errorf("the rows of two memtables: %v; want durable, fenced", results)
		}
		everything(t, "the next writer", second, model{"a": "in time"})
		_ = first.Close()
		mustClose(t, second)
	})
}

// The manifest is in the bucket, and before its writer learns whether it was the
// newest, another one has taken over and built on it: the rows are there, so
// that the write must not be called fenced without a doubt.
func TestNoLogOvertakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		first := open(t, b, slate.Options{DisableWAL: true})
		var second *slate.DB
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
			After: func(_ context.Context, _ faulty.Request, err error) error {
				second = open(t, inner, slate.Options{})
				return err
			}})
		err := first.Put(t.Context(), []byte("k"), []byte("v"))
		if !errors.Is(err, slate.ErrFenced) || !errors.Is(err, slate.ErrUnknownOutcome) {
			t.Errorf("put: %v, want fenced with unknown outcome", err)
		}
		everything(t, "the next writer", second, model{"k": "v"})
		_ = first.Close()
		mustClose(t, second)
	})
}

// A writer sleeps so long that the manifest which fenced it has been collected:
// its own next one is put, and counts for nothing.
func TestNoLogSleeperIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		sleeper := open(t, b, slate.Options{DisableWAL: true})
		put(t, sleeper, "k", "before")
		other := open(t, b, slate.Options{DisableWAL: true, ReaderGrace: -1})
		for range 5 {
			put(t, other, "k", "theirs")
		}
		time.Sleep(time.Hour)
		if _, err := slate.CollectGarbage(t.Context(), "db", b, slate.GCOptions{MinAge: -1}); err != nil {
			t.Fatal(err)
		}
		if err := sleeper.Put(t.Context(), []byte("k"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("put by the sleeper: %v, want fenced", err)
		}
		_ = sleeper.Close()
		checkGet(t, other, model{"k": "theirs"}, "k")
		mustClose(t, other)
		nextWriter(t, "at last", b, slate.Options{}, model{"k": "theirs"})
	})
}

// The database ends while the manifest of a flush is on its way: who waits for
// the flush is told what came of it. What was not on its way is lost.
func TestNoLogCloseWhileTheManifestIsOnItsWay(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			inner := bucket.NewInMemBucket()
			b := faulty.New(inner, faulty.Options{})
			db := open(t, b, slate.Options{DisableWAL: true, MaxFlushDelay: time.Hour})
			gate := make(chan struct{})
			b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
				Before: func(context.Context, faulty.Request) error {
					if !arrives {
						<-gate
						return bucket.ErrDenied
					}
					return nil
				},
				After: func(_ context.Context, _ faulty.Request, err error) error { <-gate; return err }})
			var wg sync.WaitGroup
			var putErr, lateErr, closeErr error
			wg.Go(func() { putErr = db.Put(t.Context(), []byte("a"), []byte("on its way")) })
			synctest.Wait()
			late := putVolatile(t, db, "b", "in memory")
			wg.Go(func() { lateErr = late.AwaitDurable(t.Context()) })
			wg.Go(func() { closeErr = db.CloseWith(slate.CloseAtOnce) })
			synctest.Wait()
			close(gate)
			wg.Wait()
			if arrives != (putErr == nil) || closeErr != nil {
				t.Errorf("the manifest arrives %v: put %v, close %v", arrives, putErr, closeErr)
			}
			if lateErr == nil {
				t.Error("a row that was in memory: durable")
			}
			want := model{}
			if arrives {
				want["a"] = "on its way"
			}
			nextWriter(t, fmt.Sprint("the manifest arrives ", arrives), inner, slate.Options{}, want)
		})
	}
}

// So is who asks later, about a row whose memtable went on its way unasked.
func TestNoLogAskedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		db := open(t, b, slate.Options{DisableWAL: true, MaxFlushDelay: time.Hour, L0Bytes: 1})
		gate := make(chan struct{})
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
			After: func(_ context.Context, _ faulty.Request, err error) error { <-gate; return err }})
		h := putVolatile(t, db, "a", "on its way")
		synctest.Wait()
		var wg sync.WaitGroup
		var closeErr, err error
		wg.Go(func() { closeErr = db.CloseWith(slate.CloseAtOnce) })
		synctest.Wait()
		wg.Go(func() { err = h.AwaitDurable(t.Context()) })
		synctest.Wait()
		close(gate)
		wg.Wait()
		if err != nil || closeErr != nil {
			t.Errorf("the row: %v; close: %v", err, closeErr)
		}
	})
}

// What another writer has in L0 makes no row of ours durable, nor does a read lay
// our rows over it: it learns that we are fenced.
func TestNoLogAnotherWritersL0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		first := open(t, b, slate.Options{DisableWAL: true, MaxFlushDelay: time.Hour, CacheBytes: -1})
		put(t, first, "a", "1")
		h := putVolatile(t, first, "b", "2")
		second := open(t, b, slate.Options{DisableWAL: true, ReaderGrace: -1})
		for i := range 5 {
			put(t, second, fmt.Sprint(i), "theirs")
		}
		mustCompact(t, second)
		time.Sleep(time.Hour / 2)
		if _, err := slate.CollectGarbage(t.Context(), "db", b, slate.GCOptions{MinAge: -1}); err != nil {
			t.Fatal(err)
		}
		if v, err := first.Get(t.Context(), []byte("a")); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("get of what the other has compacted: %q, %v, want fenced", v, err)
		}
		if err := h.AwaitDurable(t.Context()); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("a row that is nowhere: %v, want fenced", err)
		}
		_ = first.Close()
		mustClose(t, second)
	})
}

// What the modes of closing leave without a log.
func TestNoLogCloseModes(t *testing.T) {
	for mode, want := range map[slate.CloseMode]model{
		slate.CloseFlushed: {"durable": "1", "volatile": "2"},
		slate.CloseDurable: {"durable": "1", "volatile": "2"},
		slate.CloseAtOnce:  {"durable": "1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(10 * time.Millisecond)
			db := open(t, b, slate.Options{DisableWAL: true, MaxL0: 1, CompactL0: -1})
			put(t, db, "durable", "1") // L0 is full, which holds up no close
			h := putVolatile(t, db, "volatile", "2")
			if err := db.CloseWith(mode); err != nil {
				t.Errorf("mode %d: %v", mode, err)
			}
			if err := h.AwaitDurable(t.Context()); (err != nil) != (mode == slate.CloseAtOnce) || err != nil && !errors.Is(err, slate.ErrClosed) {
				t.Errorf("mode %d: the volatile row: %v", mode, err)
			}
			nextWriter(t, fmt.Sprint("after mode ", mode), b, slate.Options{DisableWAL: true}, want)
		})
	}
}

// Writers with a log and without follow one another, each left by a crash at any
// of its write requests, or after all of them: what was acknowledged is there,
// and no operand is applied twice.
func TestNoLogTakingTurns(t *testing.T) {
	for _, order := range [][]bool{{false, true, false}, {true, false, true}, {false, true, true}, {true, true, false}} {
		for victim := range order {
			for at := 0; ; at++ {
				if !takeTurns(t, order, victim, at, false) || !takeTurns(t, order, victim, at, true) {
					if at < 8 {
						t.Errorf("%v: writer %d makes %d write requests: too few to prove much", order, victim, at)
					}
					break
				}
			}
		}
	}
}

// takeTurns reports whether the victim, which dies at that write request, or
// behind it, lived to see it.
func takeTurns(t *testing.T, disable []bool, victim, at int, behind bool) (died bool) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{b: bucket.NewInMemBucket()}
		var acked, maybe []string // tokens, in the order of their writes
		var dbs []*slate.DB
		for i, without := range disable {
			l := w.newLife()
			if i == victim {
				l.die(at, behind)
			}
			db, err := slate.Open(t.Context(), "db", l, slate.Options{DisableWAL: without, MergeOperator: slate.Concat, CompactL0: 2})
			if err != nil {
				if !l.dead.Load() {
					t.Fatal(err)
				}
				died = true
				continue
			}
			dbs = append(dbs, db)
			for n := range 6 {
				token := fmt.Sprintf("<%d.%d>", i, n)
				var b slate.Batch
				b.Merge([]byte("k"), []byte(token))
				volatile := n == 1 || n == 5
				_, err := db.Write(w.ctx, &b, slate.WriteOptions{Volatile: volatile})
				if err == nil && !volatile {
					acked = append(acked, token)
				} else {
					maybe = append(maybe, token)
				}
				if n == 3 && err == nil {
					err = db.FlushMemtable(w.ctx)
				}
				if err != nil && !l.dead.Load() {
					t.Fatalf("%v, writer %d dead at %d: writer %d: %v", disable, victim, at, i, err)
				}
			}
			died = died || l.dead.Load()
			l.dead.Store(true)
		}
		last := open(t, w.b, slate.Options{MergeOperator: slate.Concat})
		v, err := last.Get(t.Context(), []byte("k"))
		if err != nil {
			t.Fatalf("%v, writer %d dead at %d: get: %v", disable, victim, at, err)
		}
		got := string(v)
		for _, token := range append(acked, maybe...) {
			if strings.Count(got, token) > 1 {
				t.Errorf("%v, writer %d dead at %d: %s is there twice: %s", disable, victim, at, token, got)
			}
		}
		rest := got
		for _, token := range acked {
			_, after, found := strings.Cut(rest, token)
			if !found {
				t.Errorf("%v, writer %d dead at %d: %s was acknowledged and is not there, or out of order: %s", disable, victim, at, token, got)
			}
			rest = after
		}
		for _, db := range dbs {
			_ = db.Close()
		}
		mustClose(t, last)
	})
	return died
}

// A writer without a log replays the log before it, moves that to L0 at once,
// and the next one replays nothing.
func TestNoLogReplaysALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		first := open(t, b, slate.Options{MergeOperator: slate.Concat})
		for i := range 5 {
			var batch slate.Batch
			batch.Merge([]byte("k"), fmt.Append(nil, i))
			if _, err := first.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		gated := faulty.New(b, faulty.Options{})
		gate := make(chan struct{})
		gated.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Times: 1,
			Before: func(context.Context, faulty.Request) error { <-gate; return nil }})
		second := open(t, gated, slate.Options{DisableWAL: true, MergeOperator: slate.Concat})
		fence := count(t, b, "db/wal/")
		var batch slate.Batch
		batch.Merge([]byte("k"), []byte("+"))
		if _, err := second.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
		c, err := second.Cursor(slate.Range{}, slate.ReadOptions{Durable: true}) // while the replayed rows are being flushed
		if err != nil {
			t.Fatal(err)
		}
		close(gate)
		synctest.Wait()
		if m := newestManifest(t, b); m.ReplayAfterWAL != uint64(fence) || m.LastL0Seq != 5 {
			t.Errorf("replay after %d up to seq %d, want %d and 5", m.ReplayAfterWAL, m.LastL0Seq, fence)
		}
		mustFlush(t, second)
		if !c.Next(t.Context()) || string(c.KV().Value) != "01234" {
			t.Errorf("what was durable then: %q, %v", c.KV().Value, c.Err())
		}
		c.Close()
		if m := newestManifest(t, b); m.ReplayAfterWAL != uint64(fence) || m.LastL0Seq != 6 {
			t.Errorf("replay after %d up to seq %d, want %d and 6", m.ReplayAfterWAL, m.LastL0Seq, fence)
		}
		third := open(t, b, slate.Options{MergeOperator: slate.Concat})
		checkGet(t, third, model{"k": "01234+"}, "k")
		for _, db := range []*slate.DB{first, second} {
			_ = db.Close()
		}
		mustClose(t, third)
	})
}

// Where L0 is full a durable write waits for room, and goes on when there is some.
func TestNoLogWaitsForL0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, bucket.NewInMemBucket(), slate.Options{DisableWAL: true, MaxL0: 2, CompactL0: -1})
		put(t, db, "a", "1")
		put(t, db, "b", "2")
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if err := db.Put(ctx, []byte("c"), []byte("3")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a put before a full L0: %v, want to wait", err)
		}
		mustCompact(t, db)
		put(t, db, "d", "4")
		everything(t, "with room", db, model{"a": "1", "b": "2", "c": "3", "d": "4"})
		mustClose(t, db)
	})
}

func ExampleOptions_disableWAL() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	db, err := slate.Open(ctx, "shop", b, slate.Options{DisableWAL: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	for i := range 1000 { // a load that can be begun again
		var batch slate.Batch
		batch.Put(fmt.Appendf(nil, "item %03d", i), []byte("in stock"))
		if _, err := db.Write(ctx, &batch, slate.WriteOptions{Volatile: true}); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := db.Flush(ctx); err != nil { // all of it is durable now
		fmt.Println(err)
		return
	}
	s := db.Stats()
	fmt.Println(s.Rows, "rows,", s.L0.Objects, "SST in L0")
	// Output: 1000 rows, 1 SST in L0
}

// Without a log, a cursor of durable rows is opened while the manifest of a flush
// is on its way: it reads below what that makes durable, so a compactor elsewhere
// must keep what it sees.
func TestNoLogDurableCursorBesideACompactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		db := open(t, b, slate.Options{DisableWAL: true, CompactL0: -1, CacheBytes: -1, ReaderGrace: -1})
		put(t, db, "k", "old")
		time.Sleep(time.Second)
		var c *slate.Cursor
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
			Before: func(context.Context, faulty.Request) (err error) {
				c, err = db.Cursor(slate.Range{}, slate.ReadOptions{Durable: true})
				return err
			}})
		put(t, db, "k", "new")
		stop := standalone(t, inner, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Scheduler: slate.SizeTiered{MinL0: 2}}})
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		collect(t, inner, anyAge)
		wantLevels(t, inner, "0 in L0, runs 0")
		if !c.Next(t.Context()) || string(c.KV().Value) != "old" || c.Next(t.Context()) || c.Err() != nil {
			t.Errorf("%q, %v", c.KV().Value, c.Err())
		}
		c.Close()
		mustClose(t, db)
	})
}
