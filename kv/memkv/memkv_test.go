package memkv_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/kvtest"
	"github.com/stele-db/stele/kv/memkv"
)

func TestStore(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Store { return memkv.New() })
}

func TestReadOnly(t *testing.T) {
	kvtest.RunReadOnly(t, func(t *testing.T, pairs map[string]string) kv.Store {
		return filled(t, pairs).ReadOnly()
	})
}

func filled(t *testing.T, pairs map[string]string) *memkv.Store {
	s := memkv.New()
	tx, err := s.Begin(t.Context(), kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range pairs {
		if err := tx.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReadOnlyFollows shows that a read-only store is a window, not a copy, and
// that closing it leaves the store open.
func TestReadOnlyFollows(t *testing.T) {
	s := filled(t, map[string]string{"a": "1"})
	ro := s.ReadOnly()
	tx, err := s.Begin(t.Context(), kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Put([]byte("a"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := ro.Get(t.Context(), []byte("a")); string(v) != "2" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
	if err := ro.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), []byte("a")); string(v) != "2" || err != nil {
		t.Errorf("Get of the store itself = %q, %v", v, err)
	}
}

// TestKeptPairs shows what the package's comment says: a pair that is kept
// without copying does not stay.
func TestKeptPairs(t *testing.T) {
	s := filled(t, map[string]string{"a": "1", "b": "2"})
	var kept []kv.Pair
	for p, err := range s.Scan(t.Context(), kv.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, p)
	}
	if string(kept[0].Key) == "a" {
		t.Error("a kept pair still has its key")
	}
}

// TestOpenForTooLong writes more beside a transaction than the store keeps track
// of: it is refused without a key.
func TestOpenForTooLong(t *testing.T) {
	ctx := t.Context()
	s := filled(t, map[string]string{"a": "1"})
	tx, err := s.Begin(ctx, kv.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Put([]byte("a"), []byte("mine")); err != nil {
		t.Fatal(err)
	}
	for i := range byte(200) {
		other, err := s.Begin(ctx, kv.TxOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for j := range byte(2) {
			if err := other.Put(bytes.Repeat([]byte{'b', i, j}, 20_000), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	err = tx.Commit(ctx)
	if c, ok := errors.AsType[*kv.ConflictError](err); !ok || c.Key != nil {
		t.Errorf("commit: %v; want a conflict without a key", err)
	}
}
