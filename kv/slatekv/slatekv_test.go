package slatekv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/kvtest"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// tiny makes memtables, SSTs and blocks so small that histories of a few rows
// reach every part of the engine.
var tiny = slate.Options{L0Bytes: 512, MaxUnflushedBytes: 4096, MaxSSTBytes: 512, BlockBytes: 1024, MinFilterKeys: 1, MaxBatchBytes: 8 << 20}

func TestMemoryBucket(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return openBucket(t, bucket.NewInMemBucket(), slate.Options{}) })
}

func TestTinyMemtables(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return openBucket(t, bucket.NewInMemBucket(), tiny) })
}

func TestFolder(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return open(t, folderURL(t)) })
}

func TestReader(t *testing.T) {
	for name, move := range map[string]func(*slatekv.Store) error{
		"log":    func(*slatekv.Store) error { return nil },
		"L0":     func(s *slatekv.Store) error { return s.DB().FlushMemtable(t.Context()) },
		"sorted": func(s *slatekv.Store) error { return s.DB().Compact(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			kvtest.RunReadOnly(t, func(t *testing.T, pairs map[string]string) kv.Store {
				url := folderURL(t)
				s := open(t, url)
				put(t, s, pairs)
				if err := move(s); err != nil {
					t.Fatal(err)
				}
				r, err := slatekv.OpenReader(t.Context(), url, slate.ReaderOptions{})
				if err != nil {
					t.Fatal(err)
				}
				put(t, s, map[string]string{"written after the reader opened": "x"})
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return r
			})
		})
	}
}

// TestReopen shows that what was committed is there for the next store,
// whether the last one was closed or only left.
func TestReopen(t *testing.T) {
	for _, closed := range []bool{true, false} {
		b := bucket.NewInMemBucket()
		first := openBucket(t, b, slate.Options{})
		put(t, first, map[string]string{"a": "1", "b": "2"})
		if closed {
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
		}
		second := openBucket(t, b, slate.Options{})
		if got := content(t, second); got != "a=1 b=2" {
			t.Errorf("closed %v: %q", closed, got)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		if !closed {
			_ = first.Close() // fenced, which TestFenced looks at
		}
	}
}

func TestFenced(t *testing.T) {
	ctx := t.Context()
	b := bucket.NewInMemBucket()
	first := openBucket(t, b, slate.Options{})
	put(t, first, map[string]string{"a": "1"})
	second := openBucket(t, b, slate.Options{})

	tx, err := first.Begin(ctx, kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Put([]byte("a"), []byte("lost")); err != nil {
		t.Fatal(err)
	}
	wantBoth(t, "commit", tx.Commit(ctx), kv.ErrFenced, slate.ErrFenced)
	_, err = first.Begin(ctx, kv.TxOptions{})
	wantBoth(t, "begin", err, kv.ErrFenced, slate.ErrFenced)
	wantBoth(t, "close", first.Close(), kv.ErrFenced, slate.ErrFenced)
	if err := first.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err = first.Begin(ctx, kv.TxOptions{}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("begin after close: %v", err)
	}
	if got := content(t, second); got != "a=1" {
		t.Errorf("the second writer sees %q", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNoDatabase(t *testing.T) {
	dir := t.TempDir()
	url := "file://" + filepath.ToSlash(filepath.Join(dir, "none", "db"))
	_, err := slatekv.OpenReader(t.Context(), url, slate.ReaderOptions{})
	wantBoth(t, "OpenReader", err, kv.ErrNotFound, slate.ErrNoDatabase)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("opening for reading left %v, %v", entries, err)
	}
	_, err = slatekv.Open(t.Context(), "nonsense", slate.Options{})
	wantBoth(t, "Open", err, kv.ErrInvalid, bucket.ErrInvalid)
	_, err = slatekv.OpenReader(t.Context(), "gopher://x/y", slate.ReaderOptions{})
	wantBoth(t, "OpenReader", err, kv.ErrInvalid, bucket.ErrUnsupported)
}

// A store whose rows would expire unasked is refused.
func TestDefaultTTL(t *testing.T) {
	_, err := slatekv.OpenBucket(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{DefaultTTL: time.Hour})
	wantBoth(t, "OpenBucket", err, kv.ErrInvalid, slate.ErrInvalid)
}

// TestCorrupt damages an SST and finds the object and offset in the error.
func TestCorrupt(t *testing.T) {
	ctx := t.Context()
	b := bucket.NewInMemBucket()
	s := openBucket(t, b, slate.Options{})
	put(t, s, map[string]string{"a": strings.Repeat("x", 100)})
	if err := s.DB().FlushMemtable(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var damaged string
	for o, err := range b.List(ctx, "db/compacted/", "") {
		if err != nil {
			t.Fatal(err)
		}
		damaged = o.Key
	}
	data, err := b.Get(ctx, damaged)
	if err != nil {
		t.Fatal(err)
	}
	data[20] ^= 1
	if err := b.Put(ctx, damaged, data); err != nil {
		t.Fatal(err)
	}
	r, err := slatekv.OpenBucketReader(ctx, "db", b, slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	check := func(what string, err error) {
		wantBoth(t, what, err, kv.ErrCorrupt, slate.ErrCorrupt)
		c, ok := errors.AsType[*kv.CorruptError](err)
		if !ok || c.Object != damaged || c.Offset < 0 || c.Reason == "" {
			t.Errorf("%s: %+v does not name %s", what, c, damaged)
		}
	}
	_, err = r.Get(ctx, []byte("a"))
	check("Get", err)
	for _, err := range r.Scan(ctx, kv.Range{}) {
		check("Scan", err)
	}
}

func TestBatchTooLarge(t *testing.T) {
	ctx := t.Context()
	s := openBucket(t, bucket.NewInMemBucket(), slate.Options{MaxBatchBytes: 1000})
	defer s.Close()
	tx, err := s.Begin(ctx, kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantBoth(t, "put", tx.Put([]byte("a"), make([]byte, 2000)), kv.ErrInvalid, slate.ErrInvalid)
	if err := tx.Put([]byte("b"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Errorf("commit without what was refused: %v", err)
	}
	if got := content(t, s); got != "b=1" {
		t.Errorf("it left %q", got)
	}
}

// A transaction that is open while more is written than the engine keeps track
// of is refused without a key; reading goes on until then.
func TestOpenForTooLong(t *testing.T) {
	ctx := t.Context()
	s := openBucket(t, bucket.NewInMemBucket(), slate.Options{MaxTxHistoryBytes: 1000, MinFlushInterval: -1})
	put(t, s, map[string]string{"k": "v"})
	tx, err := s.Begin(ctx, kv.TxOptions{Isolation: kv.SnapshotIsolation})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Put([]byte("k"), []byte("mine")); err != nil {
		t.Fatal(err)
	}
	others := map[string]string{}
	for i := range 200 {
		others[fmt.Sprintf("other%03d", i)] = "x"
	}
	put(t, s, others)
	if _, err := tx.Get(ctx, []byte("other000")); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	err = tx.Commit(ctx)
	wantBoth(t, "commit", err, kv.ErrConflict, slate.ErrConflict)
	if c, ok := errors.AsType[*kv.ConflictError](err); !ok || c.Key != nil {
		t.Errorf("commit: %v; want a conflict without a key", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// unanswered holds back every WAL put until the test is over.
type unanswered struct {
	bucket.Bucket
	asked   chan struct{}
	release chan struct{}
}

func (u *unanswered) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	if strings.Contains(key, "/wal/") && u.release != nil {
		u.asked <- struct{}{}
		<-u.release
	}
	return u.Bucket.PutIfAbsent(ctx, key, body, token)
}

// TestUnknownOutcome gives up on a commit while its WAL put is under way: it is
// visible to the next transaction, and the error says what is known.
func TestUnknownOutcome(t *testing.T) {
	u := &unanswered{Bucket: bucket.NewInMemBucket()}
	s := openBucket(t, u, slate.Options{})
	u.asked, u.release = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := s.Begin(ctx, kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Put([]byte("a"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- tx.Commit(ctx) }()
	<-u.asked
	next, err := s.Begin(t.Context(), kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := next.Get(t.Context(), []byte("a")); string(v) != "1" || err != nil {
		t.Errorf("the next transaction reads %q, %v", v, err)
	}
	next.Rollback()
	cancel()
	wantBoth(t, "commit", <-done, kv.ErrUnknownOutcome, context.Canceled)
	go func() {
		for range u.asked {
		}
	}()
	close(u.release)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	close(u.asked)
}

func wantBoth(t *testing.T, what string, err, want, wantToo error) {
	t.Helper()
	if !errors.Is(err, want) || !errors.Is(err, wantToo) {
		t.Errorf("%s: %v; want an error that is both %q and %q", what, err, want, wantToo)
	}
}

func folderURL(t *testing.T) string {
	return "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "db"))
}

func open(t *testing.T, url string) *slatekv.Store {
	s, err := slatekv.Open(t.Context(), url, slate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openBucket(t *testing.T, b bucket.Bucket, opts slate.Options) *slatekv.Store {
	s, err := slatekv.OpenBucket(t.Context(), "db", b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s kv.Store, pairs map[string]string) {
	t.Helper()
	tx, err := s.Begin(t.Context(), kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for k, v := range pairs {
		if err := tx.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, r kv.Reader) string {
	t.Helper()
	var out []string
	for p, err := range r.Scan(t.Context(), kv.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(p.Key)+"="+string(p.Value))
	}
	return strings.Join(out, " ")
}
