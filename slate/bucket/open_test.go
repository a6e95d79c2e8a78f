package bucket_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate/bucket"
)

func TestOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, name, path string }{
		{"file:///srv/data/app", "file:///srv/data", "app"},
		{"file://localhost/srv/data/app", "file:///srv/data", "app"},
		{"file:/srv/data/app/", "file:///srv/data", "app"},
		{"FILE:///srv/app", "file:///srv", "app"},
		{"file:///app", "file:///", "app"},
		{"file:///srv/data/app?root=/srv", "file:///srv", "data/app"},
		{"file:///srv/data/app?root=/", "file:///", "srv/data/app"},
		{"file:///srv/100%25/a%20b%3F", "file:///srv/100%", "a b?"},
		{"file://./data", "file://" + wd, "data"},
		{"file://data", "file://" + wd, "data"},
		{"file://sub/data", "file://" + wd + "/sub", "data"},
		{"file:sub/data?root=.", "file://" + wd, "sub/data"},
		{"file://../x/data", "file://" + filepath.Dir(wd) + "/x", "data"},
		{"mem://shared/some/app", "mem://shared", "some/app"},
	} {
		b, path, err := bucket.Open(t.Context(), tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		if name := b.Capabilities().Name; name != tt.name || path != tt.path {
			t.Errorf("%s: bucket %s, path %s; want %s, %s", tt.url, name, path, tt.name, tt.path)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := ls(t, wd); len(got) > 0 {
		t.Errorf("opening made %q", got)
	}
}

func TestOpenErrors(t *testing.T) {
	for url, want := range map[string]string{
		"":                            "not a URL",
		"data":                        "file://./folder",
		"/srv/data":                   "file://./folder",
		"./a:b":                       "file://./folder",
		"file://":                     "names no folder",
		"file:///":                    "does not lie in",
		"file:///a/b?root=/c":         "does not lie in the root /c",
		"file:///a/b?root=/a/b":       "does not lie in the root",
		"file:///a/b?rot=/a":          `unknown parameter "rot"`,
		"file:///a/%zz":               "invalid URL escape",
		"file:///a/.stele-tmp":        "reserved",
		"mem:///x":                    "mem://NAME/path",
		"mem://x":                     "add a path",
		"mem://x/a/../b":              `".."`,
		"mem://u:secret@x":            "mem://u:xxxxx@x",
		"gopher://x/y":                "no driver for gopher URLs; there are file, mem",
		"s3://bucket/path?endpoint=x": `import _ "github.com/stele-db/stele/slate/bucket/s3"`,
	} {
		_, _, err := bucket.Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", url, err, want)
			continue
		}
		kind := bucket.ErrInvalid
		if strings.Contains(want, "driver") || strings.Contains(want, "import") {
			kind = bucket.ErrUnsupported
		}
		if !errors.Is(err, kind) {
			t.Errorf("%s: %v is not %v", url, err, kind)
		}
	}
}

// TestOpenShared: memory of one name is one bucket, and outlives its handles.
func TestOpenShared(t *testing.T) {
	a, _, err := bucket.Open(t.Context(), "mem://TestOpenShared/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Put(t.Context(), "k", []byte("x")), a.Close()); err != nil {
		t.Fatal(err)
	}
	b, _, err := bucket.Open(t.Context(), "mem://TestOpenShared/b")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := b.Get(t.Context(), "k"); err != nil || string(body) != "x" {
		t.Errorf("get: %q, %v", body, err)
	}
	if _, err := a.Get(t.Context(), "k"); !errors.Is(err, bucket.ErrClosed) {
		t.Errorf("get on the closed handle: %v", err)
	}
}
