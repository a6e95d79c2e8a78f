package memtable

import (
	"sync/atomic"
	"unsafe"
)

// words is an append-only store of 32-bit words in chunks. A reference packs
// the chunk's number above wordBits bits of offset; reference 0 is never
// handed out and means "none". More words than a chunk has get one of their own.
type words struct {
	dir  atomic.Pointer[[][]atomic.Uint32]
	used int // words used of the last chunk
}

const (
	wordBits       = 16
	firstWords     = 1 << 8
	maxWords       = 1 << wordBits
	dataBits       = 20
	firstData      = 1 << 10
	maxData        = 1 << dataBits
	maxChunks      = 1 << (32 - dataBits)
	chunkGrowShift = 1
)

func (w *words) alloc(n int) uint32 {
	dir := w.dir.Load()
	if dir == nil {
		d := [][]atomic.Uint32{make([]atomic.Uint32, firstWords)}
		w.dir.Store(&d)
		w.used = 1
		dir = &d
	}
	last := len(*dir) - 1
	if w.used+n > len((*dir)[last]) {
		size := max(n, min(len((*dir)[last])<<chunkGrowShift, maxWords))
		grown := make([][]atomic.Uint32, len(*dir)+1)
		copy(grown, *dir)
		grown[len(*dir)] = make([]atomic.Uint32, size)
		w.dir.Store(&grown)
		last, w.used = last+1, 0
	}
	ref := uint32(last)<<wordBits | uint32(w.used)
	w.used += n
	if w.used >= maxWords { // offsets beyond the packed bits: the chunk is full
		w.used = len((*dir)[last])
	}
	return ref
}

// full reports whether half of the references are used up.
func (w *words) full() bool {
	dir := w.dir.Load()
	return dir != nil && len(*dir) >= 1<<(32-wordBits)/2
}

// at returns the words from ref to the end of its chunk.
func (w *words) at(ref uint32) []atomic.Uint32 {
	return (*w.dir.Load())[ref>>wordBits][ref&(maxWords-1):]
}

// before returns the word that lies n words before ref, in the same chunk.
func (w *words) before(ref uint32, n int) *atomic.Uint32 {
	return &(*w.dir.Load())[ref>>wordBits][int(ref&(maxWords-1))-n]
}

// asBytes is the memory of the first n bytes of w. They are written before the
// word that leads to them is stored, and never after.
func asBytes(w []atomic.Uint32, n int) []byte {
	w = w[:(n+3)/4]
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), n)
}

// data is an append-only store of byte strings in chunks. A string longer than
// a chunk gets one of its own.
type data struct {
	dir  atomic.Pointer[[][]byte]
	used int
}

// alloc makes room for n bytes in one piece and returns it with its reference.
func (d *data) alloc(n int) (uint32, []byte) {
	dir := d.dir.Load()
	last := -1
	if dir != nil {
		last = len(*dir) - 1
	}
	if last < 0 || d.used+n > len((*dir)[last]) || d.used >= maxData {
		size := firstData
		if last >= 0 {
			size = min(max(len((*dir)[last]), firstData)<<chunkGrowShift, maxData)
		}
		grown := make([][]byte, last+2)
		if last >= 0 {
			copy(grown, *dir)
		}
		grown[last+1] = make([]byte, max(size, n))
		d.dir.Store(&grown)
		dir, last, d.used = &grown, last+1, 0
	}
	ref := uint32(last)<<dataBits | uint32(d.used)
	piece := (*dir)[last][d.used : d.used+n : d.used+n]
	d.used += n
	if d.used >= maxData { // offsets beyond the packed bits: the chunk is full
		d.used = len((*dir)[last])
	}
	return ref, piece
}

// full reports whether half of the references are used up. What is left has
// room for 1 GiB of strings, even if each fills little more than half a chunk.
func (d *data) full() bool {
	dir := d.dir.Load()
	return dir != nil && len(*dir) >= maxChunks/2-1
}

func (d *data) at(ref uint32, n int) []byte {
	off := int(ref & (maxData - 1))
	return (*d.dir.Load())[ref>>dataBits][off : off+n : off+n]
}
