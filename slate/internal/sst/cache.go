package sst

import (
	"sync"
	"sync/atomic"

	"github.com/stele-db/stele/slate/internal/format"
)

// Cache keeps decoded blocks, indexes and filters of any number of SSTs under
// one budget of bytes. A nil Cache keeps nothing. Its methods may be called
// concurrently; it needs no closing.
//
// A block that is new waits in a queue of a tenth of the budget, where a scan's
// blocks pass through and leave; it moves to the rest of the cache if it is
// asked for again while it waits, or soon after it left. Those that stay are
// looked at in turns, and each use spares a block one turn, up to three.
// Filters and indexes, without which no block is found, stay from the first
// use on and are spared eight turns: as long as there are blocks that are used
// less, those go first. Those of new SSTs, which nobody has used yet, wait as
// blocks do (Table.Fill); what is warmed stays at once, as if it were in use.
// What is larger than the budget is not kept at all.
//
// The queues are those of S3-FIFO: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V.
// Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023.
type Cache struct {
	budget int64
	used   atomic.Int64
	misses atomic.Int64
	shards [cacheShards]shard

	mu    sync.Mutex // held by who adds entries, taken before a shard's
	fresh queue      // new blocks
	kept  queue
	left  [2]map[partKey]struct{} // blocks that left fresh unused; the newer half first
}

const (
	cacheShards = 64
	blockTurns  = 3
	metaTurns   = 8
	freshShare  = 10  // of the budget: one part in so many
	minLeft     = 128 // blocks to remember at least

	// entryOverhead is what an entry costs beside its content.
	entryOverhead = 256
)

type shard struct {
	mu      sync.RWMutex
	entries map[partKey]*entry
	hits    atomic.Int64 // here, so that readers of different blocks do not meet
}

// partKey names a part of an SST by its offset.
type partKey struct {
	id     format.ULID
	offset uint64
}

// entry is a part in the cache. Whoever holds one finds its value gone once the
// cache has dropped it.
type entry struct {
	key    partKey
	weight int64
	meta   bool
	value  atomic.Pointer[any] // *format.Block, *format.Index or *filter; nil: dropped
	turns  atomic.Int32        // that it is spared

	in         *queue // where it is, with its neighbours there
	prev, next *entry
}

// place says where a new part goes.
type place uint8

const (
	asRead  place = iota // a block waits unless it left lately, metadata stays
	waiting              // it waits, whatever it is
	staying              // it stays, as if it had been used often
)

// NewCache returns a cache of so many bytes, nil if that is zero or less.
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		return nil
	}
	c := &Cache{budget: bytes}
	for i := range c.shards {
		c.shards[i].entries = map[partKey]*entry{}
	}
	c.left[0] = map[partKey]struct{}{}
	return c
}

// Bytes returns about how many bytes the cache holds, which is never more than
// its budget.
func (c *Cache) Bytes() int64 {
	if c == nil {
		return 0
	}
	return c.used.Load()
}

func (c *Cache) shard(k partKey) *shard {
	h := (uint64(k.id[15]) ^ k.offset) * 0x9e3779b97f4a7c15
	return &c.shards[h>>58]
}

// lookup returns an entry, nil if the cache does not hold it.
func (c *Cache) lookup(id format.ULID, offset uint64) *entry {
	if c == nil {
		return nil
	}
	k := partKey{id, offset}
	s := c.shard(k)
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	return e
}

// get returns the value and notes the use; nil if the cache has dropped it.
func (e *entry) get() any {
	v := e.value.Load()
	if v == nil {
		return nil
	}
	limit := int32(blockTurns)
	if e.meta {
		limit = metaTurns
	}
	if n := e.turns.Load(); n < limit {
		e.turns.Store(n + 1)
	}
	return *v
}

// get returns a block, nil if the cache does not hold it.
func (c *Cache) get(id format.ULID, offset uint64) any {
	e := c.lookup(id, offset)
	if e == nil {
		return nil
	}
	v := e.get()
	if v != nil {
		c.shard(e.key).hits.Add(1)
	}
	return v
}

// missed notes that blocks are read that the cache did not hold.
func (c *Cache) missed() {
	if c != nil {
		c.misses.Add(1)
	}
}

// Hits returns how many blocks were found in the cache.
func (c *Cache) Hits() (n int64) {
	if c == nil {
		return 0
	}
	for i := range c.shards {
		n += c.shards[i].hits.Load()
	}
	return n
}

// Misses returns how many requests there were for blocks that the cache did not
// hold; each may have brought several.
func (c *Cache) Misses() int64 {
	if c == nil {
		return 0
	}
	return c.misses.Load()
}

// has is get for who does not want the part now.
func (c *Cache) has(id format.ULID, offset uint64) bool { return c.lookup(id, offset) != nil }

// set adds a part that is being read; see put.
func (c *Cache) set(id format.ULID, offset uint64, v any) *entry { return c.put(id, offset, v, asRead) }

// put adds a part if the cache does not hold it yet, and returns the part's
// entry, nil if there is none.
func (c *Cache) put(id format.ULID, offset uint64, v any, at place) *entry {
	if c == nil {
		return nil
	}
	e := &entry{key: partKey{id, offset}}
	e.value.Store(&v)
	e.weight, e.meta = weigh(v)
	if e.weight > c.budget {
		return nil
	}
	s := c.shard(e.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.lookup(id, offset); other != nil {
		if at == staying {
			other.in.remove(other)
			c.placeLocked(other, at)
		}
		return other
	}
	for c.used.Load()+e.weight > c.budget {
		c.evictLocked()
	}
	c.placeLocked(e, at)
	c.used.Add(e.weight)
	s.mu.Lock()
	s.entries[e.key] = e
	s.mu.Unlock()
	return e
}

// placeLocked puts an entry into its queue.
func (c *Cache) placeLocked(e *entry, at place) {
	switch {
	case e.meta && at != waiting, at == staying: // what is warmed is as good as what every read needs
		e.turns.Store(metaTurns)
		c.kept.push(e)
	case at == asRead && c.remembersLocked(e.key):
		c.kept.push(e)
	default:
		c.fresh.push(e)
	}
}

// remove drops a part and returns what it weighed, 0 if the cache does not hold
// it.
func (c *Cache) remove(id format.ULID, offset uint64) int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.lookup(id, offset)
	if e == nil {
		return 0
	}
	e.in.remove(e)
	c.drop(e)
	return e.weight
}

func weigh(v any) (n int64, meta bool) {
	switch v := v.(type) {
	case *format.Block:
		return entryOverhead + int64(v.Size()), false
	case *format.Index:
		return entryOverhead + int64(v.Size()), true
	case *filter:
		return entryOverhead + int64(v.bloom.Size()), true
	}
	return entryOverhead, false
}

// evictLocked takes the oldest entry of one queue and either drops it or spares
// it.
func (c *Cache) evictLocked() {
	if c.fresh.weight > c.budget/freshShare || c.kept.first == nil {
		e := c.fresh.pop()
		if e.turns.Swap(0) > 0 {
			c.kept.push(e)
			return
		}
		c.rememberLocked(e.key)
		c.drop(e)
		return
	}
	e := c.kept.pop()
	if n := e.turns.Load(); n > 0 {
		e.turns.Store(n - 1)
		c.kept.push(e)
		return
	}
	c.drop(e)
}

func (c *Cache) drop(e *entry) {
	s := c.shard(e.key)
	s.mu.Lock()
	delete(s.entries, e.key)
	s.mu.Unlock()
	e.value.Store(nil)
	c.used.Add(-e.weight)
}

// rememberLocked notes a block that left; about as many are remembered as are
// kept.
func (c *Cache) rememberLocked(k partKey) {
	if len(c.left[0]) >= max(c.kept.n/2, minLeft) {
		c.left[0], c.left[1] = map[partKey]struct{}{}, c.left[0]
	}
	c.left[0][k] = struct{}{}
}

// remembersLocked reports whether the block left lately, and forgets it.
func (c *Cache) remembersLocked(k partKey) bool {
	for _, m := range c.left {
		if _, ok := m[k]; ok {
			delete(m, k)
			return true
		}
	}
	return false
}

// queue is a list of entries, first in, first out.
type queue struct {
	first, last *entry
	n           int
	weight      int64
}

func (q *queue) push(e *entry) {
	e.in, e.prev, e.next = q, q.last, nil
	if q.last == nil {
		q.first = e
	} else {
		q.last.next = e
	}
	q.last = e
	q.n++
	q.weight += e.weight
}

func (q *queue) pop() *entry {
	e := q.first
	q.remove(e)
	return e
}

func (q *queue) remove(e *entry) {
	if e.prev == nil {
		q.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.in, e.prev, e.next = nil, nil, nil
	q.n--
	q.weight -= e.weight
}
