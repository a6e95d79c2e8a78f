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
	"github.com/stele-db/stele/slate/bucket/faulty"
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
					mustFlush(t, db)
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
			mustClose(t, db)
			nextWriter(t, fmt.Sprint("seed ", seed), b, slate.Options{}, m)
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
				mustFlush(t, db)
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
		mustClose(t, db)
	})
}

// Compactors depose each other again and again, each behind a network of its
// own that delays and loses replies, beside a writer and a garbage collector.
func TestCompactorsFight(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			b := slow(time.Millisecond)
			db := open(t, b, slate.Options{CompactL0: -1, MaxSSTBytes: 1000, GCMinAge: -1, MergeOperator: slate.Concat})
			ctx, stop := context.WithCancel(t.Context())
			var compactors sync.WaitGroup
			var seen events
			fenced := make([]int, 2)
			for i := range fenced {
				network := faulty.New(b, faulty.Options{})
				network.Add(faulty.Rule{Delay: time.Duration(1+rnd.IntN(40)) * time.Millisecond})
				network.Add(faulty.Rule{Verbs: faulty.Writes, Skip: rnd.IntN(20), Times: 3, Lose: true})
				opts := slate.Options{MaxSSTBytes: 1000, ReaderGrace: -1, MergeOperator: slate.Concat, Compaction: slate.CompactionOptions{
					Scheduler: slate.SizeTiered{MinSources: 2}, PollInterval: 200 * time.Millisecond, Each: seen.each}}
				pause := time.Duration(100+rnd.IntN(900)) * time.Millisecond
				compactors.Go(func() {
					for ctx.Err() == nil {
						err := slate.RunCompactor(ctx, "db", network, opts)
						if errors.Is(err, slate.ErrFenced) {
							fenced[i]++
						} else if err != nil {
							t.Errorf("seed %d: compactor: %v", seed, err)
						}
						time.Sleep(pause)
					}
				})
			}
			m := model{}
			for i := range 300 {
				k := fmt.Sprintf("%02d", rnd.IntN(60))
				var err error
				switch n := rnd.IntN(20); {
				case n < 4:
					err = db.FlushMemtable(t.Context())
				case n < 8:
					delete(m, k)
					err = db.Delete(t.Context(), []byte(k))
				case n < 12:
					m[k] += "m"
					err = db.Merge(t.Context(), []byte(k), []byte("m"))
				case n == 12:
					time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
				case n == 13:
					collect(t, b, slate.GCOptions{MinAge: 5 * time.Second})
				default:
					m[k] = fmt.Sprint(i, strings.Repeat("v", 50))
					put(t, db, k, m[k])
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			everything(t, fmt.Sprintf("seed %d", seed), db, m)
			stop()
			compactors.Wait()
			if n := seen.states(); fenced[0] == 0 || fenced[1] == 0 || n["completed"] == 0 {
				t.Errorf("seed %d: fenced %v, %v", seed, fenced, n)
			}
			mustCompact(t, db)
			everything(t, fmt.Sprintf("seed %d, compacted", seed), db, m)
			mustClose(t, db)
			if err := compactAll(t.Context(), b, slate.Options{ReaderGrace: -1, GCMinAge: -1, MergeOperator: slate.Concat}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // for checkpoints
			collect(t, b, anyAge)
			nothingElse(t, fmt.Sprintf("seed %d", seed), b)
			everything(t, fmt.Sprintf("seed %d, collected", seed), mustOpen(t, b, slate.ReaderOptions{MergeOperator: slate.Concat}), m)
		})
	}
}
