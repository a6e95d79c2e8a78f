package slate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// remote is a bucket that says of itself that a network lies between.
type remote struct{ bucket.Bucket }

func (r remote) Capabilities() bucket.Capabilities {
	c := r.Bucket.Capabilities()
	c.Remote = true
	return c
}

// passes counts the garbage collections in b: they alone list the SSTs.
func passes(b *faulty.Bucket) *atomic.Int64 {
	n := new(atomic.Int64)
	b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Keys: "*/compacted/", Before: func(context.Context, faulty.Request) error {
		n.Add(1)
		return nil
	}})
	return n
}

// quiet checks that for an hour nobody asks b anything.
func quiet(t *testing.T, what string, b *faulty.Bucket) {
	t.Helper()
	b.ResetStats()
	time.Sleep(time.Hour)
	for verb, c := range b.Stats() {
		if c.Requests > 0 {
			t.Errorf("%s: %d %s in an idle hour", what, c.Requests, verb)
		}
	}
}

// A writer alone with nothing to do asks the bucket nothing, once its garbage
// has become old enough and was collected; and then nothing but what is needed
// is left. That holds of a writer that wrote, flushed and compacted, of one that
// only opened, and wherever the log lies.
func TestIdleCostsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   slate.Options
		remote bool
		passes int64
	}{
		{"folder", slate.Options{}, false, 5},
		{"remote", slate.Options{}, true, 3},
		{"without grace", slate.Options{ReaderGrace: -1}, true, 2},
		{"log elsewhere", slate.Options{WALBucket: bucket.NewInMemBucket()}, true, 5},
		{"nothing collects", slate.Options{GCMinAge: -1}, true, 0},
		{"nothing compacts", slate.Options{CompactL0: -1}, true, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(10 * time.Millisecond)
			collections := passes(b)
			bkt := bucket.Bucket(b)
			if c.remote {
				bkt = remote{b}
			}
			db := open(t, bkt, c.opts)
			for i := range 6 {
				put(t, db, fmt.Sprint(i), "v")
				mustFlush(t, db)
			}
			put(t, db, "k", "v")
			time.Sleep(30 * time.Minute) // the checkpoint of the compaction lives for 15
			if n := collections.Load(); n > c.passes || n == 0 != (c.passes == 0) {
				t.Errorf("%s: %d collections, want at most %d", c.name, n, c.passes)
			}
			quiet(t, c.name, b)
			if c.opts.GCMinAge == 0 && c.opts.WALBucket == nil {
				nothingElse(t, c.name, b)
			}
			if log := c.opts.WALBucket; log != nil && count(t, log, "db/wal/") > 3 { // fence, replay point, k
				t.Errorf("%s: %v is left of the log", c.name, keys(t, log))
			}
			mustClose(t, db)
			quiet(t, c.name+", closed", b)

			db = open(t, bkt, c.opts)
			time.Sleep(10 * time.Minute)
			quiet(t, c.name+", opened again", b)
			mustClose(t, db)
		})
	}
}

// Log objects of a folder go half a minute after the flush, those of a remote
// bucket after the five minutes that all else gets everywhere.
func TestAgeOfGarbage(t *testing.T) {
	for _, far := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			bkt := bucket.Bucket(b)
			if far {
				bkt = remote{b}
			}
			db := open(t, bkt, slate.Options{})
			for i := range 5 {
				put(t, db, fmt.Sprint(i), "v")
			}
			time.Sleep(20 * time.Minute) // what opening left is collected
			began := time.Now()
			mustFlush(t, db)
			manifests := count(t, b, "db/manifest/")
			gone := map[string]time.Duration{} // of the log's, of a manifest
			for range 600 {
				time.Sleep(time.Second)
				if _, ok := gone["log"]; !ok && count(t, b, "db/wal/") == 2 { // fence, replay point
					gone["log"] = time.Since(began).Truncate(time.Second)
				}
				if _, ok := gone["manifest"]; !ok && count(t, b, "db/manifest/") < manifests {
					gone["manifest"] = time.Since(began).Truncate(time.Second)
				}
			}
			want := map[string]time.Duration{"log": 30 * time.Second, "manifest": 30 * time.Second} // it is old by then
			if far {
				want = map[string]time.Duration{"log": 5 * time.Minute, "manifest": 5 * time.Minute}
			}
			for what, d := range want {
				if got, ok := gone[what]; !ok || got < d || got > d+2*time.Second {
					t.Errorf("remote %v: %s went after %v (%v), want %v", far, what, got, ok, d)
				}
			}
			mustClose(t, db)
		})
	}
}

// Under constant load collections come once in the minimum age, and the log
// stays bounded: by what one memtable may hold and by what arrives while
// garbage ripens.
func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		collections := passes(b)
		db := open(t, b, slate.Options{MaxWALObjects: 100})
		most := 0
		for i := range 6000 { // ten minutes, one durable put in 100 ms
			put(t, db, fmt.Sprint(i%1000), "v")
			time.Sleep(99 * time.Millisecond)
			if i%20 == 0 {
				most = max(most, count(t, b, "db/wal/"))
			}
		}
		t.Logf("6000 log objects in 10 minutes: at most %d at a time, %d collections", most, collections.Load())
		if limit := 100 + 2*300 + 10; most > limit {
			t.Errorf("%d log objects, want at most %d", most, limit)
		}
		if n := collections.Load(); n > 2*600/30 {
			t.Errorf("%d collections in 10 minutes", n)
		}
		mustClose(t, db)
	})
}

// A memtable is flushed after so many WAL objects, however little they hold.
func TestMaxWALObjectsFlushes(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{MaxWALObjects: 10, CompactL0: -1, MaxL0: 100})
	for i := range 95 {
		put(t, db, fmt.Sprint(i), "v")
	}
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := 1000; ; deadline-- { // flushes run in the background
		m, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.L0) >= 8 {
			if m.ReplayAfterWAL < 80 {
				t.Errorf("replay begins after %d", m.ReplayAfterWAL)
			}
			break
		}
		if deadline == 0 {
			t.Fatalf("%d memtables were flushed", len(m.L0))
		}
		time.Sleep(time.Millisecond)
	}
}

// Closing ends a collection that is under way, and begins none.
func TestCloseEndsCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		history(t, b, 1)
		db := open(t, b, slate.Options{})
		var deleting atomic.Bool
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Delete}, Before: func(ctx context.Context, _ faulty.Request) error {
			deleting.Store(true)
			<-ctx.Done()
			return ctx.Err()
		}})
		time.Sleep(6 * time.Minute)
		if !deleting.Load() {
			t.Fatal("no collection is under way")
		}
		put(t, db, "k", "v")
		began := time.Now()
		mustClose(t, db)
		if took := time.Since(began); took > time.Second {
			t.Errorf("close took %v", took)
		}
		quiet(t, "closed", b)
	})
}

// A bucket that does not let objects be deleted costs a warning for each
// publication, and harms nothing.
func TestCollectionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		m := history(t, b, 1)
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Delete}, Err: bucket.ErrDenied})
		var log strings.Builder
		db := open(t, b, slate.Options{Logger: textLogger(&log)})
		time.Sleep(20 * time.Minute)
		quiet(t, "nothing may be deleted", b)
		everything(t, "writer", db, m)
		mustClose(t, db)
		if n := strings.Count(log.String(), "garbage collection ended early"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
	})
}

// A writer sleeps while another takes over, moves the log on, and collects in
// its own process all it can. The fence stays, so the sleeper's put fails. The
// sleeper's own collector, still at it, deletes nothing that is needed.
func TestSleeperIsFencedAfterTheWritersCollection(t *testing.T) {
	for _, nap := range []time.Duration{time.Minute, 6 * time.Minute, time.Hour} {
		for _, far := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				b := slow(time.Millisecond)
				bkt := bucket.Bucket(b)
				if far {
					bkt = remote{b}
				}
				sleeper := open(t, bkt, slate.Options{ReaderGrace: -1})
				put(t, sleeper, "k", "before")
				other := open(t, bkt, slate.Options{ReaderGrace: -1})
				for i := range 5 {
					put(t, other, "k", fmt.Sprint("theirs ", i))
					mustFlush(t, other)
				}
				mustCompact(t, other)
				before := count(t, b, "db/wal/")
				time.Sleep(nap)
				if n := count(t, b, "db/wal/"); n == before && (!far || nap > 5*time.Minute) {
					t.Errorf("after %v nothing of the log is gone", nap)
				}
				if err := sleeper.Put(t.Context(), []byte("k"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
					t.Errorf("put by the sleeper after %v: %v, want fenced", nap, err)
				}
				checkGet(t, other, model{"k": "theirs 4"}, "k")
				_ = sleeper.Close()
				mustClose(t, other)
				next := open(t, bkt, slate.Options{})
				checkGet(t, next, model{"k": "theirs 4"}, "k")
				mustClose(t, next)
			})
		}
	}
}
