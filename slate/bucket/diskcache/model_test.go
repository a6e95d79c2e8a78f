package diskcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/diskcache"
)

// model is a cache, the bucket beneath it, and what both should say.
type model struct {
	*rapid.T
	dir   string
	far   bucket.Bucket
	cache *diskcache.Bucket
	opts  diskcache.Options
	want  map[string][]byte
	keys  []string
	made  int
}

func (m *model) open() {
	var err error
	if m.cache, err = diskcache.New(shared{m.far}, m.dir, m.opts); err != nil {
		m.Fatal(err)
	}
}

// shared is a bucket that outlives those who close it.
type shared struct{ bucket.Bucket }

func (shared) Close() error { return nil }

func (m *model) put(b bucket.Bucket) {
	m.made++
	key := sstKey(m.made)
	body := make([]byte, rapid.SampledFrom([]int{0, 1, 1023, 1024, 1025, 4096, 5000, 8192, 12_000, 12_288, 30_000}).Draw(m.T, "size"))
	rng := rand.New(rand.NewPCG(uint64(m.made), 0)) //nolint:gosec // content of no meaning
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	if err := b.Put(m.Context(), key, body); err != nil {
		m.Fatal(err)
	}
	m.want[key] = body
	m.keys = append(m.keys, key)
}

// key draws an object, often one that is gone.
func (m *model) key() string {
	if len(m.keys) == 0 {
		return sstKey(0)
	}
	return rapid.SampledFrom(m.keys).Draw(m.T, "key")
}

func (m *model) read() {
	key := m.key()
	want, ok := m.want[key]
	offset := rapid.Int64Range(0, int64(len(want))+1500).Draw(m.T, "offset")
	length := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 40_000), rapid.Just(int64(1)<<62)).Draw(m.T, "length")
	got, err := m.cache.GetRange(m.Context(), key, offset, length)
	switch {
	case !ok:
		if !errors.Is(err, bucket.ErrNotFound) {
			m.Fatalf("read of %s, which is not there: %v", key, err)
		}
	case offset > int64(len(want)):
		if !errors.Is(err, bucket.ErrInvalid) {
			m.Fatalf("read at %d of %d bytes: %v", offset, len(want), err)
		}
	case err != nil:
		m.Fatal(err)
	default:
		if want := want[offset:min(offset+min(length, 1<<40), int64(len(want)))]; !bytes.Equal(got, want) {
			m.Fatalf("read of %d bytes at %d of %s: got %d bytes, want %d", length, offset, key, len(got), len(want))
		}
	}
}

// damage changes a file of the cache behind its back.
func (m *model) damage() {
	files := partFiles(m, m.dir)
	if len(files) == 0 {
		return
	}
	name := rapid.SampledFrom(files).Draw(m.T, "file")
	data, err := os.ReadFile(name)
	if err != nil {
		m.Fatal(err)
	}
	switch rapid.SampledFrom([]string{"flip", "cut", "grow", "remove", "swap"}).Draw(m.T, "damage") {
	case "flip":
		if len(data) > 0 {
			data[rapid.IntRange(0, len(data)-1).Draw(m.T, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(m.T, "bit")
		}
	case "cut":
		data = data[:rapid.IntRange(0, len(data)).Draw(m.T, "cut to")]
	case "grow":
		data = append(data, "more"...)
	case "remove":
		if err := os.Remove(name); err != nil {
			m.Fatal(err)
		}
		return
	case "swap":
		if data, err = os.ReadFile(rapid.SampledFrom(files).Draw(m.T, "other file")); err != nil {
			m.Fatal(err)
		}
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		m.Fatal(err)
	}
}

// partFiles lists the files of parts, and fails for any that is neither one nor
// the lock.
func partFiles(t interface {
	Helper()
	Fatal(...any)
}, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case diskcache.IsPart(e.Name()):
			files = append(files, filepath.Join(dir, e.Name()))
		case e.Name() != "lock":
			t.Fatal("unexpected file ", e.Name())
		}
	}
	return files
}

// Whatever is read through a cache is what the bucket holds: any ranges of
// objects of any size, while parts are evicted, files damaged, objects deleted
// and the cache opened again with other settings.
func TestModel(t *testing.T) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &model{T: rt, dir: filepath.Join(t.TempDir(), fmt.Sprint(runs)), far: bucket.NewInMemBucket(), want: map[string][]byte{}}
		m.opts = diskcache.Options{PartBytes: 4096, MaxBytes: 20_000}
		m.open()
		damaged := false
		rt.Repeat(map[string]func(*rapid.T){
			"put":     func(*rapid.T) { m.put(m.cache) },
			"appears": func(*rapid.T) { m.put(m.far) },
			"read":    func(*rapid.T) { m.read() },
			"again":   func(*rapid.T) { m.read() },
			"damage":  func(*rapid.T) { m.damage(); damaged = true },
			"delete": func(*rapid.T) {
				key := m.key()
				delete(m.want, key)
				if err := m.cache.Delete(rt.Context(), key); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) {
				if err := m.cache.Close(); err != nil {
					rt.Fatal(err)
				}
				m.opts.PartBytes = rapid.SampledFrom([]int64{1024, 4096, 5000}).Draw(rt, "part")
				m.opts.MaxBytes = rapid.Int64Range(5008, 50_000).Draw(rt, "max")
				m.opts.SkipPuts = rapid.Bool().Draw(rt, "skip puts")
				m.open()
				damaged = false // wrong sizes are gone, and counted
			},
			"": func(*rapid.T) {
				s := m.cache.Stats()
				if s.Bytes > m.opts.MaxBytes || s.Unwritten > 0 {
					rt.Fatalf("%+v of %d bytes", s, m.opts.MaxBytes)
				}
				if damaged {
					return
				}
				onDisk, files := int64(0), partFiles(rt, m.dir)
				for _, name := range files {
					info, err := os.Stat(name)
					if err != nil {
						rt.Fatal(err)
					}
					onDisk += info.Size()
				}
				if onDisk != s.Bytes || len(files) != s.Parts {
					rt.Fatalf("%d files of %d bytes, stats are %+v", len(files), onDisk, s)
				}
			},
		})
		if err := m.cache.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
