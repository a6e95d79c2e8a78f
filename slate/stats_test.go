package slate_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// sizes adds up the objects in a folder.
func sizes(t testing.TB, b bucket.Bucket, folder string) (sum slate.ObjectSum) {
	t.Helper()
	for o, err := range b.List(context.Background(), folder, "") {
		if err != nil {
			t.Fatal(err)
		}
		sum.Objects++
		sum.Bytes += o.Size
	}
	return sum
}

// The counters are what a look at the bucket finds.
func TestStatsAreWhatIsInTheBucket(t *testing.T) {
	for _, separate := range []bool{false, true} {
		t.Run(fmt.Sprint("separate log ", separate), func(t *testing.T) {
			b, log := bucket.NewInMemBucket(), bucket.NewInMemBucket()
			opts := slate.Options{CompactL0: -1, GCMinAge: -1, CacheBytes: -1}
			if separate {
				opts.WALBucket = log
			} else {
				log = b
			}
			db := open(t, b, opts)
			var batch slate.Batch
			batch.Put([]byte("a"), []byte("lost"))
			batch.Put([]byte("a"), []byte("1"))
			batch.Delete([]byte("bb"))
			if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			put(t, db, "c", strings.Repeat("v", 1000))
			s := db.Stats()
			if s.Batches != 2 || s.Rows != 3 || s.Bytes != 1+1+2+1+1000 {
				t.Errorf("written: %+v", s)
			}
			if want := sizes(t, log, "db/wal/"); s.WAL != want || s.WAL.Objects != 3 {
				t.Errorf("log: %+v, want %+v", s.WAL, want)
			}
			if s.Unflushed < 1000 || s.L0.Objects != 0 {
				t.Errorf("before the flush: %+v", s)
			}
			for i := range 2 {
				put(t, db, "d", fmt.Sprint(i))
				mustFlush(t, db)
			}
			l0 := sizes(t, b, "db/compacted/")
			s = db.Stats()
			if s.L0 != l0 || s.L0.Objects != 2 || s.Frozen != 0 {
				t.Errorf("L0: %+v, want %+v", s.L0, l0)
			}
			before := s.Requests
			if _, err := db.Get(t.Context(), []byte("c")); err != nil {
				t.Fatal(err)
			}
			after := db.Stats().Requests
			if after.Gets == before.Gets || after.BytesRead < before.BytesRead+1000 || after.Puts != before.Puts {
				t.Errorf("requests of a get: %+v, then %+v", before, after)
			}
			mustCompact(t, db)
			mustClose(t, db)
			s = db.Stats()
			if run := sizes(t, b, "db/compacted/").Bytes - l0.Bytes; s.Compaction.Written != run || s.Compaction.Jobs != 1 {
				t.Errorf("compaction: %+v, want %d bytes", s.Compaction, run)
			}
			all := sizes(t, b, "db/")
			if separate {
				wal := sizes(t, log, "db/")
				all.Bytes += wal.Bytes
			}
			if more := s.Requests.BytesWritten - all.Bytes; more < 0 || more > 100 { // what probed the buckets is gone
				t.Errorf("%d bytes written, the buckets hold %d", s.Requests.BytesWritten, all.Bytes)
			}
			if want := float64(s.WAL.Bytes+s.L0.Bytes+s.Compaction.Written) / float64(s.Bytes); s.WriteAmplification() != want || want < 2 {
				t.Errorf("write amplification %v, want %v", s.WriteAmplification(), want)
			}
		})
	}
	if a := new(slate.Stats).WriteAmplification(); a != 0 {
		t.Errorf("write amplification of nothing: %v", a)
	}
}

// A get that reads a block misses once and hits from then on.
func TestCacheCounts(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1})
	for i := range 200 {
		put(t, db, fmt.Sprintf("%03d", i), strings.Repeat("v", 1000)) // too much to be read whole
	}
	mustFlush(t, db)
	for i := range 3 {
		if _, err := db.Get(t.Context(), []byte("100")); err != nil {
			t.Fatal(err)
		}
		s := db.Stats()
		if s.Cache.Misses != 1 || s.Cache.Hits != int64(i) || s.Cache.Bytes == 0 {
			t.Errorf("after %d gets: %+v", i+1, s.Cache)
		}
	}
	mustClose(t, db)
	none := open(t, b, slate.Options{CacheBytes: -1})
	if _, err := none.Get(t.Context(), []byte("100")); err != nil {
		t.Fatal(err)
	}
	if s := none.Stats(); s.Cache != (slate.CacheStats{}) || s.Requests.Gets == 0 {
		t.Errorf("without a cache: %+v", s)
	}
	mustClose(t, none)
}

// Stats may be asked for at any time, by anybody.
func TestStatsBesideWriters(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{L0Bytes: 1 << 10})
	var g sync.WaitGroup
	for w := range 4 {
		g.Go(func() {
			for i := range 50 {
				put(t, db, fmt.Sprint(w, i), "value")
				if s := db.Stats(); s.Rows < int64(i) {
					t.Errorf("%d rows after %d", s.Rows, i)
				}
			}
		})
	}
	g.Wait()
	if s := db.Stats(); s.Rows != 200 || s.Batches != 200 {
		t.Errorf("after 200 puts: %+v", s)
	}
	mustClose(t, db)
}

func ExampleDB_Stats() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "shop", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	value := make([]byte, 1000)
	for i := range 100 {
		_ = db.Put(ctx, fmt.Appendf(nil, "key %2d", i), value)
	}
	_ = db.Compact(ctx)
	s := db.Stats()
	fmt.Println(s.Rows, "rows of", s.Bytes/s.Rows, "bytes")
	fmt.Printf("each byte was written %.1f times: to the log, to L0, to a run\n", s.WriteAmplification())
	// Output:
	// 100 rows of 1006 bytes
	// each byte was written 3.3 times: to the log, to L0, to a run
}
