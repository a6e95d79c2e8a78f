package slate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// anyAge collects whatever the age.
var anyAge = slate.GCOptions{MinAge: -1}

func collect(t testing.TB, b bucket.Bucket, opts slate.GCOptions) slate.GCReport {
	t.Helper()
	r, err := slate.CollectGarbage(context.Background(), "db", b, opts)
	if err != nil {
		t.Fatalf("collect garbage: %v", err)
	}
	return r
}

func keys(t testing.TB, b bucket.Bucket) []string {
	t.Helper()
	var out []string
	for o, err := range b.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.Key)
	}
	return out
}

// needed is every key that may be in the bucket after a collection, made of
// the manifests alone: what they name and what the rules keep on purpose.
func needed(t testing.TB, b bucket.Bucket) map[string]bool {
	t.Helper()
	ctx := context.Background()
	latest, err := slate.ReadManifest(ctx, "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	need := map[string]bool{"db/gc/manifest.boundary": true, "db/gc/compactions.boundary": true}
	if latest.LastCompactedL0 != "" {
		need["db/compacted/"+latest.LastCompactedL0+".sst"] = true
	}
	replays := func(id uint64) bool { return id >= latest.ReplayAfterWAL }
	active := []*slate.ManifestInfo{latest}
	for _, c := range latest.Checkpoints {
		m, err := slate.ReadManifest(ctx, "db", b, c.ManifestID)
		if err != nil {
			t.Fatalf("manifest of a checkpoint: %v", err)
		}
		active = append(active, m)
	}
	for _, m := range active {
		need[fmt.Sprintf("db/manifest/%020d.manifest", m.ID)] = true
		if m != latest {
			others := replays
			replays = func(id uint64) bool {
				return others(id) || id == m.ReplayAfterWAL || id > m.ReplayAfterWAL && id <= m.WALLastSeen
			}
		}
		ssts := slices.Clone(m.L0)
		for _, r := range m.Runs {
			ssts = append(ssts, r.SSTs...)
		}
		for _, s := range ssts {
			need["db/compacted/"+s.ID+".sst"] = true
		}
	}
	all := keys(t, b)
	wals, err := slate.WALObjects(ctx, "db", b)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range wals {
		rows, err := slate.ReadWAL(ctx, "db", b, id, slate.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if replays(id) || len(rows) == 0 {
			need[fmt.Sprintf("db/wal/%020d.sst", id)] = true
		}
	}
	last := ""
	for _, k := range all {
		if strings.HasPrefix(k, "db/compactions/") {
			last = k
		}
	}
	need[last] = true
	return need
}

// nothingElse checks that the bucket holds what is needed and no more.
func nothingElse(t testing.TB, what string, b bucket.Bucket) {
	t.Helper()
	need := needed(t, b)
	for _, k := range keys(t, b) {
		if !need[k] {
			t.Errorf("%s: %s is left", what, k)
		}
	}
}

// history writes and flushes and compacts at random, as several writers one
// after the other, and returns what there should be.
func history(t testing.TB, b bucket.Bucket, seed uint64) model {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := model{}
	opts := slate.Options{MaxSSTBytes: 500, CompactL0: 3, ReaderGrace: -1}
	if seed%3 == 0 {
		opts.ReaderGrace = time.Minute
	}
	ctx := context.Background()
	for range 3 {
		db, err := slate.Open(ctx, "db", b, opts)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			k := fmt.Sprintf("%02d", rnd.IntN(60))
			switch n := rnd.IntN(20); {
			case n == 0:
				err = db.Compact(ctx)
			case n < 4:
				err = db.FlushMemtable(ctx)
			case n < 7:
				delete(m, k)
				err = db.Delete(ctx, []byte(k))
			default:
				m[k] = fmt.Sprint(rnd.IntN(1000)) + strings.Repeat("v", 50)
				err = db.Put(ctx, []byte(k), []byte(m[k]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, db)
	}
	return m
}

// After a full compaction without grace and a collection without age, the
// bucket holds what the latest manifest and its checkpoints name, what the
// rules keep on purpose, and nothing else; and everything is still read by the
// writer, by readers, and by the next writer.
func TestCollectionLeavesNothingElse(t *testing.T) {
	for seed := range uint64(25) {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			m := history(t, b, seed)
			before, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{CacheBytes: -1})
			if err != nil {
				t.Fatal(err)
			}
			db := open(t, b, slate.Options{ReaderGrace: -1})
			mustCompact(t, db)
			report := collect(t, b, anyAge)
			what := fmt.Sprintf("seed %d", seed)
			nothingElse(t, what, b)
			if again := collect(t, b, anyAge); again.SSTs.Deleted.Objects+again.WAL.Deleted.Objects > 0 || !again.BoundaryFiles {
				t.Errorf("%s: collected again: %+v", what, again)
			}
			if n, bytes := report.Deleted(); n == 0 || bytes == 0 {
				t.Errorf("%s: nothing was deleted", what)
			}
			everything(t, what+", writer", db, m)
			after, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			everything(t, what+", new reader", after, m)
			for _, err := range before.Scan(t.Context(), slate.Range{}) { // moves to the newest state if it must
				if err != nil && !errors.Is(err, slate.ErrUnavailable) {
					t.Fatal(err)
				}
			}
			everything(t, what+", old reader", before, m)
			put(t, db, "00", "goes on")
			m["00"] = "goes on"
			mustClose(t, db)
			nextWriter(t, what, b, slate.Options{}, m)
		})
	}
}

// A compaction is killed at each of its writes. What it left is found once the
// next compaction has run.
func TestOrphansOfKilledCompactionsAndFlushes(t *testing.T) {
	puts := []faulty.Verb{faulty.PutIfAbsent, faulty.Put}
	for step, done := 0, false; !done; step++ {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			m := history(t, b, 1)
			first, err := slate.Open(t.Context(), "db", b, slate.Options{ReaderGrace: -1, MaxSSTBytes: 500})
			if err != nil {
				t.Fatal(err)
			}
			put(t, first, "00", "before the kill")
			m["00"] = "before the kill"
			heal := b.Add(faulty.Rule{Verbs: puts, Skip: step, Err: bucket.ErrDenied})
			done = first.Compact(t.Context()) == nil
			_ = first.Close() // as good as killed: nothing more reaches the bucket
			heal()

			second := open(t, b, slate.Options{ReaderGrace: -1})
			collect(t, b, anyAge) // right after the crash: whatever it finds, nothing is lost
			everything(t, fmt.Sprintf("killed at write %d", step), second, m)
			mustCompact(t, second)
			collect(t, b, anyAge)
			nothingElse(t, fmt.Sprintf("killed at write %d", step), b)
			everything(t, fmt.Sprintf("killed at write %d, compacted", step), second, m)
			mustClose(t, second)
		})
		if step > 100 {
			t.Fatal("the compaction never ends")
		}
	}
}

// While the checkpoint of a compaction lives, all that it pins stays; once it
// has expired, it goes, with what it pinned.
func TestCheckpointKeepsItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		m := history(t, b, 2)
		db := open(t, b, slate.Options{ReaderGrace: time.Hour, GCMinAge: -1})
		old, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{CacheBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		put(t, db, "00", "new")
		mustCompact(t, db)
		if r := collect(t, b, anyAge); r.ExpiredCheckpoints != 0 {
			t.Errorf("%d checkpoints expired", r.ExpiredCheckpoints)
		}
		nothingElse(t, "pinned", b)
		everything(t, "reader of the pinned state", old, m)

		time.Sleep(2 * time.Hour)
		dry := collect(t, b, slate.GCOptions{MinAge: -1, DryRun: true})
		if r := collect(t, b, anyAge); r.ExpiredCheckpoints == 0 || r.SSTs.Deleted.Objects == 0 ||
			dry.ExpiredCheckpoints != r.ExpiredCheckpoints || dry.SSTs.Deleted != r.SSTs.Deleted {
			t.Errorf("after the checkpoint's life: %+v, dry run: %+v", r, dry)
		}
		nothingElse(t, "expired", b)
		m["00"] = "new"
		everything(t, "writer", db, m)
		mustClose(t, db)
	})
}

// A dry run finds what the real one deletes, and writes and deletes nothing.
func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		history(t, b, 4)
		before := keys(t, b)
		b.ResetStats()
		var would, gone []string
		dry := collect(t, b, slate.GCOptions{MinAge: -1, DryRun: true, Each: func(o slate.GCObject) {
			if o.Keep == "" {
				would = append(would, o.Key)
			}
		}})
		if n := b.Stats().Total(faulty.Put, faulty.PutIfAbsent, faulty.PutIfMatch, faulty.Delete).Requests; n != 0 {
			t.Errorf("a dry run sent %d writes", n)
		}
		if !slices.Equal(keys(t, b), before) {
			t.Error("a dry run changed the bucket")
		}
		real := collect(t, b, slate.GCOptions{MinAge: -1, Each: func(o slate.GCObject) {
			if o.Keep == "" {
				gone = append(gone, o.Key)
			}
		}})
		if !slices.Equal(would, gone) || len(gone) == 0 {
			t.Errorf("deleted %v, the dry run said %v", gone, would)
		}
		if !dry.DryRun || real.DryRun || dry.SSTs.Deleted != real.SSTs.Deleted {
			t.Errorf("dry %+v, real %+v", dry, real)
		}
	})
}

// Nothing younger than the minimum age goes, and by default that is five
// minutes.
func TestMinAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		history(t, b, 1)
		if r := collect(t, b, slate.GCOptions{}); r.SSTs.Deleted.Objects+r.Manifests.Deleted.Objects+r.WAL.Deleted.Objects+r.Compactions.Deleted.Objects > 0 {
			t.Errorf("young objects went: %+v", r)
		}
		time.Sleep(5 * time.Minute)
		r := collect(t, b, slate.GCOptions{})
		if n, _ := r.Deleted(); n == 0 {
			t.Error("nothing went after five minutes")
		}
	})
}

// A writer sleeps, for a moment or for long, while another takes over, moves
// the log on, and our collector removes all it can. The fence stays, so the
// sleeper's put fails.
func TestSleeperIsFencedAfterOurCollection(t *testing.T) {
	for _, nap := range []time.Duration{time.Millisecond, time.Minute, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			opts := slate.Options{ReaderGrace: -1, GCMinAge: -1} // others collect
			sleeper := open(t, b, opts)
			put(t, sleeper, "k", "before")
			other := open(t, b, opts)
			for i := range 5 {
				put(t, other, "k", fmt.Sprint("theirs ", i))
				mustFlush(t, other)
			}
			mustCompact(t, other)
			time.Sleep(nap)
			if r := collect(t, b, anyAge); r.WAL.Deleted.Objects == 0 || r.Manifests.Deleted.Objects == 0 {
				t.Errorf("nothing to collect: %+v", r)
			}
			if err := sleeper.Put(t.Context(), []byte("k"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
				t.Errorf("put by the sleeper after %v: %v, want fenced", nap, err)
			}
			checkGet(t, other, model{"k": "theirs 4"}, "k")
			_ = sleeper.Close()
			mustClose(t, other)
			next := open(t, b, slate.Options{})
			checkGet(t, next, model{"k": "theirs 4"}, "k")
			_ = next.Close()
		})
	}
}

// Others publish two manifests behind an idle writer's back, and the one that
// it would write next is collected at once. Its flush must not take the hole
// for its own: the rows would be missing from the manifest after that.
func TestFlushOverCollectedManifests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		m := history(t, b, 0)
		db := open(t, b, slate.Options{CompactL0: -1}) // all by itself on the manifest
		for i := range 6 {
			k := fmt.Sprintf("%02d", i)
			put(t, db, k, "v")
			m[k] = "v"
			if i%2 == 0 {
				republish(t, b)
				republish(t, b)
			}
			collect(t, b, anyAge)
			mustFlush(t, db)
			collect(t, b, anyAge)
		}
		everything(t, "writer", db, m)
		mustClose(t, db)
		nextWriter(t, "after two publishers and a collector", b, slate.Options{}, m)
	})
}

// Another publisher is so fast behind a flush that the writer cannot tell
// whether its own manifest came in time: it looks again and finds it has.
func TestFlushOvertakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		db := open(t, b, slate.Options{})
		put(t, db, "k", "v")
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
			After: func(_ context.Context, _ faulty.Request, err error) error { republish(t, inner); return err }})
		mustFlush(t, db)
		latest, err := slate.ReadManifest(t.Context(), "db", inner, 0)
		if err != nil || len(latest.L0) != 1 {
			t.Errorf("L0 is %+v, %v, want one SST", latest.L0, err)
		}
		mustClose(t, db)
	})
}

// republish puts the latest manifest once more, as one that changes nothing.
func republish(t testing.TB, b bucket.Bucket) {
	t.Helper()
	ctx := context.Background()
	m, err := slate.ReadManifest(ctx, "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Get(ctx, fmt.Sprintf("db/manifest/%020d.manifest", m.ID))
	if err == nil {
		err = b.PutIfAbsent(ctx, fmt.Sprintf("db/manifest/%020d.manifest", m.ID+1), data, "token")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A collection runs between the upload of an SST and the manifest that names
// it: of a flush, and of a compaction.
func TestUploadedNotYetPublished(t *testing.T) {
	for _, minAge := range []time.Duration{-1, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			m := history(t, b, 3)
			db := open(t, b, slate.Options{ReaderGrace: -1, MaxSSTBytes: 500})
			for i := range 3 {
				k := fmt.Sprintf("%02d", i)
				put(t, db, k, "late")
				m[k] = "late"
				var collections atomic.Int64
				remove := b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*",
					Before: func(ctx context.Context, _ faulty.Request) error {
						if collections.Add(1) > 3 {
							return nil // its own manifests, when checkpoints expire
						}
						time.Sleep(2 * time.Minute)
						_, err := slate.CollectGarbage(ctx, "db", b, slate.GCOptions{MinAge: minAge})
						return err
					}})
				mustFlush(t, db)
				if i > 0 {
					mustCompact(t, db)
				}
				remove()
				if collections.Load() == 0 {
					t.Error("no collection ran in between")
				}
				everything(t, "writer", db, m)
			}
			mustClose(t, db)
			nextWriter(t, "after collections in between", b, slate.Options{}, m)
		})
	}
}

// behind is a clock that is late.
type behind struct {
	slate.Clock
	by time.Duration
}

func (c behind) Now() time.Time { return c.Clock.Now().Add(-c.by) }

// The same, with a writer whose clock is far behind that of the writer before and
// of the collector: its SST is young whatever its name would say.
func TestUploadedByALateClock(t *testing.T) {
	for _, compact := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(time.Millisecond)
			db := open(t, b, slate.Options{ReaderGrace: -1})
			put(t, db, "a", "1")
			mustFlush(t, db)
			if compact { // also the compactions file lets SSTs be collected that are younger than it
				mustCompact(t, db)
			}
			put(t, db, "b", "1")
			mustClose(t, db)
			late := slate.Options{ReaderGrace: -1, CompactL0: -1, GCMinAge: -1, Clock: behind{clock.System, time.Hour}}
			db = open(t, b, late)
			put(t, db, "a", "2")
			collected := false
			b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Times: 1,
				Before: func(ctx context.Context, _ faulty.Request) error {
					collected = true
					_, err := slate.CollectGarbage(ctx, "db", b, slate.GCOptions{})
					return err
				}})
			mustFlush(t, db)
			if !collected {
				t.Error("no collection ran in between")
			}
			mustClose(t, db)
			everything(t, "the next", open(t, b, slate.Options{}), model{"a": "2", "b": "1"})
		})
	}
}

// So are the SSTs of a compaction by a late clock: their names say that they are
// younger than the compactions before.
func TestCompactionByALateClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{})
		for range 2 {
			put(t, db, "a", "1")
			mustFlush(t, db)
		}
		time.Sleep(time.Hour)
		began := time.Now()
		mustCompact(t, db)
		mustClose(t, db)
		time.Sleep(time.Hour)
		db = open(t, b, slate.Options{GCMinAge: -1, Clock: behind{clock.System, 3 * time.Hour}})
		put(t, db, "a", "3")
		mustCompact(t, db)
		m, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil || len(m.Runs) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		for _, s := range m.Runs[0].SSTs {
			if at := ulid.Time(ulid.MustParse(s.ID).Time()); !at.After(began) {
				t.Errorf("an SST says it is of %v; a compaction began at %v", at, began)
			}
		}
		mustClose(t, db)
	})
}

// Readers get and scan while a writer compacts and a collector removes what is
// old. A get always answers; a scan answers or says to run it again.
func TestReadersDuringCollection(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{ReaderGrace: -1, CompactL0: 2})
	m := model{}
	for i := range 60 {
		k := fmt.Sprintf("%02d", i)
		put(t, db, k, "v")
		m[k] = "v"
	}
	reader, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range []scans{db, reader} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if v, err := r.Get(context.Background(), fmt.Appendf(nil, "%02d", i%60)); err != nil || string(v) != "v" {
					t.Errorf("get: %q, %v", v, err)
				}
				n := 0
				var last error
				for _, last = range r.Scan(context.Background(), slate.Range{}) {
					n++
				}
				if last != nil && !(errors.Is(last, slate.ErrUnavailable) && r != any(db)) || last == nil && n != 60 {
					t.Errorf("scan: %d rows, %v", n, last)
				}
			}
		})
	}
	for i := range 30 {
		put(t, db, fmt.Sprintf("%02d", i), "v")
		mustFlush(t, db)
		if i%3 == 0 {
			mustCompact(t, db)
		}
		collect(t, b, anyAge)
	}
	close(stop)
	wg.Wait()
}

// Names that are no object of the database are left alone, also where another
// database lies below.
func TestForeignNamesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		history(t, b, 1)
		foreign := []string{
			"db/wal/notes.txt", "db/wal/1.sst", "db/wal/sub/00000000000000000001.sst", "db/manifest/readme",
			"db/compacted/x.sst", "db/compacted/sub/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst", "db/compactions/sub/00000000000000000001.compactions",
			"db/other", "other/wal/00000000000000000001.sst", "dbx/manifest/00000000000000000001.manifest",
		}
		for _, k := range foreign {
			if err := b.Put(t.Context(), k, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		collect(t, b, anyAge)
		left := keys(t, b)
		for _, k := range foreign {
			if !slices.Contains(left, k) {
				t.Errorf("%s is gone", k)
			}
		}
	})
}

// Boundary files hold the greatest number that was deleted, and never go back.
func TestBoundaryFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		history(t, b, 1)
		last := map[string]string{}
		for range 3 {
			gone := map[string]string{}
			collect(t, b, slate.GCOptions{MinAge: -1, Each: func(o slate.GCObject) {
				if o.Keep == "" {
					number, _, _ := strings.Cut(path.Base(o.Key), ".")
					gone[path.Base(path.Dir(o.Key))] = strings.TrimLeft(number, "0")
				}
			}})
			for _, name := range []string{"manifest", "compactions"} {
				if n, ok := gone[name]; ok {
					last[name] = n
				}
				got, err := b.Get(t.Context(), "db/gc/"+name+".boundary")
				if err != nil || string(got) != last[name] {
					t.Errorf("boundary of %s: %q, %v, want %q", name, got, err, last[name])
				}
			}
			db := open(t, b, slate.Options{ReaderGrace: -1})
			put(t, db, "k", "v")
			if err := errors.Join(db.Compact(t.Context()), db.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Put(t.Context(), "db/gc/manifest.boundary", []byte("999")); err != nil {
			t.Fatal(err)
		}
		collect(t, b, anyAge)
		if got, err := b.Get(t.Context(), "db/gc/manifest.boundary"); err != nil || string(got) != "999" {
			t.Errorf("a boundary went back to %q, %v", got, err)
		}
	})
}

// What cannot be judged is refused, and nothing is deleted.
func TestCollectionRefuses(t *testing.T) {
	b := bucket.NewInMemBucket()
	if _, err := slate.CollectGarbage(t.Context(), "db", b, anyAge); !errors.Is(err, slate.ErrNoDatabase) {
		t.Errorf("no database: %v", err)
	}
	if _, err := slate.CollectGarbage(t.Context(), "db", noConditions{b}, anyAge); !errors.Is(err, slate.ErrUnsupported) {
		t.Errorf("no conditional put: %v", err)
	}
	m := history(t, b, 0)
	latest, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(latest.Checkpoints) == 0 {
		t.Fatal("no checkpoint", err)
	}
	if err := b.Delete(t.Context(), fmt.Sprintf("db/manifest/%020d.manifest", latest.Checkpoints[0].ManifestID)); err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(m)
	all := keys(t, b)
	if _, err := slate.CollectGarbage(t.Context(), "db", b, anyAge); !errors.Is(err, slate.ErrCorrupt) {
		t.Errorf("manifest of a checkpoint missing: %v", err)
	}
	if !slices.Equal(keys(t, b), all) {
		t.Error("something was deleted")
	}
	everything(t, "writer", open(t, b, slate.Options{}), before)
}

func ExampleCollectGarbage() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	db, err := slate.Open(ctx, "shop", b, slate.Options{ReaderGrace: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("k"), []byte("v"))
	_ = db.FlushMemtable(ctx) // the log objects below are in L0 now
	_ = db.Put(ctx, []byte("k"), []byte("w"))
	_ = db.FlushMemtable(ctx)

	report, err := slate.CollectGarbage(ctx, "shop", b, slate.GCOptions{MinAge: -1})
	fmt.Println(report.WAL.Deleted.Objects, report.Manifests.Deleted.Objects, err)
	v, err := db.Get(ctx, []byte("k"))
	fmt.Println(string(v), err)
	// Output:
	// 1 3 <nil>
	// w <nil>
}
