package slate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// benchRows is a database with one run of 200,000 rows of 100 bytes and two
// smaller L0 SSTs above it, all of which the cache holds.
func benchRows(b *testing.B) (*slate.DB, int) {
	const rows = 200_000
	db, err := slate.Open(b.Context(), "db", bucket.NewInMemBucket(), slate.Options{CompactL0: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	fill(b, db, 0, rows, 1)
	if err := db.Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	fill(b, db, 0, rows, 20)
	fill(b, db, 7, rows, 20)
	for _, err := range db.Scan(b.Context(), slate.Range{}) {
		if err != nil {
			b.Fatal(err)
		}
	}
	return db, rows
}

func BenchmarkGet(b *testing.B) {
	db, rows := benchRows(b)
	keys := make([][]byte, 1<<14)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range keys {
		keys[i] = key(rng.IntN(rows))
	}
	absent := make([][]byte, len(keys))
	for i := range absent {
		absent[i] = append(key(rng.IntN(rows)), 'x')
	}
	buf := make([]byte, 0, 200)
	for name, keys := range map[string][][]byte{"present": keys, "absent": absent} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, _, err := db.GetRow(b.Context(), keys[i%len(keys)], buf, slate.ReadOptions{})
				if (err == nil) != (name == "present") {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScan takes ns for a scan of so many rows from a random key on.
func BenchmarkScan(b *testing.B) {
	db, rows := benchRows(b)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name    string
		n       int
		reverse bool
	}{{"1", 1, false}, {"100", 100, false}, {"10000", 10_000, false}, {"reverse 10000", 10_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at, n := rng.IntN(rows-c.n), 0
				for _, err := range db.Scan(b.Context(), slate.Range{Lower: key(at), Upper: key(at + c.n), Reverse: c.reverse}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != c.n {
					b.Fatalf("%d rows, want %d", n, c.n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.n), "ns/row")
		})
	}
}

// BenchmarkCacheNew takes the requests of gets beside flushes and compactions,
// 500 after each flush of 10,000 rows, with what new SSTs leave in the cache: one
// with room for all rows, and one for a sixth of them.
func BenchmarkCacheNew(b *testing.B) {
	const rows, gets = 200_000, 500
	for _, cache := range []int64{64 << 20, 4 << 20} {
		for policy, name := range map[slate.CachePolicy]string{
			slate.CacheNothing: "nothing", slate.CacheMetadata: "metadata", slate.CacheFlushed: "flushed",
		} {
			b.Run(fmt.Sprintf("%s in %d MiB", name, cache>>20), func(b *testing.B) {
				db := open(b, bucket.NewInMemBucket(), slate.Options{CacheBytes: cache, CacheNew: policy, MaxSSTBytes: 4 << 20})
				fill(b, db, 0, rows, 1)
				rng := rand.New(rand.NewPCG(1, 2))
				var requests int64
				for b.Loop() {
					var batch slate.Batch
					for range 10_000 {
						batch.Put(key(rng.IntN(rows)), make([]byte, 100))
					}
					if _, err := db.Write(b.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
						b.Fatal(err)
					}
					if err := db.FlushMemtable(b.Context()); err != nil {
						b.Fatal(err)
					}
					before := db.Stats().Requests.Gets
					for range gets {
						if _, err := db.Get(b.Context(), key(int(rows*rng.Float64()*rng.Float64()*rng.Float64()))); err != nil {
							b.Fatal(err)
						}
					}
					requests += db.Stats().Requests.Gets - before
				}
				b.ReportMetric(float64(requests)/float64(b.N*gets), "requests/get")
			})
		}
	}
}
