package slate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

type warmable interface {
	readable
	Warm(ctx context.Context, r slate.Range, opts slate.WarmOptions) (slate.Warmed, error)
	Evict(r slate.Range) int64
}

func mustWarm(t testing.TB, db warmable, r slate.Range, opts slate.WarmOptions) slate.Warmed {
	t.Helper()
	w, err := db.Warm(t.Context(), r, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// tree is a database with a run of several SSTs under two of L0, which all have
// filters and more data than what comes along with an index.
func tree(t testing.TB, b bucket.Bucket, opts slate.Options) *slate.DB {
	t.Helper()
	opts.CompactL0, opts.MaxL0, opts.MaxSSTBytes, opts.GCMinAge = -1, 100, 1<<20, -1
	db := open(t, b, opts)
	fill(t, db, 0, 30_000, 1)
	mustCompact(t, db)
	fill(t, db, 0, 30_000, 10)
	fill(t, db, 7, 30_000, 10)
	return db
}

// What Warm costs, what reads cost after it, and after Evict: in requests.
func TestWarmAndEvict(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := tree(t, b, slate.Options{CacheNew: slate.CacheNothing})
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(m.L0) != 2 || len(m.Runs) != 1 || len(m.Runs[0].SSTs) < 4 {
		t.Fatal(m, err)
	}
	ssts := int64(len(m.Runs[0].SSTs) + 2)
	var bytes, stored uint64
	for _, s := range append(m.L0, m.Runs[0].SSTs...) {
		bytes += s.DataBytes
		stored += (s.DataBytes + 1<<20 - 1) >> 20 // requests of a MiB
	}
	requests := func(do func()) int64 {
		before := b.Stats()
		do()
		return b.Stats().Since(before).Total().Requests
	}
	check := func(what string, got, want int64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d requests, want %d", what, got, want)
		}
	}
	part := slate.Range{Lower: key(10_000), Upper: key(10_200)}
	for _, from := range []warmable{db, reader(t, b, slate.ReaderOptions{})} {
		name := func(s string) string { return fmt.Sprintf("%T, %s", from, s) }
		get := func(i int) int64 {
			return requests(func() {
				if v, err := from.Get(t.Context(), key(i)); err != nil || string(v) != fmt.Sprintf("%0100d", i) {
					t.Errorf("get %d: %q, %v", i, v, err)
				}
			})
		}
		scan := func(r slate.Range, rows int) int64 {
			return requests(func() {
				if got := drain(t, from.Scan(t.Context(), r)); len(got) != rows {
					t.Errorf("scan of %d rows, want %d", len(got), rows)
				}
			})
		}
		warm := func(r slate.Range, blocks bool, n int64) (w slate.Warmed, cost int64) {
			cost = requests(func() { w = mustWarm(t, from, r, slate.WarmOptions{Blocks: blocks}) })
			if int64(w.SSTs) != n || w.Full || (w.Bytes > 0) != (n > 0) {
				t.Errorf("%s: %+v, want %d SSTs and not full", name("warm"), w, n)
			}
			return w, cost
		}

		_, cost := warm(slate.Range{}, false, ssts)
		check(name("warm all metadata"), cost, ssts)
		_, cost = warm(slate.Range{}, false, ssts)
		check(name("again"), cost, 0)
		check(name("get with metadata"), get(20_001), 1)

		small, cost := warm(part, true, 3)
		check(name("warm the blocks of a range"), cost, 3)
		for i := 10_000; i < 10_200; i++ {
			check(name("get of what is warm"), get(i), 0)
		}
		check(name("scan of what is warm"), scan(part, 200), 0)
		again, cost := warm(part, true, 3)
		if check(name("again"), cost, 0); again != small {
			t.Errorf("%s: %+v, before %+v", name("again"), again, small)
		}

		if n := from.Evict(part); n <= 0 || n >= small.Bytes { // the metadata of larger SSTs stays
			t.Errorf("%s: evicted %d bytes of %d", name("a part"), n, small.Bytes)
		}
		check(name("get of what was evicted"), get(10_101), 1)
		from.Evict(part)
		check(name("scan of what was evicted"), scan(part, 200), 3)

		all, cost := warm(slate.Range{}, true, ssts)
		if cost > int64(stored)+6 { // a request more for each gap: the blocks that were there
			t.Errorf("%s: %d requests, want at most %d", name("warm all"), cost, stored)
		}
		if all.Bytes < int64(bytes) {
			t.Errorf("%s: %d bytes of %d", name("warm all"), all.Bytes, bytes)
		}
		check(name("scan of all"), scan(slate.Range{}, 30_000), 0)
		check(name("scan of all in reverse"), scan(slate.Range{Reverse: true}, 30_000), 0)
		if n := from.Evict(slate.Range{}); n != all.Bytes {
			t.Errorf("%s: evicted %d bytes of %d", name("all"), n, all.Bytes)
		}
		if n := from.Evict(slate.Range{}); n != 0 {
			t.Errorf("%s: evicted %d bytes of nothing", name("again"), n)
		}
		check(name("get of what was evicted, metadata too"), get(11), 2+2) // of L0, and of the run with the block
		check(name("and of the row beside it"), get(12), 0)
		_, cost = warm(slate.Range{Lower: key(40_000)}, true, 0)
		check(name("warm nothing"), cost, 0)
	}
	if n := db.Stats().Cache.Bytes; n > 200_000 {
		t.Errorf("the cache holds %d bytes after Evict and two gets", n)
	}
}

// Warm takes no more of the budget than there is, says when that did not do,
// and what it brought stays although all else in the cache was in use.
func TestWarmKeepsToTheBudget(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	const budget = 1 << 20
	db := tree(t, b, slate.Options{CacheBytes: budget})
	hot := slate.Range{Lower: key(20_000), Upper: key(25_000)} // 500 KiB and more
	for range 4 {
		drain(t, db.Scan(t.Context(), hot))
	}
	part := slate.Range{Lower: key(3_000), Upper: key(7_000)}
	if w := mustWarm(t, db, part, slate.WarmOptions{Blocks: true}); w.Full || w.Bytes < 400_000 {
		t.Errorf("%+v, want all of the range", w)
	}
	before := b.Stats()
	drain(t, db.Scan(t.Context(), part))
	if n := b.Stats().Since(before).Total().Requests; n != 0 {
		t.Errorf("scan of what is warm: %d requests", n)
	}
	before = b.Stats()
	w := mustWarm(t, db, slate.Range{}, slate.WarmOptions{Blocks: true})
	if !w.Full || w.Bytes > budget*9/10 || w.Bytes < budget*8/10 {
		t.Errorf("%+v of a budget of %d", w, budget)
	}
	if n := b.Stats().Since(before).Total(); n.Received > 9*budget {
		t.Errorf("it read %d bytes in vain", n.Received)
	}
	if n := db.Stats().Cache.Bytes; n > budget {
		t.Errorf("the cache holds %d bytes of %d", n, budget)
	}

	for _, bytes := range []int64{1, 10_000} { // less than an index
		rd := reader(t, b, slate.ReaderOptions{CacheBytes: bytes})
		if w := mustWarm(t, rd, slate.Range{}, slate.WarmOptions{}); !w.Full || w.Bytes > bytes {
			t.Errorf("%+v of a budget of %d", w, bytes)
		}
	}
}

// Without a cache there is nothing to warm, and Warm says so.
func TestWarmWithoutCache(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := open(t, b, slate.Options{CacheBytes: -1, CacheNew: slate.CacheFlushed})
	fill(t, db, 0, 2000, 1)
	before := b.Stats()
	for _, from := range []warmable{db, reader(t, bucket.Bucket(b), slate.ReaderOptions{CacheBytes: -1})} {
		if n := b.Stats().Since(before).Total(faulty.GetRange).Requests; n != 0 {
			t.Errorf("%d requests", n)
		}
		if w, err := from.Warm(t.Context(), slate.Range{}, slate.WarmOptions{Blocks: true}); !errors.Is(err, slate.ErrInvalid) || w != (slate.Warmed{}) {
			t.Errorf("%+v, %v", w, err)
		}
		if n := from.Evict(slate.Range{}); n != 0 {
			t.Errorf("evicted %d bytes", n)
		}
	}
	_ = db.Close()
	if _, err := db.Warm(t.Context(), slate.Range{}, slate.WarmOptions{}); !errors.Is(err, slate.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What was compacted away elsewhere, and collected, is no matter; a bucket that
// fails is.
func TestWarmWhereObjectsAreGone(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := tree(t, b, slate.Options{ReaderGrace: -1})
	rd := reader(t, b, slate.ReaderOptions{})
	b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.GetRange}, Err: bucket.ErrInvalid})
	if _, err := rd.Warm(t.Context(), slate.Range{}, slate.WarmOptions{}); !errors.Is(err, slate.ErrCorrupt) {
		t.Errorf("%v, want %v", err, slate.ErrCorrupt)
	}
	b.Clear()
	before, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustCompact(t, db)
	for _, s := range append(before.L0, before.Runs[0].SSTs...) {
		if err := b.Delete(t.Context(), "db/compacted/"+s.ID+".sst"); err != nil {
			t.Fatal(err)
		}
	}
	if w := mustWarm(t, rd, slate.Range{}, slate.WarmOptions{Blocks: true}); w.SSTs < 4 || w.Full {
		t.Errorf("%+v", w)
	}
	stats := b.Stats()
	if got := drain(t, rd.Scan(t.Context(), slate.Range{})); len(got) != 30_000 {
		t.Errorf("%d rows", len(got))
	}
	if n := b.Stats().Since(stats).Total().Requests; n != 0 {
		t.Errorf("scan of what is warm: %d requests", n)
	}
}

// What the first reads of a writer cost after a flush and after a compaction,
// by what they put into the cache.
func TestCacheNew(t *testing.T) {
	for policy, want := range map[slate.CachePolicy][3]int64{
		slate.CacheNothing:  {2, 0, 2}, // metadata and block, then nothing, then both again
		slate.CacheMetadata: {1, 0, 1},
		slate.CacheFlushed:  {0, 0, 1},
	} {
		b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		db := open(t, b, slate.Options{CompactL0: -1, GCMinAge: -1, CacheNew: policy})
		var got [3]int64
		get := func(i int) int64 {
			before := b.Stats()
			if _, err := db.Get(t.Context(), key(i)); err != nil {
				t.Fatal(err)
			}
			return b.Stats().Since(before).Total().Requests
		}
		fill(t, db, 0, 10_000, 1)
		got[0], got[1] = get(7000), get(7001)
		mustCompact(t, db)
		fill(t, db, 0, 10_000, 2) // so that there is something to merge
		mustCompact(t, db)
		got[2] = get(7001)
		if got != want {
			t.Errorf("policy %d: requests %v, want %v", policy, got, want)
		}
	}
	_, err := slate.Open(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{CacheNew: 3})
	if !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("unknown policy: %v", err)
	}
}

// Warming and evicting beside gets, scans, flushes and compactions change
// nothing of what they read.
func TestWarmBesideReads(t *testing.T) {
	db := tree(t, bucket.NewInMemBucket(), slate.Options{CacheBytes: 2 << 20, CacheNew: slate.CacheFlushed})
	var wg sync.WaitGroup
	each := func(n int, f func(i int) error) {
		wg.Go(func() {
			for i := range n {
				if err := f(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	part := func(i int) slate.Range {
		at := i * 1717 % 25_000
		return slate.Range{Lower: key(at), Upper: key(at + 5000)}
	}
	for g := range 2 {
		each(20, func(i int) error {
			_, err := db.Warm(t.Context(), part(i+g), slate.WarmOptions{Blocks: i%2 == 0})
			return err
		})
		each(40, func(i int) error {
			db.Evict(part(3*i + g))
			return nil
		})
		each(1000, func(i int) error {
			k := (i*7919 + g) % 30_000
			if v, err := db.Get(t.Context(), key(k)); err != nil || string(v) != fmt.Sprintf("%0100d", k) {
				return fmt.Errorf("get %d: %q, %w", k, v, err)
			}
			return nil
		})
		each(10, func(i int) error {
			if n := len(drain(t, db.Scan(t.Context(), part(5*i+g)))); n != 5000 {
				return fmt.Errorf("%d rows", n)
			}
			return nil
		})
	}
	each(3, func(int) error { return db.Compact(t.Context()) })
	wg.Wait()
	if n := db.Stats().Cache.Bytes; n > 2<<20 {
		t.Errorf("the cache holds %d bytes of %d", n, 2<<20)
	}
}

// A reader warms what it will be asked for before it takes requests, and lets go
// of it when its hour is over.
func ExampleReader_Warm() {
	ctx := context.Background()
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{}) // it counts requests
	db, err := slate.Open(ctx, "shop", b, slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var batch slate.Batch
	for _, season := range []string{"summer", "winter"} {
		for i := range 1000 {
			batch.Put(fmt.Appendf(nil, "%s/%03d", season, i), make([]byte, 200))
		}
	}
	if _, err := db.Write(ctx, &batch, slate.WriteOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := db.FlushMemtable(ctx); err != nil {
		log.Fatal(err)
	}

	rd, err := slate.OpenReader(ctx, "shop", b, slate.ReaderOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	summer := slate.Prefix([]byte("summer/"))
	warmed, err := rd.Warm(ctx, summer, slate.WarmOptions{Blocks: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(warmed.SSTs, "SST, all of the range:", !warmed.Full)
	get := func() {
		before := b.Stats()
		if _, err := rd.Get(ctx, []byte("summer/500")); err != nil {
			log.Fatal(err)
		}
		fmt.Println("a get:", b.Stats().Since(before).Total().Requests, "requests")
	}
	get()
	fmt.Println("evicted some:", rd.Evict(summer) > 0)
	get()
	// Output:
	// 1 SST, all of the range: true
	// a get: 0 requests
	// evicted some: true
	// a get: 1 requests
}
