package server

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
)

func TestReadSource(t *testing.T) {
	fsys := fstest.MapFS{
		"schema.proto": {Data: []byte("syntax = \"proto3\";\npackage zoo;\nimport \"parts/cage.proto\";\nimport \"stele/options.proto\";\nimport \"google/protobuf/timestamp.proto\";\n" +
			"message Bird { string pk = 1; Cage cage = 2; google.protobuf.Timestamp born = 3; string kind = 4 [(stele.index) = true]; }\n")},
		"parts/cage.proto": {Data: []byte("syntax = \"proto3\";\npackage zoo;\nimport \"parts/lock.proto\";\nmessage Cage { Lock lock = 1; }\n")},
		"parts/lock.proto": {Data: []byte("syntax = \"proto3\";\npackage zoo;\nmessage Lock { bool shut = 1; }\n")},
		"other.proto":      {Data: []byte("syntax = \"proto3\";\n")},
	}
	src, err := ReadSource(t.Context(), fsys, "schema.proto")
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(src)); !slices.Equal(got, []string{"parts/cage.proto", "parts/lock.proto", "schema.proto"}) {
		t.Errorf("read %v", got)
	}
	api, err := Compile(t.Context(), "schema.proto", src)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "bird.database.proto", api.Text())
	if _, err := ReadSource(t.Context(), fsys, "gone.proto"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing schema gives %v", err)
	}
	// Faults inside the files are Compile's to report.
	fsys["bad.proto"] = &fstest.MapFile{Data: []byte("nonsense")}
	if src, err := ReadSource(t.Context(), fsys, "bad.proto"); err != nil || src["bad.proto"] != "nonsense" {
		t.Errorf("a bad schema reads as %v, %v", src, err)
	}
}
