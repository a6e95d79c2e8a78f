package structs

import (
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/kv"
)

// decode merges the message rec into the struct at base, as Protobuf merges:
// the last of several values counts, slices grow, nested structs are merged.
func (m *message) decode(rec []byte, base unsafe.Pointer, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: messages nest deeper than %d", kv.ErrCorrupt, maxDepth)
	}
	for pos := 0; pos < len(rec); {
		num, typ, n := protowire.ConsumeTag(rec[pos:])
		if n < 0 || num > protowire.MaxValidNumber {
			return fmt.Errorf("%w: no field begins at byte %d", kv.ErrCorrupt, pos)
		}
		start := pos
		pos += n
		f := m.byNumber(num)
		if f == nil || !f.accepts(typ) {
			if n = protowire.ConsumeFieldValue(num, typ, rec[pos:]); n < 0 {
				return fmt.Errorf("%w: field %d at byte %d is cut off or malformed", kv.ErrCorrupt, num, start)
			}
			pos += n
			continue
		}
		n, err := f.decode(typ, rec[pos:], f.at(base), depth)
		if err != nil {
			return err
		}
		pos += n
	}
	return nil
}

// accepts reports whether a value of wire type typ belongs to f: anything else
// under its number is an unknown field.
func (f *field) accepts(typ protowire.Type) bool {
	return typ == wireType(f.kind) || f.card == repeated && f.shape == number && typ == protowire.BytesType
}

// decode reads the value at the start of b into the field at p and returns its
// length.
func (f *field) decode(typ protowire.Type, b []byte, p unsafe.Pointer, depth int) (int, error) {
	if f.shape == number && typ != protowire.BytesType {
		v, n := consumeNumber(f.kind, b)
		if n < 0 {
			return 0, f.cutOff()
		}
		return n, f.setNumber(f.slot(p), v)
	}
	v, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return 0, f.cutOff()
	}
	if f.shape == number {
		return n, f.decodePacked(v, p)
	}
	return n, f.decodeBytes(v, f.slot(p), depth)
}

func (f *field) cutOff() error { return invalid(kv.ErrCorrupt, f, "its value is cut off") }

// slot returns where the next value of the field at p goes.
func (f *field) slot(p unsafe.Pointer) unsafe.Pointer {
	switch f.card {
	case optional:
		return setTarget(p, f.elem)
	case repeated:
		return f.extend(p, 1)
	}
	return p
}

func (f *field) setNumber(p unsafe.Pointer, v uint64) error {
	if !store(f.elem.Kind(), p, v) {
		if f.elem.Kind() >= reflect.Uint && f.elem.Kind() <= reflect.Uint64 {
			return invalid(kv.ErrCorrupt, f, "%d does not fit %s", v, f.elem)
		}
		return invalid(kv.ErrCorrupt, f, "%d does not fit %s", int64(v), f.elem)
	}
	return nil
}

func (f *field) decodePacked(b []byte, p unsafe.Pointer) error {
	count := countNumbers(f.kind, b)
	if count < 0 {
		return f.cutOff()
	}
	if count == 0 {
		return nil
	}
	first := f.extend(p, count)
	for i := range count {
		v, n := consumeNumber(f.kind, b)
		if n < 0 {
			return f.cutOff()
		}
		if err := f.setNumber(f.element(first, i), v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// countNumbers returns how many numbers of kind k fill b, -1 if they do not
// end where it does.
func countNumbers(k protoreflect.Kind, b []byte) int {
	switch wireType(k) {
	case protowire.Fixed32Type:
		return whole(len(b), 4)
	case protowire.Fixed64Type:
		return whole(len(b), 8)
	}
	count := 0
	for _, c := range b {
		if c < 0x80 {
			count++
		}
	}
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		return -1
	}
	return count
}

func whole(n, size int) int {
	if n%size != 0 {
		return -1
	}
	return n / size
}

// consumeNumber reads one number of kind k, as store takes it. 32-bit kinds
// take the low bits of a longer varint.
func consumeNumber(k protoreflect.Kind, b []byte) (uint64, int) {
	switch wireType(k) {
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b)
		if k == protoreflect.Sfixed32Kind {
			return uint64(int64(int32(v))), n
		}
		return uint64(v), n
	case protowire.Fixed64Type:
		return protowire.ConsumeFixed64(b)
	}
	v, n := protowire.ConsumeVarint(b)
	switch k {
	case protoreflect.Int32Kind, protoreflect.EnumKind:
		v = uint64(int64(int32(v)))
	case protoreflect.Uint32Kind:
		v = uint64(uint32(v))
	case protoreflect.Sint32Kind:
		v = uint64(int64(int32(protowire.DecodeZigZag(v & 0xffffffff))))
	case protoreflect.Sint64Kind:
		v = uint64(protowire.DecodeZigZag(v))
	}
	return v, n
}

// decodeBytes sets the value at p from the bytes of a length-delimited field.
func (f *field) decodeBytes(b []byte, p unsafe.Pointer, depth int) error {
	switch f.shape {
	case text:
		if !utf8.Valid(b) {
			return invalid(kv.ErrCorrupt, f, "%.40q is not valid UTF-8", b)
		}
		*(*string)(p) = string(b)
	case blob:
		// Not nil, so that an optional or repeated empty value stays one.
		*(*[]byte)(p) = append(make([]byte, 0, len(b)), b...)
	case uuid:
		if len(b) != 0 && len(b) != 16 {
			return invalid(kv.ErrCorrupt, f, "a UUID has 16 bytes, not %d", len(b))
		}
		u := (*[16]byte)(p)
		clear(u[:])
		copy(u[:], b)
	case timestamp:
		return f.decodeTime(b, (*time.Time)(p))
	case duration:
		return f.decodeDuration(b, (*time.Duration)(p))
	case nested:
		if err := f.sub.decode(b, p, depth+1); err != nil {
			return fmt.Errorf("%s.%w", f.Name, err)
		}
	}
	return nil
}

func (f *field) decodeTime(b []byte, t *time.Time) error {
	var sec, nanos int64
	if !t.IsZero() { // an earlier value of the same field: merge with it
		sec, nanos = t.Unix(), int64(t.Nanosecond())
	}
	sec, nanos, err := f.consumeSeconds(b, sec, nanos)
	if err != nil {
		return err
	}
	if sec < minTime || sec > maxTime || nanos < 0 || nanos >= 1e9 {
		return invalid(kv.ErrCorrupt, f, "%d seconds and %d nanoseconds is no Timestamp", sec, nanos)
	}
	*t = time.Unix(sec, nanos).UTC()
	return nil
}

// maxSeconds is the longest time.Duration in whole seconds.
const maxSeconds = int64((1<<63 - 1) / time.Second)

func (f *field) decodeDuration(b []byte, d *time.Duration) error {
	sec, nanos, err := f.consumeSeconds(b, int64(*d/time.Second), int64(*d%time.Second))
	if err != nil {
		return err
	}
	if nanos <= -1e9 || nanos >= 1e9 || sec > 0 && nanos < 0 || sec < 0 && nanos > 0 {
		return invalid(kv.ErrCorrupt, f, "%d seconds and %d nanoseconds is no Duration", sec, nanos)
	}
	whole := time.Duration(sec) * time.Second
	sum := whole + time.Duration(nanos)
	if sec < -maxSeconds || sec > maxSeconds || (sec > 0) != (sum > 0) && sec != 0 {
		return invalid(kv.ErrCorrupt, f, "%d seconds and %d nanoseconds is longer than a time.Duration", sec, nanos)
	}
	*d = sum
	return nil
}

// consumeSeconds reads a Timestamp or a Duration on top of sec and nanos.
func (f *field) consumeSeconds(b []byte, sec, nanos int64) (int64, int64, error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return 0, 0, invalid(kv.ErrCorrupt, f, "its message is malformed")
		}
		b = b[n:]
		var v uint64
		known := typ == protowire.VarintType && num <= 2
		if known {
			v, n = protowire.ConsumeVarint(b)
		} else {
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return 0, 0, f.cutOff()
		}
		b = b[n:]
		switch {
		case known && num == 1:
			sec = int64(v)
		case known && num == 2:
			nanos = int64(int32(v))
		}
	}
	return sec, nanos, nil
}
