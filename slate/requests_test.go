package slate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func key(i int) []byte { return fmt.Appendf(nil, "key%07d", i) }

// fill writes rows from up to to with values of 100 bytes, step apart, and moves
// them to L0.
func fill(t testing.TB, db *slate.DB, from, to, step int) {
	t.Helper()
	for i := from; i < to; {
		var batch slate.Batch
		for range 10_000 {
			if i >= to {
				break
			}
			batch.Put(key(i), fmt.Appendf(nil, "%0100d", i))
			i += step
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, db)
}

func reader(t testing.TB, b bucket.Bucket, opts slate.ReaderOptions) *slate.Reader {
	t.Helper()
	r, err := slate.OpenReader(t.Context(), "db", b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What opening and the first gets cost, in requests: to open, a list of the
// manifests, the manifest and a list of the log, and the log's objects; a get,
// one request for filter and index and one for the block in the SST that has
// the row, and one in each SST above that might have had it.
func TestRequestsOfColdGets(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := open(t, b, slate.Options{CompactL0: -1, MaxL0: 100})
	fill(t, db, 0, 100_000, 1)
	mustCompact(t, db)
	var total faulty.Count
	requests := func(do func()) int64 {
		before := b.Stats()
		do()
		total = b.Stats().Since(before).Total()
		return total.Requests
	}
	get := func(from readable, i int, want error) func() {
		return func() {
			if v, err := from.Get(t.Context(), key(i)); !errors.Is(err, want) || err == nil && string(v) != fmt.Sprintf("%0100d", i) {
				t.Errorf("get %d: %q, %v", i, v, err)
			}
		}
	}
	check := func(what string, n, most int64) {
		t.Helper()
		t.Logf("%-52s %d requests, %6d bytes", what, n, total.Received)
		if n > most {
			t.Errorf("%s: %d requests, want at most %d", what, n, most)
		}
	}
	var rd *slate.Reader
	check("open a reader on one run", requests(func() { rd = reader(t, b, slate.ReaderOptions{}) }), 6)
	check("first get", requests(get(rd, 77_777, nil)), 2)
	check("get of a row elsewhere", requests(get(rd, 12_345, nil)), 1)
	check("get of the row beside it", requests(get(rd, 12_346, nil)), 0)
	check("first get of a key that is not there", requests(func() {
		get(reader(t, b, slate.ReaderOptions{}), 99_999_999, slate.ErrNotFound)()
	})-3, 2)

	for i := range 3 {
		fill(t, db, i, 100_000, 20)
	}
	check("open a reader on one run and three L0", requests(func() { rd = reader(t, b, slate.ReaderOptions{}) }), 6)
	check("first get, in the run below three L0 SSTs", requests(get(rd, 77_777, nil)), 3+2)
	check("get of a row elsewhere in the run", requests(get(rd, 12_345, nil)), 1+1) // a filter may let it pass
	mustClose(t, rd)

	small := bucket.NewInMemBucket()
	db = open(t, small, slate.Options{})
	fill(t, db, 0, 400, 1)
	b = faulty.New(small, faulty.Options{})
	rd = reader(t, b, slate.ReaderOptions{})
	check("first get in an SST of 64 KiB at most", requests(get(rd, 77, nil)), 1)
	check("get of a row elsewhere", requests(get(rd, 333, nil)), 0)

	// A range of 100 rows lies in few blocks, which come together.
	scan := func(from readable, at int) func() {
		return func() {
			n := 0
			for _, err := range from.Scan(t.Context(), slate.Range{Lower: key(at), Upper: key(at + 100)}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != 100 {
				t.Errorf("scan of %d rows, want 100", n)
			}
		}
	}
	large := bucket.NewInMemBucket()
	db = open(t, large, slate.Options{})
	fill(t, db, 0, 50_000, 1)
	b = faulty.New(large, faulty.Options{})
	rd = reader(t, b, slate.ReaderOptions{})
	check("first scan of 100 rows: index, blocks", requests(scan(rd, 5_000)), 2)
	check("scan of 100 rows elsewhere", requests(scan(rd, 40_000)), 1)
}

// A scan over many SSTs asks for their first blocks side by side, as many as
// ReadOptions.Parallel says.
func TestFirstBlocksInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		db := open(t, inner, slate.Options{CompactL0: -1, MaxL0: 100})
		const ssts, rows = 6, 12_000
		for i := range ssts {
			fill(t, db, i, rows, ssts)
		}
		b := faulty.New(inner, faulty.Options{})
		const trip = 30 * time.Millisecond
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.GetRange}, Delay: trip})
		for parallel, want := range map[int]time.Duration{1: 2 * ssts * trip, 3: 4 * trip, 6: 2 * trip, 0: 4 * trip} {
			for _, reverse := range []bool{false, true} {
				rd := reader(t, b, slate.ReaderOptions{})
				c, err := rd.Cursor(slate.Range{Reverse: reverse}, slate.ReadOptions{Parallel: parallel})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if !c.Next(t.Context()) {
					t.Fatal(c.Err())
				}
				if took := time.Since(start); took != want {
					t.Errorf("first row of %d SSTs, %d in parallel: after %v, want %v", ssts, parallel, took, want)
				}
				n := 1
				for c.Next(t.Context()) {
					n++
				}
				if c.Err() != nil || n != rows {
					t.Errorf("%d rows, want %d; %v", n, rows, c.Err())
				}
				c.Close()
			}
		}
		mustClose(t, db)
	})
}

// However many read at once, no more than MaxReads requests are under way.
func TestMaxReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		db := open(t, b, slate.Options{MaxReads: 5})
		fill(t, db, 0, 20_000, 1)
		b.Add(faulty.Rule{
			Verbs: []faulty.Verb{faulty.GetRange}, Delay: time.Millisecond,
			Before: func(_ context.Context, _ faulty.Request) error {
				most.Store(max(most.Load(), now.Add(1)))
				return nil
			},
			After: func(_ context.Context, _ faulty.Request, err error) error {
				now.Add(-1)
				return err
			},
		})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				if _, err := db.Get(t.Context(), key(i*97)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := most.Load(); n != 5 {
			t.Errorf("%d requests under way at once, want 5", n)
		}
		mustClose(t, db)
	})
}

// firstBytes takes the first n bytes of a key as its prefix.
type firstBytes int

func (n firstBytes) Name() string    { return fmt.Sprint("first ", int(n)) }
func (n firstBytes) Version() uint32 { return 1 }
func (n firstBytes) PrefixLen(key []byte) int {
	if len(key) < int(n) {
		return 0
	}
	return int(n)
}

// Scans within one prefix pass over the SSTs that have no such key, a reader's
// too. Where an SST or a reader has no extractor, or another, the scan is right
// and reads them.
func TestPrefixScansPassOverSSTs(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	opts := slate.Options{CompactL0: -1, MaxL0: 100, MinFilterKeys: 1, Prefixes: firstBytes(4), CacheNew: slate.CacheNothing}
	db := open(t, b, opts)
	const ssts = 8
	for i := range ssts {
		var batch slate.Batch
		for p := i; p < 4000; p += ssts {
			for j := range 3 {
				batch.Put(fmt.Appendf(nil, "%04d/%d", p, j), make([]byte, 100))
			}
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		mustFlush(t, db)
	}
	requests := func(from readable, prefix string, rows int, reverse bool) int64 {
		before := b.Stats()
		r := slate.Prefix([]byte(prefix))
		r.Reverse = reverse
		if got := drain(t, from.Scan(t.Context(), r)); len(got) != rows {
			t.Errorf("scan of %q: %d rows, want %d", prefix, len(got), rows)
		}
		return b.Stats().Since(before).Total(faulty.GetRange).Requests
	}
	check := func(what string, from readable, want []int64) {
		t.Helper()
		got := []int64{
			requests(from, "1234", 3, false), requests(from, "1234x", 0, false), // all filters, and a block
			requests(from, "3210", 3, false), requests(from, "3333/1", 1, true),
			requests(from, "4321", 0, false),
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: requests %v, want %v", what, got, want)
		}
	}
	with := []int64{ssts + 1, 0, 1, 1, 0}
	check("writer", db, with)
	check("reader", reader(t, b, slate.ReaderOptions{Prefixes: firstBytes(4)}), with)
	without := []int64{2 * ssts, 0, ssts, ssts, 0}
	check("reader without an extractor", reader(t, b, slate.ReaderOptions{}), without)
	// Of another extractor the prefix is asked for in vain.
	if n := requests(reader(t, b, slate.ReaderOptions{Prefixes: firstBytes(3)}), "1234", 3, false); n != 2*ssts {
		t.Errorf("reader with another extractor: %d requests, want %d", n, 2*ssts)
	}
	mustClose(t, db)

	opts.Prefixes = nil // as SlateDB would, which has none
	db = open(t, b, opts)
	mustCompact(t, db)
	mustClose(t, db)
	check("after a compaction without an extractor", reader(t, b, slate.ReaderOptions{Prefixes: firstBytes(4)}), []int64{2, 0, 1, 1, 0})
}

// Gets of rows in the memtable and in cached blocks, and of keys that are not
// there, allocate nothing if the buffer has room.
func TestHotGetsAllocateNothing(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1})
	fill(t, db, 0, 20_000, 1)
	fill(t, db, 0, 20_000, 2)
	put(t, db, "memory", "value")
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	rd := reader(t, b, slate.ReaderOptions{})
	ctx := t.Context()
	for _, from := range []readable{db, snap, rd} {
		for what, k := range map[string]string{"memtable": "memory", "newest SST": "key0010000", "SST below": "key0010001", "no row": "key0010001x"} {
			for _, opts := range []slate.ReadOptions{{}, {Durable: true, HideExpired: true, NoFill: true}} {
				key, buf := []byte(k), make([]byte, 0, 200)
				get := func() {
					v, _, err := from.GetRow(ctx, key, buf, opts)
					if (err == nil) == (what == "no row") || err == nil && len(v) == 0 {
						t.Fatal(what, err)
					}
				}
				get()
				if opts.NoFill {
					if _, err := from.Get(ctx, key); err != nil && what != "no row" {
						t.Fatal(err)
					}
				}
				if n := testing.AllocsPerRun(500, get); n >= 1 {
					t.Errorf("%T, %s, %+v: %v allocations a get", from, what, opts, n)
				}
			}
		}
	}
}
