package cli_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type compaction struct {
	Before, After struct{ Manifest, L0, Runs, SSTs, Bytes int }
}

func compactAll(t *testing.T, url string, args ...string) (c compaction) {
	t.Helper()
	out := stele(t, nil, append([]string{"slate", "compact", "--json", "--db", url}, args...)...)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// A database of one run is compacted already; with --rewrite it is written anew,
// as the flags say.
func TestCompactRewrites(t *testing.T) {
	url, _ := importPackages(t)
	first := compactAll(t, url)
	if first.After.L0 != 0 || first.After.Runs != 1 {
		t.Fatalf("compacted: %+v", first)
	}
	export := stele(t, nil, "export", "--db", url, "Package")
	if c := compactAll(t, url, "--compression", "zstd"); c.After.Bytes != first.After.Bytes {
		t.Errorf("compacted again: %+v", c)
	}
	if c := compactAll(t, url, "--rewrite", "--compression", "zstd"); c.After.Runs != 1 || c.After.Bytes >= first.After.Bytes*3/4 {
		t.Errorf("rewritten: %+v, before it had %d bytes", c, first.After.Bytes)
	}
	if got := stele(t, nil, "export", "--db", url, "Package"); got != export {
		t.Error("the rows are others after it")
	}
}

// A writer that is told to leaves compaction to others, however full L0 is.
func TestNoCompaction(t *testing.T) {
	url, _ := importPackages(t)
	b, path, err := bucket.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	db, err := slate.Open(t.Context(), path, b, slate.Options{CompactL0: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 7 { // with the import's own there are eight: L0 is full
		if err := db.Put(t.Context(), []byte{0xff, byte(i)}, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.FlushMemtable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := []string{"import", "--db", url, filepath.Join(examples, "packages.ndjson.gz")}
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(again, "--no-compaction"), "compacted: false"},
		{again, "compacted: true"},
	} {
		stele(t, nil, c.args...)
		m, err := slate.ReadManifest(t.Context(), path, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("compacted: %v", m.CompactorEpoch > 0); got != c.want {
			t.Errorf("stele %v: %s, %d SSTs in L0", c.args, got, len(m.L0))
		}
	}
}
