package diskcache_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/diskcache"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// writeRows puts n rows of 100 bytes into a database through a cache, compacts
// them, and adds some to L0.
func writeRows(t *testing.T, b bucket.Bucket, dir string, opts diskcache.Options, n int) diskcache.Stats {
	t.Helper()
	c := newCache(t, shared{b}, dir, opts)
	db, err := slate.Open(t.Context(), "db", c, slate.Options{CompactL0: -1, MaxSSTBytes: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		var batch slate.Batch
		for i := from; i < to; i++ {
			batch.Put(fmt.Appendf(nil, "key%06d", i), fmt.Appendf(nil, "%0100d", i))
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := db.FlushMemtable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(0, n/2)
	write(n/2, n)
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(n/3, n/2)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// readRows reads all rows through a cache, by a process that knows nothing yet,
// and returns how often it asked the bucket for SSTs.
func readRows(t *testing.T, b *faulty.Bucket, dir string, opts diskcache.Options, n int) int {
	t.Helper()
	var requests atomic.Int64
	defer b.Add(faulty.Rule{Keys: "*compacted/*", Before: func(context.Context, faulty.Request) error { requests.Add(1); return nil }})()
	c := newCache(t, shared{b}, dir, opts)
	r, err := slate.OpenReader(t.Context(), "db", c, slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for row, err := range r.Scan(t.Context(), slate.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(row.Key) != fmt.Sprintf("key%06d", rows) || string(row.Value) != fmt.Sprintf("%0100d", rows) {
			t.Fatalf("row %d is %s %s", rows, row.Key, row.Value)
		}
		rows++
	}
	if rows != n {
		t.Errorf("%d rows, want %d", rows, n)
	}
	for i := 0; i < n; i += 97 {
		if _, err := r.Get(t.Context(), fmt.Appendf(nil, "key%06d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return int(requests.Load())
}

// A process that finds the cache of one before asks for no SST; one that finds
// an empty cache asks once for each part.
func TestDatabase(t *testing.T) {
	const rows = 5_000
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	dir := t.TempDir()
	opts := diskcache.Options{PartBytes: 32 << 10}
	writeRows(t, b, dir, opts, rows)
	if n := readRows(t, b, dir, opts, rows); n > 0 {
		t.Errorf("after the writer: %d requests for SSTs", n)
	}

	dir = t.TempDir()
	parts := 0
	for o, err := range b.List(t.Context(), "db/compacted/", "") {
		if err != nil {
			t.Fatal(err)
		}
		parts += int((o.Size + opts.PartBytes - 1) / opts.PartBytes)
	}
	cold := readRows(t, b, dir, opts, rows)
	if cold == 0 || cold > parts {
		t.Errorf("with an empty cache: %d requests for SSTs of %d parts", cold, parts)
	}
	if n := readRows(t, b, dir, opts, rows); n > 0 {
		t.Errorf("the second process: %d requests for SSTs", n)
	}
	opts.SkipPuts = true
	if s := writeRows(t, faulty.New(bucket.NewInMemBucket(), faulty.Options{}), t.TempDir(), opts, rows); s.Misses == 0 {
		t.Errorf("a compaction read nothing through the cache: %+v", s)
	}
}

// What is deleted, by a garbage collection for instance, leaves the cache.
func TestDelete(t *testing.T) {
	b := bucket.NewInMemBucket()
	c := newCache(t, b, t.TempDir(), diskcache.Options{})
	if err := c.Put(t.Context(), sstKey(0), bodyOf(10_000)); err != nil {
		t.Fatal(err)
	}
	for o, err := range c.List(t.Context(), "db/compacted/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), o.Key); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Parts > 0 || s.Bytes > 0 {
		t.Errorf("%+v", s)
	}
	if _, err := c.GetRange(t.Context(), sstKey(0), 0, 1); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
}
