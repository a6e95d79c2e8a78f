// Package rows makes the rows that all benchmarks of the engine use, each from
// its number alone, so that nothing has to be kept to check what comes back.
//
// A key has 20 bytes, "t1/" group "/" row, with 100 rows to a group; keys
// ascend with their numbers. A value has 100 bytes, of which some half is
// random: Snappy makes 4 KiB of rows about half as large. Between any two keys
// lies one that is missing.
package rows

import (
	"bytes"
	"encoding/binary"
)

const (
	// KeyLen and ValueLen are the sizes of each key and value, in bytes.
	KeyLen   = 20
	ValueLen = 100
	// PerGroup is how many rows share a prefix.
	PerGroup = 100
)

const (
	groupAt, groupLen = 3, 12
	rowAt, rowLen     = 16, 4
)

// Key appends the key of row i to dst.
func Key(dst []byte, i uint64) []byte { return appendKey(dst, i, 0) }

// Missing appends a key between those of rows i and i+1.
func Missing(dst []byte, i uint64) []byte { return appendKey(dst, i, 1) }

func appendKey(dst []byte, i, odd uint64) []byte {
	from := len(dst)
	dst = append(dst, "t1/000000000000/0000"...)
	digits(dst[from+groupAt:from+groupAt+groupLen], i/PerGroup)
	digits(dst[from+rowAt:from+rowAt+rowLen], i%PerGroup*2+odd)
	return dst
}

// Prefix appends the prefix that the rows of group g, and no others, share.
func Prefix(dst []byte, g uint64) []byte { return Key(dst, g*PerGroup)[:len(dst)+rowAt] }

func digits(dst []byte, v uint64) {
	for i := len(dst) - 1; v > 0 && i >= 0; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
}

// Value appends the value of row i to dst.
func Value(dst []byte, i uint64) []byte {
	const random = 48
	for n := range uint64(random / 8) {
		dst = binary.LittleEndian.AppendUint64(dst, mix(i<<8|n))
	}
	return append(dst, "the rest of a value is the same in every row, as much of it is in life"[:ValueLen-random]...)
}

// Check reports whether value is that of row i.
func Check(value []byte, i uint64) bool {
	var want [ValueLen]byte
	return bytes.Equal(value, Value(want[:0], i))
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Shuffle is a fixed random order of the numbers below n.
type Shuffle struct {
	n    uint64
	half uint // bits of each half
}

// NewShuffle returns an order of n numbers, of at most 2^62.
func NewShuffle(n uint64) Shuffle {
	half := uint(1)
	for 1<<(2*half) < n {
		half++
	}
	return Shuffle{n, half}
}

// At returns the number at place i, which is below n: a Feistel network over
// the next power of four, walked until it lands below n.
func (s Shuffle) At(i uint64) uint64 {
	mask := uint64(1)<<s.half - 1
	for {
		left, right := i>>s.half, i&mask
		for round := range uint64(4) {
			left, right = right, left^mix(right^round<<56)&mask
		}
		if i = left<<s.half | right; i < s.n {
			return i
		}
	}
}
