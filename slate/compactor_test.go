package slate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// events collects what a compactor tells.
type events struct {
	mu  sync.Mutex
	all []slate.CompactionEvent
}

func (e *events) each(ev slate.CompactionEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) states() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := map[string]int{}
	for _, ev := range e.all {
		n[ev.State]++
	}
	return n
}

// standalone runs a compactor until the returned function is called, which
// returns its error.
func standalone(t testing.TB, b bucket.Bucket, opts slate.Options) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- slate.RunCompactor(ctx, "db", b, opts) }()
	return func() error {
		cancel()
		return <-done
	}
}

// A standalone compactor beside a live writer loses nothing: the writer writes
// and deletes, takes snapshots and reads, while the compactor and a garbage
// collector work; and no flush waits for long.
func TestStandaloneCompactorLosesNothing(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			b := slow(5 * time.Millisecond)
			db := open(t, b, slate.Options{CompactL0: -1, MaxSSTBytes: 1000, GCMinAge: -1})
			var seen events
			stop := standalone(t, b, slate.Options{
				MaxSSTBytes: 1000, ReaderGrace: time.Duration(int(seed%2)*2-1) * time.Minute,
				Compaction: slate.CompactionOptions{Each: seen.each, PollInterval: 100 * time.Millisecond, Workers: 3},
			})
			m := model{}
			var kept []struct {
				s *slate.Snapshot
				m []string
			}
			for i := range 400 {
				k := fmt.Sprintf("%02d", rnd.IntN(60))
				switch n := rnd.IntN(20); {
				case n < 3:
					if err := db.FlushMemtable(t.Context()); err != nil {
						t.Fatal(err)
					}
				case n < 7:
					delete(m, k)
					if err := db.Delete(t.Context(), []byte(k)); err != nil {
						t.Fatal(err)
					}
				case n == 7 && len(kept) < 3:
					s, err := db.Snapshot()
					if err != nil {
						t.Fatal(err)
					}
					kept = append(kept, struct {
						s *slate.Snapshot
						m []string
					}{s, m.scan(slate.Range{})})
				case n == 8 && len(kept) > 0:
					old := kept[0]
					kept = kept[1:]
					if got := drain(t, old.s.Scan(t.Context(), slate.Range{})); !slices.Equal(got, old.m) {
						t.Fatalf("seed %d, step %d: snapshot %v, want %v", seed, i, got, old.m)
					}
					old.s.Close()
				case n == 9:
					collect(t, b, slate.GCOptions{MinAge: time.Second})
				default:
					m[k] = fmt.Sprint(i, strings.Repeat("v", 50))
					put(t, db, k, m[k])
				}
				if i%50 == 0 {
					everything(t, fmt.Sprintf("seed %d, step %d", seed, i), db, m)
				}
			}
			for _, old := range kept {
				if got := drain(t, old.s.Scan(t.Context(), slate.Range{})); !slices.Equal(got, old.m) {
					t.Fatalf("seed %d: snapshot %v, want %v", seed, got, old.m)
				}
				old.s.Close()
			}
			everything(t, "writer", db, m)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if n := seen.states(); n["completed"]+n["moved"] < 5 || n["failed"] > 0 {
				t.Errorf("seed %d: compactions: %v", seed, n)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			next := open(t, b, slate.Options{})
			everything(t, "next writer", next, m)
			if err := next.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Two compactors: the second deposes the first, and the writer that both work
// for lives on.
func TestSecondCompactorDeposesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db := open(t, b, slate.Options{})
		four := func(name string) {
			for i := range 4 {
				put(t, db, fmt.Sprint(name, i), name)
				if err := db.FlushMemtable(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		four("a") // the writer's own compactor
		var first, second events
		stopFirst := standalone(t, b, slate.Options{Compaction: slate.CompactionOptions{Each: first.each}})
		time.Sleep(time.Minute)
		four("b")
		stopSecond := standalone(t, b, slate.Options{Compaction: slate.CompactionOptions{Each: second.each}})
		time.Sleep(time.Minute)
		if err := stopFirst(); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("first compactor: %v", err)
		}
		four("c")
		if err := stopSecond(); err != nil {
			t.Errorf("second compactor: %v", err)
		}
		if w := db.CompactionWork(); w.Jobs != 1 || w.Read == 0 || w.Written == 0 {
			t.Errorf("writer's own: %+v", w)
		}
		if a, b := first.states()["completed"], second.states()["completed"]; a != 1 || b != 1 {
			t.Errorf("first: %v, second: %v", first.states(), second.states())
		}
		if err := db.Compact(t.Context()); err != nil { // takes over again
			t.Error(err)
		}
		if n := len(drain(t, db.Scan(t.Context(), slate.Range{}))); n != 12 {
			t.Errorf("%d rows, want 12", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
