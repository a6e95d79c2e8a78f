package memtable

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/stele-db/stele/slate/internal/format"
)

// A node's words.
const (
	wPrefix   = iota // the key's first four bytes, big endian: most comparisons end here
	wKey             // reference to key bytes, value bytes right behind
	wKeyLen          //
	wValLen          //
	wSeqLo           //
	wSeqHi           //
	wFlags           // kind and presence of the times
	wExpireLo        //
	wExpireHi        //
	wCreateLo        //
	wCreateHi        //
	wPrev            // the node before at level 0
	wTower           // the next node at each level
)

const (
	maxHeight = 18
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
	rng    rand.PCG

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

// Full reports whether the table's address space is nearly used up and it must
// be frozen before the next batch, whatever its configured limit.
func (t *Table) Full() bool { return t.data.full() }

// EncodedSize estimates what a row of this key and value adds to Size.
func EncodedSize(key, value []byte) int64 { return int64(len(key) + len(value) + overhead) }

// Add inserts a copy of r, which must differ from all rows of the table in key
// or seq, and returns its reference. The row becomes visible to readers at
// once; they hide it by its seq.
func (t *Table) Add(r *format.Row) Ref {
	dref, buf := t.data.alloc(len(r.Key) + len(r.Value))
	copy(buf, r.Key)
	copy(buf[len(r.Key):], r.Value)

	h := t.randomHeight()
	ref := t.nodes.alloc(wTower + h)
	n := t.nodes.at(ref)
	flags := uint32(r.Kind)
	if r.HasExpire {
		flags |= flagExp
	}
	if r.HasCreate {
		flags |= flagCre
	}
	n[wPrefix].Store(prefix(r.Key))
	n[wKey].Store(dref)
	n[wKeyLen].Store(uint32(len(r.Key)))
	n[wValLen].Store(uint32(len(r.Value)))
	store64(n[wSeqLo:], r.Seq)
	n[wFlags].Store(flags)
	store64(n[wExpireLo:], uint64(r.ExpireTS))
	store64(n[wCreateLo:], uint64(r.CreateTS))

	var before [maxHeight]uint32
	t.findSplice(r.Key, r.Seq, &before)
	if h > int(t.height.Load()) {
		t.height.Store(uint32(h))
	}
	next0 := t.next(before[0], 0)
	for level := range h {
		n[wTower+level].Store(t.next(before[level], level))
	}
	n[wPrev].Store(before[0])
	for level := range h {
		t.link(before[level], level).Store(ref)
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
	kl, vl := int(n[wKeyLen].Load()), int(n[wValLen].Load())
	b := t.data.at(n[wKey].Load(), kl+vl)
	flags := n[wFlags].Load()
	*dst = format.Row{
		Key: b[:kl:kl], Value: b[kl:],
		Seq:       load64(n[wSeqLo:]),
		Kind:      format.Kind(flags & flagKind),
		HasExpire: flags&flagExp != 0, ExpireTS: int64(load64(n[wExpireLo:])),
		HasCreate: flags&flagCre != 0, CreateTS: int64(load64(n[wCreateLo:])),
	}
}

func (t *Table) key(ref Ref) []byte {
	n := t.nodes.at(ref)
	return t.data.at(n[wKey].Load(), int(n[wKeyLen].Load()))
}

// link is the word that points from ref (0: the head) to the next node.
func (t *Table) link(ref Ref, level int) *atomic.Uint32 {
	if ref == 0 {
		return &t.head[level]
	}
	return &t.nodes.at(ref)[wTower+level]
}

func (t *Table) next(ref Ref, level int) Ref { return t.link(ref, level).Load() }

// less reports whether the node sorts before (key, seq): key ascending, then
// seq descending.
func (t *Table) less(ref Ref, key []byte, pre uint32, seq uint64) bool {
	n := t.nodes.at(ref)
	if p := n[wPrefix].Load(); p != pre {
		return p < pre
	}
	switch bytes.Compare(t.data.at(n[wKey].Load(), int(n[wKeyLen].Load())), key) {
	case -1:
		return true
	case 1:
		return false
	}
	return load64(n[wSeqLo:]) > seq
}

func (t *Table) findSplice(key []byte, seq uint64, before *[maxHeight]uint32) {
	pre := prefix(key)
	at := uint32(0)
	for level := int(t.height.Load()) - 1; level >= 0; level-- {
		for {
			next := t.next(at, level)
			if next == 0 || !t.less(next, key, pre, seq) {
				break
			}
			at = next
		}
		before[level] = at
	}
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
	pre := prefix(key)
	for level := int(t.height.Load()) - 1; level >= 0; level-- {
		for {
			after = t.next(before, level)
			if after == 0 || !t.less(after, key, pre, seq) {
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

// prefix is the key's first four bytes as a number that sorts as they do;
// missing bytes count as zero, so equal prefixes say nothing and different
// ones decide.
func prefix(key []byte) uint32 {
	if len(key) >= 4 {
		return binary.BigEndian.Uint32(key)
	}
	var b [4]byte
	copy(b[:], key)
	return binary.BigEndian.Uint32(b[:])
}

func store64(w []atomic.Uint32, v uint64) {
	w[0].Store(uint32(v))
	w[1].Store(uint32(v >> 32))
}

func load64(w []atomic.Uint32) uint64 {
	return uint64(w[0].Load()) | uint64(w[1].Load())<<32
}
