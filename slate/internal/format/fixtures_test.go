package format

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const fixtures = "../../testdata/slatedb-0.12.1"

// eachFixture calls fn with every file that SlateDB wrote whose name ends with
// suffix.
func eachFixture(t testing.TB, suffix string, fn func(name string, data []byte)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(fixtures, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		fn(strings.TrimPrefix(filepath.ToSlash(path), fixtures+"/"), data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatalf("no fixtures %s", suffix)
	}
	t.Logf("%d files %s", n, suffix)
}

// Every manifest that SlateDB wrote decodes, and encodes to the same bytes.
func TestManifestFixtures(t *testing.T) {
	eachFixture(t, ".manifest", func(name string, data []byte) {
		m, err := DecodeManifest(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		id, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".manifest"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.CheckID(id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := EncodeManifest(m); !bytes.Equal(got, data) {
			t.Errorf("%s: written again it differs: %d bytes, want %d", name, len(got), len(data))
		}
		tr, err := DecodeTracker(m.SequenceTracker)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if got := tr.Encode(); m.SequenceTracker != nil && !bytes.Equal(got, m.SequenceTracker) {
			t.Errorf("%s: sequence tracker of %d pairs written again is %x, want %x", name, tr.Len(), got, m.SequenceTracker)
		}
	})
}

// Every compactions file that SlateDB wrote decodes, and encodes to the same
// bytes.
func TestCompactionsFixtures(t *testing.T) {
	eachFixture(t, ".compactions", func(name string, data []byte) {
		c, err := DecodeCompactions(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if got := EncodeCompactions(c); !bytes.Equal(got, data) {
			t.Errorf("%s: written again it differs: %d bytes, want %d", name, len(got), len(data))
		}
	})
}
