package record_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// thingProto has a field of every kind that can be compared, and all forms of
// indexes.
const thingProto = `syntax = "proto3";
import "stele/options.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";

enum Color { RED = 0; GREEN = 1; BLUE = 2; }

message Thing {
  option (stele.composite_index) = {fields: ["name", "size"]};
  option (stele.composite_index) = {fields: ["tags", "size"]};
  option (stele.composite_index) = {name: "pair", fields: ["color", "maybe"], unique: false};

  string group = 1 [(stele.key) = true];
  int32 number = 2 [(stele.key) = true];

  bool flag = 3 [(stele.index) = true];
  int64 size = 4 [(stele.index) = true];
  uint64 big = 5;
  optional int64 maybe = 6 [(stele.index) = true];
  double score = 7 [(stele.index) = true];
  float small = 8;
  string name = 9 [(stele.index) = true];
  optional string mail = 10 [(stele.unique) = true];
  bytes data = 11 [(stele.index) = true];
  bytes uid = 12 [(stele.uuid) = true, (stele.index) = true];
  google.protobuf.Timestamp made = 13 [(stele.index) = true];
  google.protobuf.Duration took = 14 [(stele.index) = true];
  Color color = 15;
  repeated string tags = 16 [(stele.index) = true];
  repeated int64 nums = 17 [(stele.index) = true];
  repeated double marks = 18 [(stele.index) = true];
  Sub sub = 19;
  map<string, string> labels = 20;
  optional double ratio = 21;

  message Sub { string a = 1; }
}
`

// compile returns the schemas of a .proto.
func compile(t testing.TB, text string) []*record.Schema {
	t.Helper()
	schemas, err := record.CompileProto(context.Background(), "test.proto", map[string]string{"test.proto": text})
	if err != nil {
		t.Fatal(err)
	}
	return schemas
}

// newTables opens a database in memory with the tables of a .proto.
func newTables(t testing.TB, text string) (*record.DB, []*record.Table) {
	t.Helper()
	return openTables(t, memkv.New(), text)
}

func openTables(t testing.TB, store kv.Store, text string) (*record.DB, []*record.Table) {
	t.Helper()
	ctx := context.Background()
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	tables, err := db.Define(ctx, compile(t, text)...)
	if err != nil {
		t.Fatal(err)
	}
	return db, tables
}

// verify fails the test if the rows and the entries of a table disagree.
func verify(t interface {
	Helper()
	Fatalf(string, ...any)
}, table *record.Table) {
	t.Helper()
	v, err := record.VerifyTable(context.Background(), table.DB().Store(), table)
	if err != nil || !v.OK() {
		t.Fatalf("verify: %v\n%s", err, strings.Join(v.First, "\n"))
	}
}

// thing is a row as the model sees it: the values by the field's name, one for
// a singular field, null if it is absent.
type thing map[string][]tuple.Value

func (r thing) key() tuple.Tuple { return tuple.Tuple{r["group"][0], r["number"][0]} }

// encode makes the record of a row.
func (r thing) encode(s *record.Schema) []byte {
	m := dynamicpb.NewMessage(s.Message())
	for name, values := range r {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case fd.IsMap():
			for range values {
				m.Mutable(fd).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
			}
		case fd.IsList():
			for _, v := range values {
				m.Mutable(fd).List().Append(protoValue(m, fd, v))
			}
		case name == "sub":
			if !values[0].IsNull() {
				m.Mutable(fd)
			}
		case !values[0].IsNull():
			m.Set(fd, protoValue(m, fd, values[0]))
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// protoValue converts a value to that of a field.
func protoValue(m *dynamicpb.Message, fd protoreflect.FieldDescriptor, v tuple.Value) protoreflect.Value {
	i, _ := v.AsInt64()
	switch fd.Kind() {
	case protoreflect.BoolKind:
		b, _ := v.AsBool()
		return protoreflect.ValueOfBool(b)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(i))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(i)
	case protoreflect.Uint64Kind:
		u, _ := v.AsUint64()
		return protoreflect.ValueOfUint64(u)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(i))
	case protoreflect.DoubleKind:
		f, _ := v.AsFloat64()
		return protoreflect.ValueOfFloat64(f)
	case protoreflect.FloatKind:
		f, _ := v.AsFloat64()
		return protoreflect.ValueOfFloat32(float32(f))
	case protoreflect.StringKind:
		s, _ := v.AsString()
		return protoreflect.ValueOfString(s)
	case protoreflect.BytesKind:
		if u, ok := v.AsUUID(); ok {
			return protoreflect.ValueOfBytes(u[:])
		}
		b, _ := v.AsBytes()
		return protoreflect.ValueOfBytes(b)
	}
	sub := dynamicpb.NewMessage(fd.Message())
	fields := fd.Message().Fields()
	seconds, nanos := i/1e9, i%1e9
	if t, ok := v.AsTime(); ok {
		seconds, nanos = t.Unix(), int64(t.Nanosecond())
	}
	sub.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(seconds))
	sub.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(int32(nanos)))
	return protoreflect.ValueOfMessage(sub)
}

// Values of the fields of things: few, so that they meet, and with the edges.
var (
	inf        = math.Inf(1)
	strings_   = []string{"", "a", "ab", "b", "a\x00", "ab*", "é", "\U0001f600", "quote\"'"}
	thingRange = map[string][]tuple.Value{
		"group":  stringsOf("g", "h", "h\x00", "i*"),
		"number": ints(-300, -1, 0, 1, 2, 300),
		"flag":   {tuple.Bool(false), tuple.Bool(true)},
		"size":   ints(math.MinInt64, -256, -1, 0, 1, 255, 256, math.MaxInt64),
		"big":    {tuple.Uint(0), tuple.Uint(1), tuple.Uint(math.MaxInt64), tuple.Uint(math.MaxUint64)},
		"maybe":  append(ints(-1, 0, 1), tuple.Null()),
		"score":  floats(math.Copysign(0, -1), 0, 1.5, -1.5, inf, -inf, math.NaN(), 1e-300),
		"small":  floats(math.Copysign(0, -1), 0, float64(float32(0.1)), -2.5, inf, math.NaN()),
		"name":   stringsOf(strings_...),
		"mail":   append(stringsOf(strings_...), tuple.Null(), tuple.Null(), tuple.Null(), tuple.Null()),
		"data":   {tuple.Bytes(nil), tuple.Bytes([]byte{0}), tuple.Bytes([]byte{0, 0xff}), tuple.Bytes([]byte{0xff}), tuple.Bytes([]byte{0xff, 0xff, 1})},
		"uid":    {tuple.UUID([16]byte{}), tuple.UUID([16]byte{1, 2, 3}), tuple.UUID([16]byte{0xff, 15: 0xff})},
		"made": {tuple.Null(), tuple.Time(time.Unix(0, 0)), tuple.Time(time.Unix(-1, 999999999)), tuple.Time(time.Unix(1700000000, 1)),
			tuple.Time(time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC))},
		"took":   append(ints(0, -1500000000, 1, 3600e9), tuple.Null()),
		"color":  ints(0, 1, 2, 7),
		"tags":   stringsOf(strings_...),
		"nums":   ints(-5, 0, 3, 10, 20),
		"marks":  floats(math.Copysign(0, -1), 0, 1.5, math.NaN()),
		"sub":    {tuple.Null(), tuple.Bool(true)},
		"labels": {tuple.Bool(true)},
		"ratio":  append(floats(math.Copysign(0, -1), 0, 2), tuple.Null()),
	}
	thingLists = map[string]bool{"tags": true, "nums": true, "marks": true, "labels": true}
)

func stringsOf(list ...string) (out []tuple.Value) {
	for _, s := range list {
		out = append(out, tuple.String(s))
	}
	return out
}

func ints(list ...int64) (out []tuple.Value) {
	for _, i := range list {
		out = append(out, tuple.Int(i))
	}
	return out
}

func floats(list ...float64) (out []tuple.Value) {
	for _, f := range list {
		out = append(out, tuple.Float(f))
	}
	return out
}

// The model's three-valued logic, written without the package's help.
const (
	isFalse = iota
	isUnknown
	isTrue
)

// holds evaluates a condition on a row.
func holds(c record.Cond, r thing) int {
	switch c := c.(type) {
	case record.And:
		out := isTrue
		for _, c := range c {
			out = min(out, holds(c, r))
		}
		return out
	case record.Or:
		out := isFalse
		for _, c := range c {
			out = max(out, holds(c, r))
		}
		return out
	case record.Not:
		return isTrue - holds(c.Cond, r)
	case record.Compare:
		values := r[c.Field]
		if c.Op == record.IsNull {
			return boolTruth(len(values) == 0 || values[0].IsNull())
		}
		if c.Value.IsNull() {
			return isUnknown
		}
		if !thingLists[c.Field] && values[0].IsNull() {
			return isUnknown
		}
		return boolTruth(slices.ContainsFunc(values, func(v tuple.Value) bool { return compares(c.Op, v, c.Value) }))
	}
	panic(fmt.Sprintf("condition of type %T", c))
}

func boolTruth(b bool) int {
	if b {
		return isTrue
	}
	return isFalse
}

// compares evaluates a comparison of two values that are not null.
func compares(op record.Op, v, w tuple.Value) bool {
	if op == record.Prefix {
		return strings.HasPrefix(rawText(v), rawText(w))
	}
	c := compareNumbers(v, w, false)
	switch op {
	case record.Eq, record.Has:
		return c == 0
	case record.Ne:
		return c != 0
	case record.Lt:
		return c < 0
	case record.Le:
		return c <= 0
	case record.Gt:
		return c > 0
	}
	return c >= 0
}

func rawText(v tuple.Value) string {
	if s, ok := v.AsString(); ok {
		return s
	}
	b, _ := v.AsBytes()
	return string(b)
}

// compareNumbers compares values of one kind. As in an order -0 is before 0; as
// in a condition they are equal.
func compareNumbers(v, w tuple.Value, order bool) int {
	x, ok := v.AsFloat64()
	if !ok {
		return tuple.Compare(v, w)
	}
	y, _ := w.AsFloat64()
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return cmp.Compare(boolTruth(math.IsNaN(x)), boolTruth(math.IsNaN(y)))
	case x == y && order:
		return cmp.Compare(boolTruth(math.Signbit(y)), boolTruth(math.Signbit(x)))
	}
	return cmp.Compare(x, y)
}

// compareRows compares rows in the order of a query.
func compareRows(q record.Query, a, b thing) int {
	desc := false
	turn := func(c int) int {
		if desc != q.Reverse {
			return -c
		}
		return c
	}
	for _, o := range q.OrderBy {
		desc = o.Desc
		x, y := a[o.Field][0], b[o.Field][0]
		var c int
		if x.IsNull() || y.IsNull() {
			c = cmp.Compare(boolTruth(!x.IsNull()), boolTruth(!y.IsNull()))
		} else {
			c = compareNumbers(x, y, true)
		}
		if c != 0 {
			return turn(c)
		}
	}
	return turn(a.key().Compare(b.key()))
}

// collect returns the keys and the tokens of the rows of a query.
func collect(table *record.Table, r kv.Reader, q record.Query) (keys []string, last []byte, err error) {
	for row, err := range table.Query(context.Background(), r, q) {
		if err != nil {
			return keys, nil, err
		}
		key, err := row.Key()
		if err != nil {
			return keys, nil, err
		}
		own, err := table.Schema().KeyOf(row.Record)
		if err != nil || own.Compare(key) != 0 {
			return keys, nil, fmt.Errorf("row %v has a record with key %v: %w", key, own, errors.Join(err, kv.ErrCorrupt))
		}
		keys, last = append(keys, key.String()), row.Token()
	}
	return keys, last, nil
}
