package slate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// states is a database that is rewritten again and again, the objects of the
// state before removed.
type states struct {
	*testing.T
	b  bucket.Bucket
	db *slate.DB
	n  int
}

func newStates(t *testing.T) *states {
	b := bucket.NewInMemBucket()
	return &states{T: t, b: b, db: open(t, b, slate.Options{CompactL0: -1, GCMinAge: -1, ReaderGrace: -1})}
}

// next makes state n, in which k is n.
func (s *states) next() {
	s.Helper()
	s.n++
	old := keys(s, s.b)
	put(s, s.db, "k", fmt.Sprint(s.n))
	put(s, s.db, fmt.Sprint("only in ", s.n), "")
	mustCompact(s, s.db)
	for _, k := range old {
		if strings.Contains(k, "/compacted/") {
			if err := s.b.Delete(s.Context(), k); err != nil {
				s.Fatal(err)
			}
		}
	}
}

// reader reads the state that there is, without a cache, over a network.
func (s *states) reader() (*faulty.Bucket, *slate.Reader) {
	net := faulty.New(s.b, faulty.Options{})
	return net, mustOpen(s, net, slate.ReaderOptions{CacheBytes: -1})
}

// Of two gets that move a reader on at the same time, one has seen the older
// state: it does not take the reader back.
func TestReaderDoesNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStates(t)
		s.next()
		net, r := s.reader()
		get := func() string {
			v, err := r.Get(t.Context(), []byte("k"))
			return fmt.Sprint(string(v), " ", err)
		}
		s.next()
		gate := make(chan struct{})
		net.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Keys: "db/wal*", Times: 1, Before: func(context.Context, faulty.Request) error {
			<-gate
			return nil
		}})
		var got [2]string
		var wg sync.WaitGroup
		wg.Go(func() { got[0] = get() }) // has read the manifest of state 2
		synctest.Wait()
		s.next()
		wg.Go(func() { got[1] = get() })
		synctest.Wait()
		close(gate)
		wg.Wait()
		for i, v := range append(got[:], get()) {
			if v != "3 <nil>" && (i > 0 || v != "2 <nil>") {
				t.Errorf("get %d: %s", i, v)
			}
		}
		mustClose(t, r)
	})
}

// Gets that find their state gone read the log behind the new one once, together.
func TestReaderMovesOnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStates(t)
		s.next()
		net, r := s.reader()
		s.next()
		for i := range 20 {
			put(t, s.db, fmt.Sprint("in the log ", i), "")
		}
		var reads atomic.Int64
		net.Add(faulty.Rule{Delay: time.Second})
		net.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Get}, Keys: "db/wal/*", Before: func(context.Context, faulty.Request) error { reads.Add(1); return nil }})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if v, err := r.Get(t.Context(), []byte("k")); err != nil || string(v) != "2" {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		wg.Wait()
		if n := reads.Load(); n != 20 {
			t.Errorf("%d reads of a log of 20 objects", n)
		}
		mustClose(t, r)
	})
}

// A scan that sees nothing for long heeds its context all the same.
func TestCursorsHeedTheirContext(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{CompactL0: -1, MergeOperator: slate.Concat})
	var b slate.Batch
	for i := range 2000 {
		b.Delete(fmt.Appendf(nil, "%08d", i))
	}
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for range 2 {
		if _, err := db.Write(t.Context(), &b, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for name, from := range map[string]readable{"tombstones": db, "what is too new": snap} {
		for _, reverse := range []bool{false, true} {
			c, err := from.Cursor(slate.Range{Reverse: reverse}, slate.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if c.Next(ctx) || !errors.Is(c.Err(), context.Canceled) {
				t.Errorf("%s, reverse %v: %v", name, reverse, c.Err())
			}
			c.Close()
		}
	}
	var last error
	for _, err := range snap.ScanRecent(ctx, slate.Range{}, slate.ReadOptions{}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("recent rows: %v", last)
	}
}

// Gets that find their state gone while no newer one can be had fail together,
// not one after the other.
func TestReaderGivesUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStates(t)
		s.next()
		net, r := s.reader()
		s.next()
		net.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Before: func(context.Context, faulty.Request) error {
			return slate.ErrUnavailable
		}})
		var wg sync.WaitGroup
		var mu sync.Mutex
		var first, last time.Duration
		began := time.Now()
		for range 20 {
			wg.Go(func() {
				_, err := r.Get(t.Context(), []byte("k"))
				mu.Lock()
				defer mu.Unlock()
				last = time.Since(began)
				if first == 0 {
					first = last
				}
				if err == nil {
					t.Error("no error")
				}
			})
		}
		wg.Wait()
		if last > 3*first {
			t.Errorf("the first gives up after %v, the last after %v", first, last)
		}
		mustClose(t, r)
	})
}
