package sst

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/internal/format"
)

// Whatever is added, used, moved and removed: the queues hold what can be looked
// up, what they weigh is within the budget, and what was removed is gone.
func TestCacheKeepsCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCache(40 * entryOverhead)
		id := format.ULID{1}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			offset := uint64(rapid.IntRange(0, 60).Draw(t, "part"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				c.get(id, offset)
			case 1:
				held := c.has(id, offset)
				if n := c.remove(id, offset); (n > 0) != held || c.has(id, offset) {
					t.Fatalf("removed %d bytes of a part that was there: %v", n, held)
				}
			default:
				var v any = offset // weighs entryOverhead
				if offset%5 == 0 {
					v = format.AnyKey
				}
				if offset%10 == 0 {
					v = &filter{bloom: format.AnyKey} // metadata
				}
				at := place(rapid.IntRange(0, int(staying)).Draw(t, "place"))
				if e := c.put(id, offset, v, at); e == nil || e.get() == nil {
					t.Fatal("a part that fits is not there")
				}
			}
			n, weight := 0, int64(0)
			for _, q := range []*queue{&c.fresh, &c.kept} {
				var last *entry
				for e := q.first; e != nil; last, e = e, e.next {
					if e.in != q || e.prev != last || c.lookup(e.key.id, e.key.offset) != e {
						t.Fatal("an entry is not where it should be")
					}
					n, weight = n+1, weight+e.weight
				}
				if q.last != last {
					t.Fatal("the last entry is another")
				}
			}
			entries := 0
			for i := range c.shards {
				entries += len(c.shards[i].entries)
			}
			if n != entries || n != c.fresh.n+c.kept.n || weight != c.Bytes() || weight != c.fresh.weight+c.kept.weight || weight > c.budget {
				t.Fatalf("%d entries of %d bytes in queues, %d can be looked up, %d bytes counted", n, weight, entries, c.Bytes())
			}
		}
	})
}

// New SSTs with their blocks pass through a full cache and push nothing out that
// is in use; what is warmed then stays beside it.
func TestFillPassesThrough(t *testing.T) {
	const budget = 1 << 20
	cache := NewCache(budget)
	rows := sequence(20_000)
	b, tables, _, _ := many(t, 12, rows, cache, StoreOptions{})
	hot := func(table *Table, want int64) {
		t.Helper()
		before := b.gets.Load()
		for i := 0; i < len(rows)/2; i += 10 {
			mustGet(t, table, &rows[i])
		}
		if n := b.gets.Load() - before; n != want {
			t.Errorf("%d requests, want %d", n, want)
		}
	}
	drain(t, tables[0].Iter(IterOptions{Upper: rows[len(rows)/2].Key})) // fills
	for range 3 {
		for i := 0; i < len(rows)/2; i += 10 {
			mustGet(t, tables[0], &rows[i])
		}
	}
	hot(tables[0], 0)
	for _, table := range tables[1:] {
		object, err := b.Get(t.Context(), table.Object())
		if err != nil {
			t.Fatal(err)
		}
		table.Fill(object, true)
		if n := cache.Bytes(); n > budget {
			t.Errorf("the cache holds %d bytes of %d", n, budget)
		}
	}
	hot(tables[0], 0)
	last := tables[len(tables)-1]
	if f, ok := last.cachedFilter(); !ok || last.cachedIndex() == nil || f == nil {
		t.Error("the metadata of the SST that came last is not there")
	}

	w := last.store.NewWarming()
	err := last.WarmBlocks(t.Context(), nil, rows[len(rows)/4].Key, w)
	if err != nil || w.Full() || w.Held() == 0 {
		t.Fatalf("held %d, full %v, %v", w.Held(), w.Full(), err)
	}
	before := b.gets.Load()
	drain(t, last.Iter(IterOptions{Upper: rows[len(rows)/4].Key, NoFill: true}))
	if n := b.gets.Load() - before; n != 0 {
		t.Errorf("scan of what is warm: %d requests", n)
	}
	hot(tables[0], 0)
}

// What is warmed and fits is there, though the filters of other SSTs, which nobody
// uses any more, came before it.
func TestWarmedStays(t *testing.T) {
	const budget = 1 << 20
	c := NewCache(budget)
	w := NewWriter(WriterOptions{})
	if err := w.Add(&format.Row{Key: []byte("k"), Value: make([]byte, 4000), Seq: 1}); err != nil {
		t.Fatal(err)
	}
	data, _, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := f.Block(0)
	if err != nil {
		t.Fatal(err)
	}
	other := &filter{bloom: format.BuildBloom(make([]uint64, 3000), 10)}
	weight, _ := weigh(other)
	for i := int64(0); i*weight < budget/3; i++ {
		c.set(format.ULID{1}, uint64(i), other)
	}
	var warm Warming
	warm.room.Store(budget - budget/freshShare)
	weight, _ = weigh(block)
	n := uint64(0)
	for ; int64(n+1)*weight <= budget*8/10 && warm.hold(block); n++ {
		c.put(format.ULID{2}, n, block, staying)
	}
	if warm.Full() {
		t.Fatalf("full after %d blocks", n)
	}
	for i := range n {
		if !c.has(format.ULID{2}, i) {
			t.Errorf("block %d of %d is gone", i, n)
		}
	}
}
