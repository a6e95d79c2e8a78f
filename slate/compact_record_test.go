package slate_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
	"github.com/stele-db/stele/slate/internal/format"
)

// wanted is a scheduler that proposes a plan for as long as the tree allows it.
type wanted struct {
	mu   sync.Mutex
	plan func(slate.CompactionTree) slate.CompactionPlan
}

func (w *wanted) set(plan func(slate.CompactionTree) slate.CompactionPlan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan = plan
}

func (w *wanted) Propose(t slate.CompactionTree) []slate.CompactionPlan {
	w.mu.Lock()
	defer w.mu.Unlock()
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

// runs1And0 makes two runs of a database with the plan oldestOfL0.
func runs1And0(t *testing.T, b bucket.Bucket, db *slate.DB, m model) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		flushes(t, db, m, name, 1)
		time.Sleep(time.Second)
	}
	wantLevels(t, b, "0 in L0, runs 1 0")
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
	u = &unrecorded{t: t, b: b, f: faulty.New(b, faulty.Options{}), plan: &wanted{plan: oldestOfL0}, m: model{}}
	u.opts = slate.Options{MaxSSTBytes: 1 << 10, ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Scheduler: u.plan}}
	opts := u.opts
	var once sync.Once
	begun := make(chan func(), 1)
	opts.Compaction.Each = func(e slate.CompactionEvent) {
		if len(e.Runs) > 0 && e.State == "completed" {
			once.Do(func() {
				u.file, _ = latestCompactions(t, b)
				fate.Verbs, fate.Keys = faulty.Writes, "db/compactions/*"
				begun <- u.f.Add(fate)
			})
		}
	}
	u.f.Add(faulty.Rule{Delay: time.Millisecond})
	u.db = open(t, u.f, opts)
	runs1And0(t, b, u.db, u.m)
	u.plan.set(allRuns)
	flushes(t, u.db, u.m, "c", 1)
	u.comes("1 in L0, runs 0")
	select {
	case heal = <-begun:
		return u, heal
	default:
		t.Fatal("nothing was compacted")
		return nil, nil
	}
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
	u.plan.set(allRuns)
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
		u.plan.set(oldestOfL0)
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
		u.plan.set(oldestOfL0)
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
		u.plan.set(oldestOfL0)
		u.flush("z")
		u.comes("0 in L0, runs 2 1 0")
		_, n := latestCompactions(t, u.b)
		if err := u.b.Put(t.Context(), fmt.Sprintf("db/compactions/%020d.compactions", n+1), u.file); err != nil {
			t.Fatal(err)
		}
		u.next("0 in L0, runs 0")
	})
}

func noPlan(slate.CompactionTree) slate.CompactionPlan { return slate.CompactionPlan{} }

// Close stops a compaction of runs whose output is recorded in part, and carries
// out what has been submitted for L0 and the same runs. Then the rest of L0 must
// not get an id of the runs that the first is recorded with.
func TestCloseStopsACompactionBesideASubmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		f := faulty.New(b, faulty.Options{})
		f.Add(faulty.Rule{Delay: time.Millisecond})
		plan, m := &wanted{plan: oldestOfL0}, model{}
		opts := slate.Options{MaxSSTBytes: 256, ReaderGrace: -1, GCMinAge: -1, MaxL0: 64, Compaction: slate.CompactionOptions{Scheduler: plan}}
		db := open(t, f, opts)
		runs1And0(t, b, db, m)
		plan.set(noPlan)
		flushes(t, db, m, "c", 2)
		submit(t, b, slate.CompactionPlan{}) // everything, which the writer has not heard of
		f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Put}, Keys: "db/compacted/*", Skip: 3, Times: 1, Before: func(ctx context.Context, _ faulty.Request) error {
			<-ctx.Done() // the third SST of the merge
			return ctx.Err()
		}})
		plan.set(allRuns)
		flushes(t, db, m, "d", 1)
		time.Sleep(time.Second)
		flushes(t, db, m, "e", 3)
		time.Sleep(time.Second)
		wantLevels(t, b, "6 in L0, runs 1 0")
		put(t, db, "00", "in memory")
		m["00"] = "in memory"
		mustClose(t, db)
		everything(t, "closed", mustOpen(t, b), m)
		opts.Compaction.Scheduler = &wanted{plan: allRuns}
		db = open(t, b, opts)
		time.Sleep(time.Minute)
		everything(t, "after the next compactor's work", db, m)
		mustClose(t, db)
	})
}

// A compaction is being recorded as Close stops it, and will not be any more. L0
// still becomes small, and no run of an id that the record names.
func TestCloseWhileARecordIsUnderWay(t *testing.T) {
	for _, fault := range []error{nil, bucket.ErrExists} { // none: the request is given up
		synctest.Test(t, func(t *testing.T) {
			u, _ := newUnrecorded(t, faulty.Rule{Times: 1, Before: func(ctx context.Context, _ faulty.Request) error {
				<-ctx.Done()
				return cmp.Or(fault, ctx.Err())
			}})
			u.plan.set(noPlan)
			for i := range 5 {
				u.flush(fmt.Sprint("z", i))
			}
			u.comes("6 in L0, runs 0")
			put(t, u.db, "z9", "in memory")
			u.m["z9"] = "in memory"
			mustClose(t, u.db)
			wantLevels(t, u.b, "0 in L0, runs 2 0")
			everything(t, "closed", mustOpen(t, u.b), u.m)
		})
	}
}

// Another compactor takes over while the end of a compaction is being recorded,
// or nobody can say whether the record was written: that is no reason for the
// writer to end.
func TestWriterOutlivesARecordInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := newUnrecorded(t, faulty.Rule{Times: 1, Before: func(ctx context.Context, _ faulty.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		u.plan.set(noPlan)
		stop := standalone(t, u.b, slate.Options{ReaderGrace: -1})
		time.Sleep(10 * time.Second)
		u.flush("z") // learns of it
		time.Sleep(10 * time.Second)
		u.flush("y")
		if err := stop(); err != nil {
			t.Error(err)
		}
		mustClose(t, u.db)
	})
	synctest.Test(t, func(t *testing.T) {
		u, heal := newUnrecorded(t, faulty.Rule{Err: bucket.ErrUnavailable})
		time.Sleep(10 * time.Minute)
		heal()
		time.Sleep(time.Minute)
		u.flush("z")
		u.next("2 in L0, runs 0")
	})
}

// The end of a compaction is recorded, and the reply to that is lost. The next
// record makes up for it, and there is no other.
func TestRecordWithoutAReplyIsMadeUpForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := newUnrecorded(t, faulty.Rule{Times: 1, After: func(context.Context, faulty.Request, error) error { return bucket.ErrDenied }})
		u.plan.set(noPlan)
		time.Sleep(time.Minute)
		_, before := latestCompactions(t, u.b)
		for range 5 {
			u.flush("z") // wakes the compactor
			time.Sleep(time.Minute)
		}
		if _, after := latestCompactions(t, u.b); after > before {
			t.Errorf("%d more versions", after-before)
		}
		mustClose(t, u.db)
	})
}

// Two compactions are submitted, and the end of the one of runs cannot be
// recorded. The other, of L0, waits for that: it would get the id of a run that
// the first is recorded with.
func TestSubmissionWaitsForTheRecordOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		flushes(t, db, m, "c", 1)
		f := faulty.New(b, faulty.Options{})
		var once sync.Once
		heal := make(chan func(), 1)
		opts := slate.Options{MaxSSTBytes: 256, ReaderGrace: -1,
			Compaction: slate.CompactionOptions{MaxJobs: 1, Scheduler: &wanted{plan: noPlan}, PollInterval: time.Second}}
		opts.Compaction.Each = func(e slate.CompactionEvent) {
			if e.State != "completed" || len(e.Runs) != 2 {
				return
			}
			once.Do(func() {
				heal <- f.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compactions/*", Err: bucket.ErrDenied, When: func(q faulty.Request) bool {
					file, err := format.DecodeCompactions(q.Body)
					if err != nil {
						t.Error(err)
					}
					return !slices.ContainsFunc(file.Recent, func(e format.Compaction) bool { return len(e.Runs) == 2 && !e.Status.Finished() })
				}})
			})
		}
		stop := standalone(t, f, opts)
		time.Sleep(5 * time.Second)
		submit(t, b, slate.CompactionPlan{Runs: []uint32{1, 0}})
		submit(t, b, slate.CompactionPlan{L0: 1})
		time.Sleep(15 * time.Second)
		wantLevels(t, b, "1 in L0, runs 0")
		(<-heal)()
		time.Sleep(time.Minute)
		wantLevels(t, b, "0 in L0, runs 1 0")
		if err := stop(); err != nil {
			t.Error(err)
		}
		everything(t, "at last", db, m)
		mustClose(t, db)
	})
}

// ahead is a clock that is set an hour ahead.
type ahead struct{ slate.Clock }

func (a ahead) Now() time.Time { return a.Clock.Now().Add(time.Hour) }

// A submission by a process whose clock is ahead is refused, and is the last that
// has ended: collectors go by its id, and what is written from then on is younger
// all the same.
func TestSubmissionByAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, m := twoRuns(t, b)
		plan, f := &wanted{plan: noPlan}, faulty.New(b, faulty.Options{})
		stop := standalone(t, f, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Scheduler: plan, PollInterval: time.Second}})
		time.Sleep(5 * time.Second)
		f.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compactions/*", Times: 1, Before: func(context.Context, faulty.Request) error {
			_, err := slate.SubmitCompaction(t.Context(), "db", b, slate.SubmitOptions{Plan: slate.CompactionPlan{Runs: []uint32{1, 0}}, Clock: ahead{clock.System}})
			if err != nil {
				t.Error(err)
			}
			return nil
		}})
		plan.set(allRuns)
		time.Sleep(30 * time.Second)
		wantLevels(t, b, "0 in L0, runs 0")

		// A collection on the submitter's machine has read the file and not yet listed
		// the SSTs; a compaction writes its output, and its manifest is slow.
		g := faulty.New(b, faulty.Options{})
		list, collected, publish := make(chan struct{}), make(chan struct{}), make(chan struct{})
		g.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Keys: "db/compacted*", Times: 1, Before: func(context.Context, faulty.Request) error { <-list; return nil }})
		go func() {
			collect(t, g, slate.GCOptions{Clock: ahead{clock.System}})
			close(collected)
		}()
		time.Sleep(time.Second)
		f.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/manifest/*", Times: 1, Before: func(context.Context, faulty.Request) error { <-publish; return nil }})
		plan.set(func(t slate.CompactionTree) slate.CompactionPlan {
			return slate.CompactionPlan{L0: len(t.L0), Destination: t.NextRun()}
		})
		flushes(t, db, m, "c", 2)
		time.Sleep(10 * time.Second)
		flushes(t, db, m, "d", 1)
		close(list)
		<-collected
		close(publish)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		everything(t, "afterwards", mustOpen(t, b), m)
		mustClose(t, db)
	})
}

// An error of the bucket that looks like one of a context which nobody has
// cancelled: the compactor rests as after any other.
func TestStrayCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db, _ := twoRuns(t, b)
		f := faulty.New(b, faulty.Options{})
		var tries atomic.Int64
		f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Get, faulty.GetRange}, Keys: "db/compacted/*", Before: func(context.Context, faulty.Request) error {
			tries.Add(1)
			return context.Canceled
		}})
		stop := standalone(t, f, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Scheduler: &wanted{plan: allRuns}, PollInterval: time.Second}})
		time.Sleep(time.Minute)
		if n := tries.Load(); n == 0 || n > 20 {
			t.Errorf("%d attempts in a minute", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		mustClose(t, db)
	})
}

// noRandom is randomness that may fail.
type noRandom struct{ bad atomic.Bool }

func (m *noRandom) Read(p []byte) (int, error) {
	if m.bad.Load() {
		return 0, bucket.ErrUnavailable
	}
	return rand.Read(p)
}

// A full compaction that cannot be begun is answered, and the next one too.
func TestFullCompactionThatCannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random, m := &noRandom{}, model{}
		db := open(t, slow(time.Millisecond), slate.Options{CompactL0: -1, Random: random, ReaderGrace: -1})
		flushes(t, db, m, "a", 2)
		mustCompact(t, db)
		flushes(t, db, m, "b", 2)
		random.bad.Store(true)
		if err := db.Compact(t.Context()); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("without randomness: %v", err)
		}
		random.bad.Store(false)
		mustCompact(t, db)
		everything(t, "compacted", db, m)
		mustClose(t, db)
	})
}

// Close does not wait for the compactions file, which cannot be written, where
// nothing is left to do but to record.
func TestCloseWhileSettling(t *testing.T) {
	for _, after := range []time.Duration{2 * time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			u, _ := newUnrecorded(t, faulty.Rule{Err: bucket.ErrUnavailable})
			time.Sleep(after)
			began := time.Now()
			err := u.db.Close()
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("closing %v into the outage took %v: %v", after, took, err)
			}
		})
	}
}

// The same with requests that hang.
func TestCloseWhileSettlingHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		u, _ := newUnrecorded(t, faulty.Rule{Before: func(ctx context.Context, _ faulty.Request) error {
			if n.Add(1) == 1 {
				return bucket.ErrDenied
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Hour):
				return bucket.ErrDenied
			}
		}})
		time.Sleep(30 * time.Second)
		began := time.Now()
		err := u.db.Close()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("closing took %v: %v", took, err)
		}
	})
}

// A submission for L0 does not keep L0 from being compacted while a full
// compaction waits for a long one of runs.
func TestSubmissionOfL0WhileAFullCompactionWaits(t *testing.T) {
	for _, submits := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := bucket.NewInMemBucket()
			f := faulty.New(b, faulty.Options{})
			f.Add(faulty.Rule{Delay: time.Millisecond})
			plan, m := &wanted{plan: oldestOfL0}, model{}
			opts := slate.Options{MaxSSTBytes: 256, ReaderGrace: -1, GCMinAge: -1, MaxL0: 8, Compaction: slate.CompactionOptions{Scheduler: plan, Workers: 2}}
			db := open(t, f, opts)
			runs1And0(t, b, db, m)
			plan.set(func(t slate.CompactionTree) slate.CompactionPlan {
				if len(t.L0) >= 4 {
					return slate.CompactionPlan{L0: 4, Destination: t.NextRun()}
				}
				if len(t.Runs) == 2 {
					return allRuns(t)
				}
				return slate.CompactionPlan{}
			})
			hold := []chan struct{}{make(chan struct{}), make(chan struct{})}
			var first atomic.Int64
			f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Put}, Keys: "db/compacted/*", Skip: 2, Times: 2, Before: func(ctx context.Context, _ faulty.Request) error {
				n := first.Add(1)
				select {
				case <-hold[n-1]:
				case <-ctx.Done():
					return ctx.Err()
				}
				return nil
			}})
			flushes(t, db, m, "c", 1) // wakes it: the first put is the flush's
			time.Sleep(time.Second)
			done := make(chan error, 1)
			go func() { done <- db.Compact(t.Context()) }()
			time.Sleep(time.Second)
			if submits {
				submit(t, b, slate.CompactionPlan{L0: 1})
			}
			close(hold[0])
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for i := range 20 {
				k := fmt.Sprint("z", i)
				err := db.Put(ctx, []byte(k), []byte(k))
				if err == nil {
					m[k] = k
					err = db.FlushMemtable(ctx)
				}
				if err != nil {
					t.Errorf("submits %v, flush %d: %v, %s", submits, i, err, levels(t, b))
					break
				}
				time.Sleep(time.Second)
			}
			close(hold[1])
			if err := <-done; err != nil {
				t.Error(err)
			}
			everything(t, "compacted", db, m)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A compactor that came after the writer keeps its place, also where the
// writer was about to claim it at the same time, or has failed to.
func TestClaimDoesNotDeposeWhoCameLater(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint(fails), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := slow(time.Millisecond)
				f := faulty.New(b, faulty.Options{})
				plan, m := &wanted{plan: noPlan}, model{}
				db := open(t, f, slate.Options{ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Scheduler: plan}})
				flushes(t, db, m, "a", 2)
				time.Sleep(time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				solo := make(chan error, 1)
				start := func() {
					go func() {
						solo <- slate.RunCompactor(ctx, "db", b, slate.Options{ReaderGrace: -1, Compaction: slate.CompactionOptions{Scheduler: &wanted{plan: noPlan}, PollInterval: time.Second}})
					}()
					time.Sleep(5 * time.Second)
				}
				claims := func(q faulty.Request) bool {
					m, err := format.DecodeManifest(q.Body)
					return err == nil && m.CompactorEpoch > 0
				}
				f.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/manifest/*", Times: 1, When: claims, Before: func(context.Context, faulty.Request) error {
					if fails {
						return bucket.ErrDenied
					}
					start()
					return nil
				}})
				plan.set(oldestOfL0)
				flushes(t, db, m, "b", 1)
				if fails {
					time.Sleep(2 * time.Second)
					start()
				}
				time.Sleep(time.Minute)
				select {
				case err := <-solo:
					t.Errorf("fails %v: the compactor that came later: %v", fails, err)
				default:
					cancel()
					if err := <-solo; err != nil {
						t.Error(err)
					}
				}
				cancel()
				if err := db.Close(); err != nil && !errors.Is(err, slate.ErrFenced) {
					t.Error(err)
				}
			})
		})
	}
}

// A submission whose end could not be recorded is made up for, and then what it
// stood in the way of is begun, though nobody wakes the compactor.
func TestRefusedMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		f := faulty.New(b, faulty.Options{})
		f.Add(faulty.Rule{Delay: time.Millisecond})
		plan, m := &wanted{plan: oldestOfL0}, model{}
		var submitted, failed atomic.Bool
		opts := slate.Options{ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Scheduler: plan}}
		opts.Compaction.Each = func(e slate.CompactionEvent) {
			if e.State == "completed" && e.L0 == 1 && submitted.Load() && !failed.Swap(true) {
				plan.set(allRuns)
				f.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compactions/*", Times: 1, Err: bucket.ErrDenied})
			}
		}
		db := open(t, f, opts)
		flushes(t, db, m, "a", 1)
		time.Sleep(time.Second)
		wantLevels(t, b, "0 in L0, runs 0")
		plan.set(noPlan)
		flushes(t, db, m, "b", 1)
		time.Sleep(time.Second)
		submit(t, b, slate.CompactionPlan{L0: 1})
		submitted.Store(true)
		var once atomic.Bool
		plan.set(func(slate.CompactionTree) slate.CompactionPlan { // writes the file, and so learns of the submission
			if once.Swap(true) {
				return slate.CompactionPlan{}
			}
			return slate.CompactionPlan{Runs: []uint32{0}, Destination: 0}
		})
		flushes(t, db, m, "c", 1)
		time.Sleep(2 * time.Minute)
		if !failed.Load() {
			t.Error("nothing failed")
		}
		wantLevels(t, b, "1 in L0, runs 0")
		everything(t, "two minutes later", db, m)
		mustClose(t, db)
	})
}

// A resumed compaction is committed, and the record of its end hangs. Close does
// not wait for it.
func TestCloseWhileAResumedOneIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		f := faulty.New(b, faulty.Options{})
		f.Add(faulty.Rule{Delay: time.Millisecond})
		plan, m := &wanted{plan: oldestOfL0}, model{}
		opts := slate.Options{MaxSSTBytes: 256, ReaderGrace: -1, GCMinAge: -1, Compaction: slate.CompactionOptions{Scheduler: plan}}
		db := open(t, f, opts)
		runs1And0(t, b, db, m)
		plan.set(allRuns)
		f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Put}, Keys: "db/compacted/*", Skip: 3, Before: func(ctx context.Context, _ faulty.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		flushes(t, db, m, "c", 1)
		time.Sleep(time.Second)
		mustClose(t, db)
		wantLevels(t, b, "1 in L0, runs 1 0")
		g := faulty.New(b, faulty.Options{})
		g.Add(faulty.Rule{Delay: time.Millisecond})
		var resumed, done atomic.Bool
		opts.Compaction.Each = func(e slate.CompactionEvent) {
			if e.State == "resumed" {
				resumed.Store(true)
			}
			if e.State == "completed" && !done.Swap(true) {
				g.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "db/compactions/*", Err: bucket.ErrUnavailable})
			}
		}
		db = open(t, g, opts)
		flushes(t, db, m, "d", 1)
		time.Sleep(10 * time.Second)
		if !resumed.Load() || !done.Load() {
			t.Errorf("resumed %v, %s", resumed.Load(), levels(t, b))
		}
		flushes(t, db, m, "e", 1) // wakes the compactor
		time.Sleep(time.Second)
		began := time.Now()
		err := db.Close()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("closing took %v: %v", took, err)
		}
	})
}
