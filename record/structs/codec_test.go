package structs_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record/structs"
)

var leafTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](),
	reflect.TypeFor[int32](), reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[uint8](),
	reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](),
	reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[UUID](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[Color](), reflect.TypeFor[Part](),
}

// drawType draws a struct type of any stored types, structs in it included.
func drawType(t *rapid.T, depth int, name string) reflect.Type {
	var fields []reflect.StructField
	for i := range rapid.IntRange(1, 8).Draw(t, "fields") {
		typ := rapid.SampledFrom(leafTypes).Draw(t, "type")
		goName := fmt.Sprintf("%sF%d", name, i)
		if depth > 0 && rapid.IntRange(0, 5).Draw(t, "nest") == 0 {
			typ = drawType(t, depth-1, goName)
		}
		switch rapid.IntRange(0, 3).Draw(t, "card") {
		case 0:
			typ = reflect.PointerTo(typ)
		case 1:
			if typ.Kind() != reflect.Uint8 {
				typ = reflect.SliceOf(typ)
			}
		}
		var tag reflect.StructTag
		if rapid.IntRange(0, 5).Draw(t, "tagged") == 0 {
			tag = reflect.StructTag(fmt.Sprintf(`stele:"number=%d"`, 1000-i*100))
		}
		fields = append(fields, reflect.StructField{Name: goName, Type: typ, Tag: tag})
	}
	return reflect.StructOf(fields)
}

// drawValue fills v with anything that can be stored.
func drawValue(t *rapid.T, v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		sec := rapid.Int64Range(-62135596800, 253402300799).Draw(t, "sec")
		v.Set(reflect.ValueOf(time.Unix(sec, rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC()))
		return
	case UUID:
		reflect.Copy(v, reflect.ValueOf(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")))
		return
	case []byte:
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"); len(b) > 0 {
			v.SetBytes(b)
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Float32:
		v.SetFloat(float64(rapid.Float32().Draw(t, "float")))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "present") {
			v.Set(reflect.New(v.Type().Elem()))
			drawValue(t, v.Elem(), depth)
		}
	case reflect.Slice:
		if depth > 3 {
			return
		}
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			e := reflect.New(v.Type().Elem()).Elem()
			drawValue(t, e, depth+1)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			drawValue(t, v.Field(i), depth+1)
		}
	default:
		if v.CanInt() {
			bits := v.Type().Bits()
			v.SetInt(rapid.Int64Range(-1<<(bits-1), 1<<(bits-1)-1).Draw(t, "int"))
		} else {
			v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
		}
	}
}

// toDynamic writes the struct v into m, by reflection on both sides.
func toDynamic(v reflect.Value, m protoreflect.Message) {
	fds := m.Descriptor().Fields()
	for i := range v.NumField() {
		// Fields are described in declaration order.
		fd, fv := fds.Get(i), v.Field(i)
		switch {
		case fd.IsList():
			if fv.Len() > 0 {
				l := m.Mutable(fd).List()
				for j := range fv.Len() {
					l.Append(dynamicValue(fv.Index(j), fd, func() protoreflect.Value { return l.NewElement() }))
				}
			}
		case fv.Kind() == reflect.Pointer:
			if !fv.IsNil() {
				m.Set(fd, dynamicValue(fv.Elem(), fd, func() protoreflect.Value { return m.NewField(fd) }))
			}
		default:
			m.Set(fd, dynamicValue(fv, fd, func() protoreflect.Value { return m.NewField(fd) }))
		}
	}
}

func dynamicValue(v reflect.Value, fd protoreflect.FieldDescriptor, empty func() protoreflect.Value) protoreflect.Value {
	seconds := func(sec int64, nanos int32) protoreflect.Value {
		val := empty()
		fs := val.Message().Descriptor().Fields()
		val.Message().Set(fs.ByName("seconds"), protoreflect.ValueOfInt64(sec))
		val.Message().Set(fs.ByName("nanos"), protoreflect.ValueOfInt32(nanos))
		return val
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return seconds(x.Unix(), int32(x.Nanosecond()))
	case time.Duration:
		return seconds(int64(x/time.Second), int32(x%time.Second))
	case UUID:
		return protoreflect.ValueOfBytes(x[:])
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.Bool())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(v.Int()))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(v.Int())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(v.Uint()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(v.Uint())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(v.Float()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(v.Float())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(v.String())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(v.Bytes())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v.Int()))
	}
	val := empty()
	toDynamic(v, val.Message())
	return val
}

// TestAgreesWithProtobuf: a struct and the same message built by the Protobuf
// library have equal bytes, and each reads the other's.
func TestAgreesWithProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 2, "")
		c, err := structs.Compile(typ, structs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := reflect.New(typ)
		drawValue(t, v.Elem(), 0)
		got, err := c.Append([]byte("before"), v.Interface())
		if err != nil {
			t.Fatal(err)
		}
		got = got[len("before"):]
		m := dynamicpb.NewMessage(c.Message())
		toDynamic(v.Elem(), m)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("struct %x\nprotobuf %x", got, want)
		}
		back := reflect.New(typ)
		if err := c.Unmarshal(want, back.Interface()); err != nil {
			t.Fatal(err)
		}
		again, err := c.Append(nil, back.Interface())
		if err != nil || !bytes.Equal(again, want) {
			t.Fatalf("after a round trip %x, %v\nwant %x", again, err, want)
		}
	})
}

// TestReadsAnyEncoding: what the Protobuf library makes of any bytes, the codec
// makes of them too.
func TestReadsAnyEncoding(t *testing.T) {
	c := everythingCodec(t)
	rapid.Check(t, func(t *rapid.T) {
		var rec []byte
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			num := protowire.Number(rapid.IntRange(1, 42).Draw(t, "num"))
			typ := rapid.SampledFrom([]protowire.Type{0, 1, 2, 5}).Draw(t, "typ")
			rec = protowire.AppendTag(rec, num, typ)
			switch typ {
			case protowire.VarintType:
				rec = protowire.AppendVarint(rec, rapid.Uint64().Draw(t, "v"))
			case protowire.Fixed32Type:
				rec = protowire.AppendFixed32(rec, rapid.Uint32().Draw(t, "v"))
			case protowire.Fixed64Type:
				rec = protowire.AppendFixed64(rec, rapid.Uint64().Draw(t, "v"))
			case protowire.BytesType:
				b := rapid.OneOf(
					rapid.SliceOf(rapid.Byte()),
					rapid.Just([]byte{1, 2, 3}), rapid.Just([]byte{8, 1, 16, 2}), rapid.Just([]byte{16, 7}), rapid.Just([]byte{10, 1, 'x'}),
				).Draw(t, "b")
				rec = protowire.AppendBytes(rec, b)
			}
		}
		compare(t, c, rec)
	})
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// compare reads rec by the codec and by the Protobuf library.
func compare(t fataler, c *structs.Codec, rec []byte) {
	m := dynamicpb.NewMessage(c.Message())
	wantErr := proto.UnmarshalOptions{RecursionLimit: 90}.Unmarshal(rec, m)
	var v everything
	err := c.Unmarshal(rec, &v)
	if err != nil {
		if !errors.Is(err, kv.ErrCorrupt) {
			t.Fatalf("error %v matches no sentinel", err)
		}
		return // ranges of narrow types and times are tighter than Protobuf's
	}
	if wantErr != nil {
		t.Fatalf("%x: read, but Protobuf says %v", rec, wantErr)
	}
	got, err := c.Append(nil, &v)
	if err != nil {
		t.Fatalf("%x: read, but not written: %v", rec, err)
	}
	// Write what Protobuf read through the struct too: presence of what the
	// struct always writes is the one difference.
	plain, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var w everything
	if err := c.Unmarshal(plain, &w); err != nil {
		t.Fatalf("%x: rewritten by Protobuf: %v", rec, err)
	}
	want, err := c.Append(nil, &w)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%x: got %x\nwant %x (%v)", rec, got, want, err)
	}
}

func everythingCodec(t testing.TB) *structs.Codec {
	c, err := structs.Compile(reflect.TypeFor[everything](), structs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzUnmarshal(f *testing.F) {
	c := everythingCodec(f)
	rec, err := c.Append(nil, sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rec)
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Add(bytes.Repeat([]byte{0xaa, 0x01, 0x7f, 0x1a, 0x7d}, 40))
	f.Fuzz(func(t *testing.T, rec []byte) { compare(t, c, rec) })
}

func sample() *everything {
	n, when := 7, time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	return &everything{
		Base: Base{ID: "u1", Created: when}, Bool: true, Int: -1, Int8: -8, Int16: 16, Int32: -32, Int64: math.MinInt64,
		Uint: 1, Uint8: 255, Uint16: 16, Uint32: math.MaxUint32, Uint64: math.MaxUint64, Float32: 1.5, Float64: math.Inf(1),
		Str: "naïve", Bytes: []byte{0, 255}, Tag: UUID{1}, Time: when, Took: -1500 * time.Millisecond, Syntax: 998,
		Part: Part{Name: "p", Sub: []Part{{Count: 1}, {}}}, OptInt: &n, OptPart: &Part{}, Ints: []int16{-1, 0, 1},
		Texts: []string{"a", ""}, Blobs: [][]byte{{}, {1}}, Times: []time.Time{when, {}}, Durs: []time.Duration{0, 1},
		Tags: []UUID{{}, {2}}, Parts: []Part{{}, {Name: strings.Repeat("x", 300)}}, Colors: []Color{0, 998}, HTTPPort: 80,
	}
}

func TestRoundTrip(t *testing.T) {
	c := everythingCodec(t)
	want := sample()
	rec, err := c.Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got := everything{Ignored: map[string]int{"stale": 1}, Ints: []int16{9}}
	if err := c.Unmarshal(rec, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v", got, *want)
	}
	if err := proto.Unmarshal(rec, dynamicpb.NewMessage(c.Message())); err != nil {
		t.Error(err)
	}
	clear(rec)
	if got.Str != "naïve" || got.Bytes[1] != 255 {
		t.Error("the struct refers to the record's bytes")
	}
	for n := range len(rec) {
		rec, _ := c.Append(nil, want)
		if err := c.Unmarshal(rec[:n], &got); err != nil && !errors.Is(err, kv.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	c := everythingCodec(t)
	deep := Part{}
	for range 200 {
		deep = Part{Sub: []Part{deep}}
	}
	for want, v := range map[string]*everything{
		`Everything.text: invalid argument: "\xff" is not valid UTF-8`: {Str: "\xff"},
		"Everything.time: invalid argument: year 10000":                {Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Everything.texts: invalid argument":                           {Texts: []string{"ok", "\xc3\x28"}},
		"Everything.part.name: invalid argument":                       {Part: Part{Name: "\xff"}},
		"structs nest deeper than 100":                                 {Part: deep},
	} {
		_, err := c.Append(nil, v)
		if !errors.Is(err, kv.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, v := range []any{nil, everything{}, (*everything)(nil), new(int), 5} {
		if _, err := c.Append(nil, v); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Append(%T): %v", v, err)
		}
		if err := c.Unmarshal(nil, v); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Unmarshal(%T): %v", v, err)
		}
	}
}

func TestUnmarshalRanges(t *testing.T) {
	c := everythingCodec(t)
	varint := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	var v everything
	for _, rec := range [][]byte{
		varint(5, 128), varint(6, 1<<15), varint(10, 256), varint(11, 1<<16), varint(36, 70000),
		{0x92, 0x01, 0x02, 0x10, 0x80}, // a Timestamp cut off
		protowire.AppendBytes(protowire.AppendTag(nil, 18, 2), varint(2, 1e9)),
		protowire.AppendBytes(protowire.AppendTag(nil, 18, 2), varint(1, 253402300800)),
		protowire.AppendBytes(protowire.AppendTag(nil, 19, 2), varint(1, 9223372037)),
		protowire.AppendBytes(protowire.AppendTag(nil, 19, 2), append(varint(1, 9223372036), varint(2, 999999999)...)),
		protowire.AppendBytes(protowire.AppendTag(nil, 19, 2), append(varint(1, 1), varint(2, math.MaxUint64)...)),
		protowire.AppendBytes(protowire.AppendTag(nil, 17, 2), []byte("short")),
		protowire.AppendBytes(protowire.AppendTag(nil, 40, 2), []byte{0xff}),
	} {
		if err := c.Unmarshal(rec, &v); !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("%x: got %v", rec, err)
		}
	}
	for _, d := range []time.Duration{math.MinInt64, math.MaxInt64, -1, 0} {
		rec, err := c.Append(nil, &everything{Took: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Unmarshal(rec, &v); err != nil || v.Took != d {
			t.Errorf("%d: got %d, %v", d, v.Took, err)
		}
	}
}
