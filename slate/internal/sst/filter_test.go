package sst

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// upTo takes the bytes up to and including the first slash as the prefix.
type upTo struct {
	name    string
	version uint32
}

func (u upTo) Name() string             { return u.name }
func (u upTo) Version() uint32          { return u.version }
func (u upTo) PrefixLen(key []byte) int { return bytes.IndexByte(key, '/') + 1 }

// The bytes of a filter with prefixes, as docs/FORMAT.md shows them: of four
// keys, the prefix "a/" (that of "b/" is the key itself), and 16 witnesses.
func TestPrefixFilterBytes(t *testing.T) {
	w := NewWriter(WriterOptions{MinFilterKeys: 1, Prefixer: upTo{"example", 1}})
	for i, k := range []string{"a/1", "a/2", "b/", "c"} {
		if err := w.Add(&format.Row{Key: []byte(k), Seq: uint64(9 - i)}); err != nil {
			t.Fatal(err)
		}
	}
	object, info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	part := object[info.FilterOffset : info.FilterOffset+info.FilterLen]
	got := hex.EncodeToString(part[:len(part)-4])
	const want = "00063600f50d2332ea5291b03482ba34ec055c4426ba939f8c1da36b94"
	if got != want {
		t.Errorf("filter\n got %s\nwant %s", got, want)
	}
	doc, err := os.ReadFile("../../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(doc)), ""), want) {
		t.Error("docs/FORMAT.md shows other bytes")
	}
	witnesses := format.PrefixWitnesses("example", 1)
	if witnesses[0] != format.BloomHash([]byte("stele.prefix\x00example\x00\x00\x00\x00\x01\x00")) ||
		witnesses[15] != format.BloomHash([]byte("stele.prefix\x00example\x00\x00\x00\x00\x01\x0f")) {
		t.Error("witnesses are not the hashes of their strings")
	}
	var hashes []uint64
	for _, s := range []string{"a/", "a/1", "a/2", "b/", "c"} {
		hashes = append(hashes, format.BloomHash([]byte(s)))
	}
	if again := format.BuildBloom(append(hashes, witnesses[:]...), 10).Append(nil); !bytes.Equal(again, part[:len(part)-4]) {
		t.Error("the filter is not that of keys, prefixes and witnesses")
	}
}

// A Writer that was reset writes what a new one does, in the memory it was given.
func TestWriterReset(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		opts := WriterOptions{
			MinFilterKeys: 1, BlockSize: 60, Prefixer: upTo{"upto", 1},
			Codec: rapid.SampledFrom([]format.Codec{format.None, format.Zstd}).Draw(rt, "codec"),
			WAL:   rapid.Bool().Draw(rt, "wal"),
		}
		rows := genRows(rt)
		for i := range rows {
			rows[i].Key = append([]byte("a/"), rows[i].Key...) // all of one prefix
		}
		if opts.WAL {
			slices.SortFunc(rows, func(a, b format.Row) int { return compare(a.Seq, b.Seq) })
		}
		write := func(w *Writer) ([]byte, format.SSTInfo) {
			for i := range rows {
				if err := w.Add(&rows[i]); err != nil {
					rt.Fatal(err)
				}
			}
			data, info, err := w.Finish()
			if err != nil {
				rt.Fatal(err)
			}
			return data, info
		}
		w := NewWriter(opts)
		data, info := write(w)
		buf := make([]byte, 0, 2*len(data))
		w.Reset(buf)
		again, same := write(w)
		if !bytes.Equal(data, again) || !reflect.DeepEqual(info, same) {
			rt.Fatalf("after Reset\n%x, %+v\nand before\n%x, %+v", again, same, data, info)
		}
		if &again[0] != &buf[:1][0] {
			rt.Fatal("the object does not lie in the memory that Reset was given")
		}
	})
}

// Only filters of the same extractor announce prefixes; others rule nothing out
// by a prefix, and still do by whole keys.
func TestWitnesses(t *testing.T) {
	var rows []format.Row
	for i := range 2000 {
		rows = append(rows, format.Row{Key: fmt.Appendf(nil, "t%03d/%d", i/20, i%20+10), Seq: 1})
	}
	wanted := upTo{"upto", 3}
	for name, c := range map[string]struct {
		made Prefixer
		bits int
		want bool
	}{
		"same":            {wanted, 10, true},
		"few bits":        {wanted, 6, true},
		"too few bits":    {wanted, 5, false},
		"older version":   {upTo{"upto", 2}, 10, false},
		"another name":    {upTo{"upto/", 3}, 10, false},
		"none, as others": {nil, 10, false},
	} {
		b, rec := put(t, rows, WriterOptions{MinFilterKeys: 1, Prefixer: c.made, BitsPerKey: c.bits})
		table := NewStore(b, NewCache(1<<20), StoreOptions{Prefixer: wanted}).Open(object, rec)
		f, _, err := table.meta(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if f.prefixes != c.want {
			t.Errorf("%s: announced %v, want %v", name, f.prefixes, c.want)
		}
		absent := 0
		for i := range 1000 {
			if f.mayContainPrefix(format.BloomHash(fmt.Appendf(nil, "x%03d/", i))) {
				absent++
			}
			if i < 100 && !f.mayContainPrefix(format.BloomHash(fmt.Appendf(nil, "t%03d/", i))) {
				t.Fatalf("%s: prefix %d is missing", name, i)
			}
		}
		if c.want != (absent < 200) || !c.want && absent != 1000 {
			t.Errorf("%s: %d of 1000 absent prefixes let through", name, absent)
		}
		for i := range rows {
			if !f.mayContain(format.BloomHash(rows[i].Key)) {
				t.Fatalf("%s: key %q is missing", name, rows[i].Key)
			}
		}
	}
}

// A filter without witnesses is never taken for one that has them.
func TestWitnessesByChance(t *testing.T) {
	w := format.PrefixWitnesses("upto", 1)
	for n := 0; n < 3000; n += 1 + n/64 {
		hashes := make([]uint64, n+1)
		for i := range hashes {
			hashes[i] = format.BloomHash(fmt.Appendf(nil, "%d of %d", i, n))
		}
		if format.BuildBloom(hashes, 10).Announces(&w) {
			t.Fatalf("a filter of %d keys holds all witnesses", n+1)
		}
	}
	if format.AnyKey.Announces(&w) || (*format.Bloom)(nil).Announces(&w) {
		t.Error("what holds every key announces prefixes")
	}
}

// The prefix of a range is one that every key within it has.
func TestCoveringPrefix(t *testing.T) {
	store := NewStore(bucket.NewInMemBucket(), nil, StoreOptions{Prefixer: upTo{"upto", 1}})
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{'.', '/', '0', 'a', 0xff}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		begin := append(key.Draw(t, "begin"), '/')
		begin = begin[:upTo{}.PrefixLen(begin)]
		end := append(slices.Clip(begin[:len(begin)-1]), '/'+1)
		near := func(what string) []byte {
			if rapid.Bool().Draw(t, what+" near") {
				return append(slices.Clip(begin), key.Draw(t, what)...)
			}
			return key.Draw(t, what)
		}
		lower, upper := near("lower"), near("upper")
		if rapid.Bool().Draw(t, "to the end") {
			upper = end
		}
		p := store.CoveringPrefix(lower, upper)
		if within := bytes.HasPrefix(lower, begin) && (bytes.HasPrefix(upper, begin) || bytes.Equal(upper, end)); within && !bytes.Equal(p, begin) {
			t.Fatalf("[%q, %q) has the prefix %q, want %q", lower, upper, p, begin)
		}
		k := near("key")
		if p != nil && bytes.Compare(k, lower) >= 0 && bytes.Compare(k, upper) < 0 && !bytes.Equal(k[:upTo{}.PrefixLen(k)], p) {
			t.Fatalf("%q is in [%q, %q), of prefix %q", k, lower, upper, p)
		}
	})
	for _, c := range []struct{ lower, upper, want string }{
		{"a/", "a0", "a/"},
		{"a/x", "a0", "a/"},
		{"a/x", "a/y", "a/"},
		{"a/x", "a/x\x00", "a/"},
		{"a/", "b", ""},
		{"a/", "a00", ""},
		{"a", "a0", ""},
		{"", "a0", ""},
		{"a\xff/", "a\xff0", "a\xff/"},
	} {
		if got := string(store.CoveringPrefix([]byte(c.lower), []byte(c.upper))); got != c.want {
			t.Errorf("[%q, %q): %q, want %q", c.lower, c.upper, got, c.want)
		}
	}
	if p := store.CoveringPrefix([]byte("a/"), nil); p != nil {
		t.Errorf("a range without end has the prefix %q", p)
	}
	last := NewStore(bucket.NewInMemBucket(), nil, StoreOptions{Prefixer: all{}})
	if p := last.CoveringPrefix([]byte("\xff\xff"), []byte("\xff\xff\x01")); string(p) != "\xff\xff" {
		t.Errorf("prefix of the highest keys is %q", p)
	}
}

// all takes the first two bytes.
type all struct{}

func (all) Name() string    { return "all" }
func (all) Version() uint32 { return 0 }
func (all) PrefixLen(key []byte) int {
	if len(key) < 2 {
		return 0
	}
	return 2
}

// A scan within a prefix that an SST does not have reads its filter and no
// block; with one that it has, it gives the same rows as without filters.
func TestPrefixScans(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := genRows(rt)
		for i := range rows {
			if n := len(rows[i].Key); n > 1 {
				rows[i].Key[n/2] = '/'
			}
		}
		slices.SortFunc(rows, func(a, b format.Row) int {
			if c := bytes.Compare(a.Key, b.Key); c != 0 {
				return c
			}
			return -compare(a.Seq, b.Seq)
		})
		rows = slices.CompactFunc(rows, func(a, b format.Row) bool { return bytes.Equal(a.Key, b.Key) && a.Seq == b.Seq })
		opts := WriterOptions{MinFilterKeys: 1, BlockSize: 60, Prefixer: upTo{"upto", 1}}
		if rapid.Bool().Draw(rt, "made without") {
			opts.Prefixer = nil
		}
		b, rec := put(t, rows, opts)
		store := NewStore(b, NewCache(rapid.SampledFrom([]int64{0, 1 << 20}).Draw(rt, "cache")), StoreOptions{Prefixer: upTo{"upto", 1}})
		table := store.Open(object, rec)
		for range 10 {
			lower := rapid.SampledFrom(rows).Draw(rt, "row").Key
			if rapid.Bool().Draw(rt, "absent") {
				lower = append([]byte("absent"), lower...)
			}
			n := upTo{}.PrefixLen(lower)
			if n == 0 {
				continue
			}
			r := format.KeyRange{Start: format.Bound{Kind: format.Included, Key: lower}, End: format.Bound{Kind: format.Excluded, Key: append(bytes.Clone(lower[:n-1]), '/'+1)}}
			var want []format.Row
			for i := range rows {
				if r.Contains(rows[i].Key) {
					want = append(want, rows[i])
				}
			}
			reverse := rapid.Bool().Draw(rt, "reverse")
			if reverse {
				slices.Reverse(want)
			}
			prefix := store.CoveringPrefix(lower, r.End.Key)
			if prefix == nil {
				rt.Fatalf("[%q, %q) has no prefix", lower, r.End.Key)
			}
			it := table.Iter(IterOptions{Lower: lower, Upper: r.End.Key, Reverse: reverse, Prefix: prefix})
			if rapid.Bool().Draw(rt, "primed") {
				it.Prime(t.Context())
			}
			wantRows(rt, drain(t, it), want)
		}
	})
}
