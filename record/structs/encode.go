package structs

import (
	"fmt"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/kv"
)

// maxDepth bounds how deep structs may nest, in memory and on the wire.
const maxDepth = 100

// append appends the fields of the struct at base, ascending by number.
func (m *message) append(dst []byte, base unsafe.Pointer, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, fmt.Errorf("%w: structs nest deeper than %d, or in a circle", kv.ErrInvalid, maxDepth)
	}
	var err error
	for _, f := range m.fields {
		p := f.at(base)
		switch f.card {
		case single:
			dst, err = f.appendSingle(dst, p, depth)
		case optional:
			if q := target(p); q != nil {
				dst, err = f.appendTagged(dst, q, depth)
			}
		case repeated:
			dst, err = f.appendRepeated(dst, p, depth)
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendSingle appends the field at p, unless it is a zero without presence.
func (f *field) appendSingle(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	switch f.shape {
	case number:
		if load(f.elem.Kind(), p) == 0 {
			return dst, nil
		}
	case text:
		if *(*string)(p) == "" {
			return dst, nil
		}
	case blob:
		if len(*(*[]byte)(p)) == 0 {
			return dst, nil
		}
	}
	return f.appendTagged(dst, p, depth)
}

func (f *field) appendTagged(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	dst = protowire.AppendTag(dst, f.Number, wireType(f.kind))
	return f.appendValue(dst, p, depth)
}

func (f *field) appendRepeated(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	data, n := elements(p)
	if n == 0 {
		return dst, nil
	}
	if f.packed {
		dst = protowire.AppendTag(dst, f.Number, protowire.BytesType)
		dst = append(dst, 0)
		body := len(dst)
		for i := range n {
			dst = appendNumber(dst, f.kind, load(f.elem.Kind(), f.element(data, i)))
		}
		return closeLength(dst, body), nil
	}
	var err error
	for i := range n {
		if dst, err = f.appendTagged(dst, f.element(data, i), depth); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendValue appends the value at p without its tag.
func (f *field) appendValue(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	switch f.shape {
	case number:
		return appendNumber(dst, f.kind, load(f.elem.Kind(), p)), nil
	case text:
		s := *(*string)(p)
		if !utf8.ValidString(s) {
			return dst, invalid(kv.ErrInvalid, f, "%.40q is not valid UTF-8; use []byte for bytes", s)
		}
		return protowire.AppendString(dst, s), nil
	case blob:
		return protowire.AppendBytes(dst, *(*[]byte)(p)), nil
	case uuid:
		return protowire.AppendBytes(dst, (*[16]byte)(p)[:]), nil
	case timestamp:
		t := *(*time.Time)(p)
		sec := t.Unix()
		if sec < minTime || sec > maxTime {
			return dst, invalid(kv.ErrInvalid, f, "year %d is not between 1 and 9999", t.UTC().Year())
		}
		return appendSeconds(dst, sec, int32(t.Nanosecond())), nil
	case duration:
		d := *(*time.Duration)(p)
		return appendSeconds(dst, int64(d/time.Second), int32(d%time.Second)), nil
	}
	dst = append(dst, 0)
	body := len(dst)
	dst, err := f.sub.append(dst, p, depth+1)
	if err != nil {
		return dst, fmt.Errorf("%s.%w", f.Name, err)
	}
	return closeLength(dst, body), nil
}

// The first and the last second that a Timestamp may hold.
const (
	minTime = -62135596800 // 0001-01-01T00:00:00Z
	maxTime = 253402300799 // 9999-12-31T23:59:59Z
)

// appendSeconds appends a Timestamp or a Duration with its length.
func appendSeconds(dst []byte, sec int64, nanos int32) []byte {
	dst = append(dst, 0) // at most 22 bytes follow: one byte holds the length
	body := len(dst)
	if sec != 0 {
		dst = protowire.AppendTag(dst, 1, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(sec))
	}
	if nanos != 0 {
		dst = protowire.AppendTag(dst, 2, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(int64(nanos)))
	}
	return closeLength(dst, body)
}

// closeLength writes the length of dst[body:] into the byte before it, moving
// the body where one byte is not enough.
func closeLength(dst []byte, body int) []byte {
	n := len(dst) - body
	more := protowire.SizeVarint(uint64(n)) - 1
	if more > 0 {
		var room [9]byte
		dst = append(dst, room[:more]...)
		copy(dst[body+more:], dst[body:body+n])
	}
	protowire.AppendVarint(dst[:body-1], uint64(n))
	return dst
}

// wireType is the wire type of one value of kind k.
func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// appendNumber appends v, as load returns it, in the wire form of kind k.
func appendNumber(dst []byte, k protoreflect.Kind, v uint64) []byte {
	switch wireType(k) {
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(dst, uint32(v))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(dst, v)
	}
	if k == protoreflect.Sint32Kind || k == protoreflect.Sint64Kind {
		v = protowire.EncodeZigZag(int64(v))
	}
	return protowire.AppendVarint(dst, v)
}
