package format

import (
	"bytes"
	"encoding/hex"

	"github.com/oklog/ulid/v2"
)

// ULID names SSTs, compactions and views: 48 bits of milliseconds and 80
// random bits, written as 26 characters of Crockford's base 32.
type ULID = ulid.ULID

// UUID names checkpoints.
type UUID [16]byte

// String returns the usual form, 8-4-4-4-12 hexadecimal digits.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MaxKey is the longest key, in bytes, that every SlateDB takes, and that is
// written for a caller; the shortest is one byte.
const MaxKey = 1<<16 - 1

// MaxStoredKey is the longest key, in bytes, that is read, and written again by
// flushes and compactions: from 0.17 on SlateDB takes keys beyond MaxKey.
const MaxStoredKey = 1 << 24

// MaxValue is the longest value, in bytes, that the format can hold.
const MaxValue = 1<<32 - 1

// MaxRowValue is the longest value, in bytes, that this package writes: a block
// that holds it stays within MaxRaw.
const MaxRowValue = MaxRaw - 1<<17

// Versions of the file formats that this package reads. It writes the one
// form that every SlateDB from 0.12 on reads: SST 2, manifest 1, compactions 1.
const (
	SSTVersion1         uint16 = 1
	SSTVersion2         uint16 = 2
	ManifestVersion1    uint16 = 1
	ManifestVersion2    uint16 = 2
	CompactionsVersion1 uint16 = 1
	CompactionsVersion2 uint16 = 2
)

// SSTType tells what the rows of an SST are ordered by.
type SSTType uint8

const (
	Compacted SSTType = 0 // by key ascending, then seq descending: L0 and sorted runs
	WAL       SSTType = 1 // by arrival: objects of the write-ahead log
)

// Filter formats, as SSTInfo.FilterFormat holds them.
const (
	FilterLegacy    uint8 = 0 // the block is one bare Bloom filter
	FilterComposite uint8 = 1 // the block is a list of named filters
)

// SSTInfo says where the parts of an SST lie in its object and which keys it
// holds. Offsets count from the start of the object; lengths include the four
// bytes of checksum. A length of zero means that there is no such part.
type SSTInfo struct {
	// FirstKey and LastKey are the first and last key. In a WAL SST FirstKey is
	// the seq of the first row (8 bytes, big endian) and there is no last key.
	// Very old SSTs have no last key either: HasLast is false, and the SST may
	// hold any key from FirstKey on.
	FirstKey, LastKey []byte
	HasLast           bool

	IndexOffset, IndexLen   uint64
	FilterOffset, FilterLen uint64
	StatsOffset, StatsLen   uint64

	Codec        Codec
	Type         SSTType
	FilterFormat uint8
}

// Size returns the bytes of data and index, by which SlateDB's compaction
// scheduler weighs an SST.
func (i *SSTInfo) Size() uint64 { return i.IndexOffset + i.IndexLen }

// SST is a manifest's record of an SST: what a reader needs to open it
// without reading its footer.
type SST struct {
	ID     ULID // names the object
	ViewID ULID // names this use of it; equal to ID in manifests of version 1
	Info   SSTInfo
	// Visible, if not nil, bounds the keys that exist for readers and
	// compactions; rows outside it are not there.
	Visible *KeyRange
	// Version is the SST's format version, 1 or 2.
	Version uint16
}

// Range returns the keys that the SST may hold and show: those between its
// first and last key, cut by Visible.
func (s *SST) Range() KeyRange {
	r := KeyRange{Start: Bound{Kind: Included, Key: s.Info.FirstKey}}
	if s.Info.HasLast {
		r.End = Bound{Kind: Included, Key: s.Info.LastKey}
	}
	if s.Visible != nil {
		r = r.Intersect(*s.Visible)
	}
	return r
}

// BoundKind tells how a Bound limits a range.
type BoundKind uint8

const (
	Unbounded BoundKind = iota // no limit; Key is empty
	Included                   // up to Key and with it
	Excluded                   // up to Key but without it
)

// Bound is one end of a KeyRange. Its zero value is unbounded.
type Bound struct {
	Kind BoundKind
	Key  []byte
}

// KeyRange is a range of keys. Its zero value holds every key.
type KeyRange struct {
	Start, End Bound
}

// Contains reports whether key lies in the range.
func (r KeyRange) Contains(key []byte) bool {
	switch c := bytes.Compare(key, r.Start.Key); {
	case r.Start.Kind == Included && c < 0, r.Start.Kind == Excluded && c <= 0:
		return false
	}
	switch c := bytes.Compare(key, r.End.Key); {
	case r.End.Kind == Included && c > 0, r.End.Kind == Excluded && c >= 0:
		return false
	}
	return true
}

// EndsBefore reports whether all keys of the range are less than key.
func (r KeyRange) EndsBefore(key []byte) bool {
	c := bytes.Compare(r.End.Key, key)
	return r.End.Kind != Unbounded && (c < 0 || c == 0 && r.End.Kind == Excluded)
}

// Empty reports whether the bounds leave no room for any key. A range such as
// everything between two adjacent keys counts as not empty.
func (r KeyRange) Empty() bool {
	if r.Start.Kind == Unbounded || r.End.Kind == Unbounded {
		return r.End.Kind == Excluded && len(r.End.Key) == 0
	}
	c := bytes.Compare(r.Start.Key, r.End.Key)
	return c > 0 || c == 0 && (r.Start.Kind == Excluded || r.End.Kind == Excluded)
}

// Intersect returns the keys that lie in both ranges. It shares the bounds'
// bytes with them.
func (r KeyRange) Intersect(o KeyRange) KeyRange {
	if tighter(o.Start, r.Start, 1) {
		r.Start = o.Start
	}
	if tighter(o.End, r.End, -1) {
		r.End = o.End
	}
	return r
}

// tighter reports whether a cuts more than b off the end they both limit;
// sign is 1 for lower ends and -1 for upper ends.
func tighter(a, b Bound, sign int) bool {
	if a.Kind == Unbounded || b.Kind == Unbounded {
		return a.Kind != Unbounded
	}
	c := bytes.Compare(a.Key, b.Key) * sign
	return c > 0 || c == 0 && a.Kind == Excluded
}
