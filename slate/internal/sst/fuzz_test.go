package sst

import (
	"bytes"
	"math"
	"testing"

	"github.com/stele-db/stele/internal/testkit"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// FuzzSST hands any bytes to everything that reads an SST object. With a valid
// footer and info grafted on (see reseal), what is behind the checksums is
// reached too.
func FuzzSST(f *testing.F) {
	for _, opts := range []WriterOptions{{}, {WAL: true}, {BlockSize: 64, MinFilterKeys: 1}, {MinFilterKeys: 1, Prefixer: all{}}, {Codec: format.Snappy}} {
		w := NewWriter(opts)
		for _, r := range sequence(40) {
			if err := w.Add(&r); err != nil {
				f.Fatal(err)
			}
		}
		data, _, err := w.Finish()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint32(3))
	}
	v1, _ := fileV1(f, sequence(40), 7, format.None)
	f.Add(v1, uint32(100))
	f.Add(fence(f, nil), uint32(0))
	f.Fuzz(func(t *testing.T, data []byte, flip uint32) {
		for _, d := range [][]byte{data, reseal(data, flip)} {
			if d != nil {
				testkit.Frugal(t, uint64(32<<20+2000*len(d)), "reading an SST", func() { readEverything(t, d) })
			}
		}
	})
}

// FuzzWAL hands any bytes to the replay of the log, with all checksums made
// right too.
func FuzzWAL(f *testing.F) {
	for _, codec := range []format.Codec{format.None, format.Zstd} {
		for _, opts := range []WriterOptions{{WAL: true, Codec: codec}, {WAL: true, Codec: codec, BlockSize: 64}} {
			w := NewWriter(opts)
			for _, r := range sequence(40) {
				if err := w.Add(&r); err != nil {
					f.Fatal(err)
				}
			}
			data, _, err := w.Finish()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, uint32(3))
		}
	}
	f.Add(fence(f, nil), uint32(0))
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, data []byte, flip uint32) {
		for _, d := range [][]byte{data, reseal(data, flip)} {
			testkit.Frugal(t, uint64(32<<20+2000*len(d)), "reading a log object", func() {
				rows, err := ReadWAL(d, nil)
				if err != nil {
					return
				}
				n := 0
				for i := range rows {
					n += len(rows[i].Value)
				}
				if n > len(d) && d != nil && !compressed(d) {
					t.Errorf("values of %d bytes from %d", n, len(d))
				}
			})
		}
	})
}

func compressed(data []byte) bool {
	f, err := Parse(data, nil)
	return err == nil && f.Info.Codec != format.None
}

// readEverything reads an object as a WAL, and through a table.
func readEverything(t *testing.T, data []byte) {
	_, _ = ReadWAL(data, nil)
	f, err := Parse(data, nil)
	if err != nil {
		return
	}
	_, _ = f.Filter()
	_, _ = f.Stats()
	b := bucket.NewInMemBucket()
	if err := b.Put(t.Context(), object, data); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadInfo(t.Context(), b, object); err != nil {
		t.Errorf("info of what can be parsed: %v", err)
	}
	table := NewStore(b, nil, StoreOptions{Prefixer: all{}}).Open(object, format.SST{Info: f.Info, Version: f.Version})
	var r format.Row
	_, _ = table.Get(t.Context(), lookup([]byte("key000007"), math.MaxUint64), &r)
	for _, opts := range []IterOptions{
		{Lower: []byte("key000003"), Ahead: NewAhead(1), ReadAhead: 100},
		{Lower: []byte("key000003"), Reverse: true},
		{Lower: []byte("key00000"), Upper: []byte("key00001"), Prefix: []byte("key00000")},
	} {
		it := table.Iter(opts)
		for i := 0; ; i++ {
			if i == 3 && !opts.Reverse {
				it.Seek([]byte("key000008"))
			}
			r, err := it.Next(t.Context())
			if r == nil || err != nil {
				break
			}
		}
		it.Close()
	}
}

// reseal changes one byte of an uncompressed SST and makes all checksums right
// again, nil if data is none.
func reseal(data []byte, flip uint32) []byte {
	f, err := Parse(data, nil)
	if err != nil || f.Info.Codec != format.None {
		return nil
	}
	bad := bytes.Clone(data)
	bad[int(flip)%len(bad)] ^= byte(flip>>16) | 1
	seal := func(from, to uint64) {
		if to >= from+4 && to <= uint64(len(bad)) {
			if p, err := format.Seal(nil, bad[from:to-4], format.None, nil); err == nil {
				copy(bad[from:to], p)
			}
		}
	}
	for i := range f.Index.Len() {
		seal(f.Index.Offset(i), f.Index.Offset(i+1))
	}
	i := &f.Info
	seal(i.FilterOffset, i.FilterOffset+i.FilterLen)
	seal(i.IndexOffset, i.IndexOffset+i.IndexLen)
	seal(i.StatsOffset, i.StatsOffset+i.StatsLen)
	seal(uint64(f.MetaOffset), uint64(len(bad)-format.FooterLen))
	return bad
}
