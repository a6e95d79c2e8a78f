// Package tuple encodes values as bytes that sort as the values do. A tuple is
// a list of values; its encoding is the encodings of its parts, one after the
// other, so that comparing two keys bytewise compares the tuples part by part.
//
// Every part's encoding
//
//   - sorts as the values do: bytes.Compare of two encodings is [Compare] of
//     the values, or its opposite if the part is descending;
//   - delimits itself: no value's encoding is the beginning of another's,
//     whatever follows it, so a key may mix ascending and descending parts;
//   - is exact: a value has one encoding and comes back from it unchanged, and
//     bytes that are not the encoding of a value are refused, never a panic.
//
// # The order
//
//	null < false < true < integers < floats < strings < bytes < times < UUIDs < nested tuples
//
// Integers are compared by value, not by width or signedness: Int(-1) is less
// than Int(0), which equals Uint(0), which is less than Uint(math.MaxUint64).
// Enums are integers. Integers and floats are two kinds that never compare
// equal: a key's part holds one of the two.
//
// Floats are ordered by value from -Inf to +Inf, with -0 before 0 and NaN after
// all others. There is one NaN: its payload is not kept. Because -0 and 0 are
// two places in the order but one number, a condition on a float part compares
// with the two ends that [EqualRange] gives.
//
// Strings are UTF-8, compared bytewise, which is by code point; invalid UTF-8
// is refused. Bytes are any bytes. Times are instants in the years 1 to 9999
// UTC, exact to the nanosecond; the zone is not kept. A nested tuple is ordered
// part by part, and before every tuple that it begins.
//
// # The bytes
//
// An ascending part is one byte of type followed by its content. Integers are
// big-endian.
//
//	null       01
//	false      02
//	true       03
//	int < 0    14-n, then n bytes: the complement of the magnitude (n = 1..8, none wasted)
//	int = 0    14
//	int > 0    14+n, then n bytes: the magnitude                   (n = 1..8, none wasted)
//	float      20, then 8 bytes: IEEE 754; the sign bit flipped if it was clear, all bits if set
//	string     24, then the bytes with 00 written as 00 ff, then 00 01
//	bytes      28, then the bytes with 00 written as 00 ff, then 00 01
//	time       2c, then 5 bytes: seconds since 0001-01-01T00:00:00Z, then 4 bytes: nanoseconds
//	uuid       30, then 16 bytes
//	nested     34, then the parts, ascending, then 00
//
// In that table n is added to and taken from the hexadecimal number 14: the
// types of integers are 0c (negative, 8 bytes) to 1c (positive, 8 bytes).
//
// A descending part is its ascending encoding with every bit flipped, the type
// byte included. Null comes first ascending and last descending.
//
// Worked examples:
//
//	Int(-1)                       13 fe
//	Int(0)                        14
//	Int(300)                      16 01 2c
//	Uint(18446744073709551615)    1c ff ff ff ff ff ff ff ff
//	Float(1.5)                    20 bf f8 00 00 00 00 00 00
//	String("a\x00b")              24 61 00 ff 62 00 01
//	String("a") descending        db 9e ff fe
//	Nested(Null(), Int(1))        34 01 15 01 00
//
// Other values of the type byte are reserved. The format never changes: keys
// written once must be found for ever.
//
// # Ordered varints
//
// [AppendUvarint] writes an unsigned number in one to nine bytes that sort as
// the numbers do and delimit themselves. The leading one-bits of the first byte
// count the bytes that follow it; the other bits hold the number, big-endian,
// in the shortest form that holds it:
//
//	0xxxxxxx                 1 byte,  up to 2^7-1
//	10xxxxxx xxxxxxxx        2 bytes, up to 2^14-1
//	110xxxxx ...             3 bytes, up to 2^21-1
//	1110xxxx ...             4 bytes, up to 2^28-1
//	11110xxx ...             5 bytes, up to 2^35-1
//	111110xx ...             6 bytes, up to 2^42-1
//	1111110x ...             7 bytes, up to 2^49-1
//	11111110 ...             8 bytes, up to 2^56-1
//	11111111 ...             9 bytes, up to 2^64-1
//
// The package is pure computation: nothing waits, and every function may be
// called concurrently.
package tuple
