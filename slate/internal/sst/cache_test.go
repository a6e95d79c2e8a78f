package sst

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// many writes n SSTs of the rows into one bucket, opened through one store, and
// returns the bytes of their blocks and of their metadata.
func many(t testing.TB, n int, rows []format.Row, cache *Cache, opts StoreOptions) (*counting, []*Table, int64, int64) {
	t.Helper()
	b := &counting{Bucket: bucket.NewInMemBucket()}
	store := NewStore(b, cache, opts)
	var tables []*Table
	var data, meta int64
	for i := range n {
		w := NewWriter(WriterOptions{MinFilterKeys: 1})
		for j := range rows {
			if err := w.Add(&rows[j]); err != nil {
				t.Fatal(err)
			}
		}
		object, info, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(i, ".sst")
		if err := b.Put(t.Context(), name, object); err != nil {
			t.Fatal(err)
		}
		id := ulid.MustNew(uint64(i), bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, byte(i)}))
		tables = append(tables, store.Open(name, format.SST{ID: id, ViewID: id, Info: info, Version: format.SSTVersion2}))
		data += int64(info.FilterOffset)
		meta += int64(info.FilterLen + info.IndexLen)
	}
	return b, tables, data, meta
}

func mustGet(t testing.TB, table *Table, row *format.Row) {
	t.Helper()
	var r format.Row
	found, err := table.Get(t.Context(), lookup(row.Key, math.MaxUint64), &r)
	if err != nil || !found || !same(r, *row) {
		t.Fatalf("get %q: %v, %v, %+v", row.Key, found, err, r)
	}
}

// Blocks in use stay in the cache while a scan of ten times the budget passes,
// again and again.
func TestScanDoesNotFlushTheCache(t *testing.T) {
	const budget = 1 << 20
	cache := NewCache(budget)
	rows := sequence(20_000)
	b, tables, data, _ := many(t, 18, rows, cache, StoreOptions{})
	if data < 10*budget {
		t.Fatalf("%d bytes of data, want ten times the budget of %d", data, budget)
	}
	hot := func() { // a third of the budget
		for i := 0; i < len(rows)/2; i += 10 {
			mustGet(t, tables[0], &rows[i])
		}
	}
	hot()
	hot()
	before := b.gets.Load()
	if hot(); b.gets.Load() != before {
		t.Fatalf("hot gets took %d requests before any scan", b.gets.Load()-before)
	}
	for round := range 3 {
		for _, table := range tables {
			drain(t, table.Iter(IterOptions{}))
		}
		if n := cache.Bytes(); n > budget || n < budget*9/10 {
			t.Errorf("the cache holds %d bytes of %d", n, budget)
		}
		before = b.gets.Load()
		if hot(); b.gets.Load() != before {
			t.Errorf("scan %d: hot gets took %d requests after it", round, b.gets.Load()-before)
		}
	}
}

// Filters and indexes stay while gets of single rows, all over data of many
// times the budget, want blocks: each costs at most the one request for its
// block.
func TestMetadataIsKeptFirst(t *testing.T) {
	rows := sequence(20_000)
	const tables = 12
	_, _, data, meta := many(t, tables, rows, nil, StoreOptions{})
	cache := NewCache(meta * 2)
	if data < 8*cache.budget {
		t.Fatalf("%d bytes of data are no pressure on a cache of %d", data, cache.budget)
	}
	b, opened, _, _ := many(t, tables, rows, cache, StoreOptions{})
	rng := rand.New(rand.NewPCG(1, 2))
	const gets = 20_000
	for i := range gets {
		table := opened[rng.IntN(tables)]
		if i < tables {
			table = opened[i]
		}
		before := b.gets.Load()
		mustGet(t, table, &rows[rng.IntN(len(rows))])
		if n := b.gets.Load() - before; i >= tables && n > 1 {
			t.Fatalf("get %d took %d requests", i, n)
		}
	}
	if cache.Bytes() > cache.budget {
		t.Errorf("the cache holds %d bytes of %d", cache.Bytes(), cache.budget)
	}
	t.Logf("%d gets over %d KiB of data, cache %d KiB, metadata %d KiB: %.2f requests a get, none for metadata",
		gets, data>>10, cache.budget>>10, meta>>10, float64(b.gets.Load()-tables)/gets)
}

// Metadata of SSTs that nobody reads any more does not stay for ever.
func TestUnusedMetadataLeaves(t *testing.T) {
	rows := sequence(60_000)
	cache := NewCache(1 << 20)
	_, tables, _, _ := many(t, 4, rows, cache, StoreOptions{})
	for _, table := range tables {
		mustGet(t, table, &rows[1])
	}
	live := tables[0]
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		mustGet(t, live, &rows[rng.IntN(len(rows))])
	}
	if live.cachedIndex() == nil {
		t.Error("the index in use has left")
	}
	for i, dead := range tables[1:] {
		if dead.cachedIndex() != nil {
			t.Errorf("index %d, unused, is still there", i+1)
		}
	}
}

// A filter and an index each larger than the whole cache still serve: a get
// costs its two requests, callers at the same time share them, and the cache
// stays within its budget.
func TestMetadataLargerThanTheCache(t *testing.T) {
	rows := sequence(100_000)
	b, rec := put(t, rows, WriterOptions{BlockSize: 1024})
	const budget = 100 << 10
	if rec.Info.FilterLen < budget || rec.Info.IndexLen < budget {
		t.Fatalf("filter of %d and index of %d bytes fit", rec.Info.FilterLen, rec.Info.IndexLen)
	}
	synctest.Test(t, func(t *testing.T) {
		cache := NewCache(budget)
		table := NewStore(b, cache, StoreOptions{}).Open(object, rec)
		for i, want := range []int64{2, 2, 1} { // the last finds its block
			before := b.gets.Load()
			mustGet(t, table, &rows[1000*min(i, 1)])
			if n := b.gets.Load() - before; n != want {
				t.Errorf("get %d took %d requests, want %d", i, n, want)
			}
		}
		var r format.Row
		if found, err := table.Get(t.Context(), lookup([]byte("key000001x"), math.MaxUint64), &r); found || err != nil {
			t.Errorf("get of a key that is not there: %v, %v", found, err)
		}
		wantRows(t, drain(t, table.Iter(IterOptions{})), rows)

		gate := make(chan struct{})
		b.hold = func(context.Context) error { <-gate; return nil }
		before := b.gets.Load()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { mustGet(t, table, &rows[77_777]) })
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if n := b.gets.Load() - before; n > 2 {
			t.Errorf("50 gets at once took %d requests, want 2", n)
		}
		if n := cache.Bytes(); n > budget {
			t.Errorf("the cache holds %d bytes of %d", n, budget)
		}
	})
}

// Equal requests of gets and scans are one; no more than StoreOptions.Reads are
// under way; those who wait give up with their context.
func TestReadsUnderWay(t *testing.T) {
	rows := sequence(20_000)
	b, rec := put(t, rows, WriterOptions{})
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		gate := make(chan struct{})
		b.hold = func(context.Context) error {
			most.Store(max(most.Load(), now.Add(1)))
			<-gate
			now.Add(-1)
			return nil
		}
		table := NewStore(b, NewCache(64<<20), StoreOptions{Reads: 3}).Open(object, rec)
		var wg sync.WaitGroup
		step := func() { // one request of all that wait
			synctest.Wait()
			gate <- struct{}{}
		}
		wg.Go(func() { mustGet(t, table, &rows[0]) })
		step()
		step()
		wg.Wait()

		b.gets.Store(0)
		for i := range 20 {
			for range 5 {
				wg.Go(func() { mustGet(t, table, &rows[500+i*900]) })
				wg.Go(func() {
					it := table.Iter(IterOptions{Lower: rows[500+i*900].Key, ReadAhead: -1})
					if r, err := it.Next(context.Background()); err != nil || !bytes.Equal(r.Key, rows[500+i*900].Key) {
						t.Errorf("scan: %v, %v", r, err)
					}
					it.Close()
				})
			}
		}
		synctest.Wait()
		if n := now.Load(); n != 3 {
			t.Errorf("%d requests under way, want 3", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			var r format.Row
			_, err := table.Get(ctx, lookup(rows[19_990].Key, math.MaxUint64), &r)
			gaveUp <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; err == nil {
			t.Error("a get whose context ended while it waited gave no error")
		}
		close(gate)
		wg.Wait()
		if n := b.gets.Load(); n != 20 {
			t.Errorf("200 reads of 20 blocks took %d requests", n)
		}
		if n := most.Load(); n != 3 {
			t.Errorf("%d requests at once, want 3", n)
		}
	})
}

// A long scan fetches what comes next while it reads, as much as it may; a
// short one fetches nothing in vain; none leaves a request behind.
func TestFetchAhead(t *testing.T) {
	rows := sequence(60_000)
	b, rec := put(t, rows, WriterOptions{})
	for _, reverse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			table := NewStore(b, nil, StoreOptions{}).Open(object, rec)
			ahead := NewAhead(3)
			it := table.Iter(IterOptions{Reverse: reverse, Ahead: ahead})
			b.gets.Store(0)
			for range 100 {
				if r, err := it.Next(t.Context()); r == nil || err != nil {
					t.Fatal(r, err)
				}
			}
			synctest.Wait()
			if n := b.gets.Load(); n != 2 && n != 3 { // the index, a block, and perhaps the next
				t.Errorf("100 rows took %d requests", n)
			}
			for range 2000 {
				if r, err := it.Next(t.Context()); r == nil || err != nil {
					t.Fatal(r, err)
				}
			}
			synctest.Wait()
			if n := ahead.free.Load(); n != 0 || len(it.coming) != 3 {
				t.Errorf("%d windows ahead, %d slots free, want 3 and 0", len(it.coming), n)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			_, _ = it.Next(ended)
			it.Close()
			if n := ahead.free.Load(); n != 3 {
				t.Errorf("%d slots free after Close, want 3", n)
			}
			synctest.Wait()

			want := rows
			if reverse {
				want = make([]format.Row, len(rows))
				for i := range rows {
					want[i] = rows[len(rows)-1-i]
				}
			}
			b.gets.Store(0)
			wantRows(t, drain(t, table.Iter(IterOptions{Reverse: reverse, Ahead: ahead, ReadAhead: 64 << 10})), want)
			if n, size := b.gets.Load(), rec.Info.FilterOffset/(60<<10)+2; n > int64(size) {
				t.Errorf("scan of windows of 64 KiB took %d requests, want at most %d", n, size)
			}
		})
	}
}
