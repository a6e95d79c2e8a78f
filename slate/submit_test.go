package slate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func submit(t testing.TB, b bucket.Bucket, p slate.CompactionPlan) string {
	t.Helper()
	id, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{Plan: p})
	if err != nil {
		t.Errorf("submit %v: %v", p, err)
	}
	return id
}

// stands checks how far a compaction is.
func stands(t testing.TB, b bucket.Bucket, id, want string) {
	t.Helper()
	c, err := slate.ReadCompaction(t.Context(), "db", b, id)
	if err != nil || c.State != want || c.Ended() != (want == "completed" || want == "failed") {
		t.Errorf("compaction %s: %+v, %v, want %s", id, c, err, want)
	}
}

// levels are the SSTs in L0 and the ids of the runs.
func levels(t testing.TB, b bucket.Bucket) string {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprint(len(m.L0), " in L0, runs")
	for _, r := range m.Runs {
		s += fmt.Sprint(" ", r.ID)
	}
	return s
}

func wantLevels(t testing.TB, b bucket.Bucket, want string) {
	t.Helper()
	if got := levels(t, b); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// flushes makes n SSTs of L0 that share their keys.
func flushes(t testing.TB, db *slate.DB, m model, name string, n int) {
	t.Helper()
	for i := range n {
		for k := range 20 {
			key := fmt.Sprintf("%02d", k)
			m[key] = fmt.Sprint(name, i, strings.Repeat("v", 50))
			put(t, db, key, m[key])
		}
		mustFlush(t, db)
	}
}

// twoRuns is a database with the runs 1 and 0, which writers never compact.
func twoRuns(t testing.TB, b bucket.Bucket) (*slate.DB, model) {
	m := model{}
	db := open(t, b, slate.Options{CompactL0: -1, MaxL0: 64, GCMinAge: -1, ReaderGrace: -1})
	stop := standalone(t, b, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{PollInterval: time.Second}})
	for _, name := range []string{"a", "b"} {
		flushes(t, db, m, name, 4)
		time.Sleep(time.Minute)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wantLevels(t, b, "0 in L0, runs 1 0")
	return db, m
}

// Beside a writer and a compactor at work, submissions are carried out, two at a
// time if they have nothing in common; the writer notices nothing.
func TestSubmittedCompactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		var seen events
		stop := standalone(t, b, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Each: seen.each, PollInterval: time.Minute}})
		time.Sleep(time.Second)
		flushes(t, db, m, "c", 3)
		runs := submit(t, b, slate.CompactionPlan{Runs: []uint32{1, 0}})
		l0 := submit(t, b, slate.CompactionPlan{L0: 3})
		if runs >= l0 {
			t.Errorf("%s was submitted before %s", runs, l0)
		}
		for _, p := range []slate.CompactionPlan{{}, {L0: 2}, {Runs: []uint32{0}}, {L0: 3, Runs: []uint32{1}, Destination: 1}} {
			if _, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{Plan: p}); !errors.Is(err, slate.ErrBusy) {
				t.Errorf("submit %v beside the others: %v", p, err)
			}
		}
		stands(t, b, runs, "submitted")
		flushes(t, db, m, "d", 1)
		time.Sleep(time.Minute)
		stands(t, b, runs, "completed")
		stands(t, b, l0, "completed")
		wantLevels(t, b, "1 in L0, runs 2 0")
		everything(t, "two", db, m)

		full := submit(t, b, slate.CompactionPlan{})
		flushes(t, db, m, "e", 1)
		time.Sleep(time.Minute)
		stands(t, b, full, "completed")
		wantLevels(t, b, "1 in L0, runs 0")
		flushes(t, db, m, "f", 1)
		everything(t, "full", db, m)
		var ids []string
		for _, e := range seen.all {
			if e.State == "completed" {
				ids = append(ids, e.ID)
			}
		}
		slices.Sort(ids)
		if want := []string{runs, l0, full}; !slices.Equal(ids, want) || seen.states()["started"] != 3 || len(seen.all) != 6 {
			t.Errorf("%v, want %v to start and complete", seen.all, want)
		}
		if err := errors.Join(stop(), db.Close()); err != nil {
			t.Error(err)
		}
		collect(t, b, anyAge)
		nothingElse(t, "collected", b)
		if _, err := slate.ReadCompaction(t.Context(), "db", b, runs); !errors.Is(err, slate.ErrNotFound) {
			t.Errorf("a compaction whose record was collected: %v", err)
		}
	})
}

// A writer's own compactor asks the bucket for nothing. It keeps what was
// submitted while it worked, and carries it out at once; what was submitted while
// it was idle, as soon as it has something else to compact.
func TestSubmittedToAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		mustClose(t, db)
		id := ""
		network := faulty.New(b, faulty.Options{}) // of the writer
		var seen events
		db = open(t, network, slate.Options{CompactL0: 4, MaxSSTBytes: 100, ReaderGrace: -1, GCMinAge: -1,
			Compaction: slate.CompactionOptions{Each: seen.each, Workers: 2}})
		remove := network.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Skip: 4, Times: 1,
			Before: func(context.Context, faulty.Request) error { // the compaction of the four is under way
				if _, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{}); !errors.Is(err, slate.ErrBusy) {
					t.Errorf("submit everything: %v", err)
				}
				id = submit(t, b, slate.CompactionPlan{Runs: []uint32{1, 0}})
				return nil
			}})
		flushes(t, db, m, "c", 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		remove()
		stands(t, b, id, "completed")
		wantLevels(t, b, "0 in L0, runs 2 0")
		if len(seen.all) != 4 || seen.all[1].State != "started" || seen.all[1].ID != id {
			t.Errorf("%v, want the second to start beside the first", seen.all)
		}

		network.ResetStats()
		id = submit(t, b, slate.CompactionPlan{Runs: []uint32{2, 0}})
		time.Sleep(time.Hour)
		if n := network.Stats().Total().Requests; n != 0 {
			t.Errorf("an idle writer sends %d requests", n)
		}
		stands(t, b, id, "submitted")
		flushes(t, db, m, "d", 4)
		time.Sleep(time.Minute)
		stands(t, b, id, "completed")
		wantLevels(t, b, "0 in L0, runs 3 0")
		everything(t, "writer", db, m)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What a submission is about has been compacted by the time the compactor finds
// it, here without having been recorded, as L0 that is moved: it fails, once.
func TestStaleSubmission(t *testing.T) {
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			id, m := "", model{}
			network := faulty.New(b, faulty.Options{}) // of the compactor
			var armed atomic.Bool
			network.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/manifest/*", Before: func(context.Context, faulty.Request) error {
				if armed.Load() && id == "" && strings.HasPrefix(levels(t, b), "4 in L0") {
					id = submit(t, b, slate.CompactionPlan{L0: 4})
				}
				return nil
			}})
			var seen events
			opts := slate.Options{CompactL0: 4, MaxSSTBytes: 100, ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Each: seen.each}}
			db := open(t, network, opts)
			stop := func() error { return nil }
			if alone {
				mustClose(t, db)
				db = open(t, b, slate.Options{CompactL0: -1, GCMinAge: -1})
				stop = standalone(t, network, opts)
			}
			time.Sleep(time.Minute)
			for i := range 8 {
				if i == 4 { // the compactor has begun its work
					time.Sleep(time.Minute)
					armed.Store(true)
				}
				k := fmt.Sprintf("%02d", i)
				m[k] = "v"
				put(t, db, k, "v")
				mustFlush(t, db)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := seen.states(); n["moved"] != 2 || n["failed"] != 1 || n["started"] != 2 || seen.all[len(seen.all)-1].ID != id {
				t.Errorf("alone %v: %v", alone, seen.all)
			}
			stands(t, b, id, "failed")
			everything(t, "stale", db, m)
			if err := errors.Join(stop(), db.Close()); err != nil {
				t.Error(err)
			}
			stands(t, b, id, "failed")
		})
	}
}

// A submission that I/O fails is not tried again; the compactor goes on.
func TestFailedSubmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		network := faulty.New(b, faulty.Options{})
		var seen events
		stop := standalone(t, network, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Each: seen.each}})
		time.Sleep(time.Minute)
		network.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Times: 1, Err: bucket.ErrDenied})
		id := submit(t, b, slate.CompactionPlan{})
		time.Sleep(time.Hour)
		stands(t, b, id, "failed")
		again := submit(t, b, slate.CompactionPlan{})
		time.Sleep(time.Hour)
		stands(t, b, again, "completed")
		if n := seen.states(); n["started"] != 2 || n["failed"] != 1 || n["completed"] != 1 {
			t.Errorf("%v", n)
		}
		everything(t, "after a failure", db, m)
		if err := errors.Join(stop(), db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// The clock of who submits is an hour ahead or behind: what the compaction writes
// is not taken for garbage, and afterwards nothing else is left.
func TestSubmittedByAnotherClock(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(2 * time.Hour)
			b := slow(time.Millisecond)
			db, m := open(t, b, slate.Options{CompactL0: -1, ReaderGrace: -1, GCMinAge: -1}), model{}
			flushes(t, db, m, "a", 3) // no compaction before, whose record would keep what is younger
			network := faulty.New(b, faulty.Options{})
			var collected atomic.Int64
			network.Add(faulty.Rule{Verbs: faulty.Writes, Before: func(context.Context, faulty.Request) error {
				collect(t, b, anyAge)
				collected.Add(1)
				return nil
			}})
			stop := standalone(t, network, slate.Options{ReaderGrace: -1, MaxSSTBytes: 500, Compaction: slate.CompactionOptions{Workers: 2}})
			time.Sleep(time.Minute)
			collected.Store(0)
			id, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{Clock: behind{clock.System, by}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if err := errors.Join(stop(), db.Close()); err != nil {
				t.Error(err)
			}
			wantLevels(t, b, "0 in L0, runs 0")
			if n := collected.Load(); n < 8 {
				t.Errorf("collected %d times", n)
			}
			stands(t, b, id, "completed")
			everything(t, "by another clock", mustOpen(t, b), m)
			if err := compactAll(t.Context(), b, slate.Options{ReaderGrace: -1, GCMinAge: -1}); err != nil {
				t.Fatal(err)
			}
			collect(t, b, anyAge)
			nothingElse(t, "by another clock", b)
		})
	}
}

// Whoever submits, and the compactor that takes it up, are killed at each of
// their requests. Nothing is lost; what was submitted is carried out by the next
// compactor at the latest, and who asks is told so.
func TestSubmissionKilledAtEveryRequest(t *testing.T) {
	base, m := grown(t)
	for step, sent := 0, false; !sent; step++ {
		for _, effect := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				what := fmt.Sprintf("submission killed at request %d (%v)", step, effect)
				b := clone(t, base)
				dying := faulty.New(b, faulty.Options{})
				kill(dying, step, effect)
				files := count(t, b, "db/compactions/")
				_, err := slate.SubmitCompaction(t.Context(), "db", dying, slate.SubmitOptions{})
				there := count(t, b, "db/compactions/") > files
				if sent = err == nil; sent && !there {
					t.Errorf("%s: it returned without error", what)
				}
				id, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{})
				if busy := errors.Is(err, slate.ErrBusy); err != nil && !busy || busy != there {
					t.Errorf("%s: submitted before: %v, and again: %v", what, there, err)
				}
				compactOnce(t, b, manyRanges(&events{}))
				if err == nil {
					stands(t, b, id, "completed")
				}
				wantLevels(t, b, "0 in L0, runs 0")
				everything(t, what, mustOpen(t, b), m)
			})
		}
	}
	taken, steps := 0, 0
	for step, done := 0, false; !done; step++ {
		for _, effect := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				what := fmt.Sprintf("compactor killed at request %d (%v)", step, effect)
				b := clone(t, base)
				id := submit(t, b, slate.CompactionPlan{})
				dying := faulty.New(b, faulty.Options{})
				kill(dying, step, effect)
				done = compactOnce(t, dying, manyRanges(&events{}))
				collect(t, b, anyAge)
				everything(t, what, mustOpen(t, b), m)
				steps++

				var seen events
				compactOnce(t, b, manyRanges(&seen))
				if n := seen.states(); n["resumed"] > 0 {
					taken++
				} else if n["failed"]+n["stopped"] > 0 {
					t.Errorf("%s: the next compactor: %v", what, n)
				}
				stands(t, b, id, "completed")
				wantLevels(t, b, "0 in L0, runs 0")
				if err := compactAll(t.Context(), b, manyRanges(&events{})); err != nil {
					t.Fatal(err)
				}
				collect(t, b, anyAge)
				nothingElse(t, what, b)
				everything(t, what+", at last", mustOpen(t, b), m)
			})
		}
		if step > 500 {
			t.Fatal("the compaction never ends")
		}
	}
	t.Logf("%d kills, %d taken up by the next compactor", steps, taken)
	if taken < steps/4 {
		t.Errorf("of %d kills %d were taken up", steps, taken)
	}
}

// Two submit at once, and the second's version of the file is there before the
// first knows that its own is: both are submitted, each once.
func TestSubmissionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		flushes(t, db, m, "c", 2)
		network, l0 := faulty.New(b, faulty.Options{}), ""
		network.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compactions/*", Times: 1, After: func(_ context.Context, _ faulty.Request, err error) error {
			l0 = submit(t, b, slate.CompactionPlan{L0: 2})
			return err
		}})
		runs := submit(t, network, slate.CompactionPlan{Runs: []uint32{1, 0}})
		if err := standaloneFor(t, b, time.Minute); err != nil {
			t.Error(err)
		}
		stands(t, b, runs, "completed")
		stands(t, b, l0, "completed")
		wantLevels(t, b, "0 in L0, runs 2 0")
		everything(t, "at once", db, m)
	})
}

// One run is rewritten if it is asked for, though it could stay as it is.
func TestSubmissionRewrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		mustCompact(t, db)
		before, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil {
			t.Fatal(err)
		}
		stop := standalone(t, b, slate.Options{ReaderGrace: -1, MaxSSTBytes: 100})
		time.Sleep(time.Minute)
		id := submit(t, b, slate.CompactionPlan{})
		time.Sleep(time.Minute)
		stands(t, b, id, "completed")
		wantLevels(t, b, "0 in L0, runs 0")
		after, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil || after.Runs[0].SSTs[0].ID <= before.Runs[0].SSTs[0].ID {
			t.Errorf("%v, %v, before %v", after.Runs, err, before.Runs)
		}
		everything(t, "rewritten", db, m)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What cannot be submitted is said.
func TestSubmissionRefused(t *testing.T) {
	b := bucket.NewInMemBucket()
	refused := func(what string, b bucket.Bucket, p slate.CompactionPlan, want error) {
		t.Helper()
		if id, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{Plan: p}); !errors.Is(err, want) || id != "" {
			t.Errorf("%s: %q, %v, want %v", what, id, err, want)
		}
	}
	refused("no database", b, slate.CompactionPlan{}, slate.ErrNoDatabase)
	if n := len(keys(t, b)); n > 0 {
		t.Errorf("%d objects where there is no database", n)
	}
	db := open(t, b, slate.Options{CompactL0: -1})
	refused("an empty database", b, slate.CompactionPlan{}, slate.ErrInvalid)
	flushes(t, db, model{}, "a", 2)
	for _, p := range []slate.CompactionPlan{{L0: 3}, {L0: -1}, {Runs: []uint32{0}}, {L0: 2, Runs: []uint32{0}, Destination: 1}} {
		refused(fmt.Sprint(p), b, p, slate.ErrInvalid)
	}
	refused("no conditional put", unconditional{b}, slate.CompactionPlan{}, slate.ErrUnsupported)
	for _, id := range []string{"", "7", strings.Repeat("0", 26)} {
		want := slate.ErrInvalid
		if len(id) == 26 {
			want = slate.ErrNotFound
		}
		if _, err := slate.ReadCompaction(t.Context(), "db", b, id); !errors.Is(err, want) {
			t.Errorf("compaction %q: %v, want %v", id, err, want)
		}
	}
}

type unconditional struct{ bucket.Bucket }

func (u unconditional) Capabilities() bucket.Capabilities {
	c := u.Bucket.Capabilities()
	c.ConditionalPut, c.Reason = false, "of a test"
	return c
}

// A writer closes while a submission is carried out: it is stopped, and stays for
// the next compactor though the compaction of L0 goes on and is recorded.
func TestSubmissionStoppedByClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		mustClose(t, db)
		id := submit(t, b, slate.CompactionPlan{Runs: []uint32{1, 0}})
		var seen events
		network := faulty.New(b, faulty.Options{})
		network.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compacted/*", Delay: time.Second})
		db = open(t, network, slate.Options{CompactL0: 4, MaxL0: 64, MaxSSTBytes: 100, ReaderGrace: -1, GCMinAge: -1,
			Compaction: slate.CompactionOptions{Each: seen.each, Workers: 2}})
		flushes(t, db, m, "c", 6)
		stands(t, b, id, "running")
		mustClose(t, db)
		if n := seen.states(); n["stopped"] != 1 || n["completed"] != 1 {
			t.Errorf("%v", seen.all)
		}
		stands(t, b, id, "running")
		wantLevels(t, b, "2 in L0, runs 2 1 0")
		if err := standaloneFor(t, b, time.Minute); err != nil {
			t.Error(err)
		}
		stands(t, b, id, "completed")
		wantLevels(t, b, "2 in L0, runs 2 0")
		everything(t, "after the next compactor", mustOpen(t, b), m)
	})
}

func standaloneFor(t testing.TB, b bucket.Bucket, d time.Duration) error {
	stop := standalone(t, b, slate.Options{ReaderGrace: -1})
	time.Sleep(d)
	return stop()
}
