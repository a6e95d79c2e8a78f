package format

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Bloom is a Bloom filter over the keys of an SST. It is immutable; a nil
// Bloom may contain every key.
//
//	┌────────────┬──────────────────────────────────────────┐
//	│ probes u16 │ bits: bit i is byte i/8, mask 1<<(i mod 8)│
//	└────────────┴──────────────────────────────────────────┘
//
// With m bits and the 64-bit hash of a key, its probes are
//
//	h = low 32 bits mod m;  d = high 32 bits mod m
//	for i = 0, 1, ...: d = (d+i) mod m; probe h; h = (h+d) mod m
type Bloom struct {
	probes uint16
	bits   []byte
}

// AnyKey is a filter that may contain every key, for where nil will not do.
var AnyKey = &Bloom{bits: []byte{0}}

// BloomHash returns the hash of a key by which Bloom filters are probed:
// SipHash-1-3 with a key of zeros.
func BloomHash(key []byte) uint64 {
	var v0, v1, v2, v3 uint64 = 0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573
	tail := uint64(len(key)) << 56
	for ; len(key) >= 8; key = key[8:] {
		m := binary.LittleEndian.Uint64(key)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	for i, c := range key {
		tail |= uint64(c) << (8 * i)
	}
	v3 ^= tail
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= tail
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// BuildBloom returns a filter over the keys of the given hashes, one per row,
// equal ones included. It returns nil if the filter would be empty or larger
// than the format's 2^32 bits.
func BuildBloom(hashes []uint64, bitsPerKey int) *Bloom {
	size := uint64(len(hashes)) * uint64(max(bitsPerKey, 0))
	if size == 0 || size > math.MaxUint32 {
		return nil
	}
	f := &Bloom{probes: uint16(float32(bitsPerKey) * 0.69), bits: make([]byte, (size+7)/8)}
	m := uint64(len(f.bits)) * 8
	for _, hash := range hashes {
		h, d := (hash&math.MaxUint32)%m, (hash>>32)%m
		for i := range uint64(f.probes) {
			d = (d + i) % m
			f.bits[h/8] |= 1 << (h % 8)
			h = (h + d) % m
		}
	}
	return f
}

// MayContain reports whether the SST may hold the key; false is certain.
func (f *Bloom) MayContain(key []byte) bool {
	return f == nil || f.MayContainHash(BloomHash(key))
}

// MayContainHash is MayContain for the key with this BloomHash.
func (f *Bloom) MayContainHash(hash uint64) bool {
	if f == nil {
		return true
	}
	m := uint64(len(f.bits)) * 8
	if m == 0 {
		return false
	}
	h, d := (hash&math.MaxUint32)%m, (hash>>32)%m
	for i := range uint64(f.probes) {
		d = (d + i) % m
		if f.bits[h/8]&(1<<(h%8)) == 0 {
			return false
		}
		h = (h + d) % m
	}
	return true
}

// Witnesses are the hashes of the 16 strings by which a filter announces that
// it holds prefixes too.
type Witnesses [16]uint64

// PrefixWitnesses returns the witnesses of the prefixes that the extractor with
// this name and version takes from keys. Witness i is the BloomHash of
//
//	"stele.prefix" 0x00 | name | 0x00 | version u32 BE | i u8
//
// A filter that was made without them holds all 16 by chance only: with the
// default of 10 bits a key, one filter in 2^96 at most.
func PrefixWitnesses(name string, version uint32) (w Witnesses) {
	b := append([]byte("stele.prefix\x00"), name...)
	b = binary.BigEndian.AppendUint32(append(b, 0), version)
	for i := range w {
		w[i] = BloomHash(append(b, byte(i)))
	}
	return w
}

// minWitnessProbes is how many probes a filter needs for its witnesses to be
// believed: fewer would find them by chance.
const minWitnessProbes = 4

// Announces reports whether the filter holds all witnesses, so that it may be
// asked for prefixes.
func (f *Bloom) Announces(w *Witnesses) bool {
	if f == nil || f.probes < minWitnessProbes {
		return false
	}
	for _, hash := range w {
		if !f.MayContainHash(hash) {
			return false
		}
	}
	return true
}

// Size returns the bytes that the filter holds in memory.
func (f *Bloom) Size() int {
	if f == nil {
		return 0
	}
	return len(f.bits) + 48
}

// Append appends the filter, as a legacy filter block holds it, to dst.
func (f *Bloom) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, f.probes)
	return append(dst, f.bits...)
}

// wholeKeyFilter is the name of a Bloom filter over whole keys in a composite
// filter block.
const wholeKeyFilter = "_bf"

// DecodeFilter reads a filter block of the given format. It returns nil, which
// may contain every key, if the block has no filter over whole keys that this
// package knows. The filter aliases raw.
//
// A composite block is a list of named filters, of which the others are passed
// over:
//
//	┌───────────┬─────────────────────────────────────────────┐
//	│ count u16 │ name_len u16 │ name │ data_len u64 │ data │ …│
//	└───────────┴─────────────────────────────────────────────┘
func DecodeFilter(raw []byte, filterFormat uint8) (*Bloom, error) {
	switch filterFormat {
	case FilterLegacy:
		return decodeBloom(raw, 0)
	case FilterComposite:
		return decodeComposite(raw)
	}
	return nil, corrupt(0, "unknown filter format %d", filterFormat)
}

func decodeBloom(raw []byte, base int) (*Bloom, error) {
	if len(raw) < 2 {
		return nil, corrupt(base, "filter of %d bytes", len(raw))
	}
	if uint64(len(raw)-2)*8 > math.MaxUint32+8 {
		return nil, corrupt(base, "filter of more than 2^32 bits")
	}
	return &Bloom{probes: binary.BigEndian.Uint16(raw), bits: raw[2:]}, nil
}

func decodeComposite(raw []byte) (*Bloom, error) {
	if len(raw) < 2 {
		return nil, corrupt(0, "composite filter of %d bytes", len(raw))
	}
	var found *Bloom
	pos := 2
	for range binary.BigEndian.Uint16(raw) {
		if len(raw)-pos < 2 {
			return nil, corrupt(pos, "composite filter ends within a name")
		}
		n := int(binary.BigEndian.Uint16(raw[pos:]))
		if len(raw)-pos-2 < n+8 {
			return nil, corrupt(pos, "composite filter ends within a name of %d bytes", n)
		}
		name := raw[pos+2 : pos+2+n]
		pos += 2 + n
		size := binary.BigEndian.Uint64(raw[pos:])
		pos += 8
		if size > uint64(len(raw)-pos) {
			return nil, corrupt(pos-8, "filter of %d bytes reaches beyond its block", size)
		}
		if string(name) == wholeKeyFilter && found == nil {
			f, err := decodeBloom(raw[pos:pos+int(size)], pos)
			if err != nil {
				return nil, err
			}
			found = f
		}
		pos += int(size)
	}
	if pos != len(raw) {
		return nil, corrupt(pos, "%d bytes after the last filter", len(raw)-pos)
	}
	return found, nil
}
