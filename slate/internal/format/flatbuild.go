package format

import (
	"bytes"
	"encoding/binary"
)

// builder writes a FlatBuffer, from its end to its beginning, as the format
// wants it: children before parents, every scalar aligned to its size as
// counted from the end. Two tables share a vtable if it is equal to the byte,
// and nothing else is ever shared. That and the order in which callers add
// fields (widest first, among equals from the last slot to the first) are the
// habits of SlateDB's own writer, so that equal values give equal bytes; the
// Go run time library also shares vtables of tables of different sizes.
type builder struct {
	buf   []byte // content is buf[head:]
	head  int
	align int // widest alignment so far

	vtables []int // where each vtable begins, as a ref
	vtable  []byte
	start   int   // ref of the end of the table under construction
	slots   []int // its fields by slot, as refs, 0 if absent
}

// ref is the place of something written, counted from the end of the buffer.
type ref = int

func newBuilder(hint int) *builder {
	return &builder{buf: make([]byte, hint), head: hint, align: 1}
}

func (b *builder) used() int { return len(b.buf) - b.head }

// grow makes room for n more bytes.
func (b *builder) grow(n int) {
	if n <= b.head {
		return
	}
	buf := make([]byte, max(2*len(b.buf), len(b.buf)+n, 64))
	head := len(buf) - b.used()
	copy(buf[head:], b.buf[b.head:])
	b.buf, b.head = buf, head
}

// prep pads so that, after more bytes, what is written next is aligned to
// size.
func (b *builder) prep(size, more int) {
	b.align = max(b.align, size)
	pad := -(b.used() + more) & (size - 1)
	b.grow(pad + more + size)
	b.head -= pad
	clear(b.buf[b.head : b.head+pad])
}

func (b *builder) place(p []byte) {
	b.grow(len(p))
	b.head -= len(p)
	copy(b.buf[b.head:], p)
}

func (b *builder) place16(v uint16) { b.head -= 2; binary.LittleEndian.PutUint16(b.buf[b.head:], v) }
func (b *builder) place32(v uint32) { b.head -= 4; binary.LittleEndian.PutUint32(b.buf[b.head:], v) }
func (b *builder) place64(v uint64) { b.head -= 8; binary.LittleEndian.PutUint64(b.buf[b.head:], v) }

// bytes writes a vector of bytes.
func (b *builder) bytes(p []byte) ref {
	b.prep(4, len(p))
	b.place(p)
	b.grow(4)
	b.place32(uint32(len(p)))
	return b.used()
}

// text writes a string, which ends with a zero byte that it does not count.
func (b *builder) text(s string) ref {
	b.prep(4, len(s)+1)
	b.place([]byte{0})
	b.place([]byte(s))
	b.grow(4)
	b.place32(uint32(len(s)))
	return b.used()
}

// refs writes a vector of offsets.
func (b *builder) refs(items []ref) ref {
	b.prep(4, 4*len(items))
	for i := len(items) - 1; i >= 0; i-- {
		b.grow(4)
		b.place32(uint32(b.used() + 4 - items[i]))
	}
	b.grow(4)
	b.place32(uint32(len(items)))
	return b.used()
}

// words writes a vector of u32.
func (b *builder) words(items []uint32) ref {
	b.prep(4, 4*len(items))
	for i := len(items) - 1; i >= 0; i-- {
		b.grow(4)
		b.place32(items[i])
	}
	b.grow(4)
	b.place32(uint32(len(items)))
	return b.used()
}

// begin starts a table; its children must have been written.
func (b *builder) begin() {
	b.start = b.used()
	b.slots = b.slots[:0]
}

func (b *builder) slot(i int) {
	for len(b.slots) <= i {
		b.slots = append(b.slots, 0)
	}
	b.slots[i] = b.used()
}

// u64 adds a field, unless it is zero, which is what an absent one means.
func (b *builder) u64(i int, v uint64) {
	if v != 0 {
		b.prep(8, 0)
		b.place64(v)
		b.slot(i)
	}
}

// u32 adds a field, unless it is zero.
func (b *builder) u32(i int, v uint32) {
	if v != 0 {
		b.prep(4, 0)
		b.place32(v)
		b.slot(i)
	}
}

// u16 adds a field, unless it is zero.
func (b *builder) u16(i int, v uint16) {
	if v != 0 {
		b.prep(2, 0)
		b.place16(v)
		b.slot(i)
	}
}

// u8 adds a field, unless it is zero.
func (b *builder) u8(i int, v uint8) {
	if v != 0 {
		b.prep(1, 0)
		b.head--
		b.buf[b.head] = v
		b.slot(i)
	}
}

// flag adds a bool, unless it is false.
func (b *builder) flag(i int, v bool) {
	if v {
		b.u8(i, 1)
	}
}

// child adds a field that is a table, vector or string; 0 is none.
func (b *builder) child(i int, r ref) {
	if r != 0 {
		b.prep(4, 0)
		b.place32(uint32(b.used() + 4 - r))
		b.slot(i)
	}
}

// end completes the table and returns it.
func (b *builder) end() ref {
	b.prep(4, 0)
	b.place32(0)
	object := b.used()
	v := binary.LittleEndian.AppendUint16(b.vtable[:0], uint16(4+2*len(b.slots)))
	v = binary.LittleEndian.AppendUint16(v, uint16(object-b.start))
	for _, at := range b.slots {
		off := 0
		if at != 0 {
			off = object - at
		}
		v = binary.LittleEndian.AppendUint16(v, uint16(off))
	}
	b.vtable = v
	vt := b.findVtable(v)
	if vt == 0 {
		b.place(v)
		vt = b.used()
		b.vtables = append(b.vtables, vt)
	}
	binary.LittleEndian.PutUint32(b.buf[len(b.buf)-object:], uint32(int32(vt-object)))
	return object
}

func (b *builder) findVtable(v []byte) ref {
	for _, vt := range b.vtables {
		at := len(b.buf) - vt
		if bytes.HasPrefix(b.buf[at:], v) {
			return vt
		}
	}
	return 0
}

// finish completes the buffer, whose root is the table root, and returns it.
func (b *builder) finish(root ref) []byte {
	b.prep(b.align, 4)
	b.grow(4)
	b.place32(uint32(b.used() + 4 - root))
	return b.buf[b.head:]
}

// putAll writes a vector of tables, each made by put.
func putAll[T any](b *builder, items []T, put func(*builder, *T) ref) ref {
	refs := make([]ref, len(items))
	for i := range items {
		refs[i] = put(b, &items[i])
	}
	return b.refs(refs)
}

// putID writes a ULID or UUID: a table of two u64, its big-endian halves.
func putID(b *builder, id [16]byte) ref {
	b.begin()
	b.u64(1, binary.BigEndian.Uint64(id[8:]))
	b.u64(0, binary.BigEndian.Uint64(id[:8]))
	return b.end()
}
