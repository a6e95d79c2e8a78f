package slate_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// keyOf is a key of 16 bytes.
func keyOf(dst []byte, i uint64) []byte {
	dst = append(dst[:0], "row/"...)
	return append(binary.BigEndian.AppendUint64(dst, i), "/key"...)
}

func scatter(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 } // a bijection

// BenchmarkPutVolatile is one put of 100 bytes that waits for nothing.
func BenchmarkPutVolatile(b *testing.B) {
	for _, order := range []string{"ascending", "random"} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/writers=%d", order, writers), func(b *testing.B) {
				db, err := slate.Open(context.Background(), "db", bucket.NewInMemBucket(), slate.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = db.Close() }()
				var next atomic.Uint64
				value := make([]byte, 100)
				b.ReportAllocs()
				b.SetParallelism(writers)
				put := func(more func() bool) {
					var batch slate.Batch
					var key []byte
					for more() {
						i := next.Add(1)
						if order == "random" {
							i = scatter(i)
						}
						key = keyOf(key, i)
						batch.Reset()
						batch.Put(key, value)
						if _, err := db.Write(context.Background(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
							b.Error(err)
							return
						}
					}
				}
				if writers == 1 {
					put(b.Loop)
					return
				}
				b.RunParallel(func(pb *testing.PB) { put(pb.Next) })
			})
		}
	}
}

// BenchmarkLoad is a row of a batch of a thousand, with all flushes and
// compactions that follow.
func BenchmarkLoad(b *testing.B) {
	for _, order := range []string{"ascending", "random"} {
		b.Run(order, func(b *testing.B) {
			db, err := slate.Open(context.Background(), "db", bucket.NewInMemBucket(), slate.Options{L0Bytes: 8 << 20, MaxUnflushedBytes: 32 << 20})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var batch slate.Batch
			var key []byte
			value := make([]byte, 100)
			rnd := rand.NewChaCha8([32]byte{})
			n := uint64(0)
			for b.Loop() {
				if n++; order == "random" {
					key = keyOf(key, scatter(n))
				} else {
					key = keyOf(key, n)
				}
				_, _ = rnd.Read(value)
				batch.Put(key, value)
				if batch.Len() == 1000 {
					if _, err := db.Write(context.Background(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
						b.Fatal(err)
					}
					batch.Reset()
				}
			}
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPutDurable is one put that is in the bucket when it returns; those
// of all writers share objects.
func BenchmarkPutDurable(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("folder/writers=%d", writers), func(b *testing.B) {
			dir, err := bucket.OpenDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = dir.Close() }()
			db, err := slate.Open(context.Background(), "db", dir, slate.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			var next atomic.Uint64
			value := make([]byte, 100)
			b.ReportAllocs()
			b.SetParallelism((writers + 1) / 2) // of two processors
			b.RunParallel(func(pb *testing.PB) {
				var key []byte
				for pb.Next() {
					key = keyOf(key, scatter(next.Add(1)))
					if err := db.Put(context.Background(), key, value); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
