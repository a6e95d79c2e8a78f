package slate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// model is what the engine should be: a sorted map.
type model map[string]string

func (m model) scan(r slate.Range) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if r.Lower != nil && k < string(r.Lower) || r.Upper != nil && k >= string(r.Upper) {
			continue
		}
		out = append(out, k+"="+m[k])
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return out
}

type reads interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
}

func drain(t rapid.TB, seq func(func(slate.KV, error) bool)) []string {
	t.Helper()
	var out []string
	for kv, err := range seq {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		out = append(out, string(kv.Key)+"="+string(kv.Value))
	}
	return out
}

func checkGet(t rapid.TB, db reads, m model, key string) {
	t.Helper()
	v, err := db.Get(context.Background(), []byte(key))
	want, ok := m[key]
	switch {
	case ok && (err != nil || string(v) != want):
		t.Fatalf("get %q: %q, %v; want %q", key, v, err, want)
	case !ok && !errors.Is(err, slate.ErrNotFound):
		t.Fatalf("get %q: %q, %v; want not found", key, v, err)
	}
}

// settings are small, so that a short history crosses every boundary.
func drawOptions(t *rapid.T) slate.Options {
	return slate.Options{
		L0Bytes:           rapid.SampledFrom([]int64{200, 2000, 1 << 20}).Draw(t, "l0"),
		MaxUnflushedBytes: rapid.SampledFrom([]int64{1000, 1 << 20}).Draw(t, "cap"),
		MaxSSTBytes:       rapid.SampledFrom([]int64{100, 5000, 1 << 20}).Draw(t, "sst"),
		BlockBytes:        rapid.SampledFrom([]int{1 << 10, 4 << 10}).Draw(t, "block"),
		MinFilterKeys:     rapid.SampledFrom([]int{1, 1000}).Draw(t, "filter"),
		CompactL0:         rapid.SampledFrom([]int{2, 4}).Draw(t, "compact"),
		MaxWALObjects:     rapid.SampledFrom([]int{3, 4096}).Draw(t, "wals"),
		CacheBytes:        rapid.SampledFrom([]int64{-1, 1 << 20}).Draw(t, "cache"),
		MergeOperator:     slate.Concat,
		Compression: rapid.SampledFrom([]slate.Codec{
			slate.NoCompression, slate.Snappy, slate.Zlib, slate.LZ4, slate.Zstd}).Draw(t, "codec"),
		ReaderGrace:      rapid.SampledFrom([]time.Duration{-1, time.Hour}).Draw(t, "grace"),
		MinFlushInterval: -1,
	}
}

// Under any history of writes, flushes, compactions, snapshots, restarts and
// abandonments the engine answers as a sorted map does.
func TestEngineIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { runHistory(t, drawOptions(t)) })
}

func runHistory(t *rapid.T, opts slate.Options) {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	open := func() *slate.DB {
		db, err := slate.Open(ctx, "db", b, opts)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		return db
	}
	db := open()
	defer func() { _ = db.Close() }()
	m := model{}
	key := rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.ByteRange('a', 'd'), 1, 4).Draw(t, "k"))
	})
	value := func(t *rapid.T) string {
		n, v := rapid.IntRange(0, 300).Draw(t, "length"), rapid.IntRange(0, 99).Draw(t, "value")
		return strings.Repeat("v", n) + fmt.Sprint(v)
	}
	drawRange := func(t *rapid.T) slate.Range {
		r := slate.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
		if rapid.Bool().Draw(t, "lower") {
			r.Lower = []byte(key.Draw(t, "lo"))
		}
		if rapid.Bool().Draw(t, "upper") {
			r.Upper = []byte(key.Draw(t, "hi"))
		}
		return r
	}
	type pinned struct {
		s *slate.Snapshot
		m model
	}
	var snaps []pinned
	drop := func() {
		for _, s := range snaps {
			s.s.Close()
		}
		snaps = nil
	}
	defer drop()
	must := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value(t)
			must("put", db.Put(ctx, []byte(k), []byte(v)))
			m[k] = v
		},
		"delete": func(t *rapid.T) {
			k := key.Draw(t, "key")
			must("delete", db.Delete(ctx, []byte(k)))
			delete(m, k)
		},
		"merge": func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value(t)
			must("merge", db.Merge(ctx, []byte(k), []byte(v)))
			m[k] += v
		},
		"batch": func(t *rapid.T) {
			var batch slate.Batch
			for range rapid.IntRange(1, 20).Draw(t, "n") {
				k := key.Draw(t, "key")
				switch rapid.IntRange(0, 3).Draw(t, "op") {
				case 0:
					batch.Delete([]byte(k))
					delete(m, k)
				case 1:
					v := value(t)
					batch.Merge([]byte(k), []byte(v))
					m[k] += v
				default:
					v := value(t)
					batch.Put([]byte(k), []byte(v))
					m[k] = v
				}
			}
			_, err := db.Write(ctx, &batch, slate.WriteOptions{Volatile: rapid.Bool().Draw(t, "volatile")})
			must("write", err)
		},
		"get": func(t *rapid.T) { checkGet(t, db, m, key.Draw(t, "key")) },
		"scan": func(t *rapid.T) {
			r := drawRange(t)
			if got, want := drain(t, db.Scan(ctx, r)), m.scan(r); !slices.Equal(got, want) {
				t.Fatalf("scan %+v\n got %v\nwant %v", r, got, want)
			}
		},
		"snapshot": func(t *rapid.T) {
			s, err := db.Snapshot()
			must("snapshot", err)
			snaps = append(snaps, pinned{s, maps.Clone(m)})
		},
		"old": func(t *rapid.T) {
			for _, s := range snaps {
				r := drawRange(t)
				if got, want := drain(t, s.s.Scan(ctx, r)), s.m.scan(r); !slices.Equal(got, want) {
					t.Fatalf("snapshot scan %+v\n got %v\nwant %v", r, got, want)
				}
				checkGet(t, s.s, s.m, key.Draw(t, "key"))
			}
		},
		"release": func(*rapid.T) { drop() },
		"flush":   func(*rapid.T) { must("flush", db.Flush(ctx)) },
		"l0":      func(*rapid.T) { must("flush memtable", db.FlushMemtable(ctx)) },
		"compact": func(*rapid.T) { must("compact", db.Compact(ctx)) },
		"collect": func(*rapid.T) {
			_, err := slate.CollectGarbage(ctx, "db", b, slate.GCOptions{MinAge: -1})
			must("collect garbage", err)
		},
		"reader": func(t *rapid.T) {
			must("flush", db.Flush(ctx))
			rd, err := slate.OpenReader(ctx, "db", b, slate.ReaderOptions{MergeOperator: opts.MergeOperator})
			must("open reader", err)
			r := drawRange(t)
			if got, want := drain(t, rd.Scan(ctx, r)), m.scan(r); !slices.Equal(got, want) {
				t.Fatalf("reader scan %+v\n got %v\nwant %v", r, got, want)
			}
			checkGet(t, rd, m, key.Draw(t, "key"))
			must("close reader", rd.Close())
		},
		"reopen": func(*rapid.T) {
			drop()
			must("close", db.Close())
			db = open()
		},
		"abandon": func(*rapid.T) { // as after a crash: the next writer fences it
			must("flush", db.Flush(ctx))
			drop()
			old := db
			db = open()
			if err := old.Put(ctx, []byte("zombie"), nil); !errors.Is(err, slate.ErrFenced) {
				t.Fatalf("put by a fenced writer: %v", err)
			}
			_ = old.Close()
		},
	})
}
