package sst

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate/internal/format"
)

const fixtures = "../../testdata/slatedb-0.12.1"

// eachFixture calls fn with every SST object that SlateDB wrote: WAL objects,
// fences, L0s and runs.
func eachFixture(t *testing.T, fn func(t *testing.T, name string, wal bool, data []byte)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(fixtures, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".sst") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		name := strings.TrimPrefix(filepath.ToSlash(path), fixtures+"/")
		fn(t, name, strings.Contains(name, "/wal/"), data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatal("no fixtures")
	}
	t.Logf("%d objects", n)
}

// The rows of every SST that SlateDB wrote, written again with the same
// settings, give the same blocks, separators, filter, statistics and info; and
// without compression the same object, byte by byte.
func TestRewriteFixtures(t *testing.T) {
	rows, identical := 0, 0
	eachFixture(t, func(t *testing.T, name string, wal bool, data []byte) {
		f, err := Parse(data, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		opts := WriterOptions{Codec: f.Info.Codec, WAL: f.Info.Type == format.WAL, MinFilterKeys: -1}
		if f.Info.FilterLen > 0 {
			opts.MinFilterKeys = 1
		}
		if strings.HasPrefix(name, "binary-keys/") {
			opts.BlockSize = 1024
		}
		w := NewWriter(opts)
		for i := range f.Index.Len() {
			block, err := f.Rows(i, nil)
			if err != nil {
				t.Errorf("%s: block %d: %v", name, i, err)
				return
			}
			for j := range block {
				if err := w.Add(&block[j]); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				rows++
			}
		}
		got, _, err := w.Finish()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if bytes.Equal(got, data) {
			identical++
			return
		}
		if f.Info.Codec == format.None {
			t.Errorf("%s: written again it differs: %d bytes, want %d", name, len(got), len(data))
		}
		sameParts(t, name, got, f)
	})
	t.Logf("%d rows, %d objects identical", rows, identical)
}

// sameParts compares what compression leaves comparable.
func sameParts(t *testing.T, name string, got []byte, want *File) {
	t.Helper()
	f, err := Parse(got, nil)
	if err != nil {
		t.Errorf("%s: own writing: %v", name, err)
		return
	}
	if f.Index.Len() != want.Index.Len() {
		t.Errorf("%s: %d blocks, want %d", name, f.Index.Len(), want.Index.Len())
		return
	}
	for i := range f.Index.Len() {
		if !bytes.Equal(f.Index.Separator(i), want.Index.Separator(i)) {
			t.Errorf("%s: separator %d is %q, want %q", name, i, f.Index.Separator(i), want.Index.Separator(i))
		}
		a, errA := f.part(f.Index.Offset(i), f.Index.Offset(i+1)-f.Index.Offset(i))
		b, errB := want.part(want.Index.Offset(i), want.Index.Offset(i+1)-want.Index.Offset(i))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: block %d differs (%v, %v)", name, i, errA, errB)
		}
	}
	for _, part := range []struct {
		name string
		at   func(*File) (uint64, uint64)
	}{
		{"filter", func(f *File) (uint64, uint64) { return f.Info.FilterOffset, f.Info.FilterLen }},
		{"statistics", func(f *File) (uint64, uint64) { return f.Info.StatsOffset, f.Info.StatsLen }},
	} {
		ao, al := part.at(f)
		bo, bl := part.at(want)
		if (al == 0) != (bl == 0) {
			t.Errorf("%s: %s of %d bytes, want %d", name, part.name, al, bl)
			continue
		}
		if al == 0 {
			continue
		}
		a, errA := f.part(ao, al)
		b, errB := want.part(bo, bl)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %s differs (%v, %v)", name, part.name, errA, errB)
		}
	}
}
