package format

import (
	"bytes"
	"encoding/binary"
	"math"
)

// A data block of SST version 2, before compression:
//
//	┌──────────────────────────────────────────────────┐
//	│ rows, back to back                               │
//	├──────────────────────────────────────────────────┤
//	│ restart[0..r-1] u16   where rows 0, 16, 32 begin │
//	│ r u16                                            │
//	└──────────────────────────────────────────────────┘
//
// A row:
//
//	shared     varint   bytes shared with the previous row's key, 0 at a restart
//	unshared   varint   bytes of key that follow
//	value_len  varint   0 for a tombstone
//	key_suffix          unshared bytes
//	value               value_len bytes
//	seq        u64
//	flags      u8
//	expire_ts  i64      if flag 0x02
//	create_ts  i64      if flag 0x04
//
// A varint is an unsigned LEB128 of at most 32 bits. Flags: 0x01 tombstone,
// 0x02 has expire_ts, 0x04 has create_ts, 0x08 merge operand.
const (
	restartInterval = 16

	flagTombstone = 0x01
	flagExpire    = 0x02
	flagCreate    = 0x04
	flagMerge     = 0x08
	flagsKnown    = 0x0f
)

func rowFlags(r *Row) (flags byte) {
	switch r.Kind {
	case Tombstone:
		flags = flagTombstone
	case Merge:
		flags = flagMerge
	}
	if r.HasExpire {
		flags |= flagExpire
	}
	if r.HasCreate {
		flags |= flagCreate
	}
	return flags
}

func varintLen(v uint32) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}

// rowLen returns the bytes that appendRow will write.
func rowLen(r *Row, shared int) int {
	unshared := len(r.Key) - shared
	n := varintLen(uint32(shared)) + varintLen(uint32(unshared)) + varintLen(uint32(len(r.Value))) +
		unshared + len(r.Value) + 9
	if r.HasExpire {
		n += 8
	}
	if r.HasCreate {
		n += 8
	}
	return n
}

func appendRow(dst []byte, r *Row, shared int) []byte {
	dst = binary.AppendUvarint(dst, uint64(shared))
	dst = binary.AppendUvarint(dst, uint64(len(r.Key)-shared))
	dst = binary.AppendUvarint(dst, uint64(len(r.Value)))
	dst = append(dst, r.Key[shared:]...)
	dst = append(dst, r.Value...)
	dst = binary.BigEndian.AppendUint64(dst, r.Seq)
	dst = append(dst, rowFlags(r))
	if r.HasExpire {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.ExpireTS))
	}
	if r.HasCreate {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.CreateTS))
	}
	return dst
}

func sharedLen(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// BlockBuilder builds one data block of version 2 after the other.
type BlockBuilder struct {
	limit    int
	buf      []byte
	restarts []uint16
	rows     int
	last     []byte // key of the last row
}

// NewBlockBuilder returns a builder of blocks of at most limit bytes before
// compression; only a block of a single row may be larger. limit must be at
// most 65536, so that the offsets of restarts fit.
func NewBlockBuilder(limit int) *BlockBuilder { return &BlockBuilder{limit: limit} }

// Add appends a row, if it still fits, and reports whether it did. The first
// row of a block always fits. The row is copied. Key and value must be within
// the format's limits, and a tombstone must have no value.
func (b *BlockBuilder) Add(r *Row) bool {
	shared, restart := 0, b.rows%restartInterval == 0
	if !restart {
		shared = sharedLen(b.last, r.Key)
	}
	if b.rows > 0 {
		size := b.Len() + rowLen(r, shared)
		if restart {
			size += 2
		}
		if size > b.limit {
			return false
		}
	}
	if restart {
		b.restarts = append(b.restarts, uint16(len(b.buf)))
	}
	b.buf = appendRow(b.buf, r, shared)
	b.last = append(b.last[:0], r.Key...)
	b.rows++
	return true
}

// Rows returns how many rows the block has.
func (b *BlockBuilder) Rows() int { return b.rows }

// Len returns the bytes of the block so far, its trailer included.
func (b *BlockBuilder) Len() int { return len(b.buf) + 2*len(b.restarts) + 2 }

// LastKey returns the key of the last row, valid until the next Add.
func (b *BlockBuilder) LastKey() []byte { return b.last }

// Finish completes the block and returns it, valid until the next Reset.
func (b *BlockBuilder) Finish() []byte {
	for _, r := range b.restarts {
		b.buf = binary.BigEndian.AppendUint16(b.buf, r)
	}
	b.buf = binary.BigEndian.AppendUint16(b.buf, uint16(len(b.restarts)))
	return b.buf
}

// Reset begins the next block.
func (b *BlockBuilder) Reset() {
	b.buf, b.restarts, b.rows, b.last = b.buf[:0], b.restarts[:0], 0, b.last[:0]
}

// Block is a decoded data block. It is immutable and may be shared.
type Block struct {
	rows     []byte
	restarts []uint32
}

// DecodeBlock reads a data block, decompressed and without its checksum, of an
// SST of the given version. A block of version 2 aliases raw; one of version 1
// is rewritten in memory. The rows themselves are checked as they are read.
func DecodeBlock(raw []byte, version uint16) (*Block, error) {
	switch version {
	case SSTVersion1:
		return decodeBlockV1(raw)
	case SSTVersion2:
		return decodeBlockV2(raw)
	}
	return nil, newer("block", version, SSTVersion2)
}

func decodeBlockV2(raw []byte) (*Block, error) {
	if len(raw) < 2 {
		return nil, corrupt(0, "block of %d bytes", len(raw))
	}
	n := int(binary.BigEndian.Uint16(raw[len(raw)-2:]))
	end := len(raw) - 2 - 2*n
	if n == 0 || end <= 0 {
		return nil, corrupt(len(raw)-2, "block of %d bytes with %d restarts", len(raw), n)
	}
	b := &Block{rows: raw[:end:end], restarts: make([]uint32, n)}
	for i := range b.restarts {
		b.restarts[i] = uint32(binary.BigEndian.Uint16(raw[end+2*i:]))
		if i == 0 && b.restarts[0] != 0 || i > 0 && b.restarts[i] <= b.restarts[i-1] || int(b.restarts[i]) >= end {
			return nil, corrupt(end+2*i, "restart %d of the block is at %d", i, b.restarts[i])
		}
	}
	return b, nil
}

// decodeBlockV1 reads a block of SST version 1 and writes its rows as version
// 2 has them:
//
//	rows, back to back | offset[0..n-1] u16, one per row | n u16
//
// A row of version 1; its prefix is shared with the block's first key:
//
//	prefix_len u16 | suffix_len u16 | suffix | seq u64 | flags u8 |
//	[expire_ts i64] | [create_ts i64] | unless a tombstone: value_len u32 | value
func decodeBlockV1(raw []byte) (*Block, error) {
	if len(raw) < 2 {
		return nil, corrupt(0, "block of %d bytes", len(raw))
	}
	n := int(binary.BigEndian.Uint16(raw[len(raw)-2:]))
	end := len(raw) - 2 - 2*n
	if n == 0 || end <= 0 {
		return nil, corrupt(len(raw)-2, "block of %d bytes with %d rows", len(raw), n)
	}
	b := &Block{rows: make([]byte, 0, end)}
	var first, last, key []byte
	pos := 0
	for i := range n {
		if off := int(binary.BigEndian.Uint16(raw[end+2*i:])); off != pos {
			return nil, corrupt(end+2*i, "row %d of the block is at %d, its predecessor ends at %d", i, off, pos)
		}
		var r Row
		next, err := parseRowV1(raw[:end], pos, first, key[:0], &r)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = append(first, r.Key...)
		}
		shared := 0
		if i%restartInterval == 0 {
			b.restarts = append(b.restarts, uint32(len(b.rows)))
		} else {
			shared = sharedLen(last, r.Key)
		}
		b.rows = appendRow(b.rows, &r, shared)
		last = append(last[:0], r.Key...)
		key, pos = r.Key, next
	}
	if pos != end {
		return nil, corrupt(pos, "%d bytes after the last row of the block", end-pos)
	}
	return b, nil
}

// parseRowV1 reads the row at pos, rebuilding its key in key, and returns
// where the next begins.
func parseRowV1(rows []byte, pos int, first, key []byte, r *Row) (int, error) {
	start := pos
	if len(rows)-pos < 4 {
		return 0, rowCut(start)
	}
	prefix, suffix := int(binary.BigEndian.Uint16(rows[pos:])), int(binary.BigEndian.Uint16(rows[pos+2:]))
	pos += 4
	if prefix > len(first) || prefix+suffix > MaxKey || prefix+suffix == 0 {
		return 0, corrupt(start, "key shares %d bytes with one of %d and adds %d", prefix, len(first), suffix)
	}
	if len(rows)-pos < suffix+9 {
		return 0, rowCut(start)
	}
	r.Key = append(append(key, first[:prefix]...), rows[pos:pos+suffix]...)
	pos += suffix
	r.Seq = binary.BigEndian.Uint64(rows[pos:])
	pos, err := parseTail(rows, pos+8, start, r)
	if err != nil {
		return 0, err
	}
	if r.Kind == Tombstone {
		r.HasExpire, r.ExpireTS = false, 0
		return pos, nil
	}
	if len(rows)-pos < 4 {
		return 0, rowCut(start)
	}
	size := int64(binary.BigEndian.Uint32(rows[pos:]))
	pos += 4
	if size > int64(len(rows)-pos) {
		return 0, rowCut(start)
	}
	r.Value = rows[pos : pos+int(size)]
	return pos + int(size), nil
}

// FirstKey returns the key of the first row, which aliases the block.
func (b *Block) FirstKey() ([]byte, error) { return b.restartKey(0) }

// LastKey returns the key of the last row.
func (b *Block) LastKey() ([]byte, error) {
	var it BlockIter
	if err := it.Last(b); err != nil {
		return nil, err
	}
	var r Row
	_, err := it.Prev(&r)
	return r.Key, err
}

// Size returns the bytes that the block holds in memory.
func (b *Block) Size() int { return len(b.rows) + 4*len(b.restarts) + 96 }

func rowCut(start int) error { return corrupt(start, "row reaches beyond the end of its block") }

// uvarint32 reads a varint and returns where it ends, -1 if it is none.
func uvarint32(p []byte, pos int) (uint32, int) {
	if pos < len(p) && p[pos] < 0x80 {
		return uint32(p[pos]), pos + 1
	}
	var v uint64
	for i := 0; i < 5 && pos+i < len(p); i++ {
		c := p[pos+i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > math.MaxUint32 {
				return 0, -1
			}
			return uint32(v), pos + i + 1
		}
	}
	return 0, -1
}

// parseRow reads the row at pos but for its key: shared bytes of the previous
// key, then suffix. It returns where the next row begins. r.Value aliases the
// block.
func (b *Block) parseRow(pos int, r *Row) (shared int, suffix []byte, next int, err error) {
	rows, start := b.rows, pos
	s, pos := uvarint32(rows, pos)
	if pos < 0 {
		return 0, nil, 0, rowCut(start)
	}
	u, pos := uvarint32(rows, pos)
	if pos < 0 {
		return 0, nil, 0, rowCut(start)
	}
	v, pos := uvarint32(rows, pos)
	if pos < 0 || uint64(u)+uint64(v)+9 > uint64(len(rows)-pos) {
		return 0, nil, 0, rowCut(start)
	}
	if uint64(s)+uint64(u) > MaxStoredKey || s+u == 0 {
		return 0, nil, 0, corrupt(start, "key of %d bytes", uint64(s)+uint64(u))
	}
	suffix = rows[pos : pos+int(u)]
	pos += int(u)
	end := pos + int(v)
	r.Value = rows[pos:end:end]
	r.Seq = binary.BigEndian.Uint64(rows[end:])
	next, err = parseTail(rows, end+8, start, r)
	if err != nil {
		return 0, nil, 0, err
	}
	if r.Kind == Tombstone && v != 0 {
		return 0, nil, 0, corrupt(start, "tombstone with a value of %d bytes", v)
	}
	return int(s), suffix, next, nil
}

// parseTail reads flags and times, at pos, of the row that begins at start.
func parseTail(rows []byte, pos, start int, r *Row) (int, error) {
	flags := rows[pos]
	pos++
	switch {
	case flags&^flagsKnown != 0, flags&(flagTombstone|flagMerge) == flagTombstone|flagMerge:
		return 0, corrupt(start, "row with flags %02x", flags)
	case flags&flagTombstone != 0:
		r.Kind = Tombstone
	case flags&flagMerge != 0:
		r.Kind = Merge
	default:
		r.Kind = Value
	}
	r.HasExpire, r.HasCreate, r.ExpireTS, r.CreateTS = false, false, 0, 0
	if flags&flagExpire != 0 {
		if len(rows)-pos < 8 {
			return 0, rowCut(start)
		}
		r.HasExpire, r.ExpireTS = true, int64(binary.BigEndian.Uint64(rows[pos:]))
		pos += 8
	}
	if flags&flagCreate != 0 {
		if len(rows)-pos < 8 {
			return 0, rowCut(start)
		}
		r.HasCreate, r.CreateTS = true, int64(binary.BigEndian.Uint64(rows[pos:]))
		pos += 8
	}
	return pos, nil
}

// restartKey returns the key of the row at restart i, which stores it whole.
func (b *Block) restartKey(i int) ([]byte, error) {
	start := int(b.restarts[i])
	s, pos := uvarint32(b.rows, start)
	if pos < 0 {
		return nil, rowCut(start)
	}
	u, pos := uvarint32(b.rows, pos)
	if pos < 0 {
		return nil, rowCut(start)
	}
	_, pos = uvarint32(b.rows, pos)
	if pos < 0 || uint64(u) > uint64(len(b.rows)-pos) {
		return nil, rowCut(start)
	}
	if s != 0 {
		return nil, corrupt(start, "key at a restart shares %d bytes", s)
	}
	return b.rows[pos : pos+int(u)], nil
}

// searchRestarts returns the last restart whose key is less than key, -1 if
// there is none.
func (b *Block) searchRestarts(key []byte) (int, error) {
	lo, hi := 0, len(b.restarts) // restarts below lo are less, from hi on are not
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		k, err := b.restartKey(mid)
		if err != nil {
			return 0, err
		}
		if bytes.Compare(k, key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1, nil
}

// BlockIter walks over the rows of a block, forward with First, SeekGE and
// Next, or backward with Last, SeekLT and Prev. One way may not be mixed with
// the other without a new First, Last or seek. The zero BlockIter has no rows;
// a BlockIter keeps its buffers from block to block. The rows that it gives
// are valid until its next move; their values alias the block.
type BlockIter struct {
	b    *Block
	pos  int    // forward: where the next row begins
	key  []byte // forward: key of the last row
	held bool   // forward: SeekGE stands on the row in head
	head Row

	// Backward, the rows from one restart to the next are decoded together.
	restart int
	spans   []span
	arena   []byte // their keys
}

// span is a decoded row whose key is arena[from:to].
type span struct {
	from, to int
	row      Row
}

// Block returns the block that the iterator stands in.
func (it *BlockIter) Block() *Block { return it.b }

// First moves before the first row of b.
func (it *BlockIter) First(b *Block) { it.b, it.pos, it.held, it.key = b, 0, false, it.key[:0] }

// SeekGE moves before the first row of b whose key is at least key.
func (it *BlockIter) SeekGE(b *Block, key []byte) error {
	it.First(b)
	i, err := b.searchRestarts(key)
	if err != nil {
		return err
	}
	it.pos = int(b.restarts[max(i, 0)])
	for {
		ok, err := it.Next(&it.head)
		if err != nil || !ok {
			return err
		}
		if bytes.Compare(it.head.Key, key) >= 0 {
			it.held = true
			return nil
		}
	}
}

// Next writes the next row to r and reports whether there was one.
func (it *BlockIter) Next(r *Row) (bool, error) {
	if it.held {
		it.held = false
		*r = it.head
		return true, nil
	}
	if it.b == nil || it.pos >= len(it.b.rows) {
		return false, nil
	}
	shared, suffix, next, err := it.b.parseRow(it.pos, r)
	if err != nil {
		return false, err
	}
	if shared > len(it.key) {
		return false, corrupt(it.pos, "key shares %d bytes with one of %d", shared, len(it.key))
	}
	it.key = append(it.key[:shared], suffix...)
	r.Key = it.key
	it.pos = next
	return true, nil
}

// Last moves behind the last row of b.
func (it *BlockIter) Last(b *Block) error {
	it.b = b
	return it.load(len(b.restarts) - 1)
}

// SeekLT moves behind the last row of b whose key is less than key.
func (it *BlockIter) SeekLT(b *Block, key []byte) error {
	it.b = b
	i, err := b.searchRestarts(key)
	if err != nil {
		return err
	}
	it.restart, it.spans = -1, it.spans[:0]
	if i < 0 {
		return nil
	}
	if err := it.load(i); err != nil {
		return err
	}
	for n := len(it.spans); n > 0; n-- {
		if s := &it.spans[n-1]; bytes.Compare(it.arena[s.from:s.to], key) < 0 {
			break
		}
		it.spans = it.spans[:n-1]
	}
	return nil
}

// load decodes the rows from restart i to the next.
func (it *BlockIter) load(i int) error {
	it.restart, it.spans, it.arena = i, it.spans[:0], it.arena[:0]
	pos, end := int(it.b.restarts[i]), len(it.b.rows)
	if i+1 < len(it.b.restarts) {
		end = int(it.b.restarts[i+1])
	}
	prev := span{}
	for pos < end {
		if len(it.spans) == restartInterval { // else a little block could hold any number of long keys
			return corrupt(pos, "no restart after %d rows", restartInterval)
		}
		s := span{from: len(it.arena)}
		shared, suffix, next, err := it.b.parseRow(pos, &s.row)
		if err != nil {
			return err
		}
		if shared > prev.to-prev.from {
			return corrupt(pos, "key shares %d bytes with one of %d", shared, prev.to-prev.from)
		}
		it.arena = append(it.arena, it.arena[prev.from:prev.from+shared]...)
		it.arena = append(it.arena, suffix...)
		s.to = len(it.arena)
		it.spans = append(it.spans, s)
		prev, pos = s, next
	}
	if pos != end {
		return corrupt(end, "restart %d of the block is within a row", i+1)
	}
	return nil
}

// Prev writes the previous row to r and reports whether there was one.
func (it *BlockIter) Prev(r *Row) (bool, error) {
	if it.b == nil {
		return false, nil
	}
	for len(it.spans) == 0 {
		if it.restart <= 0 {
			return false, nil
		}
		if err := it.load(it.restart - 1); err != nil {
			return false, err
		}
	}
	s := &it.spans[len(it.spans)-1]
	it.spans = it.spans[:len(it.spans)-1]
	*r = s.row
	r.Key = it.arena[s.from:s.to:s.to]
	return true, nil
}

// Find looks for the newest version of key with a seq of at most maxSeq. If
// there is one it is written to dst, whose Key becomes key itself and whose
// Value aliases the block. If there is none in this block, more says whether
// the next block may have it. Find allocates nothing.
//
// Keys are not rebuilt: it is enough to know how many bytes the last row's key
// has in common with key. A row that shares more than those with the last row
// is still less than key, for the same byte decides.
func (b *Block) Find(key []byte, maxSeq uint64, dst *Row) (found, more bool, err error) {
	i, err := b.searchRestarts(key)
	if err != nil {
		return false, false, err
	}
	pos := int(b.restarts[max(i, 0)])
	match, last := 0, 0 // bytes in common with key, and length, of the last row's key
	for pos < len(b.rows) {
		shared, suffix, next, err := b.parseRow(pos, dst)
		if err != nil {
			return false, false, err
		}
		if shared > last {
			return false, false, corrupt(pos, "key shares %d bytes with one of %d", shared, last)
		}
		last, pos = shared+len(suffix), next
		if shared > match {
			continue
		}
		rest := key[shared:]
		n := sharedLen(suffix, rest)
		match = shared + n
		switch {
		case n < len(rest) && (n == len(suffix) || suffix[n] < rest[n]): // less
		case n < len(suffix): // greater
			return false, false, nil
		case dst.Seq <= maxSeq:
			dst.Key = key
			return true, false, nil
		}
	}
	return false, true, nil
}
