package slate_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// always proposes one plan, whatever the tree is like.
type always slate.CompactionPlan

func (p always) Propose(slate.CompactionTree) []slate.CompactionPlan {
	return []slate.CompactionPlan{slate.CompactionPlan(p)}
}

// carryOut carries out one plan and returns the event of its end.
func carryOut(t testing.TB, b bucket.Bucket, p slate.CompactionPlan, opts slate.Options) slate.CompactionEvent {
	t.Helper()
	var seen events
	opts.Compaction.Scheduler, opts.Compaction.Each = always(p), seen.each
	compactOnce(t, b, opts)
	return seen.all[len(seen.all)-1]
}

// runs tells what the sorted runs hold, newest first.
func runs(t testing.TB, b bucket.Bucket) string {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, r := range m.Runs {
		out += fmt.Sprintf("| %d:", r.ID)
		for _, s := range r.SSTs {
			_, err := slate.ReadSST(t.Context(), "db", b, s.ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
				out += fmt.Sprintf(" %s %s %s,", r.Key, r.Kind, r.Value)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return strings.NewReplacer(" ,", ",", ",|", " |").Replace(strings.TrimSuffix(out, ","))
}

// level writes one SST of L0: of "k=v" puts, of "-k" deletes, of "k+v" merges.
func level(t testing.TB, db *slate.DB, ops ...string) {
	t.Helper()
	for _, o := range ops {
		var err error
		if k, ok := strings.CutPrefix(o, "-"); ok {
			err = db.Delete(t.Context(), []byte(k))
		} else if k, v, ok := strings.Cut(o, "="); ok {
			err = db.Put(t.Context(), []byte(k), []byte(v))
		} else if k, v, ok := strings.Cut(o, "+"); ok {
			err = db.Merge(t.Context(), []byte(k), []byte(v))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, db)
}

// Shadowed versions, tombstones and operands go exactly when no snapshot and no
// older run needs them.
func TestWhatCompactionsDrop(t *testing.T) {
	b := bucket.NewInMemBucket()
	opts := slate.Options{CompactL0: -1, MergeOperator: slate.Concat}
	db := open(t, b, opts)
	check := func(what, want string, p slate.CompactionPlan) {
		t.Helper()
		if e := carryOut(t, b, p, opts); e.State != "completed" {
			t.Fatalf("%s: %+v", what, e)
		}
		if got := runs(t, b); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	level(t, db, "b=1", "d=1", "-f", "m=1")
	check("first run", "| 0: b value 1, d value 1, m value 1", slate.CompactionPlan{L0: 1})

	level(t, db, "b=2", "n+1")
	level(t, db, "b=3", "-d", "-a", "-z", "m+2", "n+2")
	level(t, db, "m+3")
	check("older versions in L0 go; a tombstone stays where the run below may have its key; operands become one",
		"| 1: b value 3, d tombstone, m merge 23, n merge 12 | 0: b value 1, d value 1, m value 1",
		slate.CompactionPlan{L0: 3, Destination: 1})

	old, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	level(t, db, "b=4", "-m")
	check("what a snapshot sees stays", "| 0: b value 4, b value 3, m tombstone, m value 123, n merge 12",
		slate.CompactionPlan{L0: 1, Runs: []uint32{1, 0}})
	if got := drain(t, old.Scan(t.Context(), slate.Range{})); fmt.Sprint(got) != "[b=3 m=123 n=12]" {
		t.Errorf("snapshot: %v", got)
	}
	old.Close()
	level(t, db, "q=1")
	mustCompact(t, db)
	if got, want := runs(t, b), "| 0: b value 4, n merge 12, q value 1"; got != want {
		t.Errorf("after the snapshot:\n got %s\nwant %s", got, want)
	}
	mustClose(t, db)
}

// SSTs that share no keys, hold values only and are not too small become a run
// as they are.
func TestMoves(t *testing.T) {
	keep := func(slate.FilterRow) (slate.FilterDecision, []byte) { return slate.FilterKeep, nil }
	for _, c := range []struct {
		name   string
		levels [][]string
		opts   slate.Options
		want   string
	}{
		{"apart", [][]string{{"a=1", "b=1"}, {"c=1", "d=1"}}, slate.Options{MaxSSTBytes: 200}, "moved"},
		{"apart, newest first", [][]string{{"x=1"}, {"c=1", "d=1"}}, slate.Options{MaxSSTBytes: 200}, "moved"},
		{"one key in both", [][]string{{"a=1", "b=1"}, {"b=2", "c=1"}}, slate.Options{MaxSSTBytes: 200}, "completed"},
		{"one within the other", [][]string{{"a=1", "d=1"}, {"b=2", "c=1"}}, slate.Options{MaxSSTBytes: 200}, "completed"},
		{"a tombstone", [][]string{{"a=1", "-b"}, {"c=1"}}, slate.Options{MaxSSTBytes: 200}, "completed"},
		{"an operand", [][]string{{"a=1", "b+1"}, {"c=1"}}, slate.Options{MaxSSTBytes: 200}, "completed"},
		{"small", [][]string{{"a=1"}, {"c=1"}}, slate.Options{}, "completed"},
		{"a filter", [][]string{{"a=1"}, {"c=1"}}, slate.Options{MaxSSTBytes: 200, Compaction: slate.CompactionOptions{Filter: keep}}, "completed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bucket.NewInMemBucket()
			c.opts.CompactL0, c.opts.MergeOperator, c.opts.ReaderGrace = -1, slate.Concat, -1
			db := open(t, b, c.opts)
			for _, ops := range c.levels {
				level(t, db, ops...)
			}
			want := drain(t, db.Scan(t.Context(), slate.Range{}))
			e := carryOut(t, b, slate.CompactionPlan{L0: len(c.levels)}, c.opts)
			if e.State != c.want || (e.Written == 0) != (c.want == "moved") {
				t.Errorf("%+v, want %s", e, c.want)
			}
			equalScan(t, mustOpen(t, b, slate.ReaderOptions{MergeOperator: slate.Concat}), want)
			collect(t, b, anyAge)
			equalScan(t, db, want)
			mustClose(t, db)
		})
	}
}

func equalScan(t testing.TB, db scans, want []string) {
	t.Helper()
	if got := drain(t, db.Scan(t.Context(), slate.Range{})); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A filter sees what is kept, and what it says is done.
func TestCompactionFilter(t *testing.T) {
	b := bucket.NewInMemBucket()
	var shown []string
	opts := slate.Options{CompactL0: -1, MergeOperator: slate.Concat, Compaction: slate.CompactionOptions{Workers: 1,
		Filter: func(r slate.FilterRow) (slate.FilterDecision, []byte) {
			shown = append(shown, fmt.Sprintf("%s %s %v %v %v", r.Key, r.Value, r.Tombstone, r.Operand, r.Created.IsZero()))
			switch {
			case bytes.HasPrefix(r.Key, []byte("drop")):
				return slate.FilterDrop, nil
			case bytes.HasPrefix(r.Key, []byte("delete")):
				return slate.FilterDelete, nil
			case bytes.HasPrefix(r.Key, []byte("replace")):
				return slate.FilterReplace, []byte("new")
			}
			return slate.FilterKeep, nil
		}}}
	db := open(t, b, opts)
	level(t, db, "delete=0", "drop=0", "keep=0", "old=1", "replace=0")
	carryOut(t, b, slate.CompactionPlan{L0: 1}, slate.Options{MergeOperator: slate.Concat}) // without the filter
	level(t, db, "delete=1", "drop=1", "keep+1", "keep+2", "replace=1", "-zoo")
	level(t, db, "-old")
	if e := carryOut(t, b, slate.CompactionPlan{L0: 2, Destination: 1}, opts); e.State != "completed" {
		t.Fatalf("%+v", e)
	}
	if got, want := strings.Join(shown, "; "), "delete 1 false false false; drop 1 false false false; keep 12 false true false; "+
		"old  true false false; replace 1 false false false; zoo  true false false"; got != want {
		t.Errorf("shown:\n got %s\nwant %s", got, want)
	}
	if got, want := runs(t, b), "| 1: delete tombstone, keep merge 12, old tombstone, replace value new"+
		" | 0: delete value 0, drop value 0, keep value 0, old value 1, replace value 0"; got != want {
		t.Errorf("runs:\n got %s\nwant %s", got, want)
	}
	equalScan(t, mustOpen(t, b, slate.ReaderOptions{MergeOperator: slate.Concat}), []string{"drop=0", "keep=012", "replace=new"})
	if err := db.Compact(t.Context()); err != nil { // the writer has the filter as well
		t.Fatal(err)
	}
	equalScan(t, db, []string{"keep=012", "replace=new"})
	mustClose(t, db)
}

// What a scheduler may not propose is not carried out.
func TestBadPlansAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{CompactL0: -1})
		level(t, db, "a=1")
		carryOut(t, b, slate.CompactionPlan{L0: 1}, slate.Options{})
		level(t, db, "a=2")
		carryOut(t, b, slate.CompactionPlan{L0: 1, Destination: 1}, slate.Options{})
		level(t, db, "a=3")
		for _, p := range []slate.CompactionPlan{
			{}, {L0: 2, Destination: 2}, {L0: -1, Destination: 2}, {L0: 1, Destination: 1}, {L0: 1, Destination: 0},
			{L0: 1, Runs: []uint32{0}}, {Runs: []uint32{0, 1}, Destination: 1}, {Runs: []uint32{1, 0}, Destination: 1}, {Runs: []uint32{7}, Destination: 7},
		} {
			var seen events
			var log bytes.Buffer
			stop := standalone(t, b, slate.Options{Logger: textLogger(&log), Compaction: slate.CompactionOptions{Scheduler: always(p), Each: seen.each}})
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			if len(seen.all) > 0 || !strings.Contains(log.String(), "compaction refused") {
				t.Errorf("%v: %v, logged %q", p, seen.all, log.String())
			}
		}
		everything(t, "writer", db, model{"a": "3"})
		mustClose(t, db)
	})
}

// While a database grows, a row is rewritten about once for every factor of
// four, not at every compaction, and there are few runs.
func TestTiersRewriteLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		db := open(t, b, slate.Options{MaxSSTBytes: 4 << 10, ReaderGrace: -1})
		const flushes, rows = 128, 30
		m := model{}
		var flushed int64
		for i := range flushes {
			var ops []string
			for j := range rows {
				k, v := fmt.Sprintf("%04d", (i*7919+j*104729)%9973), strings.Repeat(fmt.Sprint(i%10), 100)
				m[k] = v
				ops = append(ops, k+"="+v)
				flushed += int64(len(k) + len(v) + 18)
			}
			level(t, db, ops...)
			time.Sleep(5 * time.Second)
		}
		info, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil {
			t.Fatal(err)
		}
		w := db.CompactionWork()
		ratio := float64(w.Written) / float64(flushed)
		t.Logf("%d flushes, %d compactions wrote %.1f times what was flushed; %d in L0, %d runs", flushes, w.Jobs, ratio, len(info.L0), len(info.Runs))
		if ratio < 1 || ratio > 4.5 || len(info.L0)+len(info.Runs) > 3+3*4 {
			t.Error("that is not what size tiers do")
		}
		everything(t, "writer", db, m)
		mustClose(t, db)
	})
}

// Compactions keep to their bandwidth: what they read and write takes its time.
func TestBandwidth(t *testing.T) {
	base, m := grown(t)
	synctest.Test(t, func(t *testing.T) {
		b := clone(t, base)
		var seen events
		opts := manyRanges(&seen)
		opts.Compaction.BytesPerSecond = 1000
		began := time.Now()
		if !compactOnce(t, b, opts) {
			t.Fatal("it did not end")
		}
		e := seen.all[len(seen.all)-1]
		took, want := time.Since(began), time.Duration(e.Read+e.Written)*time.Millisecond
		t.Logf("read %d, written %d bytes in %s", e.Read, e.Written, took)
		if took < want*9/10 || took > want*3/2 {
			t.Errorf("%d bytes took %s at 1000 a second", e.Read+e.Written, took)
		}
		everything(t, "throttled", mustOpen(t, b), m)
	})
}

// Writers that are faster than L0 is flushed never wait for a compaction of runs,
// however long it takes: not while a full compaction waits for one, and not while
// it is under way.
func TestBackPressure(t *testing.T) {
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			inner := bucket.NewInMemBucket()
			opts := slate.Options{CompactL0: -1, MaxSSTBytes: 16 << 10, ReaderGrace: -1, GCMinAge: -1}
			m := model{}
			db := open(t, inner, opts)
			for run := range 4 {
				var ops []string
				for i := range 2000 {
					m[fmt.Sprintf("%05d", i*4+run)] = strings.Repeat("v", 200)
					ops = append(ops, fmt.Sprintf("%05d=%s", i*4+run, strings.Repeat("v", 200)))
				}
				level(t, db, ops...)
				carryOut(t, inner, slate.CompactionPlan{L0: 1, Destination: uint32(run)}, opts)
			}
			mustClose(t, db)

			b := faulty.New(inner, faulty.Options{})
			b.Add(faulty.Rule{Delay: 20 * time.Millisecond})
			var seen events
			opts.CompactL0, opts.L0Bytes, opts.MaxUnflushedBytes = 4, 16<<10, 64<<10
			opts.Compaction = slate.CompactionOptions{Workers: 2, Each: seen.each}
			db = open(t, b, opts)
			synctest.Wait() // the compaction of the four runs is under way
			compacted := make(chan error, 1)
			if full {
				go func() { compacted <- db.Compact(t.Context()) }()
			}
			var longest time.Duration
			for i := range 6000 {
				k, v := fmt.Sprintf("%05d", i*7919%9973), strings.Repeat("w", 100)
				m[k] = v
				var batch slate.Batch
				batch.Put([]byte(k), []byte(v))
				began := time.Now()
				if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
			if full {
				if err := <-compacted; err != nil {
					t.Error(err)
				}
			}
			everything(t, "writer", db, m)
			mustClose(t, db)
			var ofL0, ofRuns time.Duration
			for _, e := range seen.all {
				if e.L0 > 0 && len(e.Runs) == 0 {
					ofL0 = max(ofL0, e.Took)
				} else {
					ofRuns = max(ofRuns, e.Took)
				}
			}
			t.Logf("full %v: the longest wait was %s, compaction of L0 %s, of runs %s", full, longest, ofL0, ofRuns)
			if longest > ofL0+200*time.Millisecond || ofRuns < 4*longest {
				t.Errorf("full %v: a put waited for %s; compactions of L0 took %s, of runs %s", full, longest, ofL0, ofRuns)
			}
		})
	}
}

// Bad options of compactions are told with all others.
func TestCompactionOptionFaults(t *testing.T) {
	err := slate.RunCompactor(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{BlockBytes: 7,
		Compaction: slate.CompactionOptions{MaxJobs: -1, Workers: -2, BytesPerSecond: -3, PollInterval: -4}})
	if !errors.Is(err, slate.ErrInvalid) {
		t.Fatal(err)
	}
	for _, name := range []string{"BlockBytes", "MaxJobs", "Workers", "BytesPerSecond", "PollInterval"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if err := slate.RunCompactor(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{}); !errors.Is(err, slate.ErrNoDatabase) {
		t.Errorf("no database: %v", err)
	}
	if err := slate.RunCompactor(t.Context(), "db", noConditions{bucket.NewInMemBucket()}, slate.Options{}); !errors.Is(err, slate.ErrUnsupported) {
		t.Errorf("no conditional put: %v", err)
	}
}
