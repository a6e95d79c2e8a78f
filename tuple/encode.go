package tuple

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// The type bytes, as drawn in the package's comment. They are on disk and never
// change.
const (
	codeEnd    = 0x00 // ends a nested tuple; no value's type byte
	codeNull   = 0x01
	codeFalse  = 0x02
	codeTrue   = 0x03
	codeZero   = 0x14 // -n and +n: negative and positive integers of n bytes
	codeFloat  = 0x20
	codeString = 0x24
	codeBytes  = 0x28
	codeTime   = 0x2c
	codeUUID   = 0x30
	codeNested = 0x34
)

// Inside a string or bytes, 00 is followed by one of these.
const (
	escapeZero = 0xff // the byte 00 itself
	escapeEnd  = 0x01 // the end
)

// Append appends the encoding of v to dst, descending if desc is set. It does
// not allocate where dst has room. It returns ErrInvalid, and dst as it was,
// for a string that is not UTF-8, a time outside the years 1 to 9999 and
// tuples nested deeper than MaxDepth.
func Append(dst []byte, v Value, desc bool) ([]byte, error) {
	start := len(dst)
	out, err := appendAscending(dst, v, 0)
	if err != nil {
		return dst[:start], err
	}
	if desc {
		flip(out[start:])
	}
	return out, nil
}

func appendAscending(dst []byte, v Value, depth int) ([]byte, error) {
	switch v.kind {
	case KindNull:
		return append(dst, codeNull), nil
	case KindBool:
		return append(dst, codeFalse+byte(v.a)), nil
	case KindInt:
		return appendInt(dst, v), nil
	case KindFloat:
		return binary.BigEndian.AppendUint64(append(dst, codeFloat), orderedFloat(v.a)), nil
	case KindString:
		if !utf8.ValidString(v.s) {
			return dst, fmt.Errorf("%w: string %.40q is not UTF-8", ErrInvalid, v.s)
		}
		return append(appendEscaped(append(dst, codeString), v.s), 0, escapeEnd), nil
	case KindBytes:
		return append(appendEscaped(append(dst, codeBytes), v.s), 0, escapeEnd), nil
	case KindTime:
		if v.a > maxSeconds {
			return dst, fmt.Errorf("%w: time %v is outside the years 1 to 9999", ErrInvalid, v)
		}
		dst = append(dst, codeTime, byte(v.a>>32))
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.a))
		return binary.BigEndian.AppendUint32(dst, uint32(v.b)), nil
	case KindUUID:
		dst = binary.BigEndian.AppendUint64(append(dst, codeUUID), v.a)
		return binary.BigEndian.AppendUint64(dst, v.b), nil
	default:
		return appendNested(dst, *v.list, depth+1)
	}
}

func appendInt(dst []byte, v Value) []byte {
	if v.b != 0 { // -1 is the complement of the magnitude 1 in one byte: fe
		magnitude := -v.a
		n := byteLen(magnitude)
		return appendLow(append(dst, byte(codeZero-n)), ^magnitude, n)
	}
	n := byteLen(v.a)
	return appendLow(append(dst, byte(codeZero+n)), v.a, n)
}

func appendNested(dst []byte, list []Value, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return dst, fmt.Errorf("%w: tuples nested deeper than %d", ErrInvalid, MaxDepth)
	}
	dst = append(dst, codeNested)
	for _, v := range list {
		var err error
		if dst, err = appendAscending(dst, v, depth); err != nil {
			return dst, err
		}
	}
	return append(dst, codeEnd), nil
}

// AppendStringPrefix appends what the encodings of all strings that begin with
// s have in common and no other value's has: the range from it to its
// [PrefixEnd] holds exactly those strings.
func AppendStringPrefix(dst []byte, s string, desc bool) []byte {
	return appendPrefix(dst, codeString, s, desc)
}

// AppendBytesPrefix is AppendStringPrefix for bytes.
func AppendBytesPrefix(dst, b []byte, desc bool) []byte {
	return appendPrefix(dst, codeBytes, string(b), desc)
}

func appendPrefix(dst []byte, code byte, s string, desc bool) []byte {
	start := len(dst)
	dst = appendEscaped(append(dst, code), s)
	if desc {
		flip(dst[start:])
	}
	return dst
}

// appendEscaped appends s with each 00 followed by escapeZero.
func appendEscaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:i]...), 0, escapeZero)
		s = s[i+1:]
	}
}

// AppendUvarint appends v in one to nine bytes that sort as the numbers do; the
// package's comment shows the form.
func AppendUvarint(dst []byte, v uint64) []byte {
	extra := max(0, bits.Len64(v)-1) / 7 // bytes after the first
	if extra >= 8 {
		return binary.BigEndian.AppendUint64(append(dst, 0xff), v)
	}
	marker := ^byte(0xff >> extra)
	return appendLow(append(dst, marker|byte(v>>(8*extra))), v, extra)
}

// PrefixEnd returns the smallest key above every key that begins with p, or nil
// if there is none, which as the upper bound of a range is no bound.
func PrefixEnd(p []byte) []byte {
	for n := len(p); n > 0; n-- {
		if p[n-1] != 0xff {
			end := append(make([]byte, 0, n), p[:n]...)
			end[n-1]++
			return end
		}
	}
	return nil
}

// flip turns an ascending encoding into a descending one.
func flip(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// byteLen returns how many bytes v needs, none for 0.
func byteLen(v uint64) int { return (bits.Len64(v) + 7) / 8 }

// appendLow appends the n low bytes of v, big-endian.
func appendLow(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func putBE64(b []byte, v uint64) { binary.BigEndian.PutUint64(b, v) }
