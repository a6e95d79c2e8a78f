package memtable

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/stele-db/stele/slate/internal/format"
)

// A node's words. Its reference is that of the first; the next node at level l
// lies in the word l+1 before it. What a search looks at is close together, so
// that it waits for memory once a node.
const (
	wPrev   = iota // the node before at level 0
	wValue         // reference to the times, 8 bytes each, and the value right behind
	wValLen        // of the value alone
	wSeqLo         //
	wSeqHi         //
	wKeyLen        // above keyShift; below it kind and presence of the times
	wKey           // the key's bytes
)

const (
	maxHeight = 18
	keyShift  = 8
	flagKind  = 0x0f
	flagExp   = 0x10
	flagCre   = 0x20

	// overhead is what a row costs in an SST beyond its key and value: lengths,
	// sequence number, flags, creation time.
	overhead = 24
)

// Ref names a row of one table; Row turns it back into the row.
type Ref = uint32

// Table is a memtable. One goroutine at a time may call Add; all other methods
// may be called at any time by any number of goroutines.
type Table struct {
	head   [maxHeight]atomic.Uint32
	tail   atomic.Uint32
	height atomic.Uint32
	nodes  words
	data   data

	// Of the writer: the random numbers, and the last node at each level before
	// the place of the row that was added last, or that row.
	rng    rand.PCG
	splice [maxHeight]Ref

	// Written by the writer only, read by anyone.
	size atomic.Int64
	rows atomic.Int64
}

// New returns an empty table. The seed drives the tower heights, which affect
// speed and nothing else.
func New(seed uint64) *Table {
	t := &Table{rng: *rand.NewPCG(seed, 0x9e3779b97f4a7c15)}
	t.height.Store(1)
	return t
}

// Size is the estimated size of the table's rows in an SST, in bytes.
func (t *Table) Size() int64 { return t.size.Load() }

// Rows is the number of row versions in the table.
func (t *Table) Rows() int64 { return t.rows.Load() }

// Full reports whether half of the table's address space is used up, so that it
// must be frozen before the next batch, whatever its configured limit. Until
// then there is room for one of 1 GiB.
func (t *Table) Full() bool { return t.nodes.full() || t.data.full() }

// EncodedSize estimates what a row of this key and value adds to Size.
func EncodedSize(key, value []byte) int64 { return int64(len(key) + len(value) + overhead) }

// Add inserts a copy of r, which must differ from all rows of the table in key
// or seq, and returns its reference. The row becomes visible to readers at
// once; they hide it by its seq.
func (t *Table) Add(r *format.Row) Ref {
	flags := uint32(r.Kind)
	times := 0
	if r.HasExpire {
		flags |= flagExp
		times += 8
	}
	if r.HasCreate {
		flags |= flagCre
		times += 8
	}
	dref, buf := t.data.alloc(times + len(r.Value))
	if r.HasExpire {
		binary.LittleEndian.PutUint64(buf, uint64(r.ExpireTS))
		buf = buf[8:]
	}
	if r.HasCreate {
		binary.LittleEndian.PutUint64(buf, uint64(r.CreateTS))
		buf = buf[8:]
	}
	copy(buf, r.Value)

	h := t.randomHeight()
	ref := t.nodes.alloc(h+wKey+(len(r.Key)+3)/4) + uint32(h)
	n := t.nodes.at(ref)
	copy(asBytes(n[wKey:], len(r.Key)), r.Key)
	n[wKeyLen].Store(uint32(len(r.Key))<<keyShift | flags)
	n[wValue].Store(dref)
	n[wValLen].Store(uint32(len(r.Value)))
	store64(n[wSeqLo:], r.Seq)

	before := &t.splice
	t.findSplice(r.Key, r.Seq)
	if h > int(t.height.Load()) {
		t.height.Store(uint32(h))
	}
	next0 := t.next(before[0], 0)
	for level := range h {
		t.nodes.before(ref, level+1).Store(t.next(before[level], level))
	}
	n[wPrev].Store(before[0])
	for level := range h {
		t.link(before[level], level).Store(ref)
		before[level] = ref
	}
	if next0 == 0 {
		t.tail.Store(ref)
	} else {
		t.nodes.at(next0)[wPrev].Store(ref)
	}
	t.size.Add(EncodedSize(r.Key, r.Value))
	t.rows.Add(1)
	return ref
}

// Get fills dst with the newest version of key whose seq is at most maxSeq. Its
// slices point into the table and stay valid as long as the table.
func (t *Table) Get(key []byte, maxSeq uint64, dst *format.Row) bool {
	ref := t.seekGE(key, maxSeq)
	if ref == 0 || !bytes.Equal(t.key(ref), key) {
		return false
	}
	t.Row(ref, dst)
	return true
}

// Row fills dst with the row that ref names.
func (t *Table) Row(ref Ref, dst *format.Row) {
	n := t.nodes.at(ref)
	word := n[wKeyLen].Load()
	kl, vl := int(word>>keyShift), int(n[wValLen].Load())
	*dst = format.Row{
		Key:       asBytes(n[wKey:], kl),
		Seq:       load64(n[wSeqLo:]),
		Kind:      format.Kind(word & flagKind),
		HasExpire: word&flagExp != 0,
		HasCreate: word&flagCre != 0,
	}
	times := 0
	if dst.HasExpire {
		times += 8
	}
	if dst.HasCreate {
		times += 8
	}
	b := t.data.at(n[wValue].Load(), times+vl)
	if dst.HasExpire {
		dst.ExpireTS, b = int64(binary.LittleEndian.Uint64(b)), b[8:]
	}
	if dst.HasCreate {
		dst.CreateTS, b = int64(binary.LittleEndian.Uint64(b)), b[8:]
	}
	dst.Value = b
}

func (t *Table) key(ref Ref) []byte {
	n := t.nodes.at(ref)
	return asBytes(n[wKey:], int(n[wKeyLen].Load()>>keyShift))
}

// link is the word that points from ref (0: the head) to the next node.
func (t *Table) link(ref Ref, level int) *atomic.Uint32 {
	if ref == 0 {
		return &t.head[level]
	}
	return t.nodes.before(ref, level+1)
}

func (t *Table) next(ref Ref, level int) Ref { return t.link(ref, level).Load() }

// less reports whether the node sorts before (key, seq): key ascending, then
// seq descending.
func (t *Table) less(ref Ref, key []byte, seq uint64) bool {
	n := t.nodes.at(ref)
	c := bytes.Compare(asBytes(n[wKey:], int(n[wKeyLen].Load()>>keyShift)), key)
	return c < 0 || c == 0 && load64(n[wSeqLo:]) > seq
}

// findSplice moves the splice to (key, seq). Where that lies behind the row
// added last, as the rows of a batch do, it begins there: levels on which no
// node lies between the two are as they should be, and so are all above them.
func (t *Table) findSplice(key []byte, seq uint64) {
	level, top := 0, int(t.height.Load())
	if last := t.splice[0]; last != 0 && t.less(last, key, seq) {
		for level < top && t.isBefore(t.next(t.splice[level], level), key, seq) {
			level++
		}
	} else {
		level = top
		t.splice[top-1] = 0
	}
	for level--; level >= 0; level-- {
		at := t.splice[level]
		for next := t.next(at, level); t.isBefore(next, key, seq); next = t.next(at, level) {
			at = next
		}
		t.splice[level] = at
		if level > 0 {
			t.splice[level-1] = at
		}
	}
}

// isBefore is less for a node that may be missing.
func (t *Table) isBefore(ref Ref, key []byte, seq uint64) bool {
	return ref != 0 && t.less(ref, key, seq)
}

// seekLT returns the last node before (key, seq), 0 if there is none.
func (t *Table) seekLT(key []byte, seq uint64) Ref {
	before, _ := t.seek(key, seq)
	return before
}

// seekGE returns the first node at or after (key, seq), 0 if there is none.
func (t *Table) seekGE(key []byte, seq uint64) Ref {
	_, after := t.seek(key, seq)
	return after
}

// seek returns the last node before (key, seq) and the first at or after it, 0
// where there is none. The second is the one that the search compared: to load
// it again from the first would return a smaller one that the writer has just
// put between the two.
func (t *Table) seek(key []byte, seq uint64) (before, after Ref) {
	for level := int(t.height.Load()) - 1; level >= 0; level-- {
		for {
			after = t.next(before, level)
			if after == 0 || !t.less(after, key, seq) {
				break
			}
			before = after
		}
	}
	return before, after
}

func (t *Table) randomHeight() int {
	h := 1
	for bits := t.rng.Uint64(); h < maxHeight && bits&3 == 0; bits >>= 2 {
		h++
	}
	return h
}

func store64(w []atomic.Uint32, v uint64) {
	w[0].Store(uint32(v))
	w[1].Store(uint32(v >> 32))
}

func load64(w []atomic.Uint32) uint64 {
	return uint64(w[0].Load()) | uint64(w[1].Load())<<32
}
