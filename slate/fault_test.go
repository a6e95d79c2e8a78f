package slate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/sst"
)

// slow is a bucket in memory whose every request takes d of simulated time.
func slow(d time.Duration) *faulty.Bucket {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	b.Add(faulty.Rule{Delay: d})
	return b
}

// On a bucket that takes 150 ms a request, a hundred concurrent durable puts
// share two flushes: the first one's, and all others'.
func TestDurablePutsShareFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(150 * time.Millisecond)
		db := open(t, b, slate.Options{})
		b.ResetStats()
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { put(t, db, fmt.Sprint(i), "v") })
		}
		wg.Wait()
		took, puts := time.Since(began), b.Stats()[faulty.PutIfAbsent].Requests
		t.Logf("100 durable puts: %v, %d WAL objects", took, puts)
		if took > 300*time.Millisecond || puts > 2 {
			t.Errorf("100 durable puts took %v and %d WAL objects, want two flushes", took, puts)
		}
		mustClose(t, db)
	})
}

// A single put after a quiet interval takes one request's time, whatever the
// minimum interval between flushes.
func TestPutAfterAQuietIntervalDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(30 * time.Millisecond)
		db := open(t, b, slate.Options{MinFlushInterval: 50 * time.Millisecond})
		time.Sleep(time.Second)
		began := time.Now()
		put(t, db, "k", "v")
		if took := time.Since(began); took != 30*time.Millisecond {
			t.Errorf("put took %v, want one request", took)
		}
		put(t, db, "k", "w") // right behind: the interval counts from start to start
		if took := time.Since(began); took != 80*time.Millisecond {
			t.Errorf("two puts took %v, want the interval and one request", took)
		}
		mustClose(t, db)
	})
}

// Writers that never ask for durability run on under a small cap: memory stays
// bounded and nothing deadlocks (which synctest would report).
func TestVolatileWritersUnderASmallCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(150 * time.Millisecond)
		db := open(t, b, slate.Options{MaxUnflushedBytes: 8 << 10})
		began := time.Now()
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 250 {
					var batch slate.Batch
					batch.Put(fmt.Appendf(nil, "%d-%03d", w, i), make([]byte, 100))
					if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
						t.Errorf("write: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		t.Logf("1000 rows through a cap of 8 KiB: %v", time.Since(began))
		large := strings.Repeat("x", 20<<10) // above the cap: admitted alone
		put(t, db, "large", large)
		if n := len(drain(t, db.Scan(t.Context(), slate.Range{}))); n != 1001 {
			t.Errorf("%d rows, want 1001", n)
		}
		mustClose(t, db)
	})
}

// A writer sleeps while another takes over, moves the log on, and a collector
// removes the fence. The sleeper's next WAL id is free again, and still its put
// is not acknowledged.
func TestSleeperIsFencedAfterTheFenceIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		sleeper := open(t, b, slate.Options{})
		put(t, sleeper, "k", "before")
		time.Sleep(time.Second)

		other := open(t, b, slate.Options{})
		put(t, other, "k", "theirs")
		mustFlush(t, other)
		time.Sleep(301 * time.Second)
		collectWAL(t, b)

		before := count(t, b, "")
		err := sleeper.Put(t.Context(), []byte("k"), []byte("lost"))
		if !errors.Is(err, slate.ErrFenced) || errors.Is(err, slate.ErrUnknownOutcome) {
			t.Errorf("put by the sleeper: %v, want fenced, and no doubt about it", err)
		}
		if n := count(t, b, ""); n != before {
			t.Errorf("the sleeper's put left %d objects", n-before)
		}
		checkGet(t, other, model{"k": "theirs"}, "k")
		_ = sleeper.Close()
		mustClose(t, other)
	})
}

// A put is on its way when the flush of a memtable finds that another writer
// has taken over. The put had reached the bucket before the fence, so the other
// has replayed it: calling it fenced would be a lie.
func TestPutUnderWayWhenFencedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		first := open(t, b, slate.Options{L0Bytes: 1})
		upload, reply := make(chan struct{}), make(chan struct{})
		b.Add(faulty.Rule{Keys: "*/compacted/*", Before: func(context.Context, faulty.Request) error { <-upload; return nil }})
		put(t, first, "a", "in a memtable that is on its way to L0")
		b.Add(faulty.Rule{Keys: "*/wal/*", After: func(_ context.Context, _ faulty.Request, err error) error { <-reply; return err }})
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = first.Put(t.Context(), []byte("b"), []byte("in the bucket, not answered"))
		}()
		synctest.Wait()
		second := open(t, inner, slate.Options{})
		close(upload)
		synctest.Wait()
		close(reply)
		<-done
		if err != nil {
			t.Errorf("put that the next writer replayed: %v", err)
		}
		checkGet(t, second, model{"b": "in the bucket, not answered"}, "b")
		if err := first.Put(t.Context(), []byte("c"), nil); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("put after that: %v, want fenced", err)
		}
		if err := first.Close(); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("close: %v, want fenced", err)
		}
		mustClose(t, second)
	})
}

// A put is asleep in the network for longer than a fence is safe, on its way
// there or on its way back. If the next writer replayed it, it is acknowledged;
// if that cannot be told, the error says so; never is a lost row acknowledged.
func TestPutThatSleepsInTheNetwork(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  bool // asleep before it reaches the bucket
		collect bool // the other moves the log on and a collector follows
		unknown bool
	}{
		{"on its way there, fence collected", true, true, true},
		{"on its way back, replayed", false, false, false},
		{"on its way back, replayed and moved on", false, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			inner := bucket.NewInMemBucket()
			b := faulty.New(inner, faulty.Options{})
			sleeper := open(t, b, slate.Options{})
			other := make(chan *slate.DB, 1)
			takeOver := func() {
				db := open(t, inner, slate.Options{})
				put(t, db, "other", "theirs")
				if c.collect {
					if err := db.FlushMemtable(t.Context()); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(301 * time.Second)
				if c.collect {
					collectWAL(t, inner)
				}
				other <- db
			}
			rule := faulty.Rule{Keys: "*/wal/*", Times: 1}
			if c.before {
				rule.Before = func(context.Context, faulty.Request) error { takeOver(); return nil }
			} else {
				rule.After = func(_ context.Context, _ faulty.Request, err error) error { takeOver(); return err }
			}
			b.Add(rule)
			err := sleeper.Put(t.Context(), []byte("mine"), []byte("v"))
			db := <-other
			_, getErr := db.Get(t.Context(), []byte("mine"))
			if c.unknown {
				if !errors.Is(err, slate.ErrFenced) || !errors.Is(err, slate.ErrUnknownOutcome) {
					t.Errorf("%s: %v, want fenced with unknown outcome", c.name, err)
				}
			} else if err != nil || getErr != nil {
				t.Errorf("%s: put %v, get %v", c.name, err, getErr)
			}
			_ = sleeper.Close()
			mustClose(t, db)
		})
	}
}

// collectWAL deletes what SlateDB's garbage collector would, fences included.
func collectWAL(t *testing.T, b bucket.Bucket) {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := slate.WALObjects(t.Context(), "db", b)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if id < m.ReplayAfterWAL {
			if err := b.Delete(t.Context(), fmt.Sprintf("db/wal/%020d.sst", id)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Requests fail and replies get lost at random: every acknowledged write is
// there afterwards, and the writer never takes itself for fenced.
func TestLostRepliesLoseNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			chance := func(p float64) bool { mu.Lock(); defer mu.Unlock(); return rng.Float64() < p }
			b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
			b.Add(faulty.Rule{
				Before: func(context.Context, faulty.Request) error {
					if chance(0.2) {
						return bucket.ErrUnavailable
					}
					return nil
				},
				After: func(_ context.Context, _ faulty.Request, err error) error {
					if chance(0.2) {
						return bucket.ErrUnavailable
					}
					return err
				},
			})
			db := open(t, b, slate.Options{L0Bytes: 300, DisableWAL: seed%2 == 1})
			m := model{}
			for i := range 60 {
				k := fmt.Sprint(i * 7 % 20)
				put(t, db, k, fmt.Sprint(i))
				m[k] = fmt.Sprint(i)
			}
			if err := db.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			b.Clear()
			db = open(t, b, slate.Options{})
			if got, want := fmt.Sprint(drain(t, db.Scan(t.Context(), slate.Range{}))), fmt.Sprint(m.scan(slate.Range{})); got != want {
				t.Errorf("seed %d\n got %s\nwant %s", seed, got, want)
			}
			mustClose(t, db)
		})
	}
}

// When a collector removes what a reader's view needs, a get moves on to the
// newest state and a scan says to run it again.
func TestReaderSurvivesCollection(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1})
	for i := range 3 {
		put(t, db, fmt.Sprint(i), "v")
		mustFlush(t, db)
	}
	old, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	readers := make([]*slate.Reader, 2)
	for i := range readers {
		if readers[i], err = slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{CacheBytes: -1}); err != nil {
			t.Fatal(err)
		}
	}
	mustCompact(t, db)
	for _, s := range old.L0 {
		if err := b.Delete(t.Context(), "db/compacted/"+s.ID+".sst"); err != nil {
			t.Fatal(err)
		}
	}
	checkGet(t, readers[0], model{"1": "v"}, "1")
	for _, err = range readers[1].Scan(t.Context(), slate.Range{}) {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, slate.ErrUnavailable) {
		t.Errorf("scan over a collected view: %v, want unavailable", err)
	}
	if got := drain(t, readers[1].Scan(t.Context(), slate.Range{})); len(got) != 3 {
		t.Errorf("the scan run again: %v", got)
	}
}

// An SST missing from the latest manifest, an object missing from the log, a
// truncated one: corruption, by name.
func TestMissingAndTruncatedObjects(t *testing.T) {
	fill := func(t *testing.T) (bucket.Bucket, *slate.ManifestInfo) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{})
		put(t, db, "a", "1")
		mustFlush(t, db)
		put(t, db, "b", "2")
		put(t, db, "c", "3")
		m, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil {
			t.Fatal(err)
		}
		return b, m
	}
	wantCorrupt := func(t *testing.T, what string, err error, object string) {
		t.Helper()
		if !errors.Is(err, slate.ErrCorrupt) || !strings.Contains(err.Error(), object) {
			t.Errorf("%s: %v, want corruption of %s", what, err, object)
		}
	}
	t.Run("missing SST", func(t *testing.T) {
		b, m := fill(t)
		if err := b.Delete(t.Context(), "db/compacted/"+m.L0[0].ID+".sst"); err != nil {
			t.Fatal(err)
		}
		db := open(t, b, slate.Options{})
		_, err := db.Get(t.Context(), []byte("a"))
		wantCorrupt(t, "get", err, "compacted/")
	})
	t.Run("missing WAL object", func(t *testing.T) {
		b, m := fill(t)
		gone := fmt.Sprintf("db/wal/%020d.sst", m.ReplayAfterWAL+1)
		if err := b.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		_, err := slate.Open(t.Context(), "db", b, slate.Options{})
		wantCorrupt(t, "open", err, gone)
	})
	t.Run("truncated WAL object", func(t *testing.T) {
		b, m := fill(t)
		name := fmt.Sprintf("db/wal/%020d.sst", m.ReplayAfterWAL+1)
		data, err := b.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Put(t.Context(), name, data[:len(data)-7]); err != nil {
			t.Fatal(err)
		}
		_, err = slate.Open(t.Context(), "db", b, slate.Options{})
		wantCorrupt(t, "open", err, name)
		_, err = slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
		wantCorrupt(t, "open reader", err, name)
	})
}

// A manifest of a newer format is refused, and nothing is written.
func TestNewerFormatIsRefused(t *testing.T) {
	b := bucket.NewInMemBucket()
	if err := open(t, b, slate.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Get(t.Context(), fmt.Sprintf("db/manifest/%020d.manifest", m.ID))
	if err != nil {
		t.Fatal(err)
	}
	data[0], data[1] = 0, 9
	if err := b.Put(t.Context(), fmt.Sprintf("db/manifest/%020d.manifest", m.ID+1), data); err != nil {
		t.Fatal(err)
	}
	before := count(t, b, "")
	_, err = slate.Open(t.Context(), "db", b, slate.Options{})
	_, readErr := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
	if !errors.Is(err, slate.ErrNewerFormat) || !errors.Is(readErr, slate.ErrNewerFormat) {
		t.Errorf("open: %v; reader: %v; want newer format", err, readErr)
	}
	if n := count(t, b, ""); n != before {
		t.Errorf("%d objects became %d", before, n)
	}
}

// A put slept on its way back; the next writer replayed it, so it is acknowledged.
// That proves nothing for the put behind it, whose id is that of the next writer's
// fence, which is collected by then.
func TestAcknowledgedByAReplayIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		sleeper := open(t, b, slate.Options{})
		var other *slate.DB
		b.Add(faulty.Rule{Keys: "*/wal/*", Times: 1, After: func(_ context.Context, _ faulty.Request, err error) error {
			other = open(t, inner, slate.Options{})
			time.Sleep(301 * time.Second)
			return err
		}})
		put(t, sleeper, "a", "replayed")
		put(t, other, "b", "theirs")
		mustFlush(t, other)
		collectWAL(t, inner)
		if err := sleeper.Put(t.Context(), []byte("c"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("the next put: %v, want fenced", err)
		}
		everything(t, "the other", other, model{"a": "replayed", "b": "theirs"})
		_ = sleeper.Close()
		mustClose(t, other)
	})
}

// Two open at once. The one whose claim is older lists the log when the fence of
// the other is there: it puts none behind that.
func TestLoserDoesNotFenceTheWinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		mustClose(t, open(t, inner, slate.Options{}))
		b := faulty.New(inner, faulty.Options{})
		var winner *slate.DB
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Keys: "db/wal*", Times: 1,
			Before: func(context.Context, faulty.Request) error { winner = open(t, inner, slate.Options{}); return nil }})
		if _, err := slate.Open(t.Context(), "db", b, slate.Options{}); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("the older claim: %v, want fenced", err)
		}
		put(t, winner, "k", "v")
		mustClose(t, winner)
		nextWriter(t, "after both", inner, slate.Options{}, model{"k": "v"})
	})
}

// A fenced writer that has not noticed meets, in a read, what the other one has
// made of its SSTs. It ends there: its own rows over those would count twice, and
// rows that the other has replaced would be missing.
func TestReadOfAFencedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		opts := slate.Options{CacheBytes: -1, ReaderGrace: -1, MergeOperator: slate.Concat}
		first := open(t, b, opts)
		put(t, first, "a", "1")
		mustFlush(t, first)
		mergeInto(t, first, "k", "x")
		second := open(t, b, opts)
		put(t, second, "a", "2")
		mustCompact(t, second)
		time.Sleep(time.Hour)
		collect(t, b, anyAge)
		if v, err := first.Get(t.Context(), []byte("a")); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("get of what the other has replaced: %q, %v", v, err)
		}
		if v, err := first.Get(t.Context(), []byte("k")); err == nil && string(v) != "x" {
			t.Errorf("get of an operand that the other has compacted: %q", v)
		}
		if err := first.Put(t.Context(), []byte("b"), nil); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("put: %v", err)
		}
		_ = first.Close()
		everything(t, "the other", second, model{"a": "2", "k": "x"})
		mustClose(t, second)
	})
}

// A put is in the bucket after so long that the writer asks whether it was in
// time, and gets no answer. The row may be there: nobody may run it again.
func TestPutThatCannotBeConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		opts := slate.Options{MergeOperator: slate.Concat}
		db := open(t, b, opts)
		b.Add(faulty.Rule{Keys: "*/wal/*", Times: 1, After: func(_ context.Context, _ faulty.Request, err error) error {
			time.Sleep(151 * time.Second)
			b.Add(faulty.Rule{Keys: "db/manifest*", Err: bucket.ErrUnavailable})
			return err
		}})
		err := db.Merge(t.Context(), []byte("k"), []byte("a"))
		if !errors.Is(err, slate.ErrUnknownOutcome) || errors.Is(err, slate.ErrUnavailable) {
			t.Errorf("merge: %v, want an unknown outcome", err)
		}
		_ = db.Close()
		nextWriter(t, "after it", inner, opts, model{"k": "a"})
	})
}

// A writer that puts without a pause takes every id before one that opens beside
// it: it asks now and then, and the other is in.
func TestOpenBesideABusyWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(40 * time.Millisecond)
		first := open(t, b, slate.Options{})
		last := make(chan int)
		go func() {
			for i := 0; ; i++ {
				if err := first.Put(t.Context(), fmt.Append(nil, i), []byte("v")); err != nil {
					last <- i
					return
				}
			}
		}()
		time.Sleep(time.Second)
		began := time.Now()
		second := open(t, b, slate.Options{})
		took, n := time.Since(began), <-last
		if took > time.Minute {
			t.Errorf("opened after %v and %d puts of the other", took, n)
		}
		m := model{}
		for i := range n {
			m[fmt.Sprint(i)] = "v"
		}
		everything(t, "the next", second, m)
		_ = first.Close()
		mustClose(t, second)
	})
}

// A batch lies in two objects of the log, as another program may write it: what
// is replayed of it goes to L0 together, and nothing of it is taken for flushed.
func TestReplayOfABatchInTwoObjects(t *testing.T) {
	b := bucket.NewInMemBucket()
	mustClose(t, open(t, b, slate.Options{}))
	ids, err := slate.WALObjects(t.Context(), "db", b)
	if err != nil {
		t.Fatal(err)
	}
	m := model{}
	for i, k := range []string{"a", "b"} {
		w := sst.NewWriter(sst.WriterOptions{WAL: true})
		m[k] = string(make([]byte, 1000))
		if err := w.Add(&format.Row{Key: []byte(k), Value: []byte(m[k]), Seq: 1, Kind: format.Value}); err != nil {
			t.Fatal(err)
		}
		data, _, err := w.Finish()
		if err == nil {
			err = b.Put(t.Context(), layout.NewRoot("db").WAL(ids[len(ids)-1]+uint64(i)+1), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		db := open(t, b, slate.Options{L0Bytes: 500})
		mustFlush(t, db)
		everything(t, "replayed", db, m)
		mustClose(t, db)
	}
}
