// Package sorted is a sorted map with byte-slice keys whose copies are cheap:
// the store of memkv and the pending writes of a transaction.
package sorted

import (
	"bytes"
	"iter"

	"github.com/tidwall/btree"

	"github.com/stele-db/stele/kv"
)

// Map is a sorted map. Reads of one map may run concurrently as long as nothing
// changes or clones it. It keeps the slices it is given and hands them out:
// neither side may change them.
type Map[V any] struct {
	tree *btree.BTreeG[item[V]]
}

type item[V any] struct {
	key   []byte
	value V
}

// New returns an empty map.
func New[V any]() *Map[V] {
	less := func(a, b item[V]) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &Map[V]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// Clone returns a copy that shares its memory with m until one of them changes.
// It takes the same time whatever the size.
func (m *Map[V]) Clone() *Map[V] { return &Map[V]{m.tree.Copy()} }

// Len returns the number of keys.
func (m *Map[V]) Len() int { return m.tree.Len() }

// Get returns the value of key, and whether it is there.
func (m *Map[V]) Get(key []byte) (V, bool) {
	it, ok := m.tree.Get(item[V]{key: key})
	return it.value, ok
}

// Set sets key to value.
func (m *Map[V]) Set(key []byte, value V) { m.tree.Set(item[V]{key, value}) }

// Delete removes key if it is there.
func (m *Map[V]) Delete(key []byte) { m.tree.Delete(item[V]{key: key}) }

// Scan yields the keys of r and their values in order. The map must not change
// while it runs; scan a clone to be free of that.
func (m *Map[V]) Scan(r kv.Range) iter.Seq2[[]byte, V] {
	return func(yield func([]byte, V) bool) {
		for c := m.Cursor(r); c.Next(); {
			if !yield(c.Key(), c.Value()) {
				return
			}
		}
	}
}

// Cursor walks a range of a map. It starts before the first key.
type Cursor[V any] struct {
	r       kv.Range
	it      btree.IterG[item[V]]
	started bool
	empty   bool
}

// Cursor returns a cursor over r. The map must not change while it is used.
func (m *Map[V]) Cursor(r kv.Range) *Cursor[V] {
	c := &Cursor[V]{r: r, empty: r.Empty() || m.Len() == 0}
	c.it.Init(m.tree, false)
	return c
}

// Next moves to the next key, and reports whether there is one. Once it has
// returned false, it goes on doing so.
func (c *Cursor[V]) Next() bool {
	c.empty = c.empty || !c.move()
	return !c.empty
}

// Key returns the current key, and Value its value.
func (c *Cursor[V]) Key() []byte { return c.it.Item().key }

// Value returns the current key's value.
func (c *Cursor[V]) Value() V { return c.it.Item().value }

func (c *Cursor[V]) move() bool {
	switch {
	case c.started && c.r.Reverse:
		return c.it.Prev() && c.r.Contains(c.Key())
	case c.started:
		return c.it.Next() && c.r.Contains(c.Key())
	}
	c.started = true
	return c.first() && c.r.Contains(c.Key())
}

func (c *Cursor[V]) first() bool {
	switch {
	case !c.r.Reverse && c.r.Lower == nil:
		return c.it.First()
	case !c.r.Reverse:
		return c.it.Seek(item[V]{key: c.r.Lower})
	case c.r.Upper != nil && c.it.Seek(item[V]{key: c.r.Upper}):
		return c.it.Prev()
	default:
		return c.it.Last()
	}
}
