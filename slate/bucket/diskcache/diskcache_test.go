package diskcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/buckettest"
	"github.com/stele-db/stele/slate/bucket/diskcache"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

// sstKey is the key of an SST, a later one for a larger number.
func sstKey(n int) string {
	id := ulid.ULID{15: byte(n), 14: byte(n >> 8)}
	return "db/compacted/" + id.String() + ".sst"
}

// bodyOf is the content of an object: no two parts are equal.
func bodyOf(n int) []byte {
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(i ^ i>>8 ^ i>>16*7)
	}
	return body
}

const partBytes = 4096

func newCache(t testing.TB, b bucket.Bucket, dir string, opts diskcache.Options) *diskcache.Bucket {
	t.Helper()
	if opts.PartBytes == 0 {
		opts.PartBytes = partBytes
	}
	c, err := diskcache.New(b, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// far returns a bucket that counts, with SSTs 0 to n-1 of so many bytes.
func far(t testing.TB, n, size int) *faulty.Bucket {
	t.Helper()
	f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	for i := range n {
		if err := f.Put(t.Context(), sstKey(i), bodyOf(size)); err != nil {
			t.Fatal(err)
		}
	}
	f.ResetStats()
	return f
}

// read reads a range of SST 0 and compares it.
func read(t testing.TB, b bucket.Bucket, body []byte, offset, length int64) {
	t.Helper()
	got, err := b.GetRange(t.Context(), sstKey(0), offset, length)
	if err != nil {
		t.Fatal(err)
	}
	if want := body[offset:min(offset+length, int64(len(body)))]; !bytes.Equal(got, want) {
		t.Fatalf("%d bytes at %d: got %d bytes, which differ", length, offset, len(got))
	}
}

// wantRequests checks what was asked of a bucket since the last time.
func wantRequests(t testing.TB, f *faulty.Bucket, requests, received int64) {
	t.Helper()
	if got := f.Stats().Total(); got.Requests != requests || got.Received != received {
		t.Errorf("%d requests, %d bytes received; want %d and %d", got.Requests, got.Received, requests, received)
	}
	f.ResetStats()
}

func TestContract(t *testing.T) {
	inner := map[string]func(t *testing.T) bucket.Bucket{
		"memory": func(*testing.T) bucket.Bucket { return bucket.NewInMemBucket() },
		"folder": func(t *testing.T) bucket.Bucket {
			b, err := bucket.OpenDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	}
	open := map[string]func(bucket.Bucket, string, diskcache.Options) (*diskcache.Bucket, error){
		"SSTs": diskcache.New,
		"all":  diskcache.NewForAll, // so that the suite's reads come from files
	}
	if testing.Short() {
		delete(inner, "folder") // syncs every write, and takes its time
	}
	for kind, inner := range inner {
		for what, open := range open {
			t.Run(kind+"/"+what, func(t *testing.T) {
				buckettest.Run(t, func(t *testing.T) bucket.Bucket {
					c, err := open(inner(t), t.TempDir(), diskcache.Options{PartBytes: 64 << 10})
					if err != nil {
						t.Fatal(err)
					}
					return c
				})
			})
		}
	}
}

// What reads cost in requests and bytes.
func TestRequests(t *testing.T) {
	body := bodyOf(10*partBytes + 100)
	b := far(t, 1, len(body))
	c := newCache(t, b, t.TempDir(), diskcache.Options{})
	read(t, c, body, 5000, 10)
	wantRequests(t, b, 1, partBytes)
	read(t, c, body, 4096, 4096)
	read(t, c, body, 8191, 1)
	wantRequests(t, b, 0, 0)
	read(t, c, body, 8191, 2) // the last byte of a part that is there, the first of one that is not
	wantRequests(t, b, 1, partBytes)
	read(t, c, body, 4*partBytes, 1)
	wantRequests(t, b, 1, partBytes)
	read(t, c, body, 100, 6*partBytes) // parts 0, 3, 5 and 6 are missing
	wantRequests(t, b, 3, 4*partBytes)
	read(t, c, body, 0, int64(len(body)))
	wantRequests(t, b, 1, 3*partBytes+100)
	read(t, c, body, 0, int64(len(body)))
	read(t, c, body, 10*partBytes, 1000) // goes on beyond the end
	read(t, c, body, 0, 1000*partBytes)
	wantRequests(t, b, 0, 0)
	if s := c.Stats(); s.Misses != 11 || s.Parts != 11 || s.Bytes != int64(len(body))+11*4 || s.Passed+s.Evictions+s.Damaged+s.Unwritten > 0 {
		t.Errorf("%+v", s)
	}
	read(t, c, body, 3, 1<<50) // no cache is asked for so much
	wantRequests(t, b, 1, int64(len(body))-3)
	if s := c.Stats(); s.Passed != 1 {
		t.Errorf("%+v", s)
	}
}

// Only SSTs are cached, and only GetRange of them.
func TestPassesThrough(t *testing.T) {
	b := far(t, 1, 100)
	dir := t.TempDir()
	c := newCache(t, b, dir, diskcache.Options{})
	ctx := t.Context()
	keys := []string{
		"db/manifest/00000000000000000001.manifest", "db/compactions/00000000000000000001.compactions",
		"db/wal/00000000000000000001.sst", "db/wal/" + filepath.Base(sstKey(1)), "compacted/x.sst", filepath.Base(sstKey(1)),
		sstKey(1) + "/below", "db/compacted/more/" + filepath.Base(sstKey(1)), "db/notcompacted/" + filepath.Base(sstKey(1)),
	}
	for _, key := range keys {
		if err := c.Put(ctx, key, []byte("content")); err != nil {
			t.Fatal(err)
		}
		b.ResetStats()
		for range 2 {
			if _, err := c.GetRange(ctx, key, 1, 2); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.Stats().String(); got != "GetRange 2" {
			t.Errorf("%s: %s", key, got)
		}
	}
	b.ResetStats()
	for range 2 {
		if _, err := c.Get(ctx, sstKey(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Head(ctx, sstKey(0)); err != nil {
			t.Fatal(err)
		}
		for _, err := range c.List(ctx, "", "") {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := b.Stats().String(); got != "Get 2, Head 2, List 2" {
		t.Error(got)
	}
	if files := partFiles(t, dir); len(files) > 0 {
		t.Errorf("cached: %q", files)
	}
}

// An SST at any path is cached, under names that say nothing of the key. Keys
// that no bucket takes are no way out of the directory.
func TestNames(t *testing.T) {
	b := far(t, 0, 0)
	parent := t.TempDir()
	dir := filepath.Join(parent, "made", "cache")
	c := newCache(t, b, dir, diskcache.Options{})
	sst := filepath.Base(sstKey(1))
	for _, key := range []string{"compacted/" + sst, "a/b/\u00fc %2e/compacted/" + sst} {
		if err := c.Put(t.Context(), key, []byte("content")); err != nil {
			t.Fatal(err)
		}
		b.ResetStats()
		if got, err := c.GetRange(t.Context(), key, 3, 2); err != nil || string(got) != "te" {
			t.Errorf("%q, %v", got, err)
		}
		wantRequests(t, b, 0, 0)
	}
	for _, key := range []string{"../compacted/" + sst, "/compacted/" + sst, "a//compacted/" + sst, "nul\x00/compacted/" + sst} {
		if _, err := c.GetRange(t.Context(), key, 0, 1); !errors.Is(err, bucket.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
		if err := c.Put(t.Context(), key, []byte("content")); !errors.Is(err, bucket.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if n := len(partFiles(t, dir)); n != 2 {
		t.Errorf("%d files", n)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("beside the directory: %v, %v", entries, err)
	}
}

func TestPuts(t *testing.T) {
	body := bodyOf(3*partBytes + 1)
	b := far(t, 0, 0)
	for _, skip := range []bool{false, true} {
		c := newCache(t, b, t.TempDir(), diskcache.Options{SkipPuts: skip})
		if err := c.Put(t.Context(), sstKey(0), body); err != nil {
			t.Fatal(err)
		}
		b.ResetStats()
		read(t, c, body, 10, 3*partBytes)
		want := int64(0)
		if skip {
			want = 1
		}
		if got := b.Stats().Total().Requests; got != want {
			t.Errorf("skip %v: %d requests", skip, got)
		}
	}
	// A put that failed leaves nothing, not of the object before either.
	c := newCache(t, b, t.TempDir(), diskcache.Options{})
	read(t, c, body, 0, 1)
	b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Put}, Times: 1, Lose: true})
	other := bytes.Repeat([]byte("x"), 9000)
	if err := c.Put(t.Context(), sstKey(0), other); !errors.Is(err, bucket.ErrUnavailable) {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Parts > 0 {
		t.Errorf("%+v", s)
	}
	read(t, c, other, 1, 3)
}

// What was cached is found by the next process, for the same bucket and part size.
func TestReopen(t *testing.T) {
	body := bodyOf(3 * partBytes)
	dir, b := t.TempDir(), far(t, 2, len(body))
	c := newCache(t, b, dir, diskcache.Options{})
	read(t, c, body, 0, int64(len(body)))
	before := c.Stats()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b = far(t, 1, len(body))
	c = newCache(t, b, dir, diskcache.Options{})
	if s := c.Stats(); s.Bytes != before.Bytes || s.Parts != 3 {
		t.Errorf("%+v after %+v", s, before)
	}
	read(t, c, body, 0, int64(len(body)))
	wantRequests(t, b, 0, 0)
	_ = c.Close()

	other := named{far(t, 1, len(body)), "another bucket"}
	c = newCache(t, other, dir, diskcache.Options{})
	read(t, c, body, 0, 1)
	if n := other.Bucket.(*faulty.Bucket).Stats().Total().Requests; n != 1 {
		t.Errorf("%d requests to another bucket", n)
	}
	_ = c.Close()

	b = far(t, 1, len(body))
	c = newCache(t, b, dir, diskcache.Options{PartBytes: 2048})
	read(t, c, body, 0, 1)
	wantRequests(t, b, 1, 2048)

	if s := c.Stats(); s.Parts != 1 || s.Bytes != 2048+4 {
		t.Errorf("%+v", s)
	}
	read(t, c, body, 4000, int64(len(body))-4000)
	_ = c.Close()

	// The cap may be lower than it was.
	c = newCache(t, far(t, 1, len(body)), dir, diskcache.Options{PartBytes: 2048, MaxBytes: 2*2048 + 8})
	if s := c.Stats(); s.Parts != 2 || s.Evictions != 4 || len(partFiles(t, dir)) != 2 {
		t.Errorf("%+v", s)
	}
}

// named is a bucket under another name.
type named struct {
	bucket.Bucket
	name string
}

func (n named) Capabilities() bucket.Capabilities {
	c := n.Bucket.Capabilities()
	c.Name = n.name
	return c
}

// The parts that were used last stay.
func TestEviction(t *testing.T) {
	body := bodyOf(10 * partBytes)
	b := far(t, 1, len(body))
	dir := t.TempDir()
	c := newCache(t, b, dir, diskcache.Options{MaxBytes: 3 * (partBytes + 4)})
	for _, part := range []int64{0, 1, 2, 0, 3} { // 1 has to go
		read(t, c, body, part*partBytes, 10)
	}
	wantRequests(t, b, 4, 4*partBytes)
	for _, part := range []int64{0, 2, 3} {
		read(t, c, body, part*partBytes, 10)
	}
	wantRequests(t, b, 0, 0)
	read(t, c, body, partBytes, 10)
	wantRequests(t, b, 1, partBytes)
	if s := c.Stats(); s.Evictions != 2 || s.Bytes != 3*(partBytes+4) || len(partFiles(t, dir)) != 3 {
		t.Errorf("%+v", s)
	}
	// A read of more than fits is one request, and right.
	read(t, c, body, 4*partBytes, 6*partBytes)
	wantRequests(t, b, 1, 6*partBytes)
	if s := c.Stats(); s.Bytes != 3*(partBytes+4) {
		t.Errorf("%+v", s)
	}
}

// Files that are not as they were written never reach a reader.
func TestDamagedFiles(t *testing.T) {
	body := bodyOf(3*partBytes + 100)
	for name, damage := range map[string]func(t *testing.T, file string, data []byte) []byte{
		"first byte":    func(_ *testing.T, _ string, data []byte) []byte { data[0] ^= 1; return data },
		"last byte":     func(_ *testing.T, _ string, data []byte) []byte { data[len(data)-1] ^= 0x80; return data },
		"cut":           func(_ *testing.T, _ string, data []byte) []byte { return data[:len(data)-1] },
		"empty":         func(*testing.T, string, []byte) []byte { return nil },
		"zeros":         func(_ *testing.T, _ string, data []byte) []byte { clear(data); return data },
		"a part's copy": func(t *testing.T, file string, _ []byte) []byte { return fileOfAnother(t, file) },
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := far(t, 1, len(body)), t.TempDir()
			c := newCache(t, b, dir, diskcache.Options{})
			read(t, c, body, 0, int64(len(body)))
			files := partFiles(t, dir)
			damaged := make([][]byte, len(files))
			for i, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				damaged[i] = damage(t, file, data)
			}
			for i, file := range files {
				if err := os.WriteFile(file, damaged[i], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b.ResetStats()
			for range 2 {
				read(t, c, body, 0, int64(len(body)))
			}
			if n := b.Stats().Total().Requests; n == 0 || n > 4 {
				t.Errorf("%d requests for 4 damaged parts", n)
			}
			if s := c.Stats(); s.Damaged != 4 || s.Parts != 4 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// fileOfAnother returns the content of another file with a part of full size.
func fileOfAnother(t *testing.T, file string) []byte {
	t.Helper()
	for _, other := range partFiles(t, filepath.Dir(file)) {
		if data, err := os.ReadFile(other); err == nil && other != file && len(data) == partBytes+4 {
			return data
		}
	}
	t.Fatal("no other file")
	return nil
}

// A file with the checksums of another object is no better than a damaged one.
func TestExchangedFiles(t *testing.T) {
	b, dir := far(t, 1, 3000), t.TempDir()
	other := bytes.Repeat([]byte("other"), 600)
	if err := b.Put(t.Context(), sstKey(1), other); err != nil {
		t.Fatal(err)
	}
	c := newCache(t, b, dir, diskcache.Options{})
	read(t, c, bodyOf(3000), 0, 3000)
	if _, err := c.GetRange(t.Context(), sstKey(1), 0, 3000); err != nil {
		t.Fatal(err)
	}
	files := partFiles(t, dir)
	for _, rename := range [][2]string{{files[0], files[0] + ".aside"}, {files[1], files[0]}, {files[0] + ".aside", files[1]}} {
		if err := os.Rename(rename[0], rename[1]); err != nil {
			t.Fatal(err)
		}
	}
	read(t, c, bodyOf(3000), 10, 100)
	if got, err := c.GetRange(t.Context(), sstKey(1), 0, 3000); err != nil || !bytes.Equal(got, other) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if s := c.Stats(); s.Damaged != 2 {
		t.Errorf("%+v", s)
	}
}

// Opening removes what a crash left, and touches nothing that is not its own.
func TestForeignFiles(t *testing.T) {
	dir, b := t.TempDir(), far(t, 1, 5000)
	c := newCache(t, b, dir, diskcache.Options{})
	read(t, c, bodyOf(5000), 0, 5000)
	_ = c.Close()
	parts := partFiles(t, dir)
	if err := os.Truncate(parts[0], 10); err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("0", 32)
	foreign := []string{
		"notes.txt", "x.tmp", ".tmp", "12.tmp.bak", "abc-0-0.part",
		strings.TrimSuffix(filepath.Base(parts[1]), ".part"), "0" + filepath.Base(parts[1]), strings.ToUpper(filepath.Base(parts[1])),
		zero + "-4096-00-0.part", zero + "-4096--1-0.part", zero + "-4096-0-4097.part", zero + "-99999999999-0-0.part", zero + "-4096-0.part",
	}
	for _, name := range append([]string{"17.tmp"}, foreign...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, zero+"-4096-0-0.part"), 0o700); err != nil {
		t.Fatal(err)
	}
	c = newCache(t, b, dir, diskcache.Options{})
	if s := c.Stats(); s.Parts != 1 {
		t.Errorf("%+v", s)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(foreign)+3 {
		t.Errorf("%v: %q", err, entries)
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// A disk that takes no files makes no read fail, and costs nothing but the
// cache: no more requests than without it, no more bytes, one line in the log.
func TestUnwritable(t *testing.T) {
	body := bodyOf(8 * partBytes)
	b := far(t, 1, len(body))
	dir := filepath.Join(t.TempDir(), "cache")
	var log bytes.Buffer
	c := newCache(t, b, dir, diskcache.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	read(t, c, body, 0, 1)
	kept := dir + ".kept"
	if err := os.Rename(dir, kept); err != nil { // works for root too, unlike permissions
		t.Fatal(err)
	}
	read(t, c, body, 5000, 10) // finds out
	wantRequests(t, b, 2, 2*partBytes)
	for range 10 {
		read(t, c, body, 5000, 10)
		read(t, c, body, 4000, 2*partBytes)
	}
	wantRequests(t, b, 20, 10*(10+2*partBytes))
	if err := c.Put(t.Context(), sstKey(0), body); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Unwritten != 1 || s.Passed != 20 || s.Damaged > 0 || s.Bytes > 0 {
		t.Errorf("%+v", s)
	}
	// Once the disk is back, the cache is.
	if err := os.Rename(kept, dir); err != nil {
		t.Fatal(err)
	}
	for range diskcache.RetryWrites {
		read(t, c, body, 5000, 10)
	}
	b.ResetStats()
	read(t, c, body, 5000, 10)
	wantRequests(t, b, 0, 0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	read(t, c, body, 5000, 10)
	if n := strings.Count(log.String(), "disk cache cannot be written"); n != 1 {
		t.Errorf("logged %d times: %s", n, &log)
	}
}

// A part that many want at once is requested once, and one of them that goes
// away does not take it from the others.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bodyOf(4 * partBytes)
		b := far(t, 1, len(body))
		c := newCache(t, b, t.TempDir(), diskcache.Options{})
		gate := make(chan struct{})
		remove := b.Add(faulty.Rule{Before: func(ctx context.Context, _ faulty.Request) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		get := func(ctx context.Context) { _, err := c.GetRange(ctx, sstKey(0), 0, 10); gone <- err }
		go get(ctx) // has the flight
		synctest.Wait()
		impatient, leave := context.WithCancel(t.Context())
		go get(impatient)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { read(t, c, body, int64(i), partBytes) }) // parts 0 and 1
		}
		synctest.Wait()
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		// The one that was given up; parts 0 and 1, together or one after the other.
		if n := b.Stats().Total().Requests; n < 2 || n > 3 {
			t.Errorf("%d requests", n)
		}
		remove()
		// An error is everybody's.
		broken := errors.New("broken")
		hold := make(chan struct{})
		b.Add(faulty.Rule{Before: func(context.Context, faulty.Request) error { <-hold; return broken }})
		b.ResetStats()
		for range 5 {
			wg.Go(func() {
				if _, err := c.GetRange(t.Context(), sstKey(0), 3*partBytes, 1); !errors.Is(err, broken) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		wantRequests(t, b, 1, 0)
	})
}

// A part that was requested before its object was deleted does not stay.
func TestDeleteDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := bodyOf(2 * partBytes)
		b, dir := far(t, 1, len(body)), t.TempDir()
		c := newCache(t, b, dir, diskcache.Options{})
		gate := make(chan struct{})
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.GetRange}, Times: 1,
			After: func(_ context.Context, _ faulty.Request, err error) error { <-gate; return err }})
		var wg sync.WaitGroup
		wg.Go(func() { read(t, c, body, 0, 2*partBytes) })
		synctest.Wait()
		if err := c.Delete(t.Context(), sstKey(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetRange(t.Context(), sstKey(0), 0, 1); !errors.Is(err, bucket.ErrNotFound) {
			t.Error(err)
		}
		close(gate)
		wg.Wait()
		if s := c.Stats(); s.Parts > 0 || s.Bytes > 0 || len(partFiles(t, dir)) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Readers, writers, evictions and Close at the same time.
func TestConcurrency(t *testing.T) {
	const objects, size = 8, 9*partBytes + 77
	body := bodyOf(size)
	b, dir := far(t, objects, size), t.TempDir()
	for round := range 2 {
		c, err := diskcache.New(shared{b}, dir, diskcache.Options{PartBytes: partBytes, MaxBytes: 20 * partBytes})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 6 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(round), uint64(w))) //nolint:gosec // a test's choices
				for i := range 200 {
					key, offset, length := sstKey(rng.IntN(objects)), rng.Int64N(size), 1+rng.Int64N(3*partBytes)
					if i%50 == 0 {
						if err := c.Put(t.Context(), key, body); err != nil && !errors.Is(err, bucket.ErrClosed) {
							t.Error(err)
						}
						continue
					}
					got, err := c.GetRange(t.Context(), key, offset, length)
					if errors.Is(err, bucket.ErrClosed) {
						return
					}
					if err != nil || !bytes.Equal(got, body[offset:min(offset+length, size)]) {
						t.Errorf("%d bytes at %d: %d bytes, %v", length, offset, len(got), err)
						return
					}
					if s := c.Stats(); s.Bytes > 20*partBytes {
						t.Errorf("%+v", s)
					}
				}
			})
		}
		if round > 0 {
			wg.Go(func() { // Close while they are at it
				for c.Stats().Hits < 300 {
					if _, err := c.GetRange(t.Context(), sstKey(0), 0, 1); err != nil {
						t.Error(err)
					}
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		partFiles(t, dir) // nothing half done
		if s := c.Stats(); s.Damaged+s.Unwritten > 0 || s.Evictions == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestOptions(t *testing.T) {
	b := far(t, 0, 0)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir  string
		opts diskcache.Options
		says string
	}{
		{t.TempDir(), diskcache.Options{PartBytes: 1000}, "PartBytes is 1000, must be 1024 to 1073741824"},
		{t.TempDir(), diskcache.Options{PartBytes: -1}, "PartBytes is -1"},
		{t.TempDir(), diskcache.Options{MaxBytes: 1 << 20}, "MaxBytes is 1048576, must be at least a part with its checksums, 4198400"},
		{file, diskcache.Options{}, "not a directory"},
	} {
		_, err := diskcache.New(b, tt.dir, tt.opts)
		if !errors.Is(err, bucket.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.opts, err)
		}
	}
}

func TestPreload(t *testing.T) {
	const size = 20*partBytes + 5
	body := bodyOf(size)
	b := far(t, 3, size)
	if err := b.Put(t.Context(), "db/manifest/00000000000000000001.manifest", body); err != nil {
		t.Fatal(err)
	}
	c := newCache(t, b, t.TempDir(), diskcache.Options{MaxBytes: 60 * partBytes}) // room for two
	if _, err := c.GetRange(t.Context(), sstKey(2), 3*partBytes, 1); err != nil {
		t.Fatal(err)
	}
	b.ResetStats()
	if err := c.Preload(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	// Around the part that is there: 3, 8, 8 and 1 parts; then 8, 8 and 5.
	if got := b.Stats().String(); got != "GetRange 7, List 1" {
		t.Error(got)
	}
	b.ResetStats()
	for _, n := range []int{2, 1} {
		if got, err := c.GetRange(t.Context(), sstKey(n), 0, size); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	wantRequests(t, b, 0, 0)
	if s := c.Stats(); s.Evictions > 0 || s.Parts != 42 {
		t.Errorf("%+v", s)
	}
	broken := errors.New("broken")
	b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.List}, Err: broken})
	if err := c.Preload(t.Context(), "db"); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A read of a block that is in the cache; the file is in the system's memory.
func BenchmarkHit(b *testing.B) {
	const size = 8 << 20
	c := newCache(b, far(b, 1, size), b.TempDir(), diskcache.Options{PartBytes: 4 << 20})
	if _, err := c.GetRange(b.Context(), sstKey(0), 0, size); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int64{4 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			at := int64(0)
			for b.Loop() {
				if _, err := c.GetRange(b.Context(), sstKey(0), at, n); err != nil {
					b.Fatal(err)
				}
				at = (at + n + 100) % (size - n)
			}
		})
	}
}
