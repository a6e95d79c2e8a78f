package slate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func volatile(t testing.TB, db *slate.DB, key, value string) slate.WriteHandle {
	t.Helper()
	var b slate.Batch
	b.Put([]byte(key), []byte(value))
	h, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return h
}

// walStarts notes when each put of a log object starts, in milliseconds from
// the beginning.
type walStarts struct {
	began time.Time
	mu    sync.Mutex
	ms    []int64
}

func watchLog(b *faulty.Bucket) *walStarts {
	w := &walStarts{began: time.Now()}
	b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "*/wal/*", Before: func(context.Context, faulty.Request) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ms = append(w.ms, time.Since(w.began).Milliseconds())
		return nil
	}})
	return w
}

func (w *walStarts) starts() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ms
}

// A flush starts when none is under way and somebody waits for it, when the
// buffer is full, and 100 ms after the first row that waits.
func TestWhenTheLogIsFlushed(t *testing.T) {
	at := func(ms time.Duration, began time.Time) { time.Sleep(time.Until(began.Add(ms * time.Millisecond))) }
	for _, c := range []struct {
		name   string
		opts   slate.Options
		remote bool
		do     func(t *testing.T, db *slate.DB, began time.Time)
		want   []int64 // ms at which puts start; each takes 20
	}{
		{"nobody waits", slate.Options{}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			volatile(t, db, "a", "")
			at(99, began)
			volatile(t, db, "b", "") // shares it
			at(110, began)
			volatile(t, db, "c", "") // during the flush: 100 ms of its own
		}, []int64{100, 210}},
		{"a longer delay", slate.Options{MaxFlushDelay: 100 * time.Second}, false, func(t *testing.T, db *slate.DB, _ time.Time) {
			volatile(t, db, "a", "")
		}, []int64{100_000}},
		{"a durable write takes others along", slate.Options{}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			volatile(t, db, "a", "")
			at(30, began)
			put(t, db, "b", "")
		}, []int64{30}},
		{"somebody waits for a handle", slate.Options{}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			h := volatile(t, db, "a", "")
			at(40, began)
			if err := h.AwaitDurable(t.Context()); err != nil {
				t.Error(err)
			}
			at(200, began)
			if err := h.AwaitDurable(t.Context()); err != nil { // costs nothing any more
				t.Error(err)
			}
		}, []int64{40}},
		{"Flush", slate.Options{}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			volatile(t, db, "a", "")
			at(50, began)
			if err := db.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Flush(t.Context()); err != nil { // of nothing
				t.Error(err)
			}
		}, []int64{50}},
		{"Close", slate.Options{MinFlushInterval: time.Second}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			volatile(t, db, "a", "")
			at(60, began)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}, []int64{60}},
		{"a memtable is to be published", slate.Options{MaxFlushDelay: 100 * time.Second, MaxWALObjects: 1}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			put(t, db, "a", "")
			at(70, began)
			volatile(t, db, "b", "") // freezes the memtable, by number of log objects
		}, []int64{0, 70}},
		{"the buffer is full", slate.Options{MaxFlushDelay: 100 * time.Second, L0Bytes: 1000}, false, func(t *testing.T, db *slate.DB, began time.Time) {
			for i := range 10 {
				at(time.Duration(i), began)
				volatile(t, db, fmt.Sprint(i), string(make([]byte, 150))) // 175 bytes: the sixth fills it
			}
		}, []int64{5, 100_006}},
		{"a writer waits for room", slate.Options{MaxFlushDelay: 100 * time.Second, MaxUnflushedBytes: 10_000, L0Bytes: 5000}, false, func(t *testing.T, db *slate.DB, _ time.Time) {
			volatile(t, db, "a", string(make([]byte, 4000)))
			volatile(t, db, "b", string(make([]byte, 9000))) // four requests later a is in L0; then this fills the buffer
		}, []int64{0, 80}},
		{"in a row, on a folder", slate.Options{}, false, func(t *testing.T, db *slate.DB, _ time.Time) {
			for range 4 {
				put(t, db, "a", "")
			}
		}, []int64{0, 20, 40, 60}},
		{"in a row, remote", slate.Options{}, true, func(t *testing.T, db *slate.DB, _ time.Time) {
			for range 4 {
				put(t, db, "a", "")
			}
		}, []int64{0, 50, 100, 150}},
		{"in a row, remote, no interval", slate.Options{MinFlushInterval: -1}, true, func(t *testing.T, db *slate.DB, _ time.Time) {
			for range 4 {
				put(t, db, "a", "")
			}
		}, []int64{0, 20, 40, 60}},
		{"in a row, an interval shorter than a put", slate.Options{MinFlushInterval: 10 * time.Millisecond}, false, func(t *testing.T, db *slate.DB, _ time.Time) {
			for range 4 {
				put(t, db, "a", "")
			}
		}, []int64{0, 20, 40, 60}},
		{"after a quiet interval", slate.Options{}, true, func(t *testing.T, db *slate.DB, began time.Time) {
			put(t, db, "a", "")
			at(70, began)
			put(t, db, "b", "")
			put(t, db, "c", "")
		}, []int64{0, 70, 120}},
		{"a row that nobody waits for and the interval", slate.Options{MinFlushInterval: time.Second}, false, func(t *testing.T, db *slate.DB, _ time.Time) {
			put(t, db, "a", "")
			volatile(t, db, "b", "")
		}, []int64{0, 1000}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(20 * time.Millisecond)
			bkt := bucket.Bucket(b)
			if c.remote {
				bkt = remote{b}
			}
			c.opts.GCMinAge, c.opts.CompactL0 = -1, -1
			db := open(t, bkt, c.opts)
			time.Sleep(10 * time.Second) // long after all that opening does
			w := watchLog(b)
			c.do(t, db, time.Now())
			time.Sleep(2 * time.Minute)
			if got := w.starts(); !slices.Equal(got, c.want) {
				t.Errorf("%s: puts start at %v ms, want %v", c.name, got, c.want)
			}
			_ = db.Close()
		})
	}
}

// However often writers crash before they flush a memtable, what the next one
// replays stays bounded.
func TestReplayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		m := model{}
		most := uint64(0)
		for i := range 40 {
			db := open(t, b, slate.Options{MaxWALObjects: 10, CompactL0: -1, MaxL0: 100}) // the one before is not closed
			for j := range 3 {
				k := fmt.Sprint(i, j)
				put(t, db, k, "")
				m[k] = ""
			}
			synctest.Wait()
			ids, err := slate.WALObjects(t.Context(), "db", b)
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := slate.ReadManifest(t.Context(), "db", b, 0)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, ids[len(ids)-1]-manifest.ReplayAfterWAL)
			if i == 39 {
				everything(t, "the last writer", db, m)
			}
		}
		if most > 10+3+1 { // and what one writer puts, and its fence
			t.Errorf("up to %d log objects were to be replayed", most)
		}
	})
}

// An opener sleeps before it puts its fence. Meanwhile another one opens, moves
// the log on, and a foreign collector takes what lies below: the place for the
// fence is free. The sleeper does not become a writer, and harms nobody.
func TestOpenerWhoseFenceComesTooLate(t *testing.T) {
	for _, nap := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			inner := bucket.NewInMemBucket()
			if err := open(t, inner, slate.Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			b := faulty.New(inner, faulty.Options{})
			var other *slate.DB
			b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "*/wal/*", Times: 1, Before: func(context.Context, faulty.Request) error {
				other = open(t, inner, slate.Options{})
				put(t, other, "a", "1")
				put(t, other, "b", "1")
				if err := other.FlushMemtable(t.Context()); err != nil {
					t.Error(err)
				}
				put(t, other, "b", "2")
				time.Sleep(nap)
				collectWAL(t, inner)
				return nil
			}})
			if _, err := slate.Open(t.Context(), "db", b, slate.Options{}); !errors.Is(err, slate.ErrFenced) {
				t.Errorf("the sleeper opens: %v, want fenced", err)
			}
			put(t, other, "c", "3")
			want := model{"a": "1", "b": "2", "c": "3"}
			everything(t, "the other", other, want)
			everything(t, "the next", open(t, inner, slate.Options{}), want)
		})
	}
}

// A flush of the log that fails for good ends the writer: everybody who waits
// hears of it, nothing is written behind it, and the log has no gap.
func TestLogPutThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(10 * time.Millisecond)
		db := open(t, b, slate.Options{})
		put(t, db, "k", "acknowledged")
		b.Add(faulty.Rule{Keys: "*/wal/*", Times: 1, Err: bucket.ErrDenied})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if err := db.Put(t.Context(), []byte("k"), fmt.Append(nil, i)); !errors.Is(err, slate.ErrDenied) {
					t.Errorf("put %d: %v, want denied", i, err)
				}
			})
		}
		wg.Wait()
		if err := db.Close(); !errors.Is(err, slate.ErrDenied) {
			t.Errorf("close: %v, want denied", err)
		}
		r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		everything(t, "a reader", r, model{"k": "acknowledged"})
		db = open(t, b, slate.Options{})
		everything(t, "the next writer", db, model{"k": "acknowledged"})
		put(t, db, "k", "again")
		mustClose(t, db)
	})
}

// Whatever the limits, a batch lies in one log object and in one L0 SST; one
// that is larger than the cap is let in alone, and one above the limit not at all.
func TestBatchIsNeverSplit(t *testing.T) {
	ctx := t.Context()
	b := bucket.NewInMemBucket()
	opts := slate.Options{L0Bytes: 300, MaxUnflushedBytes: 1000, MaxBatchBytes: 3000, CompactL0: -1, MaxL0: 1 << 20, GCMinAge: -1}
	db := open(t, b, opts)
	rng := rand.New(rand.NewPCG(1, 1))
	rows := map[uint64]int{}
	for i := range 200 {
		var batch slate.Batch
		for batch.Len() == 0 || rng.IntN(10) > 0 {
			batch.Put(fmt.Appendf(nil, "%d/%d", i, batch.Len()), make([]byte, rng.IntN(100)))
		}
		h, err := db.Write(ctx, &batch, slate.WriteOptions{Volatile: rng.IntN(3) > 0})
		switch {
		case batch.Bytes() > opts.MaxBatchBytes:
			if !errors.Is(err, slate.ErrInvalid) {
				t.Errorf("batch of %d bytes: %v", batch.Bytes(), err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			rows[h.Seq] = batch.Len()
		}
	}
	mustClose(t, db)
	check := func(kind string, objects []map[uint64]int) {
		seen := map[uint64]bool{}
		for _, o := range objects {
			for seq, n := range o {
				if n != rows[seq] || seen[seq] {
					t.Errorf("%s: %d of %d rows of the batch %d are in one object, again %v", kind, n, rows[seq], seq, seen[seq])
				}
				seen[seq] = true
			}
		}
		if len(seen) != len(rows) {
			t.Errorf("%s: %d of %d batches", kind, len(seen), len(rows))
		}
		t.Logf("%s: %d batches in %d objects", kind, len(rows), len(objects))
	}
	ids, err := slate.WALObjects(ctx, "db", b)
	if err != nil {
		t.Fatal(err)
	}
	var log, l0 []map[uint64]int
	for _, id := range ids {
		o := map[uint64]int{}
		in, err := slate.ReadWAL(ctx, "db", b, id, slate.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range in {
			o[r.Seq]++
		}
		log = append(log, o)
	}
	check("log", log)
	m, err := slate.ReadManifest(ctx, "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.L0 {
		o := map[uint64]int{}
		if _, err := slate.ReadSST(ctx, "db", b, s.ID, slate.InspectOptions{}, func(r slate.RowInfo) error { o[r.Seq]++; return nil }); err != nil {
			t.Fatal(err)
		}
		l0 = append(l0, o)
	}
	check("L0", l0)
}

// A write may choose its place in the order, further on than all before it.
func TestSeqOfTheCaller(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{})
	write := func(seq uint64) (slate.WriteHandle, error) {
		var batch slate.Batch
		batch.Put(fmt.Appendf(nil, "%d", seq), nil)
		return db.Write(t.Context(), &batch, slate.WriteOptions{Seq: seq})
	}
	last := uint64(0)
	m := model{}
	for _, c := range []struct {
		seq uint64
		ok  bool
	}{
		{1, true}, {1, false}, {2, true}, {1 << 40, true}, {1 << 40, false}, {3, false}, {1<<40 + 1, true},
		{math.MaxUint64, false}, {slate.MaxSeq + 1, false}, {slate.MaxSeq - 1, true}, {slate.MaxSeq, true}, {slate.MaxSeq, false},
	} {
		h, err := write(c.seq)
		switch {
		case c.ok && (err != nil || h.Seq != c.seq):
			t.Errorf("seq %d after %d: %d, %v", c.seq, last, h.Seq, err)
		case !c.ok && !errors.Is(err, slate.ErrInvalid):
			t.Errorf("seq %d after %d: %v, want invalid", c.seq, last, err)
		}
		if c.ok {
			last = c.seq
			m[fmt.Sprint(c.seq)] = ""
		}
	}
	everything(t, "open", db, m)
	for _, how := range []func() error{db.Close, nil} { // from L0, from the log
		if how != nil {
			if err := how(); err != nil {
				t.Fatal(err)
			}
		}
		db = open(t, b, slate.Options{})
		everything(t, "opened again", db, m)
		h := volatile(t, db, "next", "")
		if last++; h.Seq != last {
			t.Errorf("the next write has seq %d, want %d", h.Seq, last)
		}
		m["next"] = ""
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	db = open(t, bucket.NewInMemBucket(), slate.Options{})
	for _, c := range []struct {
		seq  uint64
		want error
	}{{100, nil}, {100, slate.ErrInvalid}, {101, nil}} {
		tx, err := db.Begin(slate.TxOptions{Write: slate.WriteOptions{Seq: c.seq}})
		if err != nil {
			t.Fatal(err)
		}
		do(t, tx, "put k 1; put l 2")
		h, err := tx.Commit(t.Context())
		if !errors.Is(err, c.want) || err == nil && h.Seq != c.seq {
			t.Errorf("commit at %d: %d, %v", c.seq, h.Seq, err)
		}
	}
}
