package sorted_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv/internal/sorted"
)

// TestModel compares a map and clones of it with plain Go maps, at sizes that
// make the tree deeper than one node.
func TestModel(t *testing.T) {
	genKey := rapid.StringMatching(`[a-e]{1,4}`)
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			m     *sorted.Map[int]
			model map[string]int
		}
		versions := []version{{sorted.New[int](), map[string]int{}}}
		for step := range rapid.IntRange(0, 400).Draw(t, "steps") {
			v := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "version")]
			key := genKey.Draw(t, "key")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				versions = append(versions, version{v.m.Clone(), maps.Clone(v.model)})
			case 1, 2, 3:
				v.m.Delete([]byte(key))
				delete(v.model, key)
			default:
				v.m.Set([]byte(key), step)
				v.model[key] = step
			}
		}
		r := kv.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
		if rapid.Bool().Draw(t, "has lower") {
			r.Lower = []byte(genKey.Draw(t, "lower"))
		}
		if rapid.Bool().Draw(t, "has upper") {
			r.Upper = []byte(genKey.Draw(t, "upper"))
		}
		for _, v := range versions {
			var got, want []string
			for key, value := range v.m.Scan(r) {
				if value != v.model[string(key)] {
					t.Fatalf("%s is %d, want %d", key, value, v.model[string(key)])
				}
				got = append(got, string(key))
			}
			for _, key := range slices.Sorted(maps.Keys(v.model)) {
				if key >= string(r.Lower) && (r.Upper == nil || key < string(r.Upper)) {
					want = append(want, key)
				}
			}
			if r.Reverse {
				slices.Reverse(want)
			}
			if !slices.Equal(got, want) || v.m.Len() != len(v.model) {
				t.Fatalf("range %q..%q: %s, want %s", r.Lower, r.Upper, strings.Join(got, " "), strings.Join(want, " "))
			}
		}
	})
}

func TestCursorStaysAtTheEnd(t *testing.T) {
	m := sorted.New[int]()
	m.Set([]byte("a"), 1)
	m.Set([]byte("b"), 2)
	for _, reverse := range []bool{false, true} {
		c := m.Cursor(kv.Range{Lower: []byte("a"), Upper: []byte("b"), Reverse: reverse})
		if !c.Next() || string(c.Key()) != "a" || c.Value() != 1 {
			t.Fatalf("first key %q", c.Key())
		}
		for range 3 {
			if c.Next() {
				t.Fatalf("after the end comes %q", c.Key())
			}
		}
	}
}
