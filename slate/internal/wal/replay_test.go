package wal_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

// rows makes rows of texts such as "k7": a key and a seq.
func rows(texts ...string) (out []format.Row) {
	for _, s := range texts {
		out = append(out, format.Row{Key: []byte(s[:1]), Seq: uint64(s[1] - '0'), Kind: format.Value})
	}
	return out
}

// The rows of a log come by seq, those of one batch by key, also where it goes
// over two objects.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		objects [][]format.Row
		fault   string
	}{
		{"one batch over two objects", [][]format.Row{rows("a1", "a2"), rows("b2", "a3")}, ""},
		{"a fence between", [][]format.Row{rows("a1"), nil, rows("a2")}, ""},
		{"exchanged", [][]format.Row{rows("a3"), rows("a2")}, `row of seq 2 and key "a" comes after seq 3 and key "a"`},
		{"a copy", [][]format.Row{rows("a2"), rows("a2")}, `seq 2 and key "a" comes after`},
		{"a copy behind a fence", [][]format.Row{rows("a2"), nil, rows("a2")}, `seq 2 and key "a" comes after`},
		{"within an object", [][]format.Row{rows("a2", "b1")}, `seq 1 and key "b" comes after seq 2`},
	} {
		var order wal.Order
		var err error
		for _, o := range c.objects {
			if err == nil {
				err = order.Next("wal/7.sst", o)
			}
		}
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fault != "" && (!errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "wal/7.sst")):
			t.Errorf("%s: %v, want %s", c.name, err, c.fault)
		}
	}
}

// A place finds objects by their exact names, tells fences of both kinds from
// objects with rows, and names the object that cannot be read.
func TestPlace(t *testing.T) {
	p := wal.Place{Bucket: bucket.NewInMemBucket(), Root: layout.NewRoot("db")}
	put := func(key string, body []byte) {
		t.Helper()
		if err := p.Bucket.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
	object := func(rows []format.Row) []byte {
		w := sst.NewWriter(sst.WriterOptions{WAL: true})
		for i := range rows {
			if err := w.Add(&rows[i]); err != nil {
				t.Fatal(err)
			}
		}
		data, _, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put(p.Key(1), object(rows("b1", "a2")))
	put(p.Key(2), object(nil)) // as 0.12 and Stele fence
	put(p.Key(3), nil)         // as SlateDB from 0.13 on
	put(p.Key(4), []byte("not an object of a log"))
	put("db/wal/5.sst", object(nil)) // not the name of an object
	put("db/manifest/00000000000000000006.sst", object(nil))
	ids, err := p.List(t.Context(), 1)
	if err != nil || len(ids) != 3 || ids[0] != 2 || ids[2] != 4 {
		t.Errorf("objects after the first: %v, %v", ids, err)
	}
	for id, want := range map[uint64]int{1: 2, 2: 0, 3: 0} {
		got, err := p.Read(t.Context(), id)
		has, err2 := p.HasRows(t.Context(), id)
		if err != nil || err2 != nil || len(got) != want || has != (want > 0) {
			t.Errorf("object %d: %d rows, %v, %v, %v", id, len(got), has, err, err2)
		}
	}
	if _, err := p.Read(t.Context(), 4); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), p.Key(4)) {
		t.Errorf("a damaged object: %v", err)
	}
	if _, err := p.Read(t.Context(), 6); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("no object: %v", err)
	}
}
