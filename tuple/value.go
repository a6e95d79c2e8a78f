package tuple

import (
	"cmp"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid is returned for a value that has no encoding: a string that is not
// UTF-8, a time outside the years 1 to 9999, tuples nested too deeply.
var ErrInvalid = errors.New("invalid value")

// ErrCorrupt is returned for bytes that are not the encoding of a value.
var ErrCorrupt = errors.New("corrupt key")

// MaxDepth is how deep tuples may be nested in one another.
const MaxDepth = 32

// Kind is the type of a value. Kinds are ordered as their values are.
type Kind uint8

// The kinds of values, in order.
const (
	KindNull Kind = iota
	KindBool
	KindInt // signed and unsigned integers, by value
	KindFloat
	KindString
	KindBytes
	KindTime
	KindUUID
	KindNested
)

var kindNames = [...]string{"null", "bool", "int", "float", "string", "bytes", "time", "uuid", "nested"}

// String returns the kind's name, as "int".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Value is one part of a tuple: null, or a value of one of the other kinds. Its
// zero value is null. Values are immutable and may be copied and used
// concurrently. Compare them with [Compare], not with ==.
type Value struct {
	kind Kind
	// a and b hold what has a fixed size:
	//	bool   a is 0 or 1
	//	int    a is the number modulo 2^64, b is 1 if it is negative
	//	float  a is the IEEE 754 bits, with one NaN
	//	time   a is int64 seconds since the year 1, b nanoseconds
	//	uuid   a and b are its halves, big-endian
	a, b uint64
	s    string   // string and bytes
	list *[]Value // nested, never nil then
}

// secondsToUnix is the Unix time of 0001-01-01T00:00:00Z, and maxSeconds the
// last second of the year 9999, counted from there.
const (
	secondsToUnix = -62135596800
	maxSeconds    = 315537897599
)

// Null returns the null value, which is also the zero Value.
func Null() Value { return Value{} }

// Bool returns a boolean value.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.a = 1
	}
	return v
}

// Int returns an integer value.
func Int(i int64) Value {
	return Value{kind: KindInt, a: uint64(i), b: uint64(i) >> 63}
}

// Uint returns an integer value. Where i fits, it is the value that Int gives.
func Uint(i uint64) Value { return Value{kind: KindInt, a: i} }

// Float returns a floating-point value. Every NaN gives the same value; -0 and
// 0 are two values.
func Float(f float64) Value {
	if f != f {
		return Value{kind: KindFloat, a: nanBits}
	}
	return Value{kind: KindFloat, a: math.Float64bits(f)}
}

// nanBits is the one NaN that there is: above +Inf when read as an integer.
const nanBits = 0x7ff8000000000000

// String returns a string value. One that is not valid UTF-8 can be compared
// but not encoded.
func String(s string) Value { return Value{kind: KindString, s: s} }

// Bytes returns a value of bytes; it copies b.
func Bytes(b []byte) Value { return Value{kind: KindBytes, s: string(b)} }

// Time returns the instant t, without its zone. One outside the years 1 to
// 9999 UTC can be compared but not encoded.
func Time(t time.Time) Value {
	return Value{kind: KindTime, a: uint64(t.Unix() - secondsToUnix), b: uint64(t.Nanosecond())}
}

// UUID returns the value of a UUID.
func UUID(u [16]byte) Value {
	return Value{kind: KindUUID, a: be64(u[:8]), b: be64(u[8:])}
}

// Nested returns a tuple as one value; it copies parts.
func Nested(parts ...Value) Value {
	list := slices.Clone(parts)
	return Value{kind: KindNested, list: &list}
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// AsBool returns the boolean, and whether v is one.
func (v Value) AsBool() (b, ok bool) { return v.kind == KindBool && v.a == 1, v.kind == KindBool }

// AsInt64 returns the integer, and whether v is one that fits an int64.
func (v Value) AsInt64() (i int64, ok bool) {
	if v.kind != KindInt || v.a>>63 != v.b {
		return 0, false
	}
	return int64(v.a), true
}

// AsUint64 returns the integer, and whether v is one that is not negative.
func (v Value) AsUint64() (i uint64, ok bool) {
	if v.kind != KindInt || v.b != 0 {
		return 0, false
	}
	return v.a, true
}

// AsFloat64 returns the floating-point number, and whether v is one. It does
// not convert integers.
func (v Value) AsFloat64() (f float64, ok bool) {
	if v.kind != KindFloat {
		return 0, false
	}
	return math.Float64frombits(v.a), true
}

// AsString returns the string, and whether v is one.
func (v Value) AsString() (s string, ok bool) {
	if v.kind != KindString {
		return "", false
	}
	return v.s, true
}

// AsBytes returns a copy of the bytes, never nil, and whether v is of bytes.
func (v Value) AsBytes() (b []byte, ok bool) {
	if v.kind != KindBytes {
		return nil, false
	}
	return []byte(v.s), true
}

// AsTime returns the instant in UTC, and whether v is a time.
func (v Value) AsTime() (t time.Time, ok bool) {
	if v.kind != KindTime {
		return time.Time{}, false
	}
	return time.Unix(int64(v.a)+secondsToUnix, int64(v.b)).UTC(), true
}

// AsUUID returns the UUID, and whether v is one.
func (v Value) AsUUID() (u [16]byte, ok bool) {
	if v.kind != KindUUID {
		return u, false
	}
	putBE64(u[:8], v.a)
	putBE64(u[8:], v.b)
	return u, true
}

// AsNested returns a copy of the nested tuple, and whether v is one.
func (v Value) AsNested() (t Tuple, ok bool) {
	if v.kind != KindNested {
		return nil, false
	}
	return Tuple(slices.Clone(*v.list)), true
}

// Compare returns -1, 0 or 1 as a sorts before, with, or after b. It agrees
// with bytes.Compare of their ascending encodings.
func Compare(a, b Value) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	switch a.kind {
	case KindInt:
		// Of two negative integers, the one nearer to zero has the larger bits.
		return cmp.Or(cmp.Compare(b.b, a.b), cmp.Compare(a.a, b.a))
	case KindFloat:
		return cmp.Compare(orderedFloat(a.a), orderedFloat(b.a))
	case KindString, KindBytes:
		return strings.Compare(a.s, b.s)
	case KindTime:
		return cmp.Or(cmp.Compare(int64(a.a), int64(b.a)), cmp.Compare(a.b, b.b))
	case KindNested:
		return slices.CompareFunc(*a.list, *b.list, Compare)
	default: // null, bool, uuid
		return cmp.Or(cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b))
	}
}

// EqualRange returns the smallest and the largest value that count as equal to
// v in a condition: v and v, except that -0 and 0 are both of the floats' zero.
// A condition on a part holds for the parts x where
//
//	x = v    low <= x <= high
//	x < v    x < low           x <= v    x <= high
//	x > v    x > high          x >= v    x >= low
//
// Zeros inside nested tuples are compared as they are.
func EqualRange(v Value) (low, high Value) {
	if v.kind == KindFloat && v.a<<1 == 0 {
		return Float(math.Copysign(0, -1)), Float(0)
	}
	return v, v
}

// orderedFloat turns the bits of a float into an integer that sorts as it.
func orderedFloat(bits uint64) uint64 {
	if bits>>63 != 0 {
		return ^bits
	}
	return bits ^ 1<<63
}

// floatBits undoes orderedFloat.
func floatBits(ordered uint64) uint64 {
	if ordered>>63 != 0 {
		return ordered ^ 1<<63
	}
	return ^ordered
}

// String returns v for people to read: null, true, -5, 1.5, "text" quoted,
// bytes as 0x01ff, times in RFC 3339, UUIDs in their usual form, and nested
// tuples in parentheses.
func (v Value) String() string {
	switch v.kind {
	case KindBool:
		return strconv.FormatBool(v.a == 1)
	case KindInt:
		if v.b != 0 {
			return strconv.FormatInt(int64(v.a), 10)
		}
		return strconv.FormatUint(v.a, 10)
	case KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.a), 'g', -1, 64)
	case KindString:
		return strconv.Quote(v.s)
	case KindBytes:
		return "0x" + hex.EncodeToString([]byte(v.s))
	case KindTime:
		t, _ := v.AsTime()
		return t.Format(time.RFC3339Nano)
	case KindUUID:
		u, _ := v.AsUUID()
		h := hex.EncodeToString(u[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	case KindNested:
		return Tuple(*v.list).String()
	default:
		return "null"
	}
}
