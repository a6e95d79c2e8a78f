package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func genKey() *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 1, 6)
}

// genSorted draws rows by key ascending, seq descending.
func genSorted(t *rapid.T) []Row {
	rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Row {
		r := Row{Key: genKey().Draw(t, "key"), Seq: rapid.Uint64Range(0, 9).Draw(t, "seq"), Kind: Kind(rapid.IntRange(0, 2).Draw(t, "kind"))}
		if r.Kind != Tombstone {
			r.Value = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")
		}
		if r.HasCreate = rapid.Bool().Draw(t, "create"); r.HasCreate {
			r.CreateTS = rapid.Int64().Draw(t, "create_ts")
		}
		if r.HasExpire = rapid.Bool().Draw(t, "expire"); r.HasExpire {
			r.ExpireTS = rapid.Int64().Draw(t, "expire_ts")
		}
		return r
	}), 1, 80).Draw(t, "rows")
	order := func(a, b Row) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return int(b.Seq) - int(a.Seq)
	}
	slices.SortFunc(rows, order)
	return slices.CompactFunc(rows, func(a, b Row) bool { return order(a, b) == 0 })
}

func equalRow(a, b Row) bool {
	if len(a.Value) == 0 && len(b.Value) == 0 {
		a.Value, b.Value = nil, nil
	}
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

// A block is the list of its rows, whichever way it is walked.
func TestBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := genSorted(t)
		b := NewBlockBuilder(1 << 16)
		for i := range rows {
			if !b.Add(&rows[i]) {
				t.Fatal("does not fit")
			}
		}
		if b.Rows() != len(rows) || !bytes.Equal(b.LastKey(), rows[len(rows)-1].Key) {
			t.Fatalf("%d rows, last key %q", b.Rows(), b.LastKey())
		}
		size := b.Len()
		raw := b.Finish()
		if len(raw) != size {
			t.Fatalf("%d bytes, announced %d", len(raw), size)
		}
		block, err := DecodeBlock(raw, SSTVersion2)
		if err != nil {
			t.Fatal(err)
		}
		var it BlockIter
		walk := func(next func(*Row) (bool, error), want []Row) {
			for i := 0; ; i++ {
				var r Row
				ok, err := next(&r)
				if err != nil {
					t.Fatal(err)
				}
				if ok != (i < len(want)) || ok && !equalRow(r, want[i]) {
					t.Fatalf("row %d: %v %+v, want %+v", i, ok, r, want[min(i, len(want)-1)])
				}
				if !ok {
					return
				}
			}
		}
		backward := slices.Clone(rows)
		slices.Reverse(backward)
		it.First(block)
		walk(it.Next, rows)
		if err := it.Last(block); err != nil {
			t.Fatal(err)
		}
		walk(it.Prev, backward)

		key := genKey().Draw(t, "seek")
		from := slices.IndexFunc(rows, func(r Row) bool { return bytes.Compare(r.Key, key) >= 0 })
		if from < 0 {
			from = len(rows)
		}
		if err := it.SeekGE(block, key); err != nil {
			t.Fatal(err)
		}
		walk(it.Next, rows[from:])
		if err := it.SeekLT(block, key); err != nil {
			t.Fatal(err)
		}
		walk(it.Prev, backward[len(rows)-from:])

		maxSeq := rapid.Uint64Range(0, 10).Draw(t, "max seq")
		i := slices.IndexFunc(rows, func(r Row) bool { return bytes.Equal(r.Key, key) && r.Seq <= maxSeq })
		var r Row
		found, more, err := block.Find(key, maxSeq, &r)
		if err != nil || found != (i >= 0) || found && !equalRow(r, rows[i]) {
			t.Fatalf("find %q at %d: %v %+v, %v", key, maxSeq, found, r, err)
		}
		if last := rows[len(rows)-1].Key; !found && more != (bytes.Compare(last, key) <= 0) {
			t.Fatalf("find %q: more is %v, the last key is %q", key, more, last)
		}
	})
}

// Blocks are cut where SlateDB cuts them: at the limit, trailer included.
func TestBlockLimit(t *testing.T) {
	b := NewBlockBuilder(100)
	row := func(n int) *Row { return &Row{Key: []byte("k"), Value: make([]byte, n), Seq: 1} }
	if !b.Add(row(1000)) {
		t.Error("first row refused")
	}
	b.Finish()
	b.Reset()
	b.Add(row(10)) // 3+1+10+9 = 23 bytes, trailer 4
	if !b.Add(row(61)) {
		t.Error("row that ends at 100 bytes refused") // shared key: 3+0+61+9 = 73
	}
	if got := b.Len(); got != 100 {
		t.Errorf("%d bytes", got)
	}
	b.Reset()
	b.Add(row(10))
	if b.Add(row(62)) {
		t.Error("row that ends at 101 bytes taken")
	}
}

func TestBlockRefuses(t *testing.T) {
	row := func(shared, unshared, value int, rest ...byte) []byte {
		return append([]byte{byte(shared), byte(unshared), byte(value)}, rest...)
	}
	tail := func(flags byte) []byte { return append(make([]byte, 8), flags) }
	ok := row(0, 1, 0, append([]byte{'k'}, tail(0)...)...)
	for _, c := range []struct {
		name     string
		rows     []byte
		restarts []uint16
	}{
		{"no rows", nil, []uint16{0}},
		{"no restarts", ok, nil},
		{"a first restart elsewhere", ok, []uint16{1}},
		{"restarts that do not ascend", ok, []uint16{0, 0}},
		{"a restart beyond the rows", ok, []uint16{0, 99}},
		{"a restart within a row", ok, []uint16{0, 3}},
		{"an empty key", row(0, 0, 0, tail(0)...), []uint16{0}},
		{"a shared first key", row(1, 1, 0, append([]byte{'k'}, tail(0)...)...), []uint16{0}},
		{"unknown flags", row(0, 1, 0, append([]byte{'k'}, tail(0x10)...)...), []uint16{0}},
		{"a tombstone that is an operand", row(0, 1, 0, append([]byte{'k'}, tail(0x09)...)...), []uint16{0}},
		{"a tombstone with a value", row(0, 1, 1, append([]byte("kv"), tail(0x01)...)...), []uint16{0}},
		{"a row cut within its times", row(0, 1, 0, append([]byte{'k'}, tail(0x04)...)...), []uint16{0}},
		{"a value beyond the block", row(0, 1, 200, append([]byte{'k'}, tail(0)...)...), []uint16{0}},
		{"a varint without end", bytes.Repeat([]byte{0xff}, 30), []uint16{0}},
	} {
		raw := bytes.Clone(c.rows)
		for _, r := range c.restarts {
			raw = binary.BigEndian.AppendUint16(raw, r)
		}
		raw = binary.BigEndian.AppendUint16(raw, uint16(len(c.restarts)))
		if err := walkBlock(raw, SSTVersion2); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := DecodeBlock(ok, 3); !errors.Is(err, ErrNewer) {
		t.Errorf("version 3: %v", err)
	}
}

// walkBlock decodes a block and walks over it in every way.
func walkBlock(raw []byte, version uint16) error {
	b, err := DecodeBlock(raw, version)
	if err != nil {
		return err
	}
	var it BlockIter
	var r Row
	var keys [][]byte
	it.First(b)
	for {
		ok, err := it.Next(&r)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if len(keys) < 4 {
			keys = append(keys, bytes.Clone(r.Key))
		}
	}
	for _, key := range append(keys, []byte("k"), nil) {
		if err := it.SeekGE(b, key); err != nil {
			return err
		}
		if _, _, err := b.Find(key, math.MaxUint64, &r); err != nil {
			return err
		}
		if err := it.SeekLT(b, key); err != nil {
			return err
		}
	}
	if err := it.Last(b); err != nil {
		return err
	}
	for {
		ok, err := it.Prev(&r)
		if err != nil || !ok {
			return err
		}
	}
}

// A forged block: rows that share a long key, and none of them a restart. Its last
// key would take as much memory as they have rows.
func TestBlockWithoutRestarts(t *testing.T) {
	key := bytes.Repeat([]byte{'k'}, 64<<10)
	raw := appendRow(nil, &Row{Key: key, Seq: 5000, Kind: Tombstone}, 0)
	for seq := uint64(4999); seq > 1000; seq-- {
		raw = appendRow(raw, &Row{Key: key, Seq: seq, Kind: Tombstone}, len(key))
	}
	b, err := DecodeBlock(append(raw, 0, 0, 0, 1), SSTVersion2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.LastKey(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("last key: %v", err)
	}
}
