package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/wal"
)

// world is a log on a bucket in memory, in simulated time.
type world struct {
	*testing.T
	wal.Place
	net      *faulty.Bucket // as the log reaches it
	log      *wal.Log
	table    *memtable.Table
	began    time.Time
	puts     []string // when each object was put, and its rows
	failed   error
	confirms int
	fenced   bool   // what the latest manifest says
	replayed uint64 // and from where on it replays
}

const lastID, lastSeq = 4, 100 // of what lies before the log

func start(t *testing.T, edit func(*wal.Env)) *world {
	w := &world{T: t, table: memtable.New(1), began: time.Now()}
	w.net = faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	w.Place = wal.Place{Bucket: w.net, Root: layout.NewRoot("db")}
	env := wal.Env{
		Place: w.Place, Clock: clock.System, Random: rand.NewChaCha8([32]byte{}),
		MinInterval: 50 * time.Millisecond, MaxDelay: time.Second, MaxBytes: 1000,
		Flushed: func(id uint64) {
			rows, err := w.Read(context.Background(), id)
			text := fmt.Sprintf("%d at %v:", id, time.Since(w.began))
			for _, r := range rows {
				text += " " + string(r.Key)
			}
			w.puts = append(w.puts, text)
			if err != nil {
				t.Error(err)
			}
		},
		Failed: func(err error) { w.failed = err },
		Confirm: func(context.Context) (uint64, error) {
			w.confirms++
			if w.fenced {
				return w.replayed, wal.ErrFenced
			}
			return w.replayed, nil
		},
	}
	if edit != nil {
		edit(&env)
	}
	w.log = wal.Start(env, lastID, lastSeq, time.Now())
	return w
}

// append adds a row of so many bytes with this seq, which is its key too.
func (w *world) append(seq uint64, size int64) *wal.Buffer {
	ref := w.table.Add(&format.Row{Key: fmt.Append(nil, seq), Seq: seq, Kind: format.Value, Value: []byte("v")})
	return w.log.Append(w.table, []memtable.Ref{ref}, seq, size)
}

func (w *world) wantPuts(want ...string) {
	w.Helper()
	synctest.Wait()
	if !slices.Equal(w.puts, want) {
		w.Errorf("objects: %q, want %q", w.puts, want)
	}
}

func (w *world) close() {
	w.Helper()
	if err := w.log.Close(); err != nil {
		w.Error(err)
	}
}

// Rows wait for company, for MaxDelay at most; less if somebody waits for them or
// they are many, and never less than MinInterval behind the object before.
func TestRowsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.append(101, 10)
		time.Sleep(400 * time.Millisecond)
		w.append(102, 10)
		time.Sleep(time.Second)
		w.wantPuts("5 at 1s: 101 102")

		if err := w.log.Wait(t.Context(), w.append(103, 10)); err != nil { // wanted at 1.4 s
			t.Error(err)
		}
		w.append(104, 999)
		time.Sleep(10 * time.Millisecond)
		w.append(105, 1) // full, 10 ms behind the object before
		time.Sleep(time.Second)
		w.wantPuts("5 at 1s: 101 102", "6 at 1.4s: 103", "7 at 1.45s: 104 105")
		if id, seq := w.log.LastID(), w.log.Durable(); id != 7 || seq != 105 || w.log.Current() != nil {
			t.Errorf("object %d, seq %d, still waiting %v", id, seq, w.log.Current())
		}
		w.append(106, 10)
		w.close() // at once, whatever the interval
		w.wantPuts("5 at 1s: 101 102", "6 at 1.4s: 103", "7 at 1.45s: 104 105", "8 at 2.41s: 106")
		if ids, err := w.List(t.Context(), 5); !slices.Equal(ids, []uint64{6, 7, 8}) {
			t.Errorf("objects %v, %v", ids, err)
		}
	})
}

// Whoever keeps a buffer whose rows are durable, as a write handle does, keeps no
// memtable.
func TestBufferLetsGoOfMemtables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		table := weak.Make(w.table)
		b := w.append(101, 10)
		if err := w.log.Wait(t.Context(), b); err != nil {
			t.Error(err)
		}
		w.table = nil
		runtime.GC()
		if table.Value() != nil {
			t.Error("the memtable is held")
		}
		runtime.KeepAlive(b)
		w.close()
	})
}

// Whoever asks for the same rows gets one object, and the rows that come while it
// is on its way get the next one.
func TestOnePutForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.net.Add(faulty.Rule{Verbs: faulty.Writes, Delay: time.Second})
		var buffers []*wal.Buffer
		for seq := uint64(101); seq < 111; seq++ {
			buffers = append(buffers, w.append(seq, 10))
		}
		ended := make(chan error)
		for _, b := range buffers {
			go func() { ended <- w.log.Wait(t.Context(), b) }()
		}
		synctest.Wait()
		late := w.append(111, 10)
		for range 10 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if seq := w.log.Durable(); seq != 110 {
			t.Errorf("durable up to %d", seq)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if err := w.log.Wait(ctx, late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait that was given up: %v", err)
		}
		w.close()
		w.wantPuts("5 at 1s: 101 102 103 104 105 106 107 108 109 110", "6 at 2s: 111")
	})
}

// The next id is taken: a newer writer is there. All who wait are told, and so is
// the database, before they are.
func TestTakenIDFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		if err := w.net.Put(t.Context(), w.Key(5), nil); err != nil {
			t.Fatal(err)
		}
		b := w.append(101, 10)
		if err := w.log.Wait(t.Context(), b); !errors.Is(err, wal.ErrFenced) || !errors.Is(w.failed, wal.ErrFenced) {
			t.Errorf("the rows: %v; the database: %v", err, w.failed)
		}
		if err := w.log.Wait(t.Context(), w.append(102, 10)); !errors.Is(err, wal.ErrFenced) {
			t.Errorf("rows after the end: %v", err)
		}
		if err := w.log.Close(); !errors.Is(err, wal.ErrFenced) {
			t.Errorf("close: %v", err)
		}
		if seq, id := w.log.Durable(), w.log.LastID(); seq != lastSeq || id != lastID {
			t.Errorf("durable up to %d, in object %d", seq, id)
		}
	})
}

// An aborted log puts nothing more. What is on its way gets its own answer.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.net.Add(faulty.Rule{Verbs: faulty.Writes, Delay: time.Second})
		flying := w.append(101, 10)
		w.log.Want()
		synctest.Wait()
		waiting := w.append(102, 10)
		reason := errors.New("a reason")
		w.log.Abort(reason)
		for b, want := range map[*wal.Buffer]error{flying: nil, waiting: reason, w.append(103, 10): reason} {
			if err := w.log.Wait(t.Context(), b); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		if err := w.log.Close(); !errors.Is(err, reason) {
			t.Errorf("close: %v", err)
		}
		w.wantPuts("5 at 1s: 101")
	})
}

// A writer that has not been confirmed for long asks before it puts, and one
// whose put took long asks before it acknowledges. Then the manifest may prove
// that a newer writer found the object.
func TestLongSilenceIsConfirmed(t *testing.T) {
	for _, c := range []struct {
		name     string
		silence  time.Duration
		slow     time.Duration // the put
		fenced   bool
		replayed uint64
		confirms int
		want     []error // all of them; none: durable
		objects  int
	}{
		{name: "soon", silence: time.Minute, objects: 1},
		{name: "late", silence: 151 * time.Second, confirms: 1, objects: 1},
		{name: "late and fenced", silence: 151 * time.Second, fenced: true, confirms: 1, want: []error{wal.ErrFenced}},
		{name: "slow", slow: 151 * time.Second, confirms: 1, objects: 1},
		{name: "slow and fenced, but found", slow: 151 * time.Second, fenced: true, replayed: 4, confirms: 1, objects: 1},
		{name: "slow and fenced", slow: 151 * time.Second, fenced: true, replayed: 5, confirms: 1,
			want: []error{wal.ErrFenced, bucket.ErrUnknownOutcome}, objects: 1},
		{name: "both", silence: 151 * time.Second, slow: 151 * time.Second, confirms: 2, objects: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			w.fenced, w.replayed = c.fenced, c.replayed
			w.net.Add(faulty.Rule{Verbs: faulty.Writes, Delay: c.slow})
			time.Sleep(c.silence)
			err := w.log.Wait(t.Context(), w.append(101, 10))
			if (err == nil) != (len(c.want) == 0) {
				t.Errorf("%s: %v", c.name, err)
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", c.name, err, want)
				}
			}
			if ids, _ := w.List(t.Context(), lastID); len(ids) != c.objects || w.confirms != c.confirms {
				t.Errorf("%s: objects %v, asked %d times; want %d, %d", c.name, ids, w.confirms, c.objects, c.confirms)
			}
			if c.fenced && err == nil { // proves nothing for the next
				if err := w.log.Wait(t.Context(), w.append(102, 10)); !errors.Is(err, wal.ErrFenced) {
					t.Errorf("%s: the next put: %v", c.name, err)
				}
			}
			_ = w.log.Close()
		})
	}
}

// A log that puts without a pause asks every ten seconds whether it is fenced: a
// newer writer may not get hold of an id. One that puts now and then does not.
func TestBusyLogAsks(t *testing.T) {
	for _, c := range []struct {
		pause    time.Duration
		confirms int
	}{{100 * time.Millisecond, 4}, {time.Second, 0}, {time.Minute, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			for began := time.Now(); time.Since(began) < 50*time.Second; time.Sleep(c.pause) {
				if err := w.log.Wait(t.Context(), w.append(uint64(101+len(w.puts)), 10)); err != nil {
					t.Fatal(err)
				}
			}
			if w.confirms != c.confirms {
				t.Errorf("with pauses of %v: asked %d times", c.pause, w.confirms)
			}
			w.close()
		})
	}
}

// With Flush the rows become durable elsewhere: no object is put, and its error
// is the answer of those who wait.
func TestFlushInPlaceOfObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []uint64
		reason := errors.New("a reason")
		w := start(t, func(e *wal.Env) {
			e.Flush = func(seq uint64) error {
				if asked = append(asked, seq); seq > 102 {
					return reason
				}
				return nil
			}
		})
		w.append(101, 10)
		if err := w.log.Wait(t.Context(), w.append(102, 10)); err != nil {
			t.Error(err)
		}
		if err := w.log.Wait(t.Context(), w.append(103, 10)); !errors.Is(err, reason) {
			t.Errorf("rows whose flush failed: %v", err)
		}
		if err := w.log.Close(); !errors.Is(err, reason) {
			t.Errorf("close: %v", err)
		}
		ids, err := w.List(t.Context(), 0)
		if !slices.Equal(asked, []uint64{102, 103}) || len(ids) > 0 || err != nil || w.log.LastID() != lastID {
			t.Errorf("flushed up to %v, objects %v, %v", asked, ids, err)
		}
	})
}
