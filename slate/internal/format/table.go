package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Index says where the data blocks of an SST lie and which keys each may
// hold. It is immutable, and flat so that a search touches few cache lines and
// allocates nothing.
//
//	SsTableIndex { 0 block_meta: [BlockMeta] }
//	BlockMeta    { 0 offset: u64; 1 first_key: [u8]; 2 encoded_len: u32, only where blocks are padded }
//
// In an SST ordered by key, first_key is not a key but a separator: empty for
// block 0, otherwise above the last key of the block before, or equal to it if
// that key's versions go on in this block, and not above this block's first
// key. In a WAL SST it is the seq of the block's first row, 8 bytes big endian.
type Index struct {
	offsets []uint64 // where block i begins; one more than blocks: where data ends
	ends    []uint32 // separator i ends here in keys, the one before at i-1
	keys    []byte
}

// Len returns the number of blocks.
func (x *Index) Len() int { return len(x.ends) }

// Separator returns the separator before block i.
func (x *Index) Separator(i int) []byte {
	if i == 0 {
		return x.keys[:x.ends[0]]
	}
	return x.keys[x.ends[i-1]:x.ends[i]]
}

// Offset returns where block i begins in the object; Offset(Len()) is where
// the last one ends.
func (x *Index) Offset(i int) uint64 { return x.offsets[i] }

// SeekGE returns the block in which the first row with a key of at least key
// lies, or which ends just before it: the last block whose separator is less
// than key.
func (x *Index) SeekGE(key []byte) int {
	lo, hi := 0, x.Len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if bytes.Compare(x.Separator(mid), key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

// SeekLE returns the last block that may hold a row of key: the last one
// whose separator is at most key.
func (x *Index) SeekLE(key []byte) int {
	lo, hi := 0, x.Len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if bytes.Compare(x.Separator(mid), key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

// Size returns the bytes that the index holds in memory.
func (x *Index) Size() int { return 8*len(x.offsets) + 4*len(x.ends) + len(x.keys) + 96 }

// IndexBuilder collects the blocks of an SST.
type IndexBuilder struct {
	metas []blockMeta
	keys  []byte
}

type blockMeta struct {
	offset   uint64
	from, to int
}

// Add appends a block that begins at offset, with its separator.
func (x *IndexBuilder) Add(offset uint64, separator []byte) {
	from := len(x.keys)
	x.keys = append(x.keys, separator...)
	x.metas = append(x.metas, blockMeta{offset: offset, from: from, to: len(x.keys)})
}

// Reset forgets all blocks and keeps their memory.
func (x *IndexBuilder) Reset() { x.metas, x.keys = x.metas[:0], x.keys[:0] }

// Encode returns the index block, before compression.
func (x *IndexBuilder) Encode() []byte {
	b := newBuilder(64 + len(x.keys) + 32*len(x.metas))
	metas := putAll(b, x.metas, func(b *builder, m *blockMeta) ref {
		key := b.bytes(x.keys[m.from:m.to])
		b.begin()
		b.u64(0, m.offset)
		b.child(1, key)
		return b.end()
	})
	b.begin()
	b.child(0, metas)
	return b.finish(b.end())
}

// DecodeIndex reads an index block, decompressed and without its checksum, of
// an SST whose data ends at dataEnd. The result does not alias raw. Errors
// match ErrCorrupt, as *DecodeError, or ErrNewer.
func DecodeIndex(raw []byte, dataEnd uint64) (*Index, error) {
	fb := newFlatbuf(raw, 0)
	metas := fb.root().needVector(0, 4, "block_meta")
	x := &Index{
		offsets: make([]uint64, 0, metas.n+1),
		ends:    make([]uint32, 0, metas.n),
	}
	for i := range metas.n {
		m := metas.table(i)
		offset := m.u64(0)
		key, ok := m.bytes(1)
		switch {
		case fb.err != nil:
			return nil, fb.err
		case !ok:
			return nil, corrupt(m.pos, "separator of block %d is missing", i)
		case offset >= dataEnd || i == 0 && offset != 0 || i > 0 && offset <= x.offsets[i-1]:
			return nil, corrupt(m.pos, "block %d begins at %d, data ends at %d", i, offset, dataEnd)
		case i > 0 && bytes.Compare(key, x.Separator(i-1)) < 0:
			return nil, corrupt(m.pos, "separator of block %d is less than the one before", i)
		case m.u32(2) != 0:
			return nil, fmt.Errorf("index of padded blocks, which SlateDB writes from 0.18 on if asked to: %w", ErrNewer)
		case len(key) > MaxStoredKey:
			return nil, corrupt(m.pos, "separator of block %d has %d bytes", i, len(key))
		case uint64(len(x.keys))+uint64(len(key)) > math.MaxUint32:
			return nil, corrupt(m.pos, "separators of more than 4 GiB")
		}
		x.offsets = append(x.offsets, offset)
		x.keys = append(x.keys, key...)
		x.ends = append(x.ends, uint32(len(x.keys)))
	}
	if fb.err != nil {
		return nil, fb.err
	}
	if metas.n == 0 && dataEnd != 0 {
		return nil, corrupt(0, "index without blocks for %d bytes of data", dataEnd)
	}
	x.offsets = append(x.offsets, dataEnd)
	return x, nil
}

// Separator returns the shortest prefix of key that is above prev, the key
// before it; key itself if they are equal. key must not be less than prev. The
// result aliases key.
func Separator(prev, key []byte) []byte {
	n := sharedLen(prev, key)
	return key[:min(n+1, len(key))]
}

// Stats counts the rows of an SST.
//
//	SstStats   { 0 num_puts u64; 1 num_deletes; 2 num_merges; 3 raw_key_size; 4 raw_val_size; 5 [BlockStats] }
//	BlockStats { 0 num_puts u16; 1 num_deletes; 2 num_merges }
type Stats struct {
	Puts, Deletes, Merges    uint64
	RawKeySize, RawValueSize uint64 // sums of the whole keys' and values' lengths
	Blocks                   []BlockStats
}

// BlockStats counts the rows of one block. A count beyond 65535 stays there.
type BlockStats struct {
	Puts, Deletes, Merges uint16
}

// Count adds a row to the totals and to block b's counts.
func (s *Stats) Count(b *BlockStats, r *Row) {
	total, part := &s.Puts, &b.Puts
	switch r.Kind {
	case Tombstone:
		total, part = &s.Deletes, &b.Deletes
	case Merge:
		total, part = &s.Merges, &b.Merges
	}
	*total++
	if *part < math.MaxUint16 {
		*part++
	}
	s.RawKeySize += uint64(len(r.Key))
	s.RawValueSize += uint64(len(r.Value))
}

// EncodeStats returns the stats block, before compression.
func EncodeStats(s *Stats) []byte {
	b := newBuilder(128 + 24*len(s.Blocks))
	var blocks ref
	if len(s.Blocks) > 0 {
		blocks = putAll(b, s.Blocks, func(b *builder, s *BlockStats) ref {
			b.begin()
			b.u16(2, s.Merges)
			b.u16(1, s.Deletes)
			b.u16(0, s.Puts)
			return b.end()
		})
	}
	b.begin()
	b.u64(4, s.RawValueSize)
	b.u64(3, s.RawKeySize)
	b.u64(2, s.Merges)
	b.u64(1, s.Deletes)
	b.u64(0, s.Puts)
	b.child(5, blocks)
	return b.finish(b.end())
}

// DecodeStats reads a stats block, decompressed and without its checksum.
func DecodeStats(raw []byte) (*Stats, error) {
	fb := newFlatbuf(raw, 0)
	t := fb.root()
	s := &Stats{Puts: t.u64(0), Deletes: t.u64(1), Merges: t.u64(2), RawKeySize: t.u64(3), RawValueSize: t.u64(4)}
	v, _ := t.vector(5, 4)
	for i := 0; i < v.n && fb.err == nil; i++ {
		e := v.table(i)
		s.Blocks = append(s.Blocks, BlockStats{Puts: e.u16(0, 0), Deletes: e.u16(1, 0), Merges: e.u16(2, 0)})
	}
	if fb.err != nil {
		return nil, fb.err
	}
	return s, nil
}

// putInfo writes an SSTInfo:
//
//	SsTableInfo { 0 first_entry [u8]; 1 index_offset u64; 2 index_len u64; 3 filter_offset u64;
//	  4 filter_len u64; 5 compression_format i8; 6 sst_type i8; 7 last_entry [u8];
//	  8 stats_offset u64; 9 stats_len u64; 10 filter_format i8 }
func putInfo(b *builder, i *SSTInfo) ref {
	var first, last ref
	if len(i.FirstKey) > 0 {
		first = b.bytes(i.FirstKey)
	}
	if i.HasLast {
		last = b.bytes(i.LastKey)
	}
	b.begin()
	b.u64(9, i.StatsLen)
	b.u64(8, i.StatsOffset)
	b.u64(4, i.FilterLen)
	b.u64(3, i.FilterOffset)
	b.u64(2, i.IndexLen)
	b.u64(1, i.IndexOffset)
	b.child(7, last)
	b.child(0, first)
	b.u8(10, i.FilterFormat)
	b.u8(6, uint8(i.Type))
	b.u8(5, uint8(i.Codec))
	return b.end()
}

// EncodeInfo returns the info of an SST without its checksum.
func EncodeInfo(i *SSTInfo) []byte {
	b := newBuilder(256)
	return b.finish(putInfo(b, i))
}

// DecodeInfo reads the info of an SST without its checksum. The result does
// not alias raw.
func DecodeInfo(raw []byte) (SSTInfo, error) {
	fb := newFlatbuf(raw, 0)
	i := readInfo(fb.root())
	return i, fb.err
}

// readInfo reads an SSTInfo and checks that it does not contradict itself.
func readInfo(t table) SSTInfo {
	i := SSTInfo{
		FirstKey:    t.copied(0),
		LastKey:     t.copied(7),
		IndexOffset: t.u64(1), IndexLen: t.u64(2),
		FilterOffset: t.u64(3), FilterLen: t.u64(4),
		StatsOffset: t.u64(8), StatsLen: t.u64(9),
		Codec: Codec(t.u8(5)), Type: SSTType(t.u8(6)), FilterFormat: t.u8(10),
	}
	i.HasLast = i.LastKey != nil
	if fault := i.check(); fault != "" {
		t.b.fault(t.pos, "SST info: %s", fault)
	}
	return i
}

// maxOffset bounds the offsets and lengths in an info, so that they can be
// added without care.
const maxOffset = 1 << 62

// check returns what the info contradicts, empty if nothing.
func (i *SSTInfo) check() string {
	switch {
	case i.Codec > Zstd:
		return "unknown codec"
	case i.Type > WAL:
		return "unknown type of SST"
	case i.FilterFormat > FilterComposite:
		return "unknown filter format"
	case max(i.FilterOffset, i.FilterLen, i.IndexOffset, i.IndexLen, i.StatsOffset, i.StatsLen) > maxOffset:
		return "offset out of range"
	case i.IndexLen <= checksumLen:
		return "no index"
	case i.FilterOffset+i.FilterLen > i.IndexOffset:
		return "filter reaches into the index"
	case i.StatsLen > 0 && i.StatsOffset < i.IndexOffset+i.IndexLen:
		return "statistics lie before the end of the index"
	case len(i.FirstKey) > MaxStoredKey || len(i.LastKey) > MaxStoredKey:
		return "key too long"
	case i.HasLast && bytes.Compare(i.FirstKey, i.LastKey) > 0:
		return "last key is less than the first"
	case i.HasLast && len(i.FirstKey) == 0:
		return "last key without a first"
	case i.Type == WAL && len(i.FirstKey) != 0 && len(i.FirstKey) != 8:
		return "first entry of a WAL SST is not a seq"
	case (len(i.FirstKey) == 0) != (i.FilterOffset == 0):
		return "rows without a first key, or a first key without rows"
	}
	return ""
}

// FooterLen is the number of bytes at the end of an SST that say where its
// info lies.
const FooterLen = 10

// AppendFooter appends the footer of an SST of version 2 whose info begins at
// metaOffset.
func AppendFooter(dst []byte, metaOffset uint64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, metaOffset)
	return binary.BigEndian.AppendUint16(dst, SSTVersion2)
}

// DecodeFooter reads the last FooterLen bytes of an SST object of size bytes.
// It returns where the info begins, which ends where the footer begins, and the
// format version. An object that was cut short ends in bytes that are no
// footer: they are told from a newer version by an offset that cannot be.
func DecodeFooter(footer []byte, size int64) (metaOffset int64, version uint16, err error) {
	if len(footer) != FooterLen || size < FooterLen {
		return 0, 0, corrupt(0, "object of %d bytes is too short for an SST", size)
	}
	version = binary.BigEndian.Uint16(footer[8:])
	off := binary.BigEndian.Uint64(footer)
	if off >= uint64(max(0, size-FooterLen-checksumLen)) {
		return 0, 0, corrupt(int(size)-FooterLen, "no SST ends here: version %d, info at %d of %d bytes; the object may be cut short", version, off, size)
	}
	if err := checkVersion("SST", version, SSTVersion2, int(size)-2); err != nil {
		return 0, 0, err
	}
	return int64(off), version, nil
}

// checkVersion tells versions that never were from those of newer programs.
func checkVersion(what string, version, known uint16, offset int) error {
	switch {
	case version == 0:
		return corrupt(offset, "%s of format version 0", what)
	case version > known:
		return newer(what, version, known)
	}
	return nil
}
