package sst

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

func fence(t testing.TB, transform format.Transformer) []byte {
	t.Helper()
	data, err := EncodeFence(transform)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Our fence is SlateDB's, byte by byte.
func TestFence(t *testing.T) {
	want, err := os.ReadFile(fixtures + "/annotated/db/wal/00000000000000000001.sst")
	if err != nil {
		t.Fatal(err)
	}
	if got := fence(t, nil); !bytes.Equal(got, want) {
		t.Errorf("fence is %x, want %x", got, want)
	}
}

// Every form of fence has no rows: of zero bytes, without rows, of either type.
func TestReadWALFences(t *testing.T) {
	wal, _, err := NewWriter(WriterOptions{WAL: true}).Finish()
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range [][]byte{nil, {}, fence(t, nil), wal} {
		if rows, err := ReadWAL(data, nil); len(rows) != 0 || err != nil {
			t.Errorf("fence %d: %d rows, %v", i, len(rows), err)
		}
		if rows, err := HasRows(data); rows || err != nil {
			t.Errorf("fence %d has rows: %v, %v", i, rows, err)
		}
	}
}

func TestReadWALRefuses(t *testing.T) {
	w := NewWriter(WriterOptions{WAL: true})
	if err := w.Add(&format.Row{Key: []byte("k"), Value: []byte("v"), Seq: 1}); err != nil {
		t.Fatal(err)
	}
	data, _, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	newer := 0 // cut where the bytes happen to look like a footer
	for n := 1; n < len(data); n++ {
		_, err := ReadWAL(data[:n], nil)
		if errors.Is(err, format.ErrNewer) {
			newer++
		} else if !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v, want corrupt", n, err)
		}
		if _, err := ReadWAL(data[n:], nil); err == nil {
			t.Errorf("first %d bytes missing: no error", n)
		}
	}
	if newer > len(data)/10 {
		t.Errorf("%d of %d cut objects are taken for newer ones", newer, len(data))
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		rows, err := ReadWAL(bad, nil)
		var d *format.DecodeError
		if err == nil || !errors.As(err, &d) && !errors.Is(err, format.ErrNewer) {
			t.Errorf("byte %d flipped: %d rows, %v", i, len(rows), err)
		}
	}
	data[len(data)-1] = 3
	if _, err := ReadWAL(data, nil); !errors.Is(err, format.ErrNewer) || errors.Is(err, format.ErrCorrupt) {
		t.Errorf("version 3: %v", err)
	}
}

// Rows survive a WAL object in the order in which they came.
func TestWALRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := genRows(rt)
		for i := range rows {
			rows[i].Seq = uint64(i/3) + 1
		}
		w := NewWriter(WriterOptions{WAL: true, BlockSize: rapid.SampledFrom([]int{50, 4096}).Draw(rt, "block size"),
			Codec: format.Codec(rapid.IntRange(0, 4).Draw(rt, "codec"))})
		for _, i := range rapid.Permutation(indexes(len(rows))).Draw(rt, "order") {
			rows[i].Seq = uint64(w.Rows()/3) + 1
			if err := w.Add(&rows[i]); err != nil {
				rt.Fatal(err)
			}
		}
		data, info, err := w.Finish()
		if err != nil || info.Type != format.WAL || info.HasLast || binary.BigEndian.Uint64(info.FirstKey) != 1 {
			rt.Fatalf("%v %+v", err, info)
		}
		got, err := ReadWAL(data, nil)
		if err != nil || len(got) != len(rows) {
			rt.Fatalf("%d rows, want %d: %v", len(got), len(rows), err)
		}
		for i := range got {
			if got[i].Seq != uint64(i/3)+1 {
				rt.Fatalf("row %d has seq %d", i, got[i].Seq)
			}
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// blockV1 writes rows as SST version 1 has them, which nothing but this test
// does.
func blockV1(rows []format.Row) []byte {
	var out []byte
	var offsets []int
	for i := range rows {
		r := &rows[i]
		offsets = append(offsets, len(out))
		shared := 0
		if i > 0 {
			for shared < min(len(r.Key), len(rows[0].Key)) && r.Key[shared] == rows[0].Key[shared] {
				shared++
			}
		}
		out = binary.BigEndian.AppendUint16(out, uint16(shared))
		out = binary.BigEndian.AppendUint16(out, uint16(len(r.Key)-shared))
		out = append(out, r.Key[shared:]...)
		out = binary.BigEndian.AppendUint64(out, r.Seq)
		flags := [...]byte{format.Value: 0, format.Tombstone: 1, format.Merge: 8}[r.Kind]
		if r.HasExpire {
			flags |= 2
		}
		if r.HasCreate {
			flags |= 4
		}
		out = append(out, flags)
		if r.HasExpire {
			out = binary.BigEndian.AppendUint64(out, uint64(r.ExpireTS))
		}
		if r.HasCreate {
			out = binary.BigEndian.AppendUint64(out, uint64(r.CreateTS))
		}
		if r.Kind != format.Tombstone {
			out = binary.BigEndian.AppendUint32(out, uint32(len(r.Value)))
			out = append(out, r.Value...)
		}
	}
	for _, o := range offsets {
		out = binary.BigEndian.AppendUint16(out, uint16(o))
	}
	return binary.BigEndian.AppendUint16(out, uint16(len(offsets)))
}

// fileV1 writes an SST of version 1, perBlock rows a block.
func fileV1(t testing.TB, rows []format.Row, perBlock int, codec format.Codec) ([]byte, format.SSTInfo) {
	t.Helper()
	var out []byte
	seal := func(raw []byte, c format.Codec) uint64 {
		before := len(out)
		var err error
		if out, err = format.Seal(out, raw, c, nil); err != nil {
			t.Fatal(err)
		}
		return uint64(len(out) - before)
	}
	info := format.SSTInfo{FirstKey: rows[0].Key, LastKey: rows[len(rows)-1].Key, HasLast: true, Codec: codec}
	var index format.IndexBuilder
	var hashes []uint64
	var sep, last []byte
	for len(rows) > 0 {
		part := rows[:min(perBlock, len(rows))]
		if last != nil {
			sep = format.Separator(last, part[0].Key)
		}
		index.Add(uint64(len(out)), sep)
		seal(blockV1(part), codec)
		for i := range part {
			hashes = append(hashes, format.BloomHash(part[i].Key))
		}
		last, rows = part[len(part)-1].Key, rows[len(part):]
	}
	info.FilterOffset = uint64(len(out))
	info.FilterLen = seal(format.BuildBloom(hashes, 10).Append(nil), codec)
	info.IndexOffset = uint64(len(out))
	info.IndexLen = seal(index.Encode(), codec)
	meta := uint64(len(out))
	seal(format.EncodeInfo(&info), format.None)
	out = format.AppendFooter(out, meta)
	out[len(out)-1] = 1
	return out, info
}

// SSTs of version 1 read as those of version 2 do, through a table and as WAL
// objects.
func TestVersion1(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := genRows(rt)
		for i := range rows {
			if rows[i].Kind == format.Tombstone {
				rows[i].HasExpire, rows[i].ExpireTS = false, 0
			}
		}
		data, info := fileV1(t, rows, rapid.IntRange(1, 40).Draw(rt, "per block"), format.Codec(rapid.IntRange(0, 4).Draw(rt, "codec")))
		got, err := ReadWAL(data, nil)
		if err != nil {
			rt.Fatal(err)
		}
		wantRows(rt, got, rows)
		b := bucket.NewInMemBucket()
		if err := b.Put(t.Context(), object, data); err != nil {
			rt.Fatal(err)
		}
		table := NewStore(b, nil, StoreOptions{}).Open(object, format.SST{Info: info, Version: 1})
		wantRows(rt, drain(t, table.Iter(IterOptions{})), rows)
		checkGet(rt, table, rows, rows[len(rows)/2].Key, math.MaxUint64, func([]byte) bool { return true })
	})
}
