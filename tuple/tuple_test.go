package tuple_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/tuple"
)

var negZero = math.Copysign(0, -1)

// nest puts v into n tuples.
func nest(v tuple.Value, n int) tuple.Value {
	for range n {
		v = tuple.Nested(v)
	}
	return v
}

// golden holds values in ascending order with their bytes, which never change.
var golden = []struct {
	value tuple.Value
	hex   string // groups are for reading
}{
	{tuple.Null(), "01"},
	{tuple.Bool(false), "02"},
	{tuple.Bool(true), "03"},
	{tuple.Int(math.MinInt64), "0c 7fffffffffffffff"},
	{tuple.Int(math.MinInt64 + 1), "0c 8000000000000000"},
	{tuple.Int(-1 << 56), "0c feffffffffffffff"},
	{tuple.Int(-1<<56 + 1), "0d 00000000000000"},
	{tuple.Int(-65536), "11 feffff"},
	{tuple.Int(-65535), "12 0000"},
	{tuple.Int(-256), "12 feff"},
	{tuple.Int(-255), "13 00"},
	{tuple.Int(-2), "13 fd"},
	{tuple.Int(-1), "13 fe"},
	{tuple.Int(0), "14"},
	{tuple.Uint(1), "15 01"},
	{tuple.Int(255), "15 ff"},
	{tuple.Int(256), "16 0100"},
	{tuple.Int(300), "16 012c"},
	{tuple.Int(65536), "17 010000"},
	{tuple.Int(math.MaxInt64), "1c 7fffffffffffffff"},
	{tuple.Uint(math.MaxInt64 + 1), "1c 8000000000000000"},
	{tuple.Uint(math.MaxUint64), "1c ffffffffffffffff"},
	{tuple.Float(math.Inf(-1)), "20 000fffffffffffff"},
	{tuple.Float(-1.5), "20 4007ffffffffffff"},
	{tuple.Float(negZero), "20 7fffffffffffffff"},
	{tuple.Float(0), "20 8000000000000000"},
	{tuple.Float(math.SmallestNonzeroFloat64), "20 8000000000000001"},
	{tuple.Float(1.5), "20 bff8000000000000"},
	{tuple.Float(math.Inf(1)), "20 fff0000000000000"},
	{tuple.Float(math.NaN()), "20 fff8000000000000"},
	{tuple.String(""), "24 0001"},
	{tuple.String("\x00"), "24 00ff 0001"},
	{tuple.String("\x00\x01"), "24 00ff 01 0001"},
	{tuple.String("\x01"), "24 01 0001"},
	{tuple.String("a"), "24 61 0001"},
	{tuple.String("a\x00b"), "24 61 00ff 62 0001"},
	{tuple.String("aa"), "24 6161 0001"},
	{tuple.String("a\x7f"), "24 617f 0001"},
	{tuple.String("é"), "24 c3a9 0001"},
	{tuple.String("\U0010ffff"), "24 f48fbfbf 0001"},
	{tuple.Bytes(nil), "28 0001"},
	{tuple.Bytes([]byte{0}), "28 00ff 0001"},
	{tuple.Bytes([]byte{0, 0xff}), "28 00ff ff 0001"},
	{tuple.Bytes([]byte{1}), "28 01 0001"},
	{tuple.Bytes([]byte{0xff}), "28 ff 0001"},
	{tuple.Bytes([]byte{0xff, 0}), "28 ff 00ff 0001"},
	{tuple.Time(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)), "2c 0000000000 00000000"},
	{tuple.Time(time.Unix(0, -1)), "2c 0e7791f6ff 3b9ac9ff"},
	{tuple.Time(time.Unix(0, 0)), "2c 0e7791f700 00000000"},
	{tuple.Time(time.Unix(0, 1)), "2c 0e7791f700 00000001"},
	{tuple.Time(time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)), "2c 497786387f 3b9ac9ff"},
	{tuple.UUID([16]byte{}), "30 00000000000000000000000000000000"},
	{tuple.UUID([16]byte{15: 1}), "30 00000000000000000000000000000001"},
	{tuple.UUID([16]byte{0: 1}), "30 01000000000000000000000000000000"},
	{tuple.Nested(), "34 00"},
	{tuple.Nested(tuple.Null()), "34 01 00"},
	{tuple.Nested(tuple.Null(), tuple.Int(1)), "34 01 1501 00"},
	{tuple.Nested(tuple.String("")), "34 240001 00"},
	{tuple.Nested(tuple.Nested()), "34 3400 00"},
}

func TestGolden(t *testing.T) {
	for i, g := range golden {
		want, err := hex.DecodeString(strings.ReplaceAll(g.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, desc := range []bool{false, true} {
			if desc {
				for i := range want {
					want[i] = ^want[i]
				}
			}
			got, err := tuple.Append(nil, g.value, desc)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("Append(%v, desc=%v) = %x, %v; want %x", g.value, desc, got, err, want)
			}
			v, rest, err := tuple.Decode(append(got, 0x5a), desc)
			if err != nil || tuple.Compare(v, g.value) != 0 || !bytes.Equal(rest, []byte{0x5a}) {
				t.Errorf("Decode(%x, desc=%v) = %v, %x, %v; want %v", got, desc, v, rest, err, g.value)
			}
		}
		for j := range golden {
			if got, want := tuple.Compare(g.value, golden[j].value), sign(i-j); got != want {
				t.Errorf("Compare(%v, %v) = %d, want %d", g.value, golden[j].value, got, want)
			}
		}
	}
}

func sign(i int) int { return min(1, max(-1, i)) }

func TestRefusedValues(t *testing.T) {
	for _, v := range []tuple.Value{
		tuple.String("a\xff"),
		tuple.Nested(tuple.Int(1), tuple.String("\xc3")),
		tuple.Time(time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC)),
		tuple.Time(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		tuple.Time(time.Unix(math.MaxInt64, 0)),
		tuple.Time(time.Unix(math.MinInt64, 0)),
		nest(tuple.Null(), tuple.MaxDepth+1),
	} {
		got, err := tuple.Append([]byte("kept"), v, false)
		if !errors.Is(err, tuple.ErrInvalid) || string(got) != "kept" {
			t.Errorf("Append(%v) = %q, %v; want ErrInvalid and nothing appended", v, got, err)
		}
		got, err = tuple.Tuple{tuple.Int(1), v}.Append([]byte("kept"))
		if !errors.Is(err, tuple.ErrInvalid) || !strings.Contains(err.Error(), "part 2") || string(got) != "kept" {
			t.Errorf("Tuple.Append(1, %v) = %q, %v; want ErrInvalid of part 2 and nothing appended", v, got, err)
		}
	}
	if _, err := tuple.Append(nil, nest(tuple.Null(), tuple.MaxDepth), true); err != nil {
		t.Errorf("deepest tuple: %v", err)
	}
}

// TestRefusedBytes shows that every value has one encoding and that what is cut
// or damaged is an error.
func TestRefusedBytes(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":                     "",
		"reserved type":               "00",
		"reserved type 1d":            "1d 010101010101010101",
		"reserved type ff":            "ff",
		"cut integer":                 "16 01",
		"cut negative integer":        "12 01",
		"leading zero":                "16 00ff",
		"leading zero, negative":      "12 ffff",
		"zero in one byte":            "15 00",
		"minus zero":                  "13 ff",
		"below int64":                 "0c 7ffffffffffffffe",
		"cut float":                   "20 80",
		"other NaN":                   "20 fff8000000000001",
		"negative NaN":                "20 0007ffffffffffff",
		"string without end":          "24 6161",
		"string cut in its end":       "24 6100",
		"string with wrong escape":    "24 6100 02",
		"string not UTF-8":            "24 ff 0001",
		"bytes without end":           "28 00ff00ff",
		"cut time":                    "2c 0000000000 000000",
		"time after 9999":             "2c 4977863880 00000000",
		"time with a whole second":    "2c 0000000000 3b9aca00",
		"cut UUID":                    "30 000000000000000000000000000000",
		"tuple without end":           "34 01",
		"tuple with a reserved type":  "34 05 00",
		"tuple with a bad string":     "34 24ff0001 00",
		"tuples too deep":             strings.Repeat("34", tuple.MaxDepth+1) + strings.Repeat("00", tuple.MaxDepth+1),
		"very many tuples, never end": strings.Repeat("34", 100000),
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, desc := range []bool{false, true} {
			if v, rest, err := tuple.Decode(b, desc); !errors.Is(err, tuple.ErrCorrupt) || !bytes.Equal(rest, b) {
				t.Errorf("%s: Decode(desc=%v) = %v, %v; want ErrCorrupt", name, desc, v, err)
			}
			if strings.HasPrefix(name, "cut") {
				if _, err := tuple.Skip(b, desc); !errors.Is(err, tuple.ErrCorrupt) {
					t.Errorf("%s: Skip(desc=%v) = %v; want ErrCorrupt", name, desc, err)
				}
			}
			for i := range b {
				b[i] = ^b[i]
			}
		}
	}
}

func TestAccessors(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.FixedZone("x", 3600))
	if got, ok := tuple.Time(at).AsTime(); !ok || !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("AsTime = %v, %v", got, ok)
	}
	if got, ok := tuple.Int(-3).AsInt64(); !ok || got != -3 {
		t.Errorf("AsInt64 = %v, %v", got, ok)
	}
	if _, ok := tuple.Int(-3).AsUint64(); ok {
		t.Error("-3 is a uint64")
	}
	if got, ok := tuple.Uint(math.MaxUint64).AsUint64(); !ok || got != math.MaxUint64 {
		t.Errorf("AsUint64 = %v, %v", got, ok)
	}
	if _, ok := tuple.Uint(math.MaxInt64 + 1).AsInt64(); ok {
		t.Error("2^63 is an int64")
	}
	if got, ok := tuple.Float(math.NaN()).AsFloat64(); !ok || got == got {
		t.Errorf("AsFloat64 = %v, %v", got, ok)
	}
	if got, ok := tuple.String("x").AsString(); !ok || got != "x" {
		t.Errorf("AsString = %v, %v", got, ok)
	}
	if got, ok := tuple.Bytes(nil).AsBytes(); !ok || got == nil || len(got) != 0 {
		t.Errorf("AsBytes = %#v, %v", got, ok)
	}
	id := [16]byte{1, 2, 15: 9}
	if got, ok := tuple.UUID(id).AsUUID(); !ok || got != id {
		t.Errorf("AsUUID = %v, %v", got, ok)
	}
	if got, ok := tuple.Bool(true).AsBool(); !ok || !got {
		t.Errorf("AsBool = %v, %v", got, ok)
	}
	parts := []tuple.Value{tuple.Int(1)}
	n := tuple.Nested(parts...)
	parts[0] = tuple.Int(2)
	got, _ := n.AsNested()
	got[0] = tuple.Int(3)
	if n.String() != "(1)" {
		t.Errorf("a nested tuple was changed from outside: %v", n)
	}
	var zero tuple.Value
	_, isBool := zero.AsBool()
	_, isInt := zero.AsInt64()
	_, isUint := zero.AsUint64()
	_, isNested := zero.AsNested()
	if !zero.IsNull() || zero.Kind() != tuple.KindNull || isBool || isInt || isUint || isNested {
		t.Errorf("the zero Value is %v", zero)
	}
}

func TestString(t *testing.T) {
	v := tuple.Tuple{
		tuple.Null(), tuple.Bool(true), tuple.Int(-5), tuple.Uint(math.MaxUint64), tuple.Float(negZero),
		tuple.String("a\n"), tuple.Bytes([]byte{1, 255}), tuple.Time(time.Unix(0, 1)),
		tuple.UUID([16]byte{0: 0x12, 15: 0xef}), tuple.Nested(tuple.Int(1), tuple.Nested()),
	}
	const want = `(null, true, -5, 18446744073709551615, -0, "a\n", 0x01ff, 1970-01-01T00:00:00.000000001Z, ` +
		`12000000-0000-0000-0000-0000000000ef, (1, ()))`
	if got := v.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := tuple.KindUUID.String() + tuple.Kind(77).String(); got != "uuidkind 77" {
		t.Error(got)
	}
}

func TestEqualRange(t *testing.T) {
	for _, zero := range []float64{0, negZero} {
		low, high := tuple.EqualRange(tuple.Float(zero))
		for _, x := range []float64{negZero, 0, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.NaN()} {
			v := tuple.Float(x)
			if got := tuple.Compare(low, v) <= 0 && tuple.Compare(v, high) <= 0; got != (x == zero) {
				t.Errorf("%v = %v: %v", x, zero, got)
			}
		}
	}
	for _, v := range []tuple.Value{tuple.Int(0), tuple.Float(1), tuple.Null()} {
		if low, high := tuple.EqualRange(v); tuple.Compare(low, v) != 0 || tuple.Compare(high, v) != 0 {
			t.Errorf("EqualRange(%v) = %v, %v", v, low, high)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ p, want string }{
		{"a", "b"}, {"ab", "ac"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\x00", "\x01"},
	} {
		if got := tuple.PrefixEnd([]byte(c.p)); string(got) != c.want {
			t.Errorf("PrefixEnd(%q) = %q, want %q", c.p, got, c.want)
		}
	}
	for _, p := range []string{"", "\xff", "\xff\xff"} {
		if got := tuple.PrefixEnd([]byte(p)); got != nil {
			t.Errorf("PrefixEnd(%q) = %q, want nil", p, got)
		}
	}
}

func TestUvarintGolden(t *testing.T) {
	for _, c := range []struct {
		v   uint64
		hex string
	}{
		{0, "00"}, {1, "01"}, {1<<7 - 1, "7f"},
		{1 << 7, "8080"}, {1<<14 - 1, "bfff"},
		{1 << 14, "c04000"}, {1<<21 - 1, "dfffff"},
		{1 << 21, "e0200000"}, {1<<28 - 1, "efffffff"},
		{1 << 28, "f010000000"}, {1<<35 - 1, "f7ffffffff"},
		{1 << 35, "f80800000000"}, {1<<42 - 1, "fbffffffffff"},
		{1 << 42, "fc040000000000"}, {1<<49 - 1, "fdffffffffffff"},
		{1 << 49, "fe02000000000000"}, {1<<56 - 1, "feffffffffffffff"},
		{1 << 56, "ff0100000000000000"}, {math.MaxUint64, "ffffffffffffffffff"},
	} {
		got := tuple.AppendUvarint(nil, c.v)
		if hex.EncodeToString(got) != c.hex {
			t.Errorf("AppendUvarint(%d) = %x, want %s", c.v, got, c.hex)
		}
		v, rest, err := tuple.Uvarint(append(got, 7))
		if err != nil || v != c.v || len(rest) != 1 {
			t.Errorf("Uvarint(%x) = %d, %x, %v", got, v, rest, err)
		}
		for n := range got {
			if _, _, err := tuple.Uvarint(got[:n]); !errors.Is(err, tuple.ErrCorrupt) {
				t.Errorf("Uvarint(%x) = %v, want ErrCorrupt", got[:n], err)
			}
		}
	}
	for _, s := range []string{"8000", "807f", "c00000", "c03fff", "ff00ffffffffffffff"} {
		b, _ := hex.DecodeString(s)
		if v, _, err := tuple.Uvarint(b); !errors.Is(err, tuple.ErrCorrupt) {
			t.Errorf("Uvarint(%s) = %d, %v, want ErrCorrupt: there is a shorter form", s, v, err)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1024)
	for _, g := range golden {
		if n := testing.AllocsPerRun(10, func() {
			if _, err := tuple.Append(dst, g.value, true); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Append(%v): %v allocations", g.value, n)
		}
	}
	key := tuple.Tuple{tuple.String("net"), tuple.Int(7), tuple.String("libc6")}
	enc, _ := key.Append(nil)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := key.Append(dst, true); err != nil {
			t.Fatal(err)
		}
		tuple.AppendUvarint(dst, 1<<40)
		if _, err := tuple.Skip(enc, false); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Tuple.Append, AppendUvarint and Skip: %v allocations", n)
	}
}
