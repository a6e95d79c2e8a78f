package sst

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/stele-db/stele/slate/internal/format"
)

// warmRead is the most bytes that warming fetches in one request.
const warmRead = 1 << 20

// Fill puts metadata of the table, and its blocks if so asked, into the cache,
// from object, which has just been written and is not kept. Nobody has asked
// for them yet: when the cache is full they wait among the new blocks, and push
// nothing out that is in use.
func (t *Table) Fill(object []byte, blocks bool) {
	c, info := t.store.cache, &t.sst.Info
	if c == nil {
		return
	}
	part := func(from, n uint64) []byte { return object[from : from+n] }
	index, err := t.decodeIndex(part(info.IndexOffset, info.IndexLen), false)
	if err != nil {
		return // who reads the object will be told
	}
	for i := 0; blocks && i < index.Len(); i++ {
		from := index.Offset(i)
		if b, err := t.decodeBlock(index, i, part(from, index.Offset(i+1)-from), true); err == nil {
			c.put(t.sst.ID, from, b, waiting)
		}
	}
	if info.FilterLen > 0 {
		if f, err := t.decodeFilter(part(info.FilterOffset, info.FilterLen), false); err == nil {
			c.put(t.sst.ID, info.FilterOffset, f, waiting)
		}
	}
	c.put(t.sst.ID, info.IndexOffset, index, waiting)
}

// Warming is the warming of any number of tables, which may go on at the same
// time. It ends where it would take more than the part of the cache's budget
// that is not for what passes through.
type Warming struct {
	room atomic.Int64
	held atomic.Int64
}

// NewWarming returns a Warming of the store's tables.
func (s *Store) NewWarming() *Warming {
	w := &Warming{}
	if s.cache != nil {
		w.room.Store(s.cache.budget - s.cache.budget/freshShare)
	}
	return w
}

// Full reports whether the room has ended before the tables have.
func (w *Warming) Full() bool { return w.room.Load() < 0 }

// Held returns how many bytes the cache holds of what was warmed, those that
// were there before among them.
func (w *Warming) Held() int64 { return w.held.Load() }

// hold counts a part and reports whether there was room for it.
func (w *Warming) hold(v any) bool {
	n, _ := weigh(v)
	if w.room.Add(-n) < 0 {
		return false
	}
	w.held.Add(n)
	return true
}

// WarmMeta brings filter and index into the cache, in one request at most where
// they lie side by side. Errors are those of Get.
func (t *Table) WarmMeta(ctx context.Context, w *Warming) error {
	if w.Full() {
		return nil
	}
	f, index, err := t.meta(ctx, true)
	if err != nil || !w.hold(index) {
		return err
	}
	t.store.cache.put(t.sst.ID, t.sst.Info.IndexOffset, index, staying)
	if f != nil && w.hold(f) {
		t.store.cache.put(t.sst.ID, t.sst.Info.FilterOffset, f, staying)
	}
	return nil
}

// WarmBlocks brings the blocks that may hold keys in [lower, upper) into the
// cache, those side by side with a request for each warmRead bytes. Errors are
// those of Get.
func (t *Table) WarmBlocks(ctx context.Context, lower, upper []byte, w *Warming) error {
	it := t.Iter(IterOptions{Lower: lower, Upper: upper})
	if it.done || w.Full() {
		return nil
	}
	index, err := t.indexOnly(ctx, true)
	if err != nil {
		return err
	}
	it.begin(index)
	var win window
	for i := it.next; i <= it.last; i++ {
		b, err := t.block(ctx, index, i, it.last, warmRead, false, &win)
		if err != nil || !w.hold(b) {
			return err
		}
		t.store.cache.put(t.sst.ID, index.Offset(i), b, staying)
	}
	return ctx.Err()
}

// Evict drops from the cache the blocks that may hold keys in [lower, upper),
// and filter and index too if the table has no other keys. It returns how many
// bytes that frees. Blocks are found by the index: without it they stay.
func (t *Table) Evict(lower, upper []byte) (freed int64) {
	it := t.Iter(IterOptions{Lower: lower, Upper: upper})
	if it.done {
		return 0
	}
	c, id := t.store.cache, t.sst.ID
	if index := t.cachedIndex(); index != nil {
		it.begin(index)
		for i := it.next; i <= it.last; i++ {
			freed += c.remove(id, index.Offset(i))
		}
	}
	if t.within(lower, upper) {
		freed += c.remove(id, t.sst.Info.IndexOffset) + c.remove(id, t.sst.Info.FilterOffset)
	}
	return freed
}

// within reports whether all keys of the table lie in [lower, upper).
func (t *Table) within(lower, upper []byte) bool {
	start, end := t.visible.Start, t.visible.End
	return bytes.Compare(lower, start.Key) <= 0 &&
		(upper == nil || end.Kind != format.Unbounded && bytes.Compare(end.Key, upper) < 0)
}
