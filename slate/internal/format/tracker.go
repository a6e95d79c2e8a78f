package format

import (
	"encoding/binary"
	"math"
	"slices"
)

// Tracker relates seqs to wall time: pairs of a seq and the second in which it
// was current, in order. It is a manifest's rough memory for questions such as
// which seq was the last an hour ago.
//
//	u8 version = 1 | u32 LE n | seqs | seconds
//
// Seqs and seconds are each a stream of bits, most significant first, that
// ends at a byte:
//
//	u32 count | first value u64 | the other values, as the change of their delta:
//	0                 the delta is the one before (0 before the first)
//	10   +  7 bits    it changed by -63 to 63
//	110  +  9 bits    by -255 to 255
//	1110 + 12 bits    by -2047 to 2047
//	1111 + 32 bits    by any other 32-bit number
type Tracker struct {
	seqs []uint64
	secs []int64
}

// trackerCapacity is how many pairs a tracker keeps; beyond it every second
// one is forgotten.
const trackerCapacity = 8192

// trackerStep is the least number of seconds between two pairs.
const trackerStep = 60

const trackerVersion = 1

// Len returns the number of pairs.
func (t *Tracker) Len() int { return len(t.seqs) }

// At returns pair i.
func (t *Tracker) At(i int) (seq uint64, unixSec int64) { return t.seqs[i], t.secs[i] }

// Append adds a pair, unless less than a minute passed since the last one or
// it goes back. A jump that the format cannot write begins the memory anew.
func (t *Tracker) Append(seq uint64, unixSec int64) {
	if n := len(t.seqs); n > 0 {
		if seq < t.seqs[n-1] || unixSec < t.secs[n-1] || unixSec-t.secs[n-1] < trackerStep {
			return
		}
	}
	t.seqs, t.secs = append(t.seqs, seq), append(t.secs, unixSec)
	if len(t.seqs) > trackerCapacity {
		t.thin()
	}
	if !t.encodable() {
		n := len(t.seqs) - 1
		t.seqs, t.secs = []uint64{t.seqs[n]}, []int64{t.secs[n]}
	}
}

// thin forgets every second pair.
func (t *Tracker) thin() {
	n := 0
	for i := 0; i < len(t.seqs); i += 2 {
		t.seqs[n], t.secs[n] = t.seqs[i], t.secs[i]
		n++
	}
	t.seqs, t.secs = t.seqs[:n], t.secs[:n]
}

// SeqAt returns the greatest seq known to have been current at or before the
// second unixSec, and whether there is one.
func (t *Tracker) SeqAt(unixSec int64) (uint64, bool) {
	i, _ := slices.BinarySearch(t.secs, unixSec+1)
	if i == 0 {
		return 0, false
	}
	return t.seqs[i-1], true
}

// encodable reports whether every change of delta fits in 32 bits.
func (t *Tracker) encodable() bool {
	ok := func(n int, at func(int) uint64) bool {
		var delta int64
		for i := 1; i < n; i++ {
			d := int64(at(i) - at(i-1))
			if c := d - delta; c < math.MinInt32 || c > math.MaxInt32 || d < 0 {
				return false
			}
			delta = d
		}
		return true
	}
	return ok(len(t.seqs), func(i int) uint64 { return t.seqs[i] }) &&
		ok(len(t.secs), func(i int) uint64 { return uint64(t.secs[i]) })
}

// Encode returns the tracker as a manifest holds it.
func (t *Tracker) Encode() []byte {
	out := binary.LittleEndian.AppendUint32([]byte{trackerVersion}, uint32(len(t.seqs)))
	out = appendDeltas(out, len(t.seqs), func(i int) uint64 { return t.seqs[i] })
	return appendDeltas(out, len(t.secs), func(i int) uint64 { return uint64(t.secs[i]) })
}

// deltaForms are the ways to write a change of delta: a prefix of so many
// bits, then the number in so many bits.
var deltaForms = [...]struct {
	prefix, prefixLen uint64
	width             uint64
	limit             int64
}{
	{0b10, 2, 7, 63},
	{0b110, 3, 9, 255},
	{0b1110, 4, 12, 2047},
	{0b1111, 4, 32, math.MaxInt64},
}

func appendDeltas(dst []byte, n int, at func(int) uint64) []byte {
	w := bitWriter{out: dst}
	w.write(uint64(n), 32)
	if n > 0 {
		w.write(at(0), 64)
	}
	var delta int64
	for i := 1; i < n; i++ {
		d := int64(at(i) - at(i-1))
		change := d - delta
		delta = d
		if change == 0 {
			w.write(0, 1)
			continue
		}
		for _, f := range deltaForms {
			if -f.limit <= change && change <= f.limit {
				w.write(f.prefix, f.prefixLen)
				w.write(uint64(change), f.width)
				break
			}
		}
	}
	return w.out
}

// DecodeTracker reads a manifest's sequence tracker; nil is an empty one.
// Errors match ErrCorrupt or ErrNewer.
func DecodeTracker(data []byte) (*Tracker, error) {
	t := &Tracker{}
	if len(data) == 0 {
		return t, nil
	}
	if err := checkVersion("sequence tracker", uint16(data[0]), trackerVersion, 0); err != nil {
		return nil, err
	}
	if len(data) < 5 {
		return nil, corrupt(0, "sequence tracker of %d bytes", len(data))
	}
	n := binary.LittleEndian.Uint32(data[1:])
	seqs, pos, err := readDeltas(data, 5, n)
	if err != nil {
		return nil, err
	}
	secs, pos, err := readDeltas(data, pos, n)
	if err != nil {
		return nil, err
	}
	if pos != len(data) {
		return nil, corrupt(pos, "%d bytes after the sequence tracker", len(data)-pos)
	}
	t.seqs = seqs
	t.secs = make([]int64, len(secs))
	for i, s := range secs {
		t.secs[i] = int64(s)
	}
	if !slices.IsSorted(t.seqs) || !slices.IsSorted(t.secs) {
		return nil, corrupt(0, "sequence tracker goes back")
	}
	return t, nil
}

// readDeltas reads a stream of want values at pos, and returns where it ends.
func readDeltas(data []byte, pos int, want uint32) ([]uint64, int, error) {
	r := bitReader{in: data, pos: pos * 8}
	n, ok := r.read(32)
	if !ok || n != uint64(want) || n > uint64(len(data))*8 {
		return nil, 0, corrupt(pos, "sequence tracker has a stream of %d values, expected %d", n, want)
	}
	out := make([]uint64, 0, n)
	var value uint64
	var delta int64
	for i := range n {
		if i == 0 {
			value, ok = r.read(64)
		} else {
			var change int64
			change, ok = r.change()
			delta += change
			value += uint64(delta)
		}
		if !ok {
			return nil, 0, corrupt(r.pos/8, "sequence tracker ends after %d of %d values", i, n)
		}
		out = append(out, value)
	}
	return out, (r.pos + 7) / 8, nil
}

type bitWriter struct {
	out  []byte
	free uint64 // unused bits of the last byte
}

// write appends the low n bits of v.
func (w *bitWriter) write(v, n uint64) {
	for n > 0 {
		if w.free == 0 {
			w.out, w.free = append(w.out, 0), 8
		}
		take := min(n, w.free)
		chunk := v >> (n - take) & (1<<take - 1)
		w.out[len(w.out)-1] |= byte(chunk << (w.free - take))
		n -= take
		w.free -= take
	}
}

type bitReader struct {
	in  []byte
	pos int // in bits
}

// read returns the next n bits, at most 64.
func (r *bitReader) read(n int) (v uint64, ok bool) {
	if n > len(r.in)*8-r.pos {
		r.pos = len(r.in) * 8
		return 0, false
	}
	for n > 0 {
		have := 8 - r.pos%8
		take := min(n, have)
		v = v<<take | uint64(r.in[r.pos/8]>>(have-take))&(1<<take-1)
		r.pos += take
		n -= take
	}
	return v, true
}

// change reads a change of delta.
func (r *bitReader) change() (int64, bool) {
	ones := 0
	for ones < 4 {
		b, ok := r.read(1)
		if !ok {
			return 0, false
		}
		if b == 0 {
			break
		}
		ones++
	}
	if ones == 0 {
		return 0, true
	}
	width := int(deltaForms[ones-1].width)
	v, ok := r.read(width)
	shift := 64 - width
	return int64(v) << shift >> shift, ok
}
