package slatekv_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
	"github.com/stele-db/stele/tuple"
)

func TestPrefixLen(t *testing.T) {
	for _, c := range []struct {
		prefix, rest string
	}{
		{"", ""},
		{"", "__schema__book"},
		{"", "\x01\x01\x01\x00"},
		{"", "\x01\x01\x01\x01\x05"},
		{"", "\x01\x02\x02\x05\x15\x01"},                                  // a later format
		{"", "\x02\x01\x02\x05\x15\x01"},                                  // another space
		{"", "\x01\x01\x02"},                                              // no id
		{"\x01\x01\x02\x05", ""},                                          // rows of table 5
		{"\x01\x01\x02\x05", "\x15\x01"},                                  //
		{"\x01\x01\x02\x81\x02", "\x24ab\x00\x01"},                        // an id of two bytes
		{"", "\x01\x01\x03\x05\x07"},                                      // an index as a whole
		{"", "\x01\x01\x03\x05\x07\x24ab"},                                // a string that is not at its end
		{"\x01\x01\x03\x05\x07\x24ab\x00\x01", ""},                        // entries of "ab"
		{"\x01\x01\x03\x05\x07\x24ab\x00\x01", "\x15\x01\x24x\x00\x01"},   //
		{"\x01\x01\x03\x05\x07\x24a\x00\xffb\x00\x01", "\x15\x01"},        // "a\x00b"
		{"\x01\x01\x03\x05\x07\x01", "\x15\x01"},                          // null
		{"\x01\x01\x03\x05\x07\x34\x15\x01\x24a\x00\x01\x00", "\x15\x01"}, // a nested tuple
	} {
		if n := slatekv.Prefixes.PrefixLen([]byte(c.prefix + c.rest)); n != len(c.prefix) {
			t.Errorf("%x: %d, want %d", c.prefix+c.rest, n, len(c.prefix))
		}
	}
}

// A prefix depends on nothing that follows it.
func TestPrefixesDelimitThemselves(t *testing.T) {
	any := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 3, 0x15, 0x20, 0x24, 0x28, 0x34, 0x81, 'a', 0xff}), 0, 12)
	check := func(t *rapid.T, key, tail []byte) {
		n := slatekv.Prefixes.PrefixLen(key)
		if n == 0 {
			return
		}
		if m := slatekv.Prefixes.PrefixLen(append(bytes.Clone(key[:n]), tail...)); m != n {
			t.Fatalf("prefix of %x has %d bytes, with %x behind it %d", key, n, tail, m)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		tail := any.Draw(t, "tail")
		check(t, append([]byte{1, 1, rapid.SampledFrom([]byte{2, 3}).Draw(t, "tag")}, any.Draw(t, "key")...), tail)
		key := tuple.AppendUvarint(tuple.AppendUvarint([]byte{1, 1, 3}, rapid.Uint64().Draw(t, "table")), rapid.Uint64().Draw(t, "index"))
		key, err := tuple.Tuple{tuple.String(rapid.String().Draw(t, "value")), tuple.Int(rapid.Int64().Draw(t, "next"))}.Append(key)
		if err != nil {
			t.Fatal(err)
		}
		if slatekv.Prefixes.PrefixLen(key) == 0 {
			t.Fatalf("an index entry without a prefix: %x", key)
		}
		check(t, key, tail)
	})
}

type visit struct {
	ID   int64  `stele:"key"`
	City string `stele:"index"`
	Note []byte
}

var (
	visits    = stele.NewTable[visit, int64]("visit")
	visitCity = stele.FieldOf[string](visits, "city")
)

// An index lookup reads blocks of the SSTs that have the value, and of no
// other; so do a reader's.
func TestIndexLookupsPassOverSSTs(t *testing.T) {
	ctx := t.Context()
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	opts := slate.Options{CompactL0: -1, MaxL0: 100}
	store := openBucket(t, b, opts)
	db, err := stele.OpenStore(ctx, store, stele.Options{Tables: []stele.Model{visits}})
	if err != nil {
		t.Fatal(err)
	}
	const ssts, rows = 6, 800
	for i := range ssts {
		err := db.Update(ctx, func(tx *stele.Tx) error {
			for j := range rows {
				v := visit{ID: int64(i*rows + j), City: fmt.Sprintf("%03d of %d", j/4, i), Note: make([]byte, 120)}
				if err := visits.Put(ctx, tx, &v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.DB().FlushMemtable(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	reader, err := slatekv.OpenBucketReader(ctx, "db", b, slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	writer := openBucket(t, b, opts)
	for name, from := range map[string]kv.Store{"reader": reader, "writer": writer} {
		db, err := stele.OpenStore(ctx, from, stele.Options{Tables: []stele.Model{visits}})
		if err != nil {
			t.Fatal(name, err)
		}
		lookup := func(city string) (found int, requests int64) {
			before := b.Stats()
			for _, err := range visits.Where(visitCity.Eq(city)).Rows(ctx, db) {
				if err != nil {
					t.Fatal(err)
				}
				found++
			}
			return found, b.Stats().Since(before).Total(faulty.GetRange).Requests
		}
		if n, requests := lookup("077 of none"); n != 0 || requests != ssts {
			t.Errorf("%s: a cold lookup of an absent value found %d rows in %d requests, want one for the filter of each of %d SSTs", name, n, requests, ssts)
		}
		if n, requests := lookup("022 of none"); n != 0 || requests != 0 {
			t.Errorf("%s: a lookup of an absent value found %d rows in %d requests", name, n, requests)
		}
		if n, requests := lookup("077 of 4"); n != 4 || requests > 2 {
			t.Errorf("%s: a lookup found %d rows in %d requests, want 4 in at most 2: the entries, and the rows", name, n, requests)
		}
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}
