package format

import (
	"encoding/binary"
	"fmt"
)

// A FlatBuffer is read here without trust: the run time library panics where
// an offset leads astray. Every access is checked, the first fault is kept,
// and after it every read gives zero values, so that a decoder reads straight
// on and asks once at the end.
//
//	buffer:  root offset u32 | ...
//	table:   soffset i32 to its vtable (subtracted) | fields
//	vtable:  size u16 | table size u16 | slot 0 u16 | slot 1 u16 | ...
//	         a slot is the field's offset in the table, 0 if absent
//	vector:  length u32 | elements
//
// An offset may lead anywhere, so that a small buffer could describe an
// endless tree by sharing its nodes. Honest writers share none: what is
// visited is therefore counted, and may not exceed twice the buffer.
type flatbuf struct {
	buf  []byte
	base int   // where buf begins in the file, for the offsets in errors
	left int   // bytes that may yet be visited
	err  error // the first fault
}

func newFlatbuf(buf []byte, base int) *flatbuf {
	return &flatbuf{buf: buf, base: base, left: 2*len(buf) + 64}
}

// fault keeps the first error.
func (b *flatbuf) fault(pos int, reason string, args ...any) {
	if b.err == nil {
		b.err = &DecodeError{Offset: int64(b.base + pos), Reason: fmt.Sprintf(reason, args...)}
	}
}

// spend counts n visited bytes and reports whether the walk may go on.
func (b *flatbuf) spend(pos, n int) bool {
	if b.err != nil {
		return false
	}
	if n > b.left {
		b.fault(pos, "parts of the buffer are used more than once")
		return false
	}
	b.left -= n
	return true
}

// fits reports whether n bytes at pos lie in the buffer.
func (b *flatbuf) fits(pos, n int) bool {
	if b.err != nil {
		return false
	}
	if pos < 0 || n < 0 || pos > len(b.buf) || n > len(b.buf)-pos {
		b.fault(min(max(pos, 0), len(b.buf)), "%d bytes reach beyond the end of the buffer", n)
		return false
	}
	return true
}

// follow returns where the u32 offset at pos leads.
func (b *flatbuf) follow(pos int) int {
	if !b.fits(pos, 4) {
		return 0
	}
	off := binary.LittleEndian.Uint32(b.buf[pos:])
	if uint64(off) > uint64(len(b.buf)-pos) || off == 0 {
		b.fault(pos, "offset %d leads out of the buffer", off)
		return 0
	}
	return pos + int(off)
}

func (b *flatbuf) root() table { return b.table(b.follow(0)) }

// table is a FlatBuffers table; the zero table has no field.
type table struct {
	b                    *flatbuf
	pos, size, vt, vtLen int
}

func (b *flatbuf) table(pos int) table {
	if !b.fits(pos, 4) || !b.spend(pos, 4) {
		return table{b: b}
	}
	vt := pos - int(int32(binary.LittleEndian.Uint32(b.buf[pos:])))
	if vt < 0 || vt > len(b.buf)-4 {
		b.fault(pos, "vtable lies out of the buffer")
		return table{b: b}
	}
	vtLen := int(binary.LittleEndian.Uint16(b.buf[vt:]))
	size := int(binary.LittleEndian.Uint16(b.buf[vt+2:]))
	if vtLen < 4 || vtLen%2 != 0 || vtLen > len(b.buf)-vt || size < 4 {
		b.fault(vt, "vtable of %d bytes for a table of %d", vtLen, size)
		return table{b: b}
	}
	if !b.fits(pos, size) {
		return table{b: b}
	}
	return table{b: b, pos: pos, size: size, vt: vt, vtLen: vtLen}
}

// slot returns where field i, width bytes wide, lies; 0 if it is absent.
func (t table) slot(i, width int) int {
	if t.b.err != nil || 4+2*i+2 > t.vtLen {
		return 0
	}
	off := int(binary.LittleEndian.Uint16(t.b.buf[t.vt+4+2*i:]))
	if off == 0 {
		return 0
	}
	if off < 4 || off+width > t.size {
		t.b.fault(t.vt+4+2*i, "field %d lies at %d of a table of %d bytes", i, off, t.size)
		return 0
	}
	return t.pos + off
}

func (t table) has(i int) bool { return t.slot(i, 1) != 0 }

func (t table) u64(i int) uint64 {
	if p := t.slot(i, 8); p != 0 {
		return binary.LittleEndian.Uint64(t.b.buf[p:])
	}
	return 0
}

func (t table) u32(i int) uint32 {
	if p := t.slot(i, 4); p != 0 {
		return binary.LittleEndian.Uint32(t.b.buf[p:])
	}
	return 0
}

func (t table) u16(i int, absent uint16) uint16 {
	if p := t.slot(i, 2); p != 0 {
		return binary.LittleEndian.Uint16(t.b.buf[p:])
	}
	return absent
}

func (t table) u8(i int) uint8 {
	if p := t.slot(i, 1); p != 0 {
		return t.b.buf[p]
	}
	return 0
}

// flag reads a bool, for which only 0 and 1 are values.
func (t table) flag(i int) bool {
	v := t.u8(i)
	if v > 1 {
		t.b.fault(t.slot(i, 1), "bool of value %d", v)
	}
	return v == 1
}

// child returns the table in field i, and whether there is one.
func (t table) child(i int) (table, bool) {
	p := t.slot(i, 4)
	if p == 0 {
		return table{b: t.b}, false
	}
	return t.b.table(t.b.follow(p)), true
}

// need returns the table in field i, which must be there.
func (t table) need(i int, name string) table {
	c, ok := t.child(i)
	if !ok {
		t.b.fault(t.pos, "%s is missing", name)
	}
	return c
}

// vector is a FlatBuffers vector; the zero vector is empty.
type vector struct {
	b            *flatbuf
	pos, n, elem int
}

// vector returns the vector in field i, of elements elem bytes wide, and
// whether there is one.
func (t table) vector(i, elem int) (vector, bool) {
	p := t.slot(i, 4)
	if p == 0 {
		return vector{b: t.b}, false
	}
	pos := t.b.follow(p)
	if !t.b.fits(pos, 4) {
		return vector{b: t.b}, true
	}
	n := binary.LittleEndian.Uint32(t.b.buf[pos:])
	if uint64(n)*uint64(elem) > uint64(len(t.b.buf)-pos-4) {
		t.b.fault(pos, "vector of %d elements reaches beyond the end of the buffer", n)
		return vector{b: t.b}, true
	}
	if !t.b.spend(pos, 4+int(n)*elem) {
		return vector{b: t.b}, true
	}
	return vector{b: t.b, pos: pos + 4, n: int(n), elem: elem}, true
}

// needVector returns the vector in field i, which must be there.
func (t table) needVector(i, elem int, name string) vector {
	v, ok := t.vector(i, elem)
	if !ok {
		t.b.fault(t.pos, "%s is missing", name)
	}
	return v
}

// bytes returns the bytes of field i, and whether there are any, empty ones
// included. They alias the buffer.
func (t table) bytes(i int) ([]byte, bool) {
	v, ok := t.vector(i, 1)
	if !ok || v.n == 0 {
		return nil, ok
	}
	return v.b.buf[v.pos : v.pos+v.n : v.pos+v.n], true
}

// copied returns a copy of the bytes of field i, nil if they are absent and
// not nil if they are there.
func (t table) copied(i int) []byte {
	p, ok := t.bytes(i)
	if !ok {
		return nil
	}
	return append(make([]byte, 0, len(p)), p...)
}

func (v vector) table(i int) table { return v.b.table(v.b.follow(v.pos + 4*i)) }

func (v vector) u32(i int) uint32 { return binary.LittleEndian.Uint32(v.b.buf[v.pos+4*i:]) }

// id reads a table of two u64, the big-endian halves of 16 bytes.
func (t table) id() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], t.u64(0))
	binary.BigEndian.PutUint64(id[8:], t.u64(1))
	return id
}
