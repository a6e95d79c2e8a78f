package slate_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// fixtures holds databases that SlateDB wrote; see its README.
const fixtures = "testdata/slatedb-0.12.1"

// load copies a fixture into a bucket in memory and returns what SlateDB read
// from it.
func load(t *testing.T, name string) (bucket.Bucket, model) {
	t.Helper()
	dir := filepath.Join(fixtures, name)
	b := bucket.NewInMemBucket()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return b.Put(t.Context(), filepath.ToSlash(key), data)
	})
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Live []struct{ K, V []byte }
	}
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &expected); err != nil {
		t.Fatal(err)
	}
	m := model{}
	for _, kv := range expected.Live {
		m[string(kv.K)] = string(kv.V)
	}
	return b, m
}

// Every database that SlateDB wrote reads as SlateDB reads it: by a reader, by
// a writer that replays and continues it, and after our own compaction.
func TestSlateDBsDatabases(t *testing.T) {
	entries, err := os.ReadDir(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "merges" || e.Name() == "separate-wal-store" { // they have tests of their own
			continue
		}
		names++
		t.Run(e.Name(), func(t *testing.T) {
			b, m := load(t, e.Name())
			r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			everything(t, "reader", r, m)

			if e.Name() == "ttl" { // rewriting drops what has expired since
				return
			}
			db := open(t, b, slate.Options{})
			everything(t, "writer", db, m)
			put(t, db, "zz added", "by us")
			m["zz added"] = "by us"
			everything(t, "after a put", db, m)
			mustCompact(t, db)
			everything(t, "after compaction", db, m)
			mustClose(t, db)
			everything(t, "reopened", open(t, b, slate.Options{}), m)
		})
	}
	if names < 15 {
		t.Errorf("only %d fixtures", names)
	}
}

type scans interface {
	reads
	Scan(ctx context.Context, r slate.Range) iter.Seq2[slate.KV, error]
}

// A row with merge operands is refused by key while there is no operator.
func TestMergedRowIsRefusedByKey(t *testing.T) {
	b, _ := load(t, "merges")
	r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range r.Scan(t.Context(), slate.Range{}) {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, slate.ErrNoOperator) {
		t.Errorf("scan: %v, want no operator", err)
	}
}
