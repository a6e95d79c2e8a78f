package slate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// SlateDB's database with a log of its own place is read, continued, compacted
// and collected with both buckets, and refused with one.
func TestSeparateWALOfSlateDB(t *testing.T) {
	b, m := load(t, "separate-wal-store")
	log := bucket.NewInMemBucket()
	dir := filepath.Join(fixtures, "separate-wal-store", "walstore")
	for _, name := range []string{"1", "2", "3", "4"} {
		key := "db/wal/" + strings.Repeat("0", 19) + name + ".sst"
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(key)))
		if err == nil {
			err = log.Put(t.Context(), key, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := count(t, b, "")
	for what, err := range map[string]error{
		"reader":    openReaderErr(b, slate.ReaderOptions{}),
		"writer":    openErr(b, slate.Options{}),
		"collector": collectErr(b, slate.GCOptions{MinAge: -1}),
		"reader, wrong path": openReaderErr(b, slate.ReaderOptions{
			WALBucket: log, WALPath: "elsewhere"}),
		"writer, wrong bucket": openErr(b, slate.Options{
			WALBucket: bucket.NewInMemBucket()}),
		"collector, wrong bucket": collectErr(b, slate.GCOptions{
			MinAge: -1, WALBucket: bucket.NewInMemBucket()}),
	} {
		if !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", what, err)
		}
	}
	if n := count(t, b, ""); n != before {
		t.Errorf("%d objects became %d", before, n)
	}

	r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{WALBucket: log})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, "reader", r, m)
	opts := slate.Options{WALBucket: log, ReaderGrace: -1}
	db := open(t, b, opts)
	everything(t, "writer", db, m)
	put(t, db, "zz added", "by us")
	m["zz added"] = "by us"
	mustCompact(t, db)
	report := collect(t, b, slate.GCOptions{MinAge: -1, WALBucket: log})
	if report.WAL.Deleted.Objects != 3 { // 1 is their fence, 5 ours, 6 the replay point
		t.Errorf("collected %+v", report.WAL)
	}
	everything(t, "collected", db, m)
	mustClose(t, db)
	everything(t, "reopened", open(t, b, opts), m)
	if n := count(t, b, "db/wal/"); n != 0 {
		t.Errorf("%d WAL objects lie beside the database", n)
	}
}

func openErr(b bucket.Bucket, opts slate.Options) error {
	db, err := slate.Open(context.Background(), "db", b, opts)
	if err == nil {
		_ = db.Close()
	}
	return err
}

func openReaderErr(b bucket.Bucket, opts slate.ReaderOptions) error {
	_, err := slate.OpenReader(context.Background(), "db", b, opts)
	return err
}

func collectErr(b bucket.Bucket, opts slate.GCOptions) error {
	_, err := slate.CollectGarbage(context.Background(), "db", b, opts)
	return err
}

// A database of ours keeps its log where it is told to at creation, and nothing
// else there; a database that has none there does not begin one.
func TestWALBucket(t *testing.T) {
	for _, path := range []string{"", "logs/of/db", "/"} {
		b, log := bucket.NewInMemBucket(), bucket.NewInMemBucket()
		opts := slate.Options{WALBucket: log, WALPath: path}
		db := open(t, b, opts)
		put(t, db, "k", "v")
		prefix := map[string]string{"": "db/wal/", "logs/of/db": "logs/of/db/wal/", "/": "wal/"}[path]
		if n, all := count(t, log, prefix), count(t, log, ""); n != 2 || all != n {
			t.Errorf("path %q: %d objects below %s, %d in all, want the fence and one of rows: %v", path, n, prefix, all, keys(t, log))
		}
		if n := count(t, b, "db/wal/"); n != 0 {
			t.Errorf("path %q: %d WAL objects lie beside the database", path, n)
		}
		r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{WALBucket: log, WALPath: path})
		if err != nil {
			t.Fatal(err)
		}
		checkGet(t, r, model{"k": "v"}, "k")
		info, err := slate.ReadManifest(t.Context(), "db", b, 0)
		if err != nil || !info.SeparateWAL {
			t.Errorf("manifest %+v, %v", info, err)
		}
		ids, err := slate.WALObjects(t.Context(), strings.TrimSuffix(prefix, "wal/"), log)
		if err != nil || !slices.Equal(ids, []uint64{1, 2}) {
			t.Errorf("WAL objects %v, %v", ids, err)
		}
	}
	b := bucket.NewInMemBucket()
	if err := open(t, b, slate.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	log := bucket.NewInMemBucket()
	if err := openErr(b, slate.Options{WALBucket: log}); !errors.Is(err, slate.ErrInvalid) || count(t, log, "") != 0 {
		t.Errorf("a second log: %v, %d objects", err, count(t, log, ""))
	}
	if err := openErr(b, slate.Options{WALPath: "x"}); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("path without bucket: %v", err)
	}
	if err := openErr(bucket.NewInMemBucket(), slate.Options{WALBucket: noConditions{log}}); !errors.Is(err, slate.ErrUnsupported) {
		t.Errorf("log without conditional put: %v", err)
	}
}

// Fencing lives in the log's bucket: the sleeper is told, also after a
// collection, and its rows are nowhere.
func TestFencingInTheWALBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(time.Millisecond)
		log := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		opts := slate.Options{WALBucket: log, ReaderGrace: -1, GCMinAge: -1}
		sleeper := open(t, b, opts)
		put(t, sleeper, "k", "before")
		next := open(t, b, opts)
		checkGet(t, next, model{"k": "before"}, "k")
		for i := range 3 {
			put(t, next, "k", fmt.Sprint("theirs ", i))
			mustFlush(t, next)
		}
		time.Sleep(time.Minute)
		if r := collect(t, b, slate.GCOptions{MinAge: -1, WALBucket: log}); r.WAL.Deleted.Objects == 0 {
			t.Errorf("nothing of the log was collected: %+v", r.WAL)
		}
		if err := sleeper.Put(t.Context(), []byte("k"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
			t.Errorf("put by the sleeper: %v, want fenced", err)
		}
		checkGet(t, next, model{"k": "theirs 2"}, "k")
		if n := b.Stats()[faulty.PutIfAbsent].Requests; n == 0 || count(t, b, "db/wal/") != 0 {
			t.Errorf("%d WAL objects lie beside the database", count(t, b, "db/wal/"))
		}
		mustClose(t, next)
	})
}

func ExampleOptions_wALBucket() {
	ctx := context.Background()
	slow, fast := bucket.NewInMemBucket(), bucket.NewInMemBucket() // say, S3 and a disk that several machines see
	db, err := slate.Open(ctx, "shop", slow, slate.Options{WALBucket: fast})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("k"), []byte("v")) // durable as soon as fast has it

	_, err = slate.OpenReader(ctx, "shop", slow, slate.ReaderOptions{})
	fmt.Println(errors.Is(err, slate.ErrInvalid))
	r, err := slate.OpenReader(ctx, "shop", slow, slate.ReaderOptions{WALBucket: fast})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := r.Get(ctx, []byte("k"))
	fmt.Println(string(v), err, r.Close())
	// Output:
	// true
	// v <nil> <nil>
}

// The log lies in a bucket of its own. While the other one does not answer, puts
// go on.
func TestPutsBesideAnOutageOfTheManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		db, err := slate.Open(t.Context(), "db", b, slate.Options{WALBucket: slow(40 * time.Millisecond), CompactL0: -1, GCMinAge: -1})
		if err != nil {
			t.Fatal(err)
		}
		b.Add(faulty.Rule{Err: slate.ErrUnavailable})
		began, longest, n := time.Now(), time.Duration(0), 0
		for time.Since(began) < 100*time.Second {
			at := time.Now()
			if err := db.Put(t.Context(), []byte("k"), []byte("v")); err != nil {
				t.Errorf("put %d after %v: %v", n, time.Since(began), err)
				break
			}
			longest, n = max(longest, time.Since(at)), n+1
		}
		if longest > 5*time.Second || n < 1000 {
			t.Errorf("%d puts, one took %v", n, longest)
		}
		b.Clear()
		_ = db.Close()
	})
}
