package kv_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stele-db/stele/kv"
)

func TestCheckKey(t *testing.T) {
	for size, want := range map[int]error{0: kv.ErrInvalid, 1: nil, kv.MaxKeySize: nil, kv.MaxKeySize + 1: kv.ErrInvalid} {
		if err := kv.CheckKey(make([]byte, size)); !errors.Is(err, want) {
			t.Errorf("CheckKey of %d bytes = %v, want %v", size, err, want)
		}
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		lower, upper, key string
		contains, empty   bool
	}{
		{"-", "-", "", true, false},
		{"-", "-", "x", true, false},
		{"b", "-", "a", false, false},
		{"b", "-", "b", true, false},
		{"-", "b", "b", false, false},
		{"-", "b", "a\xff", true, false},
		{"a", "b", "a", true, false},
		{"b", "b", "b", false, true},
		{"c", "b", "bb", false, true},
		{"-", "", "", false, true},
	} {
		var r kv.Range
		if c.lower != "-" {
			r.Lower = []byte(c.lower)
		}
		if c.upper != "-" {
			r.Upper = []byte(c.upper)
		}
		if got := r.Contains([]byte(c.key)); got != c.contains {
			t.Errorf("%q..%q contains %q: %v", c.lower, c.upper, c.key, got)
		}
		if got := r.Empty(); got != c.empty {
			t.Errorf("%q..%q is empty: %v", c.lower, c.upper, got)
		}
	}
}

func TestCorruptError(t *testing.T) {
	err := fmt.Errorf("get: %w", &kv.CorruptError{Object: "db/compacted/x.sst", Offset: 42, Reason: "checksum"})
	if !errors.Is(err, kv.ErrCorrupt) || errors.Is(err, kv.ErrInvalid) {
		t.Error("a CorruptError matches ErrCorrupt and nothing else")
	}
	if got, want := err.Error(), "get: corrupt data in db/compacted/x.sst at offset 42: checksum"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	unknown := &kv.CorruptError{Object: "x", Offset: -1, Reason: "cut"}
	if got, want := unknown.Error(), "corrupt data in x: cut"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
