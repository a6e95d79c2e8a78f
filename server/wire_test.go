package server

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
)

func queryBytes(num protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), text)
}

func TestParseIndexQuery(t *testing.T) {
	for num, name := range expressionNames {
		if name == "" {
			continue
		}
		q, err := parseIndexQuery(queryBytes(protowire.Number(num), "DOG#1"))
		if err != nil || q.field() != name || q.text != "DOG#1" {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	later := protowire.AppendVarint(protowire.AppendTag(nil, 5, protowire.VarintType), 10)
	q, err := parseIndexQuery(append(later, append(queryBytes(fieldEq, "a"), queryBytes(fieldGte, "b")...)...))
	if err != nil || q.field() != "gte" || q.text != "b" {
		t.Errorf("the last member of a oneof counts: %+v, %v", q, err)
	}
	if q, err := parseIndexQuery(queryBytes(fieldBeginsWith, "")); err != nil || !q.all() {
		t.Errorf("begins_with \"\": %+v, %v", q, err)
	}
	for name, c := range map[string]struct {
		req   []byte
		field string
	}{
		"no expression": {nil, "expression"},
		"other fields":  {later, "expression"},
		"bad UTF-8":     {queryBytes(fieldEq, "\xff"), "eq"},
		"wrong type":    {protowire.AppendVarint(protowire.AppendTag(nil, fieldLte, protowire.VarintType), 1), "lte"},
		"cut off":       {queryBytes(fieldEq, "abc")[:3], "eq"},
		"bad tag":       {[]byte{0x80}, ""},
		"field zero":    {[]byte{0x02, 0x00}, ""},
	} {
		_, err := parseIndexQuery(c.req)
		var fe *fieldError
		if !errors.As(err, &fe) || fe.field != c.field || !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitListErrors(t *testing.T) {
	one := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("rec"))
	for name, c := range map[string]struct {
		req   []byte
		field string
	}{
		"wrong type": {append(bytes.Clone(one), protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)...), "dogs[1]"},
		"cut off":    {one[:3], "dogs[0]"},
		"bad tag":    {[]byte{0x80}, ""},
		"bad rest":   {append(bytes.Clone(one), 0x12, 0x05), ""},
	} {
		_, err := splitList(c.req, "dogs")
		var fe *fieldError
		if !errors.As(err, &fe) || fe.field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if recs, err := splitList(append(queryBytes(2, "token"), one...), "dogs"); err != nil || len(recs) != 1 {
		t.Errorf("a later field: %d records, %v", len(recs), err)
	}
}

// A list splits into what was added, in memory that is not the rows' own.
func TestListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := rapid.SliceOf(rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 40),
			rapid.Map(rapid.IntRange(0, 3*listChunk), func(n int) []byte { return bytes.Repeat([]byte{7}, n) }))).Draw(t, "recs")
		l := list{limit: 1 << 30}
		var buf []byte
		for _, r := range recs {
			buf = append(buf[:0], r...)
			if !l.add(buf) {
				t.Fatal("refused under the limit")
			}
			clear(buf)
		}
		msg := l.message().Materialize()
		if len(msg) != l.size {
			t.Fatalf("%d bytes, counted %d", len(msg), l.size)
		}
		got, err := splitList(msg, "recs")
		if err != nil || len(got) != len(recs) {
			t.Fatalf("%d records of %d, %v", len(got), len(recs), err)
		}
		for i := range recs {
			if !bytes.Equal(got[i], recs[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
	})
}

func TestListLimit(t *testing.T) {
	rec := []byte(strings.Repeat("x", 98)) // 100 bytes in the list
	l := list{limit: 250}
	for i, want := range []bool{true, true, false, false} {
		if l.add(rec) != want {
			t.Fatalf("record %d: added %t, want %t", i, !want, want)
		}
	}
	if n := l.message().Len(); n != 200 {
		t.Errorf("the list has %d bytes, want 200", n)
	}
	l = list{limit: 100}
	if !l.add(rec) {
		t.Error("refused at the limit")
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(queryBytes(fieldEq, "DOG#1"))
	f.Add([]byte{0x0a, 0x03, 'a', 'b', 'c', 0x12, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := parseIndexQuery(b); err == nil && q.field() == "" {
			t.Error("a query without an expression")
		} else if err != nil && !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("error %v", err)
		}
		recs, err := splitList(b, "recs")
		if err != nil && !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("error %v", err)
		}
		n := 0
		for _, r := range recs {
			n += len(r)
		}
		if n > len(b) {
			t.Error("more bytes than the request has")
		}
	})
}
