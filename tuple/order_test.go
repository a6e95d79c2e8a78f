package tuple_test

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/tuple"
	"pgregory.net/rapid"
)

// The model: Go values compared plainly, with nothing of the package's own.
// A modelled value is nil, bool, *big.Int, float64, string, []byte, time.Time,
// [16]byte or []any.

func rank(x any) int {
	switch x.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case *big.Int:
		return 2
	case float64:
		return 3
	case string:
		return 4
	case []byte:
		return 5
	case time.Time:
		return 6
	case [16]byte:
		return 7
	default:
		return 8
	}
}

func compareModel(x, y any) int {
	if c := cmp.Compare(rank(x), rank(y)); c != 0 {
		return c
	}
	switch x := x.(type) {
	case bool:
		return cmp.Compare(toInt(x), toInt(y.(bool)))
	case *big.Int:
		return x.Cmp(y.(*big.Int))
	case float64:
		return compareFloats(x, y.(float64))
	case string:
		return strings.Compare(x, y.(string))
	case []byte:
		return bytes.Compare(x, y.([]byte))
	case time.Time:
		return x.Compare(y.(time.Time))
	case [16]byte:
		z := y.([16]byte)
		return bytes.Compare(x[:], z[:])
	case []any:
		return slices.CompareFunc(x, y.([]any), compareModel)
	default:
		return 0
	}
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func compareFloats(x, y float64) int {
	switch xn, yn := math.IsNaN(x), math.IsNaN(y); {
	case xn || yn:
		return cmp.Compare(toInt(xn), toInt(yn))
	case x == 0 && y == 0:
		return cmp.Compare(toInt(math.Signbit(y)), toInt(math.Signbit(x)))
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func valueOf(x any) tuple.Value {
	switch x := x.(type) {
	case bool:
		return tuple.Bool(x)
	case *big.Int:
		if x.IsInt64() {
			return tuple.Int(x.Int64())
		}
		return tuple.Uint(x.Uint64())
	case float64:
		return tuple.Float(x)
	case string:
		return tuple.String(x)
	case []byte:
		return tuple.Bytes(x)
	case time.Time:
		return tuple.Time(x)
	case [16]byte:
		return tuple.UUID(x)
	case []any:
		var list []tuple.Value
		for _, e := range x {
			list = append(list, valueOf(e))
		}
		return tuple.Nested(list...)
	default:
		return tuple.Null()
	}
}

// modelOf undoes valueOf through the accessors.
func modelOf(t tuple.Value) any {
	switch t.Kind() {
	case tuple.KindBool:
		b, _ := t.AsBool()
		return b
	case tuple.KindInt:
		if i, ok := t.AsInt64(); ok {
			return big.NewInt(i)
		}
		u, _ := t.AsUint64()
		return new(big.Int).SetUint64(u)
	case tuple.KindFloat:
		f, _ := t.AsFloat64()
		return f
	case tuple.KindString:
		s, _ := t.AsString()
		return s
	case tuple.KindBytes:
		b, _ := t.AsBytes()
		return b
	case tuple.KindTime:
		at, _ := t.AsTime()
		return at
	case tuple.KindUUID:
		u, _ := t.AsUUID()
		return u
	case tuple.KindNested:
		list := []any{}
		n, _ := t.AsNested()
		for _, e := range n {
			list = append(list, modelOf(e))
		}
		return list
	default:
		return nil
	}
}

// The generators favour what encodings get wrong: few distinct bytes, zeros and
// 0xff, powers of two and their neighbours, values that begin one another.

func genModel(depth int) *rapid.Generator[any] {
	gens := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		genInt().AsAny(),
		genFloat().AsAny(),
		genString().AsAny(),
		genBytes().AsAny(),
		genTime().AsAny(),
		rapid.Custom(func(t *rapid.T) [16]byte {
			return [16]byte(rapid.SliceOfN(genByte(), 16, 16).Draw(t, "uuid"))
		}).AsAny(),
	}
	if depth > 0 {
		gens = append(gens, rapid.Custom(func(t *rapid.T) []any {
			return rapid.SliceOfN(genModel(depth-1), 0, 3).Draw(t, "parts")
		}).AsAny())
	}
	return rapid.OneOf(gens...)
}

func genInt() *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		v := new(big.Int).Lsh(big.NewInt(1), uint(rapid.IntRange(0, 64).Draw(t, "power")))
		if rapid.Bool().Draw(t, "negative") {
			v.Neg(v)
		}
		v.Add(v, big.NewInt(int64(rapid.IntRange(-300, 300).Draw(t, "offset"))))
		if !v.IsInt64() && !v.IsUint64() {
			v.SetInt64(rapid.Int64().Draw(t, "int64"))
		}
		return v
	})
}

func genFloat() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.SampledFrom([]float64{0, negZero, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64}),
		rapid.Float64(),
		rapid.Custom(func(t *rapid.T) float64 { return math.Float64frombits(rapid.Uint64().Draw(t, "bits")) }),
	)
}

func genByte() *rapid.Generator[byte] {
	return rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff, 'a'}), rapid.Byte())
}

func genBytes() *rapid.Generator[[]byte] { return rapid.SliceOfN(genByte(), 0, 5) }

func genString() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 0x7f, 'é', 0xffff, 0x10ffff}), 0, 5, -1),
		rapid.String(),
	)
}

func genTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		s := rapid.OneOf(rapid.Int64Range(-62135596800, 253402300799), rapid.Int64Range(-2, 2)).Draw(t, "seconds")
		n := rapid.OneOf(rapid.Int64Range(0, 999999999), rapid.Int64Range(0, 2)).Draw(t, "nanos")
		return time.Unix(s, n).In(time.FixedZone("", rapid.IntRange(-12, 12).Draw(t, "zone")*3600))
	})
}

// TestOrder compares whole composite keys, with mixed directions, to the model.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desc := rapid.SliceOfN(rapid.Bool(), 3, 3).Draw(t, "desc")
		x := rapid.SliceOfN(genModel(2), 1, 3).Draw(t, "x")
		y := rapid.SliceOfN(genModel(2), 1, 3).Draw(t, "y")
		if n := rapid.IntRange(0, 3).Draw(t, "shared"); n < len(x) && n < len(y) {
			copy(y[:n], x)
		}
		checkOrder(t, x, y, desc)
		checkOrder(t, x[:1], y[:1], desc)
	})
}

func checkOrder(t *rapid.T, x, y []any, desc []bool) {
	want := cmp.Compare(len(x), len(y))
	for i := range min(len(x), len(y)) {
		if c := compareModel(x[i], y[i]); c != 0 {
			want = c
			if desc[i] {
				want = -c
			}
			break
		}
	}
	xt, yt := tupleOf(x), tupleOf(y)
	xb, err := xt.Append(nil, desc...)
	if err != nil {
		t.Fatal(err)
	}
	yb, err := yt.Append(nil, desc...)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Compare(xb, yb); got != want {
		t.Fatalf("%v and %v, desc %v: encodings %x and %x compare as %d, values as %d", xt, yt, desc, xb, yb, got, want)
	}
	if got := xt.Compare(yt, desc...); got != want {
		t.Fatalf("%v.Compare(%v, %v) = %d, want %d", xt, yt, desc, got, want)
	}
	if len(x) == 1 && len(y) == 1 && want != 0 && (bytes.HasPrefix(xb, yb) || bytes.HasPrefix(yb, xb)) {
		t.Fatalf("%v and %v: one of %x and %x begins the other", xt, yt, xb, yb)
	}
}

func tupleOf(x []any) tuple.Tuple {
	var t tuple.Tuple
	for _, e := range x {
		t = append(t, valueOf(e))
	}
	return t
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(genModel(3), 0, 4).Draw(t, "x")
		desc := rapid.SliceOfN(rapid.Bool(), 0, 4).Draw(t, "desc")
		b, err := tupleOf(x).Append(nil, desc...)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b)
		got, err := tuple.DecodeAll(b, desc)
		if err != nil || len(got) != len(x) {
			t.Fatalf("DecodeAll(%x) = %v, %v; want %v", b, got, err, x)
		}
		for i := range x {
			if compareModel(modelOf(got[i]), x[i]) != 0 {
				t.Fatalf("part %d: %v came back as %v", i, x[i], got[i])
			}
		}
		rest := b
		for i := range x {
			if rest, err = tuple.Skip(rest, i < len(desc) && desc[i]); err != nil {
				t.Fatal(err)
			}
		}
		if len(rest) != 0 || !bytes.Equal(b, before) {
			t.Fatalf("Skip leaves %x of %x, which was %x", rest, b, before)
		}
	})
}

// TestPrefixes shows that a prefix's range holds the strings that begin with it
// and no other value.
func TestPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desc := rapid.Bool().Draw(t, "desc")
		p := genBytes().Draw(t, "prefix")
		x := rapid.OneOf(genModel(1), genString().AsAny(), genBytes().AsAny()).Draw(t, "x")
		switch v := x.(type) {
		case string:
			if len(v) > 0 && rapid.Bool().Draw(t, "cut") {
				p = []byte(v[:rapid.IntRange(0, len(v)).Draw(t, "at")])
			}
		case []byte:
			if rapid.Bool().Draw(t, "extend") {
				x = append(bytes.Clone(p), v...)
			}
		}
		enc, err := tuple.Append(nil, valueOf(x), desc)
		if err != nil {
			t.Fatal(err)
		}
		s, isString := x.(string)
		b, isBytes := x.([]byte)
		check := func(name string, from []byte, want bool) {
			end := tuple.PrefixEnd(from)
			got := bytes.Compare(from, enc) <= 0 && (end == nil || bytes.Compare(enc, end) < 0)
			if got != want {
				t.Fatalf("%s prefix %q holds %v: %v, want %v", name, p, x, got, want)
			}
		}
		check("string", tuple.AppendStringPrefix(nil, string(p), desc), isString && strings.HasPrefix(s, string(p)))
		check("bytes", tuple.AppendBytesPrefix(nil, p, desc), isBytes && bytes.HasPrefix(b, p))
	})
}

func TestUvarintOrder(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) uint64 {
		return rapid.Uint64().Draw(t, "v") >> rapid.IntRange(0, 63).Draw(t, "shift")
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := gen.Draw(t, "x"), gen.Draw(t, "y")
		xb, yb := tuple.AppendUvarint(nil, x), tuple.AppendUvarint(nil, y)
		if got, want := bytes.Compare(xb, yb), cmp.Compare(x, y); got != want {
			t.Fatalf("%d and %d: %x and %x compare as %d", x, y, xb, yb, got)
		}
		if v, rest, err := tuple.Uvarint(xb); v != x || len(rest) != 0 || err != nil {
			t.Fatalf("Uvarint(%x) = %d, %x, %v", xb, v, rest, err)
		}
	})
}

// FuzzDecode feeds any bytes to the decoders: they never panic, and whatever
// they accept is exactly what Append writes.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		for _, desc := range []bool{false, true} {
			b, err := tuple.Append(nil, g.value, desc)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, desc)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, desc bool) {
		v, rest, err := tuple.Decode(src, desc)
		skipped, skipErr := tuple.Skip(src, desc)
		if err == nil {
			used := src[:len(src)-len(rest)]
			b, err := tuple.Append(nil, v, desc)
			if err != nil || !bytes.Equal(b, used) {
				t.Fatalf("%x is read as %v, which is written as %x, %v", used, v, b, err)
			}
			if skipErr != nil || len(skipped) != len(rest) {
				t.Fatalf("Decode leaves %x of %x, Skip %x, %v", rest, src, skipped, skipErr)
			}
		}
		if n, rest, err := tuple.Uvarint(src); err == nil {
			if b := tuple.AppendUvarint(nil, n); !bytes.Equal(b, src[:len(src)-len(rest)]) {
				t.Fatalf("%x is read as %d, which is written as %x", src, n, b)
			}
		}
	})
}

// FuzzOrder decodes two keys from any bytes and compares them with their bytes.
func FuzzOrder(f *testing.F) {
	for i, g := range golden[1:] {
		x, _ := tuple.Append(nil, g.value, false)
		y, _ := tuple.Append(nil, golden[i].value, false)
		f.Add(x, y)
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		xt, xerr := tuple.DecodeAll(x, nil)
		yt, yerr := tuple.DecodeAll(y, nil)
		if xerr != nil || yerr != nil {
			return
		}
		want := slices.CompareFunc(xt, yt, func(a, b tuple.Value) int { return compareModel(modelOf(a), modelOf(b)) })
		if got := bytes.Compare(x, y); got != want || xt.Compare(yt) != want {
			t.Fatalf("%v and %v compare as %d, their bytes %x and %x as %d", xt, yt, want, x, y, got)
		}
	})
}
