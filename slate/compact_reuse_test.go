package slate_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// wanted is a scheduler that proposes a plan for as long as the tree allows it.
type wanted struct {
	plan func(slate.CompactionTree) slate.CompactionPlan
}

func (w *wanted) Propose(t slate.CompactionTree) []slate.CompactionPlan {
	if p := w.plan(t); p.Check(t) == nil {
		return []slate.CompactionPlan{p}
	}
	return nil
}

func oldestOfL0(t slate.CompactionTree) slate.CompactionPlan {
	return slate.CompactionPlan{L0: 1, Destination: t.NextRun()}
}

func allRuns(t slate.CompactionTree) slate.CompactionPlan {
	if len(t.Runs) < 2 {
		return slate.CompactionPlan{}
	}
	var p slate.CompactionPlan
	for _, r := range t.Runs {
		p.Runs, p.Destination = append(p.Runs, r.ID), r.ID
	}
	return p
}

// unrecorded is a database at the moment at which its runs 1 and 0 have become
// run 0, and nothing of that is recorded but how far it had come. One SST is in
// L0.
type unrecorded struct {
	t    *testing.T
	b    bucket.Bucket
	f    *faulty.Bucket // the writer's
	db   *slate.DB
	plan *wanted
	opts slate.Options
	m    model
	file []byte // the compactions file
}

// newUnrecorded lets a rule befall all writes of compactions files from then on.
func newUnrecorded(t *testing.T, fate faulty.Rule) (u *unrecorded, heal func()) {
	b := bucket.NewInMemBucket()
	u = &unrecorded{t: t, b: b, f: faulty.New(b, faulty.Options{}), plan: &wanted{oldestOfL0}, m: model{}}
	u.opts = slate.Options{MaxSSTBytes: 1 << 10, ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Scheduler: u.plan}}
	opts := u.opts
	opts.Compaction.Each = func(e slate.CompactionEvent) {
		if len(e.Runs) > 0 && e.State == "completed" && heal == nil {
			u.file, _ = latestCompactions(t, b)
			fate.Verbs, fate.Keys = faulty.Writes, "db/compactions/*"
			heal = u.f.Add(fate)
		}
	}
	u.f.Add(faulty.Rule{Delay: time.Millisecond})
	u.db = open(t, u.f, opts)
	flushes(t, u.db, u.m, "a", 1)
	u.comes("0 in L0, runs 0")
	flushes(t, u.db, u.m, "b", 1)
	u.comes("0 in L0, runs 1 0")
	u.plan.plan = allRuns
	flushes(t, u.db, u.m, "c", 1)
	u.comes("1 in L0, runs 0")
	if heal == nil {
		t.Fatal("nothing was compacted")
	}
	return u, heal
}

func latestCompactions(t *testing.T, b bucket.Bucket) (body []byte, id int) {
	for _, k := range keys(t, b) {
		if n, err := fmt.Sscanf(k, "db/compactions/%d.compactions", &id); n == 1 && err == nil {
			if body, err = b.Get(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	return body, id
}

// comes waits for what the compactor does.
func (u *unrecorded) comes(want string) {
	u.t.Helper()
	time.Sleep(time.Second)
	wantLevels(u.t, u.b, want)
}

// flush lets L0 have one SST more, which wakes the compactor.
func (u *unrecorded) flush(key string) {
	u.t.Helper()
	u.m[key] = "flushed"
	put(u.t, u.db, key, u.m[key])
	if err := u.db.FlushMemtable(u.t.Context()); err != nil {
		u.t.Error(err)
	}
}

// next closes the database and lets the next compactor merge all runs.
func (u *unrecorded) next(want string) {
	u.t.Helper()
	if err := u.db.Close(); err != nil {
		u.t.Error(err)
	}
	u.plan.plan = allRuns
	u.db = open(u.t, u.b, u.opts)
	u.comes(want)
	everything(u.t, "after the next compactor's work", u.db, u.m)
	if err := u.db.Close(); err != nil {
		u.t.Error(err)
	}
}

// A compaction of runs is published and the process ends before that is
// recorded, while L0 becomes another run. It gets no id that a source had: the
// next compactor, or SlateDB, goes on with what is recorded by the ids of runs,
// and would take what was written for what the new run holds.
func TestRunIDsDoNotComeAgainBeforeTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := newUnrecorded(t, faulty.Rule{Before: func(ctx context.Context, _ faulty.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		u.plan.plan = oldestOfL0
		u.flush("z")
		u.comes("1 in L0, runs 2 0")
		u.next("1 in L0, runs 0")
	})
}

// The same where the record fails: nothing new is begun until it is made up for.
func TestNothingBeginsBeforeWhatHasEndedIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		u, heal := newUnrecorded(t, faulty.Rule{Before: func(context.Context, faulty.Request) error {
			tries.Add(1)
			return bucket.ErrDenied
		}})
		u.plan.plan = oldestOfL0
		u.flush("z")
		time.Sleep(time.Minute)
		u.comes("2 in L0, runs 0")
		if n := tries.Load(); n < 3 || n > 10 {
			t.Errorf("%d attempts in a minute", n)
		}
		heal()
		time.Sleep(time.Minute)
		u.comes("0 in L0, runs 2 1 0")
		u.next("0 in L0, runs 0")
	})
}

// Where the id came again all the same, in a database of an earlier version, the
// output in the tree tells that the recorded compaction is over.
func TestWhatWasCommittedIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, heal := newUnrecorded(t, faulty.Rule{})
		heal()
		time.Sleep(time.Minute)
		u.plan.plan = oldestOfL0
		u.flush("z")
		u.comes("0 in L0, runs 2 1 0")
		_, n := latestCompactions(t, u.b)
		if err := u.b.Put(t.Context(), fmt.Sprintf("db/compactions/%020d.compactions", n+1), u.file); err != nil {
			t.Fatal(err)
		}
		u.next("0 in L0, runs 0")
	})
}
