package conflict

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
)

// ErrForgotten: the history no longer goes back to the mark.
var ErrForgotten = errors.New("too many keys were written since")

// History remembers the keys that are written while transactions are open. Its
// methods may be called concurrently.
type History struct {
	limit int64
	open  atomic.Int64 // transactions; changed under mu

	mu    sync.Mutex
	head  *chunk // oldest; what lies before it is forgotten, or needed by nobody
	tail  *chunk // takes the next key
	seq   uint64 // of the newest key
	bytes int64  // of all chunks
}

// chunk is a part of the list. Its bytes are never moved or changed once they
// are written, so that they are read without the lock up to an end that was
// taken under it.
type chunk struct {
	data  []byte // per key: seq less the one before, length, key; guarded by mu
	begun int    // open transactions whose mark is here; guarded by mu
	next  atomic.Pointer[chunk]
}

// chunkBytes is the size of a chunk. A longer key has one of its own.
const chunkBytes = 32 << 10

// New returns a history that holds up to limit bytes of keys.
func New(limit int64) *History {
	c := &chunk{}
	return &History{limit: limit, head: c, tail: c}
}

// Mark is a place in a history: what is written behind it counts.
type Mark struct {
	chunk *chunk
	at    int
	seq   uint64 // of the key before
}

// Begin opens a transaction. What it reads must be looked at after Begin has
// returned: every write that it cannot see is then behind the mark.
func (h *History) Begin() Mark {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open.Add(1)
	h.tail.begun++
	return h.endLocked()
}

func (h *History) endLocked() Mark { return Mark{h.tail, len(h.tail.data), h.seq} }

// End closes the transaction that began at m.
func (h *History) End(m Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.chunk.begun--
	if h.open.Add(-1) == 0 {
		h.head, h.tail.data = h.tail, h.tail.data[:0] // nobody reads it
		h.bytes = int64(cap(h.tail.data))
		return
	}
	for h.head.begun == 0 && h.head != h.tail {
		h.dropLocked()
	}
}

func (h *History) dropLocked() {
	h.bytes -= int64(cap(h.head.data))
	h.head = h.head.next.Load()
}

// Open reports whether a transaction is open. A write asks after reads can see
// it: a transaction that opens later sees it too.
func (h *History) Open() bool { return h.open.Load() > 0 }

// Written adds the keys of one write, copies of them. If Open says so, it is
// called for every write, in the order of the seqs, after reads can see the
// write and before a later one is compared.
func (h *History) Written(seq uint64, keys iter.Seq[[]byte]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range keys {
		h.addLocked(seq, key)
		for h.bytes > h.limit && h.head != h.tail {
			lost := h.head
			h.dropLocked()
			lost.next.Store(nil) // so that memory ends here, whoever has a mark in it
		}
	}
}

func (h *History) addLocked(seq uint64, key []byte) {
	need := 2*binary.MaxVarintLen64 + len(key)
	if c := h.tail; cap(c.data)-len(c.data) < need {
		size := max(need, int(min(chunkBytes, h.limit/4)))
		h.bytes += int64(size)
		if len(c.data) > 0 {
			h.tail = &chunk{}
			c.next.Store(h.tail)
		} else {
			h.bytes -= int64(cap(c.data))
		}
		h.tail.data = make([]byte, 0, size)
	}
	c := h.tail
	c.data = binary.AppendUvarint(c.data, seq-h.seq)
	c.data = binary.AppendUvarint(c.data, uint64(len(key)))
	c.data = append(c.data, key...)
	h.seq = seq
}

// Find goes through the keys written behind m with a seq above start, oldest
// first, and returns the first for which hit is true, with its seq. Without one
// it returns the place where it ended, from which a second look goes on. It
// returns ErrForgotten where there is no telling. Nobody waits while hit is
// called.
func (h *History) Find(m Mark, start uint64, hit func(key []byte) bool) (key []byte, seq uint64, end Mark, err error) {
	h.mu.Lock()
	end = h.endLocked()
	last := end.chunk.data
	h.mu.Unlock()
	c, at, seq := m.chunk, m.at, m.seq
	for {
		data, next := last, (*chunk)(nil)
		if c != end.chunk {
			if next = c.next.Load(); next == nil {
				return nil, 0, end, ErrForgotten
			}
			data = c.data
		}
		for at < len(data) {
			key, seq, at = entry(data, at, seq)
			if seq > start && hit(key) {
				return bytes.Clone(key), seq, end, nil
			}
		}
		if next == nil {
			return nil, 0, end, nil
		}
		c, at = next, 0
	}
}

// entry decodes the key at data[at:], which follows one with the seq before.
func entry(data []byte, at int, before uint64) (key []byte, seq uint64, next int) {
	delta, n := binary.Uvarint(data[at:])
	at += n
	size, n := binary.Uvarint(data[at:])
	at += n
	next = at + int(size)
	return data[at:next], before + delta, next
}
