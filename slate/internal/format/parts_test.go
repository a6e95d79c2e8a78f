package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The hash is SipHash-1-3 with a zero key; the values are those of Rust's
// siphasher crate, by way of the filters in the bundled databases, which
// TestRewriteFixtures of package sst rebuilds bit by bit.
func TestBloom(t *testing.T) {
	if BloomHash(nil) == BloomHash([]byte{0}) || BloomHash([]byte("12345678")) == BloomHash([]byte("1234567")) {
		t.Error("hashes collide")
	}
	var hashes []uint64
	for i := range 10000 {
		hashes = append(hashes, BloomHash(fmt.Appendf(nil, "key%d", i)))
	}
	built := BuildBloom(hashes, 10)
	f, err := DecodeFilter(built.Append(nil), FilterLegacy)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range 10000 {
		if !f.MayContain(fmt.Appendf(nil, "key%d", i)) {
			t.Fatalf("key%d is missing", i)
		}
		if f.MayContain(fmt.Appendf(nil, "other%d", i)) {
			wrong++
		}
	}
	if wrong > 200 {
		t.Errorf("%d of 10000 absent keys let through", wrong)
	}
	var none *Bloom
	if !none.MayContain([]byte("k")) || !AnyKey.MayContain([]byte("k")) {
		t.Error("no filter must contain every key")
	}
	if f, err := DecodeFilter([]byte{0, 6}, FilterLegacy); err != nil || f.MayContain([]byte("k")) {
		t.Error("a filter without bits must contain nothing", err)
	}
	if BuildBloom(nil, 10) != nil || BuildBloom(hashes, 0) != nil {
		t.Error("empty filter built")
	}
}

func composite(filters ...string) []byte {
	out := binary.BigEndian.AppendUint16(nil, uint16(len(filters)/2))
	for i := 0; i < len(filters); i += 2 {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(filters[i]))), filters[i]...)
		out = append(binary.BigEndian.AppendUint64(out, uint64(len(filters[i+1]))), filters[i+1]...)
	}
	return out
}

func TestCompositeFilter(t *testing.T) {
	bloom := string(BuildBloom([]uint64{BloomHash([]byte("k"))}, 10).Append(nil))
	f, err := DecodeFilter(composite("_bf:p=x", "??", "_bf", bloom), FilterComposite)
	if err != nil || !f.MayContain([]byte("k")) || f.MayContain([]byte("absent")) {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := DecodeFilter(composite("_bf:p=x:wh=0", bloom), FilterComposite); f != nil || err != nil {
		t.Errorf("a filter without whole keys: %+v, %v", f, err)
	}
	whole := composite("_bf", bloom)
	for n := range whole {
		if _, err := DecodeFilter(whole[:n], FilterComposite); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := DecodeFilter(append(whole, 0), FilterComposite); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a byte more: %v", err)
	}
	if _, err := DecodeFilter(whole, 2); !errors.Is(err, ErrCorrupt) {
		t.Errorf("unknown format: %v", err)
	}
}

func TestSeparator(t *testing.T) {
	for _, c := range [][3]string{
		{"abc", "abd", "abd"}, {"abc", "b", "b"}, {"abc", "bcd", "b"}, {"ab", "abcd", "abc"}, {"abc", "abc", "abc"}, {"a", "b\x00", "b"},
	} {
		if got := Separator([]byte(c[0]), []byte(c[1])); string(got) != c[2] {
			t.Errorf("between %q and %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestIndexRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "blocks")
		var x IndexBuilder
		var offsets []uint64
		var keys [][]byte
		end := uint64(0)
		var last []byte
		for i := range n {
			if i > 0 {
				next := append(bytes.Clone(last), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "more")...)
				last = next
			}
			x.Add(end, last)
			offsets, keys = append(offsets, end), append(keys, last)
			end += rapid.Uint64Range(1, 9000).Draw(t, "length")
		}
		got, err := DecodeIndex(x.Encode(), end)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != n || got.Offset(n) != end {
			t.Fatalf("%d blocks to %d, want %d to %d", got.Len(), got.Offset(n), n, end)
		}
		for i := range n {
			if got.Offset(i) != offsets[i] || !bytes.Equal(got.Separator(i), keys[i]) {
				t.Fatalf("block %d at %d, %q", i, got.Offset(i), got.Separator(i))
			}
		}
		if n == 0 {
			return
		}
		key := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "key")
		ge, le := 0, 0
		for i := range n {
			if bytes.Compare(keys[i], key) < 0 {
				ge = i
			}
			if bytes.Compare(keys[i], key) <= 0 {
				le = i
			}
		}
		if got.SeekGE(key) != ge || got.SeekLE(key) != le {
			t.Fatalf("seek %q: %d and %d, want %d and %d", key, got.SeekGE(key), got.SeekLE(key), ge, le)
		}
	})
}

func TestIndexRefuses(t *testing.T) {
	build := func(metas ...any) []byte {
		var x IndexBuilder
		for i := 0; i < len(metas); i += 2 {
			x.Add(uint64(metas[i].(int)), []byte(metas[i+1].(string)))
		}
		return x.Encode()
	}
	for name, raw := range map[string][]byte{
		"a first block elsewhere":  build(1, ""),
		"blocks that go back":      build(0, "", 50, "b", 20, "c"),
		"a block beyond the data":  build(0, "", 100, "b"),
		"separators that go back":  build(0, "", 20, "b", 50, "a"),
		"no blocks for the data":   build(),
		"no bytes":                 nil,
		"a separator too long":     build(0, "", 20, string(make([]byte, MaxStoredKey+1))),
		"a root beyond the buffer": {0xff, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, err := DecodeIndex(raw, 100); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Blocks that end before the next begins, which SlateDB 0.18 can write, are
// refused as newer, not as damage.
func TestPaddedBlocksAreNewer(t *testing.T) {
	b := newBuilder(64)
	key := b.bytes(nil)
	b.begin()
	b.u64(0, 0)
	b.child(1, key)
	b.u32(2, 90)
	meta := b.end()
	metas := b.refs([]ref{meta})
	b.begin()
	b.child(0, metas)
	if _, err := DecodeIndex(b.finish(b.end()), 100); !errors.Is(err, ErrNewer) {
		t.Errorf("padded blocks: %v", err)
	}
}

// A small buffer whose nodes refer to each other many times over is refused,
// not followed.
func TestSharedNodesAreRefused(t *testing.T) {
	b := newBuilder(64)
	key := b.bytes(make([]byte, 4000))
	b.begin()
	b.child(1, key)
	meta := b.end()
	refs := make([]ref, 1000)
	for i := range refs {
		refs[i] = meta
	}
	metas := b.refs(refs)
	b.begin()
	b.child(0, metas)
	if _, err := DecodeIndex(b.finish(b.end()), 100); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

func TestStatsAndInfoRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := rapid.Uint64()
		s := &Stats{Puts: num.Draw(t, "puts"), Deletes: num.Draw(t, "deletes"), Merges: num.Draw(t, "merges"),
			RawKeySize: num.Draw(t, "keys"), RawValueSize: num.Draw(t, "values"),
			Blocks: rapid.SliceOf(rapid.Custom(func(t *rapid.T) BlockStats {
				return BlockStats{rapid.Uint16().Draw(t, "p"), rapid.Uint16().Draw(t, "d"), rapid.Uint16().Draw(t, "m")}
			})).Draw(t, "blocks")}
		gotStats, err := DecodeStats(EncodeStats(s))
		if err != nil || gotStats.Puts != s.Puts || fmt.Sprint(*gotStats) != fmt.Sprint(*s) {
			t.Fatalf("%+v, %v, want %+v", gotStats, err, s)
		}
		i := genInfo().Draw(t, "info")
		gotInfo, err := DecodeInfo(EncodeInfo(&i))
		if err != nil || fmt.Sprint(gotInfo) != fmt.Sprint(i) {
			t.Fatalf("%+v, %v, want %+v", gotInfo, err, i)
		}
	})
}

// genInfo draws the info of an SST with rows ordered by key.
func genInfo() *rapid.Generator[SSTInfo] {
	return rapid.Custom(func(t *rapid.T) SSTInfo {
		size := rapid.Uint64Range(5, 1<<30)
		i := SSTInfo{FirstKey: genKey().Draw(t, "first"), FilterOffset: size.Draw(t, "data"), IndexLen: size.Draw(t, "index"),
			Codec: Codec(rapid.IntRange(0, 4).Draw(t, "codec")), FilterFormat: uint8(rapid.IntRange(0, 1).Draw(t, "filter format"))}
		if i.HasLast = rapid.Bool().Draw(t, "has last"); i.HasLast {
			i.LastKey = append(bytes.Clone(i.FirstKey), genKey().Draw(t, "last")...)
		}
		if rapid.Bool().Draw(t, "filter") {
			i.FilterLen = size.Draw(t, "filter length")
		}
		i.IndexOffset = i.FilterOffset + i.FilterLen
		if rapid.Bool().Draw(t, "stats") {
			i.StatsOffset, i.StatsLen = i.IndexOffset+i.IndexLen, size.Draw(t, "stats length")
		}
		return i
	})
}

func TestTracker(t *testing.T) {
	empty := (&Tracker{}).Encode()
	if want := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(empty, want) {
		t.Errorf("empty tracker is %x", empty)
	}
	rapid.Check(t, func(t *rapid.T) {
		tr := &Tracker{}
		seq, sec := rapid.Uint64Range(0, 1000).Draw(t, "seq"), rapid.Int64Range(-5, 1<<31).Draw(t, "sec")
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			tr.Append(seq, sec)
			seq += rapid.OneOf(rapid.Uint64Range(0, 100), rapid.Uint64Range(0, 5000), rapid.Uint64Range(0, 1<<40)).Draw(t, "more")
			sec += rapid.OneOf(rapid.Int64Range(0, 130), rapid.Int64Range(0, 1<<40)).Draw(t, "later")
		}
		got, err := DecodeTracker(tr.Encode())
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(*tr) {
			t.Fatalf("%v, %v, want %v", got, err, tr)
		}
		for i := range tr.Len() {
			s, at := tr.At(i)
			if found, ok := tr.SeqAt(at + 1); !ok || found != s {
				t.Fatalf("at %d: %d, want %d", at, found, s)
			}
		}
	})
	tr := &Tracker{}
	for i := range 2 * trackerCapacity {
		tr.Append(uint64(i), int64(i)*trackerStep)
	}
	if n := tr.Len(); n > trackerCapacity || n < trackerCapacity/2 {
		t.Errorf("%d pairs", n)
	}
	if _, err := DecodeTracker([]byte{2}); !errors.Is(err, ErrNewer) {
		t.Errorf("version 2: %v", err)
	}
	huge := binary.LittleEndian.AppendUint32([]byte{1}, math.MaxUint32)
	if _, err := DecodeTracker(append(huge, 0xff, 0xff, 0xff, 0xff, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a claim of 2^32 pairs: %v", err)
	}
}

func TestKeyRange(t *testing.T) {
	in, ex := func(k string) Bound { return Bound{Included, []byte(k)} }, func(k string) Bound { return Bound{Excluded, []byte(k)} }
	for _, c := range []struct {
		r     KeyRange
		keys  string // of a, b, c those that lie in it
		empty bool
	}{
		{KeyRange{}, "abc", false},
		{KeyRange{in("b"), Bound{}}, "bc", false},
		{KeyRange{ex("b"), Bound{}}, "c", false},
		{KeyRange{Bound{}, in("b")}, "ab", false},
		{KeyRange{Bound{}, ex("b")}, "a", false},
		{KeyRange{in("b"), in("b")}, "b", false},
		{KeyRange{in("b"), ex("b")}, "", true},
		{KeyRange{in("c"), in("a")}, "", true},
		{KeyRange{Bound{}, ex("")}, "", true},
		{KeyRange{in("a"), in("c")}.Intersect(KeyRange{ex("a"), ex("c")}), "b", false},
		{KeyRange{}.Intersect(KeyRange{in("b"), in("b")}), "b", false},
	} {
		got := ""
		for _, k := range "abc" {
			if c.r.Contains([]byte(string(k))) {
				got += string(k)
			}
		}
		if got != c.keys || c.r.Empty() != c.empty {
			t.Errorf("%v holds %q, empty %v; want %q, %v", c.r, got, c.r.Empty(), c.keys, c.empty)
		}
	}
}

func TestErrors(t *testing.T) {
	err := InObject("wal/1.sst", 100, corrupt(5, "bad"))
	var o *ObjectError
	if !errors.As(err, &o) || o.Object != "wal/1.sst" || o.Offset != 105 || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if err := InObject("m", 0, newer("manifest", 3, 2)); !errors.Is(err, ErrNewer) || err.Error() != "m: manifest has format version 3, this program knows up to 2: newer format version" {
		t.Errorf("%v", err)
	}
	if InObject("m", 0, nil) != nil {
		t.Error("nil became an error")
	}
	if got := (UUID{0x12, 0x34, 15: 0xff}).String(); got != "12340000-0000-0000-0000-0000000000ff" {
		t.Error(got)
	}
}
