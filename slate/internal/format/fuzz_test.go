package format

import (
	"bytes"
	"testing"

	"github.com/stele-db/stele/internal/testkit"
)

// Decoders answer any bytes with a value or an error. Where they give a value,
// it encodes and decodes to the same again.

// frugally runs a decoder of n bytes, which may allocate a multiple of them only.
func frugally(t *testing.T, n int, decode func()) {
	t.Helper()
	testkit.Frugal(t, uint64(1<<20+200*n), "decoding", decode)
}

// fuzzLimit bounds decompression under the fuzzer, which would find a bomb.
const fuzzLimit = 1 << 20

func FuzzBlock(f *testing.F) {
	b := NewBlockBuilder(4096)
	for i := range 40 {
		b.Add(&Row{Key: []byte{'k', byte(i)}, Value: []byte("value"), Seq: 9, HasCreate: true, HasExpire: i%2 == 0})
	}
	f.Add(bytes.Clone(b.Finish()), true)
	f.Add([]byte("\x00\x00\x00\x01k\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01v\x00\x00\x00\x01"), false)
	f.Fuzz(func(t *testing.T, raw []byte, v2 bool) {
		version := SSTVersion1
		if v2 {
			version = SSTVersion2
		}
		frugally(t, len(raw), func() { _ = walkBlock(raw, version) })
	})
}

func FuzzUnseal(f *testing.F) {
	for c := None; c <= Zstd; c++ {
		packed, err := compress(nil, bytes.Repeat([]byte("some text "), 40), c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, uint8(c))
	}
	f.Fuzz(func(t *testing.T, packed []byte, codec uint8) {
		raw, err := decompress(packed, Codec(codec%6), fuzzLimit)
		if err == nil && len(raw) > fuzzLimit {
			t.Errorf("%d bytes", len(raw))
		}
		_, _ = Unseal(packed, None, nil)
	})
}

func FuzzFilter(f *testing.F) {
	bloom := BuildBloom([]uint64{1, 2, 3}, 10).Append(nil)
	f.Add(bloom, uint8(0))
	f.Add(composite("_bf", string(bloom), "x", "y"), uint8(1))
	witnesses := PrefixWitnesses("x", 1)
	f.Add(BuildBloom(witnesses[:], 10).Append(nil), uint8(0))
	f.Fuzz(func(t *testing.T, raw []byte, form uint8) {
		if b, err := DecodeFilter(raw, form); err == nil {
			b.MayContain(raw)
			b.Announces(&witnesses)
			b.Size()
		}
	})
}

func FuzzIndex(f *testing.F) {
	var x IndexBuilder
	x.Add(0, nil)
	x.Add(100, []byte("b"))
	x.Add(200, []byte("c"))
	f.Add(x.Encode(), uint64(300))
	f.Add((&IndexBuilder{}).Encode(), uint64(0))
	f.Fuzz(func(t *testing.T, raw []byte, end uint64) {
		x, err := DecodeIndex(raw, end)
		if err != nil {
			return
		}
		var again IndexBuilder
		for i := range x.Len() {
			again.Add(x.Offset(i), x.Separator(i))
		}
		if x.Len() > 0 && x.SeekGE(raw) > x.SeekLE(raw) {
			t.Error("seeks disagree")
		}
		if _, err := DecodeIndex(again.Encode(), end); err != nil {
			t.Errorf("written again: %v", err)
		}
	})
}

func FuzzStatsAndInfo(f *testing.F) {
	f.Add(EncodeStats(&Stats{Puts: 1, Blocks: []BlockStats{{1, 2, 3}}}))
	info := sstOf(1, "a", "b").Info
	f.Add(EncodeInfo(&info))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = DecodeStats(raw)
		i, err := DecodeInfo(raw)
		if err != nil {
			return
		}
		if _, err := DecodeInfo(EncodeInfo(&i)); err != nil {
			t.Errorf("written again: %v", err)
		}
	})
}

func FuzzFooter(f *testing.F) {
	f.Add(AppendFooter(nil, 100), int64(200))
	f.Fuzz(func(t *testing.T, raw []byte, size int64) {
		meta, _, err := DecodeFooter(raw, size)
		if err == nil && (meta < 0 || meta >= size-FooterLen-checksumLen) {
			t.Errorf("info at %d of %d", meta, size)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(EncodeManifest(fullManifest()))
	b := sstOf(2, "a", "c")
	f.Add(manifestV2([]SST{b}, []SST{b}, nil, nil, ""))
	f.Add(manifestV2([]SST{b}, nil, nil, []Segment{{Prefix: []byte("a"), L0: []SST{b}}}, "x"))
	eachFixture(f, "4.manifest", func(_ string, data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *Manifest
		var err error
		frugally(t, len(data), func() { m, err = DecodeManifest(data) })
		if err != nil || m.Segmented() {
			return
		}
		again, err := DecodeManifest(EncodeManifest(m))
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		if !bytes.Equal(EncodeManifest(again), EncodeManifest(m)) {
			t.Error("written again it differs")
		}
	})
}

func FuzzCompactions(f *testing.F) {
	eachFixture(f, "3.compactions", func(_ string, data []byte) { f.Add(data) })
	f.Add(EncodeCompactions(&Compactions{Recent: []Compaction{{ID: id(1), Runs: []uint32{3, 1}, Output: []SST{sstOf(1, "a", "b")}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c *Compactions
		var err error
		frugally(t, len(data), func() { c, err = DecodeCompactions(data) })
		if err != nil {
			return
		}
		if _, err := DecodeCompactions(EncodeCompactions(c)); err != nil {
			t.Errorf("written again: %v", err)
		}
	})
}

func FuzzTracker(f *testing.F) {
	tr := &Tracker{}
	for i := range uint64(20) {
		tr.Append(i*i*i*1000, int64(i*i*100))
	}
	f.Add(tr.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := DecodeTracker(data)
		if err != nil {
			return
		}
		if !tr.encodable() {
			return
		}
		again, err := DecodeTracker(tr.Encode())
		if err != nil || again.Len() != tr.Len() {
			t.Errorf("written again: %v", err)
		}
	})
}
