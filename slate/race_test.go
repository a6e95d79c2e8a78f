package slate_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
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

// A flush waits for the compactor to make room in L0 when that learns that
// another has taken over, and with it another writer: the flush ends fenced, and
// does not wait for ever.
func TestFlushThatWaitsForADeposedCompactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		first := open(t, b, slate.Options{CompactL0: 2, MaxL0: 2})
		gate := make(chan struct{})
		b.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "*/compactions/*", Skip: 2, Times: 1,
			Before: func(context.Context, faulty.Request) error { <-gate; return nil }})
		for _, k := range []string{"a", "b"} {
			put(t, first, k, "v")
			mustFlush(t, first)
		}
		put(t, first, "c", "v")
		flushed := make(chan error)
		go func() { flushed <- first.FlushMemtable(t.Context()) }()
		synctest.Wait() // the compaction stands at the gate, the flush before a full L0

		second := open(t, inner, slate.Options{})
		mustCompact(t, second)
		close(gate)
		if err := <-flushed; !errors.Is(err, slate.ErrFenced) {
			t.Errorf("flush: %v, want fenced", err)
		}
		_ = first.Close()
		mustClose(t, second)
	})
}

// L0 is full and nobody compacts by itself: a compaction that is asked for makes
// the room for the flush that goes before it. It is answered also where that
// flush ends before the compaction which made the room is recorded.
func TestCompactWhenL0IsFull(t *testing.T) {
	for _, delay := range []time.Duration{0, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(0)
			b.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "*/compactions/*", Delay: delay})
			db := open(t, b, slate.Options{CompactL0: -1, MaxL0: 2, L0Bytes: 1, GCMinAge: -1})
			m := model{}
			for i := range 3 { // two in L0, one that waits for room
				k := fmt.Sprint(i)
				put(t, db, k, "v")
				m[k] = "v"
			}
			mustCompact(t, db)
			everything(t, "compacted", db, m)
			mustClose(t, db)
		})
	}
}

// Another publisher is so fast behind one of a compaction's manifests that the
// writer cannot tell whether its own came in time, and looks again: nothing of
// it may take effect twice.
func TestCompactionOvertakenAtOnce(t *testing.T) {
	for step := range 4 {
		synctest.Test(t, func(t *testing.T) {
			inner := bucket.NewInMemBucket()
			b := faulty.New(inner, faulty.Options{})
			db := open(t, b, slate.Options{CompactL0: -1})
			m := model{}
			for _, k := range []string{"a", "b"} {
				put(t, db, k, "v")
				m[k] = "v"
				mustFlush(t, db)
			}
			b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "db/manifest/*", Skip: step, Times: 1,
				After: func(_ context.Context, _ faulty.Request, err error) error { republish(t, inner); return err }})
			_ = db.Compact(t.Context()) // perhaps it cannot tell that it is done
			if err := db.Close(); err != nil {
				t.Errorf("overtaken at manifest %d: close: %v", step, err)
			}
			nextWriter(t, fmt.Sprint("overtaken at manifest ", step), inner, slate.Options{}, m)
		})
	}
}

// Two writers take the database from each other, again and again, while garbage
// is collected and the network delays, loses, repeats and forgets. What either
// was told is durable survives; what it was told failed is not there; and a
// writer that another one followed is fenced before its next acknowledgement,
// also when it, or its request, slept through a collection.
func TestTwoWritersUnderFaults(t *testing.T) {
	sum := tally{}
	for _, seed := range seeds(t, checks(t)) {
		var r *race
		synctest.Test(t, func(*testing.T) {
			r = newRace(uint64(seed))
			r.run()
		})
		for _, f := range r.faults {
			t.Errorf("STELE_SEED=%d: %s", seed, f)
		}
		if len(r.faults) > 0 {
			t.Fatalf("STELE_SEED=%d: what happened:\n%s", seed, strings.Join(r.log, "\n"))
		}
		for what, n := range r.tally {
			sum[what] += n
		}
	}
	t.Log(sum)
	for _, what := range []string{acked, fenced, "objects collected", "writers asleep", "requests asleep on the way there"} {
		if sum[what] == 0 {
			t.Errorf("%s: never: the races prove little", what)
		}
	}
}

// tally counts what happened in races.
type tally map[string]int

func (c tally) String() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s: %d", what, c[what]))
	}
	return strings.Join(parts, ", ")
}

// race is one race under way. Every choice follows from the seed and from what
// is asked, not from which goroutine asks first.
type race struct {
	seed  uint64
	b     bucket.Bucket // without faults
	nets  []*faulty.Bucket
	began time.Time

	mu     sync.Mutex
	asked  map[string]int // how often each choice was made
	reigns []reign
	fate   map[string]string // of keys: what the writer was told
	faults []string
	log    []string
	tally  tally
}

// reign is a writer's time: from the beginning and the end of its Open on.
type reign struct {
	name         string
	from, opened time.Duration
}

// What a writer knows of a key.
const (
	acked    = "acknowledged"
	fenced   = "fenced"  // never there
	unknown  = "unknown" // there or not
	deleted  = "deleted"
	deleting = "deleting" // there or not
)

func newRace(seed uint64) *race {
	return &race{seed: seed, b: bucket.NewInMemBucket(), began: time.Now(),
		asked: map[string]int{}, fate: map[string]string{}, tally: tally{}}
}

// draw returns a number below n for a choice, another each time it is made.
func (r *race) draw(n int, choice ...string) int {
	name := strings.Join(choice, "|")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[name]++
	h := fnv.New64a()
	fmt.Fprint(h, r.seed, "|", name, "|", r.asked[name])
	return rand.New(rand.NewPCG(h.Sum64(), r.seed)).IntN(n)
}

func (r *race) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf("%12v  %s", time.Since(r.began), fmt.Sprintf(format, args...)))
}

func (r *race) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally[what]++
}

func (r *race) faultf(format string, args ...any) {
	r.note("WRONG: "+format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// network is the bucket as one process reaches it.
func (r *race) network(name string) *faulty.Bucket {
	f := faulty.New(r.b, faulty.Options{})
	often := func(permille int, what string) func(faulty.Request) bool {
		return func(q faulty.Request) bool {
			hit := r.draw(1000, name, what, string(q.Verb), q.Key) < permille
			if hit {
				r.note("%s: %s %s: %s", name, q.Verb, q.Key, what)
				r.count("requests " + what)
			}
			return hit
		}
	}
	nap := func(long func(faulty.Request) bool, q faulty.Request, way string) {
		time.Sleep(time.Duration(r.draw(20_000, name, way, string(q.Verb), q.Key)) * time.Microsecond)
		if long(q) {
			time.Sleep(time.Duration(150+r.draw(250, name, "long "+way, q.Key)) * time.Second)
		}
	}
	there, back := often(3, "asleep on the way there"), often(3, "asleep on the way back")
	f.Add(faulty.Rule{Before: func(_ context.Context, q faulty.Request) error { nap(there, q, "there"); return nil }})
	f.Add(faulty.Rule{When: often(60, "that never arrived"), Err: bucket.ErrUnavailable})
	f.Add(faulty.Rule{Verbs: faulty.Writes, When: often(20, "delivered late"), Hold: true})
	f.Add(faulty.Rule{Verbs: faulty.Writes, When: often(60, "doubled"), Duplicate: true})
	f.Add(faulty.Rule{When: often(60, "without a reply"), Lose: true})
	f.Add(faulty.Rule{After: func(_ context.Context, q faulty.Request, err error) error { nap(back, q, "back"); return err }})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nets = append(r.nets, f)
	return f
}

// deliver sends what the networks kept back.
func (r *race) deliver() {
	r.mu.Lock()
	nets := slices.Clone(r.nets)
	r.mu.Unlock()
	for _, f := range nets {
		_, _ = f.Release(context.Background()) // what it meets is its own affair
	}
}

func (r *race) run() {
	done := make(chan struct{})
	var beside, writers sync.WaitGroup
	every := func(what string, least, most int, do func()) {
		beside.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Duration(least+r.draw(most-least, what)) * time.Second):
					do()
				}
			}
		})
	}
	every("delivery", 1, 200, r.deliver)
	every("collection", 20, 200, r.collector())
	for w := range 2 {
		writers.Go(func() { r.writer(fmt.Sprint("writer ", w)) })
	}
	writers.Wait()
	close(done)
	beside.Wait()
	for _, f := range r.nets {
		f.Clear()
	}
	r.check("afterwards")
	r.deliver()
	r.check("after the last delivery")
}

// collector returns one of three collections: ours, of any age or of five
// minutes, and SlateDB's, which takes fences too.
func (r *race) collector() func() {
	net := r.network("collector")
	minAge := []time.Duration{-1, 5 * time.Minute, -1}[r.seed%3]
	return func() {
		if r.seed%3 == 2 {
			r.collectAsSlateDB()
			return
		}
		report, err := slate.CollectGarbage(context.Background(), "db", net, slate.GCOptions{MinAge: minAge, Random: r.random("collector")})
		n, _ := report.Deleted()
		for range n {
			r.count("objects collected")
		}
		r.note("collector: %d objects, %v", n, err)
		for _, may := range []error{slate.ErrNoDatabase, slate.ErrUnavailable, slate.ErrUnknownOutcome} {
			if errors.Is(err, may) {
				return
			}
		}
		if err != nil {
			r.faultf("collect garbage: %v", err)
		}
	}
}

// collectAsSlateDB deletes what lies before the replay point and is 300 s old.
func (r *race) collectAsSlateDB() {
	ctx := context.Background()
	m, err := slate.ReadManifest(ctx, "db", r.b, 0)
	if errors.Is(err, slate.ErrNoDatabase) {
		return
	}
	for o, lerr := range r.b.List(ctx, "db/wal/", "") {
		if err = errors.Join(err, lerr); err != nil {
			break
		}
		if o.Key < fmt.Sprintf("db/wal/%020d.sst", m.ReplayAfterWAL) && time.Since(o.Modified) > 300*time.Second {
			r.note("SlateDB's collector: %s", o.Key)
			r.count("objects collected")
			err = r.b.Delete(ctx, o.Key)
		}
	}
	if err != nil {
		r.faultf("collect the log: %v", err)
	}
}

func (r *race) random(name string) *seeded {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(r.draw(256, name, "random"))
	}
	return &seeded{r: rand.NewChaCha8(seed)}
}

// writer opens the database a few times and writes until it is fenced, or has
// had enough.
func (r *race) writer(name string) {
	net := r.network(name)
	var before *slate.DB // the life before, if it stays open for a while
	var last reign
	opts := slate.Options{
		L0Bytes: []int64{200, 1000}[r.draw(2, name, "L0")], CompactL0: 2 + r.draw(2, name, "compact"), MaxSSTBytes: 500,
		ReaderGrace:   []time.Duration{-1, 5 * time.Minute}[r.draw(2, name, "grace")],
		MaxWALObjects: []int{3, 4096}[r.draw(2, name, "log")],
		GCMinAge:      []time.Duration{-1, 30 * time.Second, 5 * time.Minute}[r.draw(3, name, "garbage")],
	}
	if r.draw(2, name, "compactions") == 0 { // many at once, so that ids of runs come again soon
		opts.Compaction = slate.CompactionOptions{Scheduler: slate.SizeTiered{MinSources: 2, MinL0: 1, MaxSources: 3}, MaxJobs: 4, Workers: 4}
	}
	for life := range 4 {
		me := fmt.Sprintf("%s, life %d", name, life)
		opts.Random = r.random(me)
		if opts.DisableWAL = r.draw(3, me, "no log") == 0; opts.DisableWAL {
			r.count("lives without a log")
		}
		now := reign{name: me, from: time.Since(r.began)}
		db, err := slate.Open(context.Background(), "db", net, opts)
		r.note("%s: open: %v", me, err)
		if err == nil {
			now.opened = time.Since(r.began)
			r.mu.Lock()
			r.reigns = append(r.reigns, now)
			r.mu.Unlock()
		} else if !errors.Is(err, slate.ErrFenced) && !errors.Is(err, slate.ErrUnknownOutcome) {
			r.faultf("%s: open: %v", me, err)
		}
		if before != nil {
			key := "late-" + me
			r.write(last, key, acked, unknown, func() error { return before.Put(context.Background(), []byte(key), nil) })
			r.closed(last.name, before.Close())
		}
		if before, last = db, now; err != nil {
			continue
		}
		for i := 0; i < 16 && r.step(db, now, fmt.Sprintf("%s-%d-%02d", name[len(name)-1:], life, i)); i++ {
			continue
		}
		if r.draw(3, me, "stay open") > 0 {
			r.closed(me, db.Close())
			before = nil
		}
	}
	if before != nil {
		r.closed(name, before.Close())
	}
}

func (r *race) closed(who string, err error) {
	r.note("%s: close: %v", who, err)
	if err != nil && !errors.Is(err, slate.ErrFenced) && !errors.Is(err, slate.ErrUnknownOutcome) {
		r.faultf("%s: close: %v", who, err)
	}
}

// step does one thing with the database and reports whether its writer goes on.
func (r *race) step(db *slate.DB, me reign, key string) bool {
	ctx := context.Background()
	switch n := r.draw(100, key); {
	case n < 60:
		return r.write(me, key, acked, unknown, func() error { return db.Put(ctx, []byte(key), []byte(key)) })
	case n < 70:
		return r.write(me, key, acked, unknown, func() error {
			var b slate.Batch
			b.Put([]byte(key), []byte(key))
			h, err := db.Write(ctx, &b, slate.WriteOptions{Volatile: true})
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(r.draw(200, key, "wait")) * time.Millisecond)
			if err := h.AwaitDurable(ctx); err != nil {
				return errors.Join(err, slate.ErrUnknownOutcome) // it promises no more
			}
			return nil
		})
	case n < 76:
		key = key[:len(key)-2] + "00" // the first of this life
		if r.fateOf(key) != acked {
			return true
		}
		return r.write(me, key, deleted, deleting, func() error { return db.Delete(ctx, []byte(key)) })
	case n < 82:
		return r.moved(me, db.FlushMemtable(ctx))
	case n < 86:
		return r.moved(me, db.Compact(ctx))
	case n < 90:
		key = key[:len(key)-2] + "00"
		v, err := db.Get(ctx, []byte(key))
		if f := r.fateOf(key); err == nil && string(v) != key || f == acked && errors.Is(err, slate.ErrNotFound) || f == deleted && err == nil {
			r.faultf("%s: get %s, which is %s: %q, %v", me.name, key, f, v, err)
		}
	case n < 96:
		time.Sleep(time.Duration(r.draw(3000, key, "nap")) * time.Millisecond)
	default:
		r.note("%s: sleeps long", me.name)
		r.count("writers asleep")
		time.Sleep(time.Duration(100+r.draw(600, key, "sleep")) * time.Second)
	}
	return true
}

func (r *race) fateOf(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fate[key]
}

// moved judges an error of what writes nothing new.
func (r *race) moved(me reign, err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, slate.ErrFenced), errors.Is(err, slate.ErrUnknownOutcome):
	case strings.Contains(err.Error(), "another compactor"), strings.Contains(err.Error(), "are gone from the manifest"):
	default:
		r.faultf("%s: %v", me.name, err)
	}
	r.note("%s: %v", me.name, err)
	return !errors.Is(err, slate.ErrFenced)
}

// write judges what came of a write.
func (r *race) write(me reign, key, good, doubtful string, do func() error) bool {
	was := r.fateOf(key)
	r.setFate(key, doubtful)
	began := time.Since(r.began)
	err := do()
	switch {
	case err == nil:
		r.count(acked)
		r.setFate(key, good)
		r.mu.Lock()
		reigns := slices.Clone(r.reigns)
		r.mu.Unlock()
		for _, other := range reigns {
			if other.from > me.opened && other.opened < began {
				r.faultf("%s: write of %s, begun at %v, acknowledged, though %s had opened the database from %v to %v",
					me.name, key, began, other.name, other.from, other.opened)
			}
		}
	case errors.Is(err, slate.ErrUnknownOutcome):
		r.count(unknown)
	case errors.Is(err, slate.ErrFenced):
		r.count(fenced)
		if was == "" {
			was = fenced
		}
		r.setFate(key, was)
	default:
		r.faultf("%s: write of %s: %v", me.name, key, err)
	}
	r.note("%s: write %s: %v", me.name, key, err)
	return err == nil
}

func (r *race) setFate(key, fate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fate[key] = fate
}

// check opens the database, compares it with what the writers were told, and
// does so again after a compaction and a collection.
func (r *race) check(when string) {
	ctx := context.Background()
	db, err := slate.Open(ctx, "db", r.b, slate.Options{ReaderGrace: -1})
	if err != nil {
		r.faultf("%s: open: %v", when, err)
		return
	}
	for range 2 {
		have := map[string]bool{}
		for kv, err := range db.Scan(ctx, slate.Range{}) {
			if err != nil {
				r.faultf("%s: scan: %v", when, err)
				break
			}
			have[string(kv.Key)] = true
			if r.fate[string(kv.Key)] == "" {
				r.faultf("%s: %s was never written", when, kv.Key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(r.fate)) {
			switch fate := r.fate[key]; {
			case fate == acked && !have[key], (fate == fenced || fate == deleted) && have[key]:
				r.faultf("%s: %s, which is %s: found %v", when, key, fate, have[key])
			case fate == unknown: // from now on it is known
				r.fate[key] = map[bool]string{true: acked, false: fenced}[have[key]]
			case fate == deleting:
				r.fate[key] = map[bool]string{true: acked, false: deleted}[have[key]]
			}
		}
		err := db.Compact(ctx)
		if err == nil {
			_, err = slate.CollectGarbage(ctx, "db", r.b, slate.GCOptions{MinAge: -1})
		}
		if err != nil {
			r.faultf("%s: compact and collect: %v", when, err)
		}
		when += ", compacted and collected"
	}
	if err := db.Close(); err != nil {
		r.faultf("%s: close: %v", when, err)
	}
}
