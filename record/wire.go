package record

import (
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/tuple"
)

// Values appends the values of the field in the record to dst and returns it:
// exactly one for a singular field, one per element, in order, for a repeated
// one. It reads the bytes as every Protobuf decoder does: of several
// occurrences of a scalar the last counts, messages are merged, repeated
// numbers may be packed or not, a member of a oneof is absent if another
// follows it. An absent field is null if it is optional, else its zero value.
//
// It returns kv.ErrInvalid if the record is not valid wire form, if a value is
// out of the range of its kind, and for fields of kind Message and Map. The
// values own their memory.
func (f *Field) Values(rec []byte, dst []tuple.Value) ([]tuple.Value, error) {
	if !f.kind.Comparable() {
		return dst, invalidf("field %q is a %s, whose values have no order", f.name, f.kind)
	}
	var out []tuple.Value
	var err error
	switch {
	case f.repeated:
		out, err = f.list(rec, dst)
	case f.kind == Time || f.kind == Duration:
		out, err = f.message(rec, dst)
	default:
		out, err = f.scalar(rec, dst)
	}
	if err != nil {
		return dst, invalidf("field %q: %w", f.name, err)
	}
	return out, nil
}

// scalar appends the value of a singular field that is no message.
func (f *Field) scalar(rec []byte, dst []tuple.Value) ([]tuple.Value, error) {
	var last wireValue
	found := false
	for len(rec) > 0 {
		v, n := consumeField(rec)
		if n < 0 {
			return dst, protowire.ParseError(n)
		}
		rec = rec[n:]
		switch {
		case v.number == f.number && v.typ == f.wire:
			last, found = v, true
		case f.isRival(v.number):
			found = false
		}
	}
	if !found {
		return append(dst, f.zero()), nil
	}
	v, err := f.value(last)
	return append(dst, v), err
}

// message appends the value of a singular Timestamp or Duration. Its
// occurrences add up to one message.
func (f *Field) message(rec []byte, dst []tuple.Value) ([]tuple.Value, error) {
	var p instant
	found := false
	for len(rec) > 0 {
		v, n := consumeField(rec)
		if n < 0 {
			return dst, protowire.ParseError(n)
		}
		rec = rec[n:]
		switch {
		case v.number == f.number && v.typ == f.wire:
			if !found {
				p, found = instant{}, true
			}
			if err := p.merge(v.bytes); err != nil {
				return dst, err
			}
		case f.isRival(v.number):
			found = false
		}
	}
	if !found {
		return append(dst, tuple.Null()), nil
	}
	v, err := f.instant(p)
	return append(dst, v), err
}

// list appends the elements of a repeated field.
func (f *Field) list(rec []byte, dst []tuple.Value) ([]tuple.Value, error) {
	for len(rec) > 0 {
		w, n := consumeField(rec)
		if n < 0 {
			return dst, protowire.ParseError(n)
		}
		rec = rec[n:]
		if w.number != f.number {
			continue
		}
		var err error
		switch {
		case w.typ == f.wire:
			var v tuple.Value
			v, err = f.value(w)
			dst = append(dst, v)
		case w.typ == protowire.BytesType:
			dst, err = f.packed(w.bytes, dst)
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// packed appends the elements of a packed run.
func (f *Field) packed(run []byte, dst []tuple.Value) ([]tuple.Value, error) {
	for len(run) > 0 {
		w := wireValue{number: f.number, typ: f.wire}
		n := w.consume(run)
		if n < 0 {
			return dst, protowire.ParseError(n)
		}
		v, err := f.value(w)
		if err != nil {
			return dst, err
		}
		dst, run = append(dst, v), run[n:]
	}
	return dst, nil
}

func (f *Field) isRival(n protowire.Number) bool {
	for _, r := range f.rivals {
		if r == n {
			return true
		}
	}
	return false
}

// zero is what an absent singular field stands for.
func (f *Field) zero() tuple.Value {
	if f.optional {
		return tuple.Null()
	}
	v, _ := f.value(wireValue{number: f.number, typ: f.wire}) // zero is valid for every kind
	return v
}

// value converts one value from the wire.
func (f *Field) value(w wireValue) (tuple.Value, error) {
	switch f.kind {
	case Bool:
		return tuple.Bool(w.num != 0), nil
	case Int:
		return tuple.Int(f.signed(w.num)), nil
	case Enum:
		return tuple.Int(int64(int32(w.num))), nil
	case Uint:
		if k := f.fd.Kind(); k == protoreflect.Uint32Kind {
			return tuple.Uint(uint64(uint32(w.num))), nil
		}
		return tuple.Uint(w.num), nil
	case Float:
		if f.wire == protowire.Fixed32Type {
			return tuple.Float(float64(math.Float32frombits(uint32(w.num)))), nil
		}
		return tuple.Float(math.Float64frombits(w.num)), nil
	case String:
		return tuple.String(string(w.bytes)), nil
	case Bytes:
		return tuple.Bytes(w.bytes), nil
	case UUID:
		return uuidValue(w.bytes)
	case Time, Duration:
		var p instant
		if err := p.merge(w.bytes); err != nil {
			return tuple.Value{}, err
		}
		return f.instant(p)
	}
	return tuple.Value{}, errors.New("it has no order")
}

// signed converts the bits of a signed integer as its type says.
func (f *Field) signed(bits uint64) int64 {
	switch f.fd.Kind() {
	case protoreflect.Sint32Kind:
		return int64(int32(protowire.DecodeZigZag(bits & math.MaxUint32)))
	case protoreflect.Sint64Kind:
		return protowire.DecodeZigZag(bits)
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		return int64(int32(bits))
	}
	return int64(bits)
}

func uuidValue(b []byte) (tuple.Value, error) {
	var u [16]byte
	if len(b) != 0 && copy(u[:], b) != len(b) || len(b) != 0 && len(b) != len(u) {
		return tuple.Value{}, invalidf("a UUID has 16 bytes, not %d", len(b))
	}
	return tuple.UUID(u), nil
}

// instant is the content of a Timestamp or a Duration: they have one shape.
type instant struct {
	seconds int64
	nanos   int32
}

// merge adds the fields of one occurrence.
func (p *instant) merge(b []byte) error {
	for len(b) > 0 {
		v, n := consumeField(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if v.typ != protowire.VarintType {
			continue
		}
		switch v.number {
		case 1:
			p.seconds = int64(v.num)
		case 2:
			p.nanos = int32(v.num)
		}
	}
	return nil
}

// instant converts a Timestamp or Duration by the field's kind.
func (f *Field) instant(p instant) (tuple.Value, error) {
	if f.kind == Time {
		t, err := p.time()
		return tuple.Time(t), err
	}
	d, err := p.duration()
	return tuple.Int(int64(d)), err
}

// The seconds of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

func (p instant) time() (time.Time, error) {
	if p.seconds < minSeconds || p.seconds > maxSeconds {
		return time.Time{}, errors.New("the time is not in the years 1 to 9999")
	}
	if p.nanos < 0 || p.nanos > 999_999_999 {
		return time.Time{}, invalidf("%d is not a number of nanoseconds in a second", p.nanos)
	}
	return time.Unix(p.seconds, int64(p.nanos)).UTC(), nil
}

// duration is exact in the 292 years that int64 nanoseconds reach.
func (p instant) duration() (time.Duration, error) {
	if p.nanos <= -1e9 || p.nanos >= 1e9 || p.seconds > 0 && p.nanos < 0 || p.seconds < 0 && p.nanos > 0 {
		return 0, errors.New("seconds and nanoseconds of the duration contradict each other")
	}
	const limit = math.MaxInt64 / int64(time.Second)
	if p.seconds < -limit-1 || p.seconds > limit {
		return 0, errors.New("the duration is longer than 292 years")
	}
	d := time.Duration(p.seconds)*time.Second + time.Duration(p.nanos)
	if p.seconds > 0 && d < 0 || p.seconds < 0 && d > 0 {
		return 0, errors.New("the duration is longer than 292 years")
	}
	return d, nil
}

// wireValue is one field on the wire: a number for varints and fixed widths,
// bytes, aliasing the record, for what has a length.
type wireValue struct {
	number protowire.Number
	typ    protowire.Type
	num    uint64
	bytes  []byte
}

// consumeField reads one field with its tag. It returns its length, negative
// for bytes that are none. A group is skipped as a whole.
func consumeField(b []byte) (w wireValue, n int) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return w, n
	}
	w.number, w.typ = num, typ
	m := w.consume(b[n:])
	if m < 0 {
		return w, m
	}
	return w, n + m
}

// consume reads the value of the number and type in w.
func (w *wireValue) consume(b []byte) (n int) {
	switch w.typ {
	case protowire.VarintType:
		w.num, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		w.num, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		w.num = uint64(v)
	case protowire.BytesType:
		w.bytes, n = protowire.ConsumeBytes(b)
	default:
		w.bytes, n = nil, protowire.ConsumeFieldValue(w.number, w.typ, b)
	}
	return n
}
