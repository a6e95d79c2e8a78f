package layout_test

import (
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/slate/internal/layout"
)

func TestNames(t *testing.T) {
	id := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	for _, c := range []struct{ path, root, sst string }{
		{"/tmp/testDB", "tmp/testDB", "tmp/testDB/compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst"},
		{"a//b/./c/", "a/b/c", "a/b/c/compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst"},
		{"../x", "x", "x/compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst"}, // never above the bucket's root
		{"", "", "compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.sst"},
	} {
		r := layout.NewRoot(c.path)
		if string(r) != c.root || r.SST(id) != c.sst {
			t.Errorf("%q: root %q, SST %q", c.path, r, r.SST(id))
		}
		if back, ok := layout.SSTID(r.SST(id)); !ok || back != id {
			t.Errorf("%q: SST id comes back as %v, %v", c.path, back, ok)
		}
	}
	r := layout.NewRoot("db")
	if got := r.Manifest(7); got != "db/manifest/00000000000000000007.manifest" {
		t.Error(got)
	}
	if got := r.WAL(1<<64 - 1); got != "db/wal/18446744073709551615.sst" {
		t.Error(got)
	}
}

// Names that are not ours are ignored, not misread.
func TestForeignNames(t *testing.T) {
	for _, key := range []string{
		"db/manifest/7.manifest", "db/manifest/00000000000000000007", "db/manifest/0000000000000000000x.manifest",
		"db/manifest/99999999999999999999.manifest", "db/manifest/+0000000000000000007.manifest", "", "/",
	} {
		if id, ok := layout.ManifestID(key); ok {
			t.Errorf("%q read as manifest %d", key, id)
		}
	}
	for _, key := range []string{"db/compacted/x.sst", "db/compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FA!.sst"} {
		if id, ok := layout.SSTID(key); ok {
			t.Errorf("%q read as SST %v", key, id)
		}
	}
}

func TestToken(t *testing.T) {
	if tok, err := layout.Token(strings.NewReader(strings.Repeat("\x01", 16))); err != nil || tok != strings.Repeat("01", 16) {
		t.Errorf("token %q, %v", tok, err)
	}
	if _, err := layout.Token(strings.NewReader("short")); err == nil {
		t.Error("a token of too little randomness")
	}
}
