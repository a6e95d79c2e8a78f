package conflict_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/internal/conflict"
)

func keysOf(keys ...string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, k := range keys {
			if !yield([]byte(k)) {
				return
			}
		}
	}
}

// all lists what lies behind m as key@seq.
func all(h *conflict.History, m conflict.Mark, start uint64) (string, error) {
	var out []string
	for {
		// Find tells the seq of a hit only, so look for one after the other.
		n := 0
		key, seq, _, err := h.Find(m, start, func([]byte) bool { n++; return n > len(out) })
		if key == nil || err != nil {
			return strings.Join(out, " "), err
		}
		out = append(out, fmt.Sprintf("%s@%d", key, seq))
	}
}

func TestHistory(t *testing.T) {
	h := conflict.New(1 << 20)
	if h.Open() {
		t.Error("open without a transaction")
	}
	a := h.Begin()
	h.Written(5, keysOf("x", "y"))
	b := h.Begin()
	h.Written(9, keysOf("z"))
	for _, c := range []struct {
		m     conflict.Mark
		start uint64
		want  string
	}{{a, 0, "x@5 y@5 z@9"}, {a, 4, "x@5 y@5 z@9"}, {a, 5, "z@9"}, {a, 9, ""}, {b, 0, "z@9"}} {
		if got, err := all(h, c.m, c.start); got != c.want || err != nil {
			t.Errorf("above %d: %q, %v; want %q", c.start, got, err, c.want)
		}
	}
	_, _, end, err := h.Find(a, 0, func([]byte) bool { return false })
	h.Written(12, keysOf("w"))
	if got, _ := all(h, end, 0); got != "w@12" || err != nil {
		t.Errorf("a second look finds %q, %v", got, err)
	}
	h.End(a)
	if got, err := all(h, b, 0); got != "z@9 w@12" || err != nil {
		t.Errorf("after another has ended: %q, %v", got, err)
	}
	h.End(b)
	if h.Open() {
		t.Error("open after the last has ended")
	}
	c := h.Begin()
	h.Written(20, keysOf("v"))
	if got, err := all(h, c, 0); got != "v@20" || err != nil {
		t.Errorf("a later one finds %q, %v", got, err)
	}
}

// A history that is too small forgets its oldest keys and says so; what is
// behind a younger mark it still has.
func TestHistoryForgets(t *testing.T) {
	h := conflict.New(400)
	old := h.Begin()
	var young conflict.Mark
	for i := range uint64(100) {
		if i == 97 {
			young = h.Begin()
		}
		h.Written(i+1, keysOf(fmt.Sprintf("key%02d", i)))
	}
	if _, err := all(h, old, 0); !errors.Is(err, conflict.ErrForgotten) {
		t.Errorf("the old mark: %v", err)
	}
	if got, err := all(h, young, 0); got != "key97@98 key98@99 key99@100" || err != nil {
		t.Errorf("the young mark: %q, %v", got, err)
	}
	h.End(old)
	if got, err := all(h, young, 98); got != "key98@99 key99@100" || err != nil {
		t.Errorf("the young mark, after the old one is gone: %q, %v", got, err)
	}
	last := h.Begin()
	h.Written(101, keysOf(strings.Repeat("k", 1000)))
	if _, err := all(h, last, 0); !errors.Is(err, conflict.ErrForgotten) {
		t.Errorf("a write larger than all of it: %v", err)
	}
}

// Any number of transactions begin, look and end beside a writer.
func TestHistoryConcurrent(t *testing.T) {
	h := conflict.New(100_000)
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
				m := h.Begin()
				place, last := m, uint64(0)
				for range 5 {
					_, _, end, err := h.Find(place, 0, func(key []byte) bool {
						var n uint64
						if _, err := fmt.Sscan(string(key), &n); err != nil || last != 0 && n != last+1 {
							t.Errorf("%q after %d: %v", key, last, err)
						}
						last = n
						return false
					})
					if err != nil {
						break
					}
					place = end
				}
				h.End(m)
			}
		})
	}
	for i := range uint64(10_000) {
		h.Written(i+1, keysOf(fmt.Sprint(i+1)))
	}
	close(stop)
	wg.Wait()
}

// Keys holds at least what was added, and, as long as it has room, nothing else.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := conflict.Keys{Limit: rapid.SampledFrom([]int{0, 0, 300, 3000}).Draw(t, "limit")}
		key := rapid.Custom(func(t *rapid.T) []byte {
			return rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 4).Draw(t, "key")
		})
		type added struct{ lower, upper []byte }
		var model []added
		for range rapid.IntRange(0, 300).Draw(t, "adds") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				lower, upper := key.Draw(t, "lower"), key.Draw(t, "upper")
				if rapid.IntRange(0, 9).Draw(t, "unbounded") == 0 {
					upper = nil
				}
				s.AddRange(lower, upper)
				model = append(model, added{bytes.Clone(lower), bytes.Clone(upper)})
				clear(lower)
				clear(upper)
			case 1:
				s.Contains(key.Draw(t, "asked"))
			default:
				k := key.Draw(t, "single")
				s.Add(k)
				model = append(model, added{bytes.Clone(k), append(bytes.Clone(k), 0)})
				clear(k)
			}
		}
		for range 50 {
			k := key.Draw(t, "probe")
			want := slices.ContainsFunc(model, func(a added) bool {
				return bytes.Compare(k, a.lower) >= 0 && (a.upper == nil || bytes.Compare(k, a.upper) < 0)
			})
			if got := s.Contains(k); got != want && (want || s.Limit == 0) {
				t.Fatalf("contains %q: %v, want %v", k, got, want)
			}
		}
	})
}

// A Keys with a limit stays small, whatever is added, and knows it all.
func TestKeysBounded(t *testing.T) {
	s := conflict.Keys{Limit: 10_000}
	rng := rand.New(rand.NewPCG(1, 2))
	var drawn [][]byte
	for range 20_000 {
		k := fmt.Appendf(nil, "k%06d", rng.IntN(100_000)*2)
		drawn = append(drawn, k)
		s.Add(k)
		if got := s.Bytes(); got > s.Limit+100 {
			t.Fatalf("%d bytes", got)
		}
	}
	for _, k := range drawn {
		if !s.Contains(k) {
			t.Fatalf("lost %q", k)
		}
	}
	if s.Contains([]byte("j")) || s.Contains([]byte("l")) {
		t.Error("contains what lies beyond all keys")
	}
	// The same few keys again and again take the room of a few keys.
	few := conflict.Keys{Limit: 10_000}
	for i := range 100_000 {
		few.Add(fmt.Appendf(nil, "k%02d", i%20*2))
	}
	for i := range 20 {
		if !few.Contains(fmt.Appendf(nil, "k%02d", i*2)) || few.Contains(fmt.Appendf(nil, "k%02d", i*2+1)) {
			t.Fatalf("key %d or its neighbour", i)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	h := conflict.New(16 << 20)
	m := h.Begin()
	for i := range uint64(10_000) {
		h.Written(i+1, keysOf(fmt.Sprintf("user%012d", i*7919%10_000)))
	}
	var s conflict.Keys
	for i := range 10 {
		s.Add(fmt.Appendf(nil, "other%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if key, _, _, err := h.Find(m, 0, s.Contains); key != nil || err != nil {
			b.Fatal(key, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/key")
}
