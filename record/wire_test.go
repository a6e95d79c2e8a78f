package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// all has a field of every type, absent-able or not.
const all = `syntax = "proto3";
import "stele/options.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
message All {
  string pk = 1;
  bool b = 2;
  int32 i32 = 3;
  int64 i64 = 4;
  sint32 s32 = 5;
  sint64 s64 = 6;
  sfixed32 sf32 = 7;
  sfixed64 sf64 = 8;
  uint32 u32 = 9;
  uint64 u64 = 10;
  fixed32 f32 = 11;
  fixed64 f64 = 12;
  float fl = 13;
  double db = 14;
  bytes by = 15;
  bytes id = 16 [(stele.uuid) = true];
  google.protobuf.Timestamp at = 17;
  google.protobuf.Duration d = 18;
  E e = 19;
  optional int32 oi = 20;
  optional string os = 21;
  repeated int32 ri = 22;
  repeated string rs = 23;
  repeated sint64 rz = 24 [packed = false];
  repeated google.protobuf.Timestamp rt = 25;
  oneof one { int32 x = 26; string y = 27; google.protobuf.Timestamp z = 28; }
  All sub = 29;
  map<string, int32> m = 30;
  map<int32, All> mm = 31;
  enum E { ZERO = 0; ONE = 1; NEG = -1; }
}
`

// field is one field on the wire.
type field []byte

func varint(n protowire.Number, v uint64) field {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}
func fixed32(n protowire.Number, v uint32) field {
	return protowire.AppendFixed32(protowire.AppendTag(nil, n, protowire.Fixed32Type), v)
}
func fixed64(n protowire.Number, v uint64) field {
	return protowire.AppendFixed64(protowire.AppendTag(nil, n, protowire.Fixed64Type), v)
}
func blob(n protowire.Number, v ...field) field {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), cat(v...))
}
func group(n protowire.Number, v ...field) field {
	b := append(protowire.AppendTag(nil, n, protowire.StartGroupType), cat(v...)...)
	return protowire.AppendTag(b, n, protowire.EndGroupType)
}
func cat(fields ...field) (b []byte) {
	for _, f := range fields {
		b = append(b, f...)
	}
	return b
}

func TestValues(t *testing.T) {
	s := compile1(t, all)
	neg := func(v int64) uint64 { return uint64(v) }
	uuid := field("0123456789abcdef")
	for _, c := range []struct {
		field string
		rec   []byte
		want  string
	}{
		{"b", cat(varint(2, 1)), "true"},
		{"b", cat(varint(2, 7)), "true"},
		{"b", nil, "false"},
		{"i32", cat(varint(3, neg(-5))), "-5"},
		{"i32", cat(varint(3, 1<<32+7)), "7"},
		{"i32", cat(varint(3, 1), varint(4, 9), varint(3, 2)), "2"},
		{"i64", cat(varint(4, neg(math.MinInt64))), "-9223372036854775808"},
		{"s32", cat(varint(5, protowire.EncodeZigZag(-3))), "-3"},
		{"s64", cat(varint(6, protowire.EncodeZigZag(math.MinInt64))), "-9223372036854775808"},
		{"sf32", cat(fixed32(7, math.MaxUint32)), "-1"},
		{"sf64", cat(fixed64(8, math.MaxUint64)), "-1"},
		{"u32", cat(varint(9, 1<<32+7)), "7"},
		{"u64", cat(varint(10, math.MaxUint64)), "18446744073709551615"},
		{"f32", cat(fixed32(11, math.MaxUint32)), "4294967295"},
		{"f64", cat(fixed64(12, math.MaxUint64)), "18446744073709551615"},
		{"fl", cat(fixed32(13, math.Float32bits(1.5))), "1.5"},
		{"db", cat(fixed64(14, math.Float64bits(-2.25))), "-2.25"},
		{"by", cat(blob(15, field{0, 255})), "AP8="},
		{"id", cat(blob(16, uuid)), "30313233-3435-3637-3839-616263646566"},
		{"id", nil, "00000000-0000-0000-0000-000000000000"},
		{"id", cat(blob(16, uuid[1:])), `! field "id": a UUID has 16 bytes, not 15`},
		{"id", cat(blob(16, append(uuid, 1))), `! field "id": a UUID has 16 bytes, not 17`},
		{"at", nil, "null"},
		{"at", cat(blob(17)), "1970-01-01T00:00:00Z"},
		{"at", cat(blob(17, varint(1, neg(-62135596800)))), "0001-01-01T00:00:00Z"},
		{"at", cat(blob(17, varint(1, neg(-62135596801)))), `! field "at": the time is not in the years 1 to 9999`},
		{"at", cat(blob(17, varint(1, 253402300799), varint(2, 999999999))), "9999-12-31T23:59:59.999999999Z"},
		{"at", cat(blob(17, varint(1, 253402300800))), `! field "at": the time is not in the years 1 to 9999`},
		{"at", cat(blob(17, varint(2, 1000000000))), `! field "at": 1000000000 is not a number of nanoseconds in a second`},
		{"at", cat(blob(17, varint(1, 1), varint(2, 5)), blob(17, varint(1, 2))), "1970-01-01T00:00:02.000000005Z"},
		{"d", cat(blob(18, varint(1, 90), varint(2, 5))), "1m30.000000005s"},
		{"d", cat(blob(18, varint(1, neg(-1)), varint(2, neg(-5)))), "-1.000000005s"},
		{"d", cat(blob(18, varint(1, 1), varint(2, neg(-5)))), `! field "d": seconds and nanoseconds of the duration contradict each other`},
		{"d", cat(blob(18, varint(1, 9223372036), varint(2, 854775807))), "2562047h47m16.854775807s"},
		{"d", cat(blob(18, varint(1, 9223372036), varint(2, 854775808))), `! field "d": the duration is longer than 292 years`},
		{"d", cat(blob(18, varint(1, neg(-9223372036)), varint(2, neg(-854775808)))), "-2562047h47m16.854775808s"},
		{"d", cat(blob(18, varint(1, neg(-9223372037)))), `! field "d": the duration is longer than 292 years`},
		{"d", cat(blob(18, varint(1, 9223372037))), `! field "d": the duration is longer than 292 years`},
		{"d", cat(blob(18, varint(1, neg(math.MinInt64)))), `! field "d": the duration is longer than 292 years`},
		{"e", cat(varint(19, neg(-1))), "NEG"},
		{"e", cat(varint(19, 99)), "99"},
		{"oi", nil, "null"},
		{"oi", cat(varint(20, 0)), "0"},
		{"os", nil, "null"},
		{"os", cat(blob(21)), ""},
		{"ri", nil, "[]"},
		{"ri", cat(varint(22, 1), blob(22, field{2, 3}), blob(22), varint(22, 4)), "[1 2 3 4]"},
		{"ri", cat(blob(22, field{2, 0x80})), `! field "ri": `},
		{"rs", cat(blob(23, field("a")), varint(3, 1), blob(23), blob(23, field("a"))), "[a  a]"},
		{"rz", cat(blob(24, field{1, 2}), varint(24, 3)), "[-1 1 -2]"},
		{"rt", cat(blob(25), blob(25, varint(1, 1))), "[1970-01-01T00:00:00Z 1970-01-01T00:00:01Z]"},
		{"x", cat(varint(26, 5)), "5"},
		{"x", cat(varint(26, 5), blob(27)), "null"},
		{"x", cat(varint(26, 5), blob(27), varint(26, 6)), "6"},
		{"y", nil, "null"},
		{"z", cat(blob(28, varint(1, 1)), varint(26, 0), blob(28, varint(2, 1))), "1970-01-01T00:00:00.000000001Z"},
		{"z", cat(blob(28, varint(1, 1)), varint(26, 0)), "null"},
		{"i32", cat(group(3, varint(3, 9), group(99)), varint(3, 4)), "4"},
		{"i32", cat(group(200, varint(3, 9), group(99, varint(3, 8)))), "0"},
		{"i32", cat(blob(3, field("x"))), "0"},
		{"i32", field{0x80}, `! field "i32": `},
		{"i32", field{3<<3 | 4}, `! field "i32": `},
		{"sub", nil, `! field "sub" is a message, whose values have no order`},
		{"m", nil, `! field "m" is a map, whose values have no order`},
	} {
		f := s.Field(c.field)
		got := show(f, c.rec)
		if got != c.want && !(strings.HasPrefix(c.want, "! ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s of %x: got %s, want %s", c.field, c.rec, got, c.want)
		}
	}
}

// show prints the values of a field as text, or the error.
func show(f *record.Field, rec []byte) string {
	vals, err := f.Values(rec, nil)
	if err != nil {
		if !errors.Is(err, kv.ErrInvalid) {
			return "? " + err.Error()
		}
		return "! " + err.Error()
	}
	var list []string
	for _, v := range vals {
		list = append(list, f.FormatText(v))
	}
	if f.Repeated() {
		return fmt.Sprint(list)
	}
	return strings.Join(list, " ")
}

// dynamicValues reads the same values through the library.
func dynamicValues(f *record.Field, m protoreflect.Message) []tuple.Value {
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(f.Name()))
	convert := func(v protoreflect.Value) tuple.Value {
		switch f.Kind() {
		case record.Bool:
			return tuple.Bool(v.Bool())
		case record.Int:
			return tuple.Int(v.Int())
		case record.Uint:
			return tuple.Uint(v.Uint())
		case record.Float:
			return tuple.Float(v.Float())
		case record.String:
			return tuple.String(v.String())
		case record.Bytes:
			return tuple.Bytes(v.Bytes())
		case record.UUID:
			var u [16]byte
			copy(u[:], v.Bytes())
			return tuple.UUID(u)
		case record.Enum:
			return tuple.Int(int64(v.Enum()))
		}
		sec := v.Message().Get(v.Message().Descriptor().Fields().ByNumber(1)).Int()
		nanos := v.Message().Get(v.Message().Descriptor().Fields().ByNumber(2)).Int()
		if f.Kind() == record.Time {
			return tuple.Time(time.Unix(sec, nanos))
		}
		return tuple.Int(sec*1e9 + nanos)
	}
	var out []tuple.Value
	switch {
	case fd.IsList():
		for i := range m.Get(fd).List().Len() {
			out = append(out, convert(m.Get(fd).List().Get(i)))
		}
	case fd.HasPresence() && !m.Has(fd):
		out = append(out, tuple.Null())
	default:
		out = append(out, convert(m.Get(fd)))
	}
	return out
}

// checkRecord holds what must be true of any bytes that pass Check: the library
// reads them and agrees on every value, canonical form and JSON lose nothing.
func checkRecord(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *record.Schema, rec []byte) {
	t.Helper()
	if err := s.Check(rec); err != nil {
		for _, f := range s.Fields() {
			_, _ = f.Values(rec, nil)
		}
		return
	}
	m := dynamicpb.NewMessage(s.Message())
	if err := proto.Unmarshal(rec, m); err != nil {
		t.Fatalf("Check takes what the library does not: %v", err)
	}
	for _, f := range s.Fields() {
		if !f.Kind().Comparable() {
			continue
		}
		got, err := f.Values(rec, nil)
		if err != nil {
			t.Fatalf("Check takes what Values does not: %v", err)
		}
		want := dynamicValues(f, m)
		if tuple.Tuple(got).Compare(tuple.Tuple(want)) != 0 {
			t.Fatalf("field %s: %v, the library says %v", f.Name(), got, want)
		}
	}
	canon, err := s.Canonical(rec)
	if err != nil {
		t.Fatalf("Canonical: %v", err)
	}
	m2 := dynamicpb.NewMessage(s.Message())
	if err := proto.Unmarshal(canon, m2); err != nil || !equalMessages(m, m2) {
		t.Fatalf("canonical form %x of %x is another message (%v)", canon, rec, err)
	}
	if again, _ := s.Canonical(canon); !bytes.Equal(again, canon) {
		t.Fatalf("canonical form %x has canonical form %x", canon, again)
	}
	json, err := s.ToJSON(rec)
	if err != nil {
		t.Fatalf("ToJSON: %v", err)
	}
	if bytes.ContainsAny(json, "\n") {
		t.Fatalf("JSON has several lines: %s", json)
	}
	if _, err := s.FromJSON(json); err != nil {
		t.Fatalf("FromJSON(%s): %v", json, err)
	}
}

// equalMessages compares by deterministic bytes, so that NaN equals NaN.
func equalMessages(a, b proto.Message) bool {
	o := proto.MarshalOptions{Deterministic: true}
	x, err1 := o.Marshal(a)
	y, err2 := o.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func FuzzRecord(f *testing.F) {
	s := compile1(f, all)
	f.Add(cat(blob(1, field("k")), varint(3, 1), blob(22, field{1, 2}), blob(17, varint(1, 5))))
	f.Add(cat(blob(1, field("k")), blob(29, blob(29, varint(2, 1))), blob(30, blob(1, field("a")), varint(2, 3))))
	f.Add(cat(blob(1, field("k")), varint(26, 5), blob(27), group(99, varint(1, 1))))
	f.Add(cat(blob(1, field("k")), blob(18, varint(1, 5)), blob(18, varint(2, math.MaxUint64))))
	f.Fuzz(func(t *testing.T, rec []byte) { checkRecord(t, s, rec) })
}

func TestRecordProperty(t *testing.T) {
	s := compile1(t, all)
	pieces := []field{
		varint(2, 1), varint(3, 1<<40), varint(5, 3), fixed32(7, 5), fixed64(14, math.Float64bits(math.NaN())), blob(15, field{1}),
		blob(16, field("0123456789abcdef")), blob(17, varint(1, 3)), blob(17, varint(2, 4)), blob(18, varint(1, 3)), blob(18, varint(2, 1<<63)),
		varint(19, 77), varint(20, 0), blob(21), blob(22, field{1, 2}), varint(22, 9), blob(24, field{1}), blob(25), varint(26, 1), blob(27), blob(28),
		blob(29, varint(3, 1)), blob(30, blob(1, field("b")), varint(2, 1)), blob(30, blob(1, field("a"))), blob(31, varint(1, 4), blob(2, varint(2, 1))),
		group(40, varint(1, 1)), varint(41, 1),
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "parts")
		checkRecord(t, s, append(blob(1, field("k")), cat(parts...)...))
	})
}

func TestCheck(t *testing.T) {
	s := compile1(t, all)
	deep := field{}
	for range 100 {
		deep = blob(29, deep)
	}
	ok := blob(1, field("k"))
	for _, c := range []struct {
		name string
		rec  []byte
		want string
	}{
		{"empty", nil, `missing primary key: field "pk" of All is not set`},
		{"cut", field{0x0a}, `All: field "pk": unexpected EOF`},
		{"wire type", cat(ok, blob(4)), `All: field "i64": wire type 2 does not fit its type int64`},
		{"UTF-8", cat(ok, blob(23, field{0xff})), `All: field "rs": the string is not valid UTF-8`},
		{"nested UTF-8", cat(ok, blob(29, blob(1, field{0xff}))), `All: field "sub": field "pk": the string is not valid UTF-8`},
		{"map UTF-8", cat(ok, blob(30, blob(1, field{0xff}))), `All: field "m": field "key": the string is not valid UTF-8`},
		{"nested time", cat(ok, blob(29, blob(17, varint(2, 1<<31)))), `All: field "sub": field "at": -2147483648 is not a number of nanoseconds in a second`},
		{"split duration", cat(ok, blob(18, varint(1, 1)), blob(18, varint(2, math.MaxUint64))), `All: field "d": seconds and nanoseconds of the duration contradict each other`},
		{"own number", cat(ok, varint(536870911, 1)), "All: field number 536870911 is reserved for Stele's own use"},
		{"packed", cat(ok, blob(22, field{0x80})), `All: field "ri": unexpected EOF`},
		{"depth", cat(ok, deep), strings.Repeat(`field "sub": `, 100) + "messages are nested more than 100 deep"},
		{"unknown", cat(ok, varint(99, 1), group(98, varint(1, 1))), ""},
	} {
		err := s.Check(c.rec)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want) || !errors.Is(err, kv.ErrInvalid)):
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestRequired(t *testing.T) {
	all, err := record.CompileProto(context.Background(), "a.proto", map[string]string{"a.proto": `syntax = "proto2";
import "stele/options.proto";
message A { required string k = 1 [(stele.key) = true]; required int32 n = 2; optional group G = 3 { optional string s = 1; } }`})
	if err != nil {
		t.Fatal(err)
	}
	s := all[0]
	if err := s.Check(blob(1, field("x"))); err == nil || err.Error() != `A: required field "n" of A is missing` {
		t.Errorf("got %v", err)
	}
	if err := s.Check(cat(blob(1, field("x")), varint(2, 0), group(3, blob(1, field("y"))))); err != nil {
		t.Errorf("got %v", err)
	}
	if err := s.Check(cat(blob(1, field("x")), varint(2, 0), group(3, varint(1, 1)))); err == nil {
		t.Error("a group with a wrong field passes")
	}
}

func TestJSON(t *testing.T) {
	s := compile1(t, all)
	for _, c := range []struct{ in, out string }{
		{`{"pk":"a","i64":"5","e":"ONE","at":"2020-01-02T03:04:05.5Z","d":"1.5s","m":{"b":2,"a":1},"x":0,"u64":"18446744073709551615"}`,
			`{"pk":"a","i64":"5","u64":"18446744073709551615","at":"2020-01-02T03:04:05.500Z","d":"1.500s","e":"ONE","x":0,"m":{"a":1,"b":2}}`},
		{`{"pk":"<&>","sub":{"pk":"in ner"}, "ri":[1,2], "by":"AP8=", "oi":0}`, `{"pk":"<&>","by":"AP8=","oi":0,"ri":[1,2],"sub":{"pk":"in ner"}}`},
		{`{"pk":"a","nope":1}`, `! All: column 11: unknown field "nope"`},
		{`{"pk":5}`, `! All: column 7: invalid value for string field pk: 5`},
		{`{"u32":-1}`, `! All: column 8: invalid value for uint32 field u32: -1`},
		{`[]`, "! All: syntax error at column 1: unexpected token ["},
		{"{\n\"pk\":5}", "! All: (line 2:6): invalid value for string field pk: 5"},
	} {
		rec, err := s.FromJSON([]byte(c.in))
		var got string
		if err != nil {
			got = "! " + err.Error()
			if !errors.Is(err, kv.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
		} else {
			b, err := s.ToJSON(rec)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
			if canon, _ := s.Canonical(rec); !bytes.Equal(canon, rec) {
				t.Errorf("%s: %x is not canonical", c.in, rec)
			}
		}
		if got != c.out {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got, c.out)
		}
	}
}

// The canonical order is that of the numbers, members of a oneof included.
func TestCanonicalOrder(t *testing.T) {
	s := compile1(t, all)
	in := cat(blob(30, blob(1, field("b")), varint(2, 1)), varint(99, 1), varint(26, 0), blob(30, blob(1, field("a"))), varint(22, 1), varint(22, 2), varint(3, 0), blob(1, field("k")))
	want := cat(blob(1, field("k")), blob(22, field{1, 2}), varint(26, 0), blob(30, blob(1, field("a")), varint(2, 0)), blob(30, blob(1, field("b")), varint(2, 1)), varint(99, 1))
	got, err := s.Canonical(in)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %x (%v)\nwant %x", got, err, want)
	}
}

func TestText(t *testing.T) {
	s := compile1(t, all)
	for _, c := range []struct{ field, in, out string }{
		{"b", "true", "true"}, {"b", "yes", `! field "b": "yes" is not true or false`},
		{"i32", "-5", "-5"}, {"i32", "3000000000", `! field "i32": "3000000000" is not in the range of int32`}, {"i32", "x", `! field "i32": "x" is not an integer`},
		{"u64", "18446744073709551615", "18446744073709551615"}, {"u64", "-1", `! field "u64": "-1" is not an integer that is not negative`},
		{"db", "1e3", "1000"}, {"fl", "0.1", "0.1"}, {"db", "x", `! field "db": "x" is not a number`},
		{"by", "AP8=", "AP8="}, {"by", "AP8", "AP8="}, {"by", "_-8", "/+8="}, {"by", "*", `! field "by": "*" is not base64`},
		{"id", "6BA7B810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, {"id", "6ba7b8109dad11d180b400c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		{"id", "6ba7", `! field "id": "6ba7" is not a UUID, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8`},
		{"at", "2020-01-02T03:04:05.123456789+01:00", "2020-01-02T02:04:05.123456789Z"}, {"at", "2020-01-02", `! field "at": "2020-01-02" is not an RFC 3339 time, such as 2006-01-02T15:04:05Z`},
		{"d", "90m", "1h30m0s"}, {"d", "90", `! field "d": "90" is not a duration, such as 1h30m`},
		{"e", "ONE", "ONE"}, {"e", "-1", "NEG"}, {"e", "7", "7"}, {"e", "TWO", `! field "e": "TWO" is not a value of enum All.E`},
		{"os", "\xff", `! field "os": "\xff" is not valid UTF-8`}, {"os", "null", "null"},
		{"sub", "x", `! field "sub": "x" is not a value: the field is a message`},
	} {
		f := s.Field(c.field)
		v, err := f.ParseText(c.in)
		got := f.FormatText(v)
		if err != nil {
			got = "! " + err.Error()
		}
		if got != c.out {
			t.Errorf("%s %q: got %s, want %s", c.field, c.in, got, c.out)
		}
	}
}

func TestKeys(t *testing.T) {
	s := compile1(t, `syntax = "proto3";
import "stele/options.proto";
import "google/protobuf/timestamp.proto";
message A {
  bytes id = 4 [(stele.key) = true, (stele.uuid) = true];
  string s = 2 [(stele.key) = true];
  int64 n = 3 [(stele.key) = true];
  google.protobuf.Timestamp t = 1 [(stele.key) = true];
}`)
	text := `["6ba7b810-9dad-11d1-80b4-00c04fd430c8","a\"<b",-9007199254740993,"2020-01-02T03:04:05Z"]`
	key, err := s.ParseKey(text)
	if err != nil || s.FormatKey(key) != text {
		t.Fatalf("got %s (%v), want %s", s.FormatKey(key), err, text)
	}
	for in, want := range map[string]string{
		`x`:            `"x" is not a primary key of A, which is a JSON array of id, s, n, t: it is no JSON array`,
		`["a"]`:        `"[\"a\"]" is not a primary key of A, which is a JSON array of id, s, n, t: it has 1 parts, not 4`,
		`[1,2,3,null]`: `"[1,2,3,null]" is not a primary key of A, which is a JSON array of id, s, n, t: its parts must be strings, numbers or booleans`,
	} {
		if _, err := s.ParseKey(in); err == nil || err.Error() != want || !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%s: got %v\nwant %s", in, err, want)
		}
	}
	rec := cat(blob(4, field("0123456789abcdef")), blob(1, varint(1, 5)))
	key, err = s.KeyOf(rec)
	if want := `["30313233-3435-3637-3839-616263646566","",0,"1970-01-01T00:00:05Z"]`; err != nil || s.FormatKey(key) != want {
		t.Errorf("got %s (%v), want %s", s.FormatKey(key), err, want)
	}
	if _, err := s.KeyOf(rec[:18]); err == nil || err.Error() != `missing primary key: field "t" of A is not set` {
		t.Errorf("got %v", err)
	}
	single := compile1(t, "syntax = \"proto3\";\nmessage D { string pk = 1; }")
	if _, err := single.ParseKey(""); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("an empty key: %v", err)
	}
	key, err = single.ParseKey("DOG#1")
	if err != nil || single.FormatKey(key) != "DOG#1" {
		t.Errorf("got %v %v", key, err)
	}
}
