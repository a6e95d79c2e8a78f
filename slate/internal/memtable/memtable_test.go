package memtable

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/internal/format"
)

func drain(t testing.TB, it *Iter) []string {
	var out []string
	for {
		r, err := it.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return out
		}
		out = append(out, fmt.Sprintf("%x@%d=%x", r.Key, r.Seq, r.Value))
	}
}

// The table is a sorted list of versions, seen from either end, between any
// bounds.
func TestTableIsASortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := New(rapid.Uint64().Draw(rt, "seed"))
		keys := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 6), 1, 60).Draw(rt, "keys")
		var model []format.Row
		for i, k := range keys {
			r := format.Row{Key: k, Value: []byte(fmt.Sprint(i)), Seq: uint64(i + 1), HasCreate: true, CreateTS: int64(i)}
			model = append(model, r)
			ref := tab.Add(&r)
			var back format.Row
			tab.Row(ref, &back)
			if !bytes.Equal(back.Key, k) || back.Seq != r.Seq || back.CreateTS != r.CreateTS || back.HasExpire {
				rt.Fatalf("row came back as %+v", back)
			}
		}
		slices.SortFunc(model, func(a, b format.Row) int {
			return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(b.Seq, a.Seq))
		})
		bound := rapid.Ptr(rapid.SliceOfN(rapid.Byte(), 0, 3), true)
		lo, hi := bound.Draw(rt, "lo"), bound.Draw(rt, "hi")
		var lower, upper []byte
		if lo != nil {
			lower = append([]byte{}, *lo...)
		}
		if hi != nil {
			upper = append([]byte{}, *hi...)
		}
		var want []string
		for _, r := range model {
			if lower != nil && bytes.Compare(r.Key, lower) < 0 || upper != nil && bytes.Compare(r.Key, upper) >= 0 {
				continue
			}
			want = append(want, fmt.Sprintf("%x@%d=%x", r.Key, r.Seq, r.Value))
		}
		if got := drain(rt2t(rt, t), tab.Iter(lower, upper, false)); !slices.Equal(got, want) {
			rt.Fatalf("forward\n got %v\nwant %v", got, want)
		}
		slices.Reverse(want)
		if got := drain(rt2t(rt, t), tab.Iter(lower, upper, true)); !slices.Equal(got, want) {
			rt.Fatalf("reverse\n got %v\nwant %v", got, want)
		}
		seq := rapid.Uint64Range(0, uint64(len(keys))).Draw(rt, "at")
		for _, k := range keys {
			var row format.Row
			found := tab.Get(k, seq, &row)
			i := slices.IndexFunc(model, func(r format.Row) bool { return bytes.Equal(r.Key, k) && r.Seq <= seq })
			if found != (i >= 0) || found && row.Seq != model[i].Seq {
				rt.Fatalf("get %x at %d: found %v seq %d", k, seq, found, row.Seq)
			}
		}
	})
}

func rt2t(_ *rapid.T, t *testing.T) testing.TB { return t }

// Values larger than a chunk, and many chunks, keep their bytes.
func TestLargeValues(t *testing.T) {
	tab := New(1)
	var refs []Ref
	for i := range 20 {
		v := bytes.Repeat([]byte{byte(i)}, 300_000*(i%6)+1)
		refs = append(refs, tab.Add(&format.Row{Key: []byte{byte(i)}, Value: v, Seq: uint64(i + 1)}))
	}
	for i, ref := range refs {
		var r format.Row
		tab.Row(ref, &r)
		if len(r.Value) != 300_000*(i%6)+1 || r.Value[len(r.Value)-1] != byte(i) || r.Key[0] != byte(i) {
			t.Errorf("row %d came back damaged", i)
		}
	}
}

// Readers run beside the writer without locks; under -race this is the proof.
func TestReadersBesideTheWriter(t *testing.T) {
	tab := New(7)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var prev []byte
				it := tab.Iter(nil, nil, false)
				for r, _ := it.Next(t.Context()); r != nil; r, _ = it.Next(t.Context()) {
					if bytes.Compare(prev, r.Key) > 0 {
						t.Errorf("%q after %q", r.Key, prev)
						return
					}
					prev = append(prev[:0], r.Key...)
				}
			}
		})
	}
	n := 20_000
	if testing.Short() {
		n = 5_000
	}
	for i := range n {
		k := fmt.Appendf(nil, "%08d", (i*7919)%20_000)
		tab.Add(&format.Row{Key: k, Value: k, Seq: uint64(i + 1)})
	}
	close(stop)
	wg.Wait()
}

func BenchmarkAdd(b *testing.B) {
	tab := New(1)
	val := make([]byte, 84)
	key := make([]byte, 16)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		copy(key, fmt.Appendf(key[:0], "%016d", i*7919%100_000_007))
		tab.Add(&format.Row{Key: key, Value: val, Seq: uint64(i)})
		if tab.Size() > 64<<20 {
			tab = New(1)
		}
	}
}

// TestGetBesideSmallerKeys: a row that is there is found while the writer adds
// rows right before it.
func TestGetBesideSmallerKeys(t *testing.T) {
	table := New(1)
	last := []byte("z")
	table.Add(&format.Row{Key: last, Kind: format.Value, Seq: 1})
	done := make(chan struct{})
	n := uint64(300_000)
	if testing.Short() {
		n = 50_000
	}
	go func() {
		defer close(done)
		for i := range n {
			table.Add(&format.Row{Key: fmt.Appendf(nil, "k%08d", i), Kind: format.Value, Seq: i + 2})
		}
	}()
	var row format.Row
	for {
		if !table.Get(last, 1, &row) {
			t.Fatal("the row was not found")
		}
		it := table.Iter(last, nil, false)
		if r, _ := it.Next(t.Context()); r == nil || !bytes.Equal(r.Key, last) {
			t.Fatalf("a scan from %q began with %v", last, r)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// Batches, each in order, in any order among themselves, with keys longer than
// a chunk of nodes: the shortcut from the row before leads to the same list.
func TestSortedBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := New(rapid.Uint64().Draw(rt, "seed"))
		var want []format.Row
		seq := uint64(0)
		for range rapid.IntRange(1, 20).Draw(rt, "batches") {
			seq++
			batch := rapid.SliceOfNDistinct(rapid.Uint16Range(0, 300), 1, 40, rapid.ID).Draw(rt, "batch")
			slices.Sort(batch)
			for _, k := range batch {
				key := fmt.Appendf(nil, "%05d", k)
				if k%100 == 0 {
					key = append(key, make([]byte, 60_000)...)
				}
				r := format.Row{Key: key, Value: key[:1+k%5], Seq: seq, HasExpire: k%2 == 0, ExpireTS: int64(k), HasCreate: k%3 == 0, CreateTS: -int64(seq)}
				if !r.HasExpire {
					r.ExpireTS = 0
				}
				if !r.HasCreate {
					r.CreateTS = 0
				}
				tab.Add(&r)
				want = append(want, r)
			}
		}
		slices.SortFunc(want, func(a, b format.Row) int {
			return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(b.Seq, a.Seq))
		})
		for _, reverse := range []bool{false, true} {
			it := tab.Iter(nil, nil, reverse)
			for i := range want {
				if reverse {
					i = len(want) - 1 - i
				}
				r, err := it.Next(context.Background())
				if err != nil || r == nil || !reflect.DeepEqual(*r, want[i]) {
					rt.Fatalf("row %d, reverse %v: got %+v, want %+v", i, reverse, r, want[i])
				}
			}
			if r, _ := it.Next(context.Background()); r != nil {
				rt.Fatalf("one row too many: %+v", r)
			}
		}
	})
}

// A table that is not full has references for a batch of 1 GiB of the most
// awkward values: those of which one fills a chunk and two do not fit.
func TestFull(t *testing.T) {
	tab := New(1)
	v := make([]byte, maxData/2+1)
	n := 0
	for ; !tab.Full(); n++ {
		// The chunk is dropped as soon as it is there: a reference is all that counts.
		tab.data.alloc(len(v))
		dir := *tab.data.dir.Load()
		dir[len(dir)-1] = dir[len(dir)-1][:0:0]
	}
	if left := maxChunks - len(*tab.data.dir.Load()); n == 0 || left*len(v) < 1<<30 {
		t.Errorf("full with %d strings; %d chunks are left", n, left)
	}
	chunks := make([][]atomic.Uint32, 1<<(32-wordBits)/2)
	tab = New(1)
	tab.nodes.dir.Store(&chunks)
	if !tab.Full() {
		t.Error("not full with half of all nodes")
	}
}

// A row without key bytes or value bytes to store finds its place behind one that
// fills a chunk to its last byte.
func TestEmptyBehindAFullChunk(t *testing.T) {
	for _, size := range []int{maxData, 3 * maxData} {
		tab := New(1)
		tab.Add(&format.Row{Key: []byte("a"), Value: make([]byte, size), Kind: format.Value, Seq: 1})
		ref := tab.Add(&format.Row{Key: []byte("b"), Kind: format.Tombstone, Seq: 2})
		var r format.Row
		if tab.Row(ref, &r); string(r.Key) != "b" || r.Kind != format.Tombstone {
			t.Errorf("behind %d bytes: %+v", size, r)
		}
		if !tab.Get([]byte("a"), 9, &r) || len(r.Value) != size {
			t.Errorf("the %d bytes: %d", size, len(r.Value))
		}
	}
}
