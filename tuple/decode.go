package tuple

import (
	"bytes"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// Decode reads one value from the front of src, which was encoded descending
// if desc is set, and returns it with the bytes that follow it. The value keeps
// nothing of src. It returns ErrCorrupt if src does not begin with exactly the
// bytes that [Append] writes for some value.
func Decode(src []byte, desc bool) (v Value, rest []byte, err error) {
	d := newDecoder(src, desc)
	if v, err = d.value(0); err != nil {
		return Value{}, src, err
	}
	return v, d.src, nil
}

// Skip returns what follows the first value of src, like Decode without
// building the value. It finds the value's end but does not look at its
// content: not every error that Decode finds is found.
func Skip(src []byte, desc bool) (rest []byte, err error) {
	d := newDecoder(src, desc)
	if err := d.skip(); err != nil {
		return src, err
	}
	return d.src, nil
}

// decoder reads the encoding of values from the front of src, each byte xor
// mask: 0xff if it is descending.
type decoder struct {
	src  []byte
	mask byte
}

func newDecoder(src []byte, desc bool) decoder {
	d := decoder{src: src}
	if desc {
		d.mask = 0xff
	}
	return d
}

func (d *decoder) value(depth int) (Value, error) {
	code, err := d.code()
	if err != nil {
		return Value{}, err
	}
	switch {
	case code == codeNull:
		return Null(), nil
	case code == codeFalse || code == codeTrue:
		return Bool(code == codeTrue), nil
	case code >= codeZero-8 && code <= codeZero+8:
		return d.integer(int(code) - codeZero)
	case code == codeFloat:
		return d.float()
	case code == codeString:
		s, err := d.escaped()
		if err == nil && !utf8.Valid(s) {
			err = fmt.Errorf("%w: string is not UTF-8", ErrCorrupt)
		}
		return String(string(s)), err
	case code == codeBytes:
		s, err := d.escaped()
		return Bytes(s), err
	case code == codeTime:
		return d.time()
	case code == codeUUID:
		a, _ := d.uint(8)
		b, err := d.uint(8)
		return Value{kind: KindUUID, a: a, b: b}, err
	case code == codeNested:
		return d.nested(depth + 1)
	default:
		return Value{}, fmt.Errorf("%w: no value has the type byte %#02x", ErrCorrupt, code)
	}
}

// code takes the type byte.
func (d *decoder) code() (byte, error) {
	if len(d.src) == 0 {
		return 0, errCut
	}
	code := d.src[0] ^ d.mask
	d.src = d.src[1:]
	return code, nil
}

var errCut = fmt.Errorf("%w: it ends within a value", ErrCorrupt)

// uint takes n bytes as a big-endian number. Once src is too short it takes
// nothing and fails ever after.
func (d *decoder) uint(n int) (uint64, error) {
	if len(d.src) < n {
		d.src = nil
		return 0, errCut
	}
	var v uint64
	for _, b := range d.src[:n] {
		v = v<<8 | uint64(b^d.mask)
	}
	d.src = d.src[n:]
	return v, nil
}

// integer takes an integer of n bytes, or of -n bytes if it is negative.
func (d *decoder) integer(n int) (Value, error) {
	if n >= 0 {
		v, err := d.uint(n)
		if err == nil && byteLen(v) != n {
			err = fmt.Errorf("%w: integer has a leading zero byte", ErrCorrupt)
		}
		return Uint(v), err
	}
	n = -n
	v, err := d.uint(n)
	magnitude := ^v & (1<<(8*n) - 1)
	switch {
	case err != nil:
		return Value{}, err
	case byteLen(magnitude) != n:
		return Value{}, fmt.Errorf("%w: integer has a leading zero byte", ErrCorrupt)
	case magnitude > 1<<63:
		return Value{}, fmt.Errorf("%w: integer is less than any int64", ErrCorrupt)
	}
	return Int(int64(-magnitude)), nil
}

func (d *decoder) float() (Value, error) {
	ordered, err := d.uint(8)
	if err != nil {
		return Value{}, err
	}
	const infinity = 0x7ff << 52
	bits := floatBits(ordered)
	if bits&^(1<<63) > infinity && bits != nanBits {
		return Value{}, fmt.Errorf("%w: not the one NaN that keys have", ErrCorrupt)
	}
	return Value{kind: KindFloat, a: bits}, nil
}

func (d *decoder) time() (Value, error) {
	seconds, _ := d.uint(5)
	nanos, err := d.uint(4)
	if err == nil && (seconds > maxSeconds || nanos > 999999999) {
		err = fmt.Errorf("%w: time of %d s and %d ns", ErrCorrupt, seconds, nanos)
	}
	return Value{kind: KindTime, a: seconds, b: nanos}, err
}

// escaped takes the content of a string or bytes and its end. What it returns
// may share memory with src.
func (d *decoder) escaped() ([]byte, error) {
	var out []byte // nil until something has to be changed
	for {
		i := bytes.IndexByte(d.src, d.mask) // the encoded 00
		if i < 0 || i+1 == len(d.src) {
			return nil, errCut
		}
		part, next := d.src[:i], d.src[i+1]^d.mask
		d.src = d.src[i+2:]
		if next == escapeEnd && out == nil && d.mask == 0 {
			return part, nil
		}
		start := len(out)
		out = append(out, part...)
		if d.mask != 0 {
			flip(out[start:])
		}
		switch next {
		case escapeEnd:
			return out, nil
		case escapeZero:
			out = append(out, 0)
		default:
			return nil, errEscape(next)
		}
	}
}

func errEscape(b byte) error {
	return fmt.Errorf("%w: byte 0x00 followed by %#02x", ErrCorrupt, b)
}

func (d *decoder) nested(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, fmt.Errorf("%w: tuples nested deeper than %d", ErrCorrupt, MaxDepth)
	}
	var list []Value
	for {
		if len(d.src) > 0 && d.src[0]^d.mask == codeEnd {
			d.src = d.src[1:]
			return Value{kind: KindNested, list: &list}, nil
		}
		v, err := d.value(depth)
		if err != nil {
			return Value{}, err
		}
		list = append(list, v)
	}
}

// skip takes one value. Of nested tuples it only counts how many are open, so
// it needs no memory, however deep they are.
func (d *decoder) skip() error {
	for open := 0; ; {
		code, err := d.code()
		if err != nil {
			return err
		}
		switch {
		case code == codeEnd && open > 0:
			open--
		case code == codeNested:
			open++
		default:
			if err := d.skipContent(code); err != nil {
				return err
			}
		}
		if open == 0 {
			return nil
		}
	}
}

func (d *decoder) skipContent(code byte) error {
	n := 0
	switch {
	case code == codeNull || code == codeFalse || code == codeTrue:
	case code >= codeZero-8 && code <= codeZero+8:
		n = max(int(code)-codeZero, codeZero-int(code))
	case code == codeFloat:
		n = 8
	case code == codeTime:
		n = 9
	case code == codeUUID:
		n = 16
	case code == codeString || code == codeBytes:
		return d.skipEscaped()
	default:
		return fmt.Errorf("%w: no value has the type byte %#02x", ErrCorrupt, code)
	}
	if len(d.src) < n {
		return errCut
	}
	d.src = d.src[n:]
	return nil
}

func (d *decoder) skipEscaped() error {
	for {
		i := bytes.IndexByte(d.src, d.mask)
		if i < 0 || i+1 == len(d.src) {
			return errCut
		}
		next := d.src[i+1] ^ d.mask
		d.src = d.src[i+2:]
		switch next {
		case escapeEnd:
			return nil
		case escapeZero:
		default:
			return errEscape(next)
		}
	}
}

// Uvarint reads a number that AppendUvarint wrote from the front of src and
// returns it with the bytes that follow. It returns ErrCorrupt if src ends
// within the number or a shorter form would have held it.
func Uvarint(src []byte) (v uint64, rest []byte, err error) {
	if len(src) == 0 {
		return 0, src, fmt.Errorf("%w: it ends before a number", ErrCorrupt)
	}
	extra := bits.LeadingZeros8(^src[0]) // bytes after the first
	if len(src) < 1+extra {
		return 0, src, fmt.Errorf("%w: it ends within a number", ErrCorrupt)
	}
	if extra < 8 {
		v = uint64(src[0] & (0xff >> (extra + 1)))
	}
	for _, b := range src[1 : 1+extra] {
		v = v<<8 | uint64(b)
	}
	if extra > 0 && bits.Len64(v) <= 7*extra {
		return 0, src, fmt.Errorf("%w: number %d takes %d bytes too many", ErrCorrupt, v, extra-max(0, bits.Len64(v)-1)/7)
	}
	return v, src[1+extra:], nil
}
