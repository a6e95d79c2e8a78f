package slate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// link is a bucket far away: a request takes a while, and so does every byte of
// an object. Requests do not disturb each other.
type link struct {
	bucket.Bucket
	latency   time.Duration
	perSecond int
}

func (l *link) pass(bytes int) {
	time.Sleep(l.latency + time.Duration(bytes)*time.Second/time.Duration(l.perSecond))
}

func (l *link) Put(ctx context.Context, key string, body []byte) error {
	l.pass(len(body))
	return l.Bucket.Put(ctx, key, body)
}

func (l *link) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	l.pass(len(body))
	return l.Bucket.PutIfAbsent(ctx, key, body, token)
}

func (l *link) Get(ctx context.Context, key string) ([]byte, error) {
	body, err := l.Bucket.Get(ctx, key)
	l.pass(len(body))
	return body, err
}

func (l *link) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	body, err := l.Bucket.GetRange(ctx, key, offset, length)
	l.pass(len(body))
	return body, err
}

// Writers that outpace compaction without end wait a little at a time, as it
// comes along, and no longer than a flush takes: also beside a compaction of
// everything, and with less or more memory. Only where a compaction of L0 begins
// late there is no room to spread it over.
func TestStallsAreNoLongerThanAFlush(t *testing.T) {
	const sst, rate, latency = 4 << 20, 4 << 20, 20 * time.Millisecond
	const flush = sst*time.Second/rate + 3*latency // with what an SST has beside its rows, and with the manifest
	for _, c := range []struct {
		name            string
		workers, memory int
		compactL0       int
		full, elsewhere bool
	}{
		{"two workers", 2, 4, 4, false, false},
		{"four workers", 4, 4, 4, false, false},
		{"little memory", 2, 2, 4, false, false},
		{"much memory", 2, 20, 4, false, false},
		{"a full compaction", 2, 4, 4, true, false},
		{"early", 2, 4, 2, false, false},
		{"late", 2, 4, 6, false, false},
		{"latest", 2, 4, 8, false, false},
		{"a compactor of its own", 2, 4, -1, false, true},
	} {
		if testing.Short() && c.name != "two workers" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen events
				b := &link{bucket.NewInMemBucket(), latency, rate}
				opts := slate.Options{
					L0Bytes: sst, MaxUnflushedBytes: int64(c.memory * sst), MaxSSTBytes: sst, WALBucket: bucket.NewInMemBucket(), CompactL0: c.compactL0,
					Compaction: slate.CompactionOptions{Workers: c.workers, Each: seen.each, PollInterval: time.Second},
				}
				db := open(t, b, opts)
				stop := func() error { return nil }
				if c.elsewhere {
					stop = standalone(t, b, opts)
				}
				rnd := rand.New(rand.NewPCG(1, 2))
				value := make([]byte, 64<<10)
				const writes = 40 * sst / (64 << 10)
				compacted := make(chan error, 1)
				compacted <- nil
				var longest time.Duration
				began := time.Now()
				for i := range writes {
					if c.full && i == writes/2 {
						<-compacted
						go func() { compacted <- db.Compact(t.Context()) }()
					}
					var batch slate.Batch
					batch.Put(fmt.Appendf(nil, "%08d", rnd.IntN(1e8)), value)
					before := time.Now()
					if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
						t.Fatal(err)
					}
					longest = max(longest, time.Since(before))
				}
				took := time.Since(began)
				if err := <-compacted; err != nil {
					t.Error(err)
				}
				if err := errors.Join(db.Close(), stop()); err != nil {
					t.Fatal(err)
				}
				var ofL0, ofRuns time.Duration
				for _, e := range seen.all {
					if len(e.Runs) == 0 {
						ofL0 = max(ofL0, e.Took)
					} else {
						ofRuns = max(ofRuns, e.Took)
					}
				}
				t.Logf("written in %s; a flush takes %s, a compaction of L0 %s, of runs %s; the longest wait was %s", took, flush, ofL0, ofRuns, longest)
				limit := flush * 5 / 4 // the end of a compaction may come before it
				if c.compactL0 > 4 {   // L0 has less room than that compaction needs
					limit = ofL0 * 2 / 3
				}
				if c.elsewhere { // each process looks once a second what the other has done
					limit += 2 * time.Second
				}
				if longest > limit {
					t.Errorf("a put waited for %s", longest)
				}
			})
		})
	}
}

// Whatever the settings, writers get on: there is always somebody to make room.
func TestWritersAlwaysGetOn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			opts := slate.Options{
				L0Bytes:           rapid.SampledFrom([]int64{1, 500, 4000}).Draw(rt, "L0Bytes"),
				MaxUnflushedBytes: rapid.SampledFrom([]int64{1, 600, 4000, 9000, 100_000}).Draw(rt, "MaxUnflushedBytes"),
				MaxL0:             rapid.IntRange(1, 9).Draw(rt, "MaxL0"),
				MaxL0PerKey:       rapid.IntRange(1, 9).Draw(rt, "MaxL0PerKey"),
				CompactL0:         rapid.IntRange(1, 9).Draw(rt, "CompactL0"),
				MaxSSTBytes:       rapid.SampledFrom([]int64{300, 64 << 20}).Draw(rt, "MaxSSTBytes"),
				MaxWALObjects:     rapid.SampledFrom([]int{1, 4096}).Draw(rt, "MaxWALObjects"),
			}
			volatile := rapid.Bool().Draw(rt, "volatile")
			sizes := rapid.SliceOfN(rapid.IntRange(0, 3000), 60, 60).Draw(rt, "sizes")
			db := open(t, slow(10*time.Millisecond), opts)
			began := time.Now()
			for i, size := range sizes {
				var b slate.Batch
				b.Put(fmt.Append(nil, i%17), make([]byte, size))
				if _, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: volatile}); err != nil {
					rt.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				rt.Fatal(err)
			}
			if took := time.Since(began); took > 2*time.Minute { // some 1,000 requests need 10 s
				rt.Errorf("it took %s", took)
			}
		})
	})
}

// Stalls are counted: how many writes waited, how long all of them and one did.
func TestStallsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, slow(50*time.Millisecond), slate.Options{L0Bytes: 1000, MaxUnflushedBytes: 2000})
		var want slate.StallStats
		for i := range 100 {
			var b slate.Batch
			b.Put(fmt.Append(nil, i), make([]byte, 300))
			before := time.Now()
			if _, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took > 0 {
				want.Writes++
				want.Time += took
				want.Longest = max(want.Longest, took)
			}
		}
		if got := db.Stats().Stalls; got != want || got.Writes < 10 {
			t.Errorf("%+v, want %+v", got, want)
		}
		canceled, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for {
			var b slate.Batch
			b.Put([]byte("k"), make([]byte, 300))
			_, err := db.Write(canceled, &b, slate.WriteOptions{Volatile: true})
			if err != nil {
				break
			}
		}
		if got := db.Stats().Stalls; got.Writes != want.Writes+1 || got.Time != want.Time+time.Millisecond {
			t.Errorf("with one that was given up: %+v, before %+v", got, want)
		}
		mustClose(t, db)
	})
}

// depthOf returns how many SSTs L0 has, and how many of them hold one key.
func depthOf(t testing.TB, b bucket.Bucket, key string) (all, one int) {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.L0 {
		if string(s.FirstKey) <= key && key <= string(s.LastKey) {
			one++
		}
	}
	return len(m.L0), one
}

// A cap on the SSTs of L0 that hold one key lets those in that do not.
func TestMaxL0PerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db := open(t, b, slate.Options{CompactL0: -1, MaxL0: 12, MaxL0PerKey: 3})
		for i := range 7 { // apart
			level(t, db, fmt.Sprintf("%d=1", i), fmt.Sprintf("%d9=1", i))
		}
		level(t, db, "5=2") // two deep
		level(t, db, "5=3") // three
		if all, one := depthOf(t, b, "5"); all != 9 || one != 3 {
			t.Fatalf("%d SSTs, %d with the key", all, one)
		}
		put(t, db, "0=4", "5=4")
		flushed := make(chan error, 1)
		go func() { flushed <- db.FlushMemtable(t.Context()) }()
		time.Sleep(time.Hour)
		if all, _ := depthOf(t, b, "5"); all != 9 {
			t.Errorf("%d SSTs: the flush did not wait", all)
		}
		carryOut(t, b, slate.CompactionPlan{L0: 9}, slate.Options{})
		if err := <-flushed; err != nil {
			t.Fatal(err)
		}
		if all, _ := depthOf(t, b, "5"); all != 1 {
			t.Errorf("%d SSTs after the compaction and the flush", all)
		}
		mustClose(t, db)
	})
}

// busyWriters write without a pause until the returned function is called.
func busyWriters(t *testing.T, db *slate.DB, n int) (stop func()) {
	var wg sync.WaitGroup
	ended := make(chan struct{})
	for w := range n {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				case <-time.After(time.Duration(1+w) * time.Millisecond):
				}
				var b slate.Batch
				b.Put(fmt.Appendf(nil, "%d-%03d", w, i%50), make([]byte, 100))
				if _, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	time.Sleep(time.Second)
	return func() { close(ended); wg.Wait() }
}

// FlushMemtable waits for what was written before it, not for what comes after.
func TestFlushMemtableBesideBusyWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, slow(100*time.Millisecond), slate.Options{L0Bytes: 1000, MaxUnflushedBytes: 8000})
		stop := busyWriters(t, db, 4)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := db.FlushMemtable(ctx); err != nil {
			t.Error(err)
		}
		stop()
		mustClose(t, db)
	})
}

// A batch that is too large to fit beside others gets its turn all the same.
func TestLargeBatchesHaveTheirTurn(t *testing.T) {
	for _, large := range []int{5_000, 20_000} {
		synctest.Test(t, func(t *testing.T) {
			db := open(t, slow(20*time.Millisecond), slate.Options{L0Bytes: 2000, MaxUnflushedBytes: 8000})
			stop := busyWriters(t, db, 8)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := db.Put(ctx, []byte("large"), make([]byte, large)); err != nil {
				t.Errorf("%d bytes: %v", large, err)
			}
			stop()
			mustClose(t, db)
		})
	}
}
