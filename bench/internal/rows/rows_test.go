package rows

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/s2"
)

func TestKeysAscendWithMissingOnesBetween(t *testing.T) {
	var last []byte
	for i := range uint64(250) {
		k, m := Key(nil, i), Missing(nil, i)
		if len(k) != KeyLen || len(m) != KeyLen {
			t.Fatalf("row %d: keys %q, %q", i, k, m)
		}
		if bytes.Compare(last, k) >= 0 || bytes.Compare(k, m) >= 0 {
			t.Fatalf("row %d: %q, %q, %q do not ascend", i, last, k, m)
		}
		if !bytes.HasPrefix(k, Prefix(nil, i/PerGroup)) || bytes.HasPrefix(k, Prefix(nil, i/PerGroup+1)) {
			t.Fatalf("row %d: key %q and prefix %q", i, k, Prefix(nil, i/PerGroup))
		}
		last = m
	}
}

func TestBlocksOfRowsCompressByHalf(t *testing.T) {
	var block []byte
	for i := uint64(0); len(block) < 4096; i++ {
		block = Value(Key(block, i), i)
	}
	if ratio := float64(len(block)) / float64(len(s2.EncodeSnappy(nil, block))); ratio < 1.9 || ratio > 2.3 {
		t.Errorf("Snappy makes 4 KiB of rows %.2f times smaller, want about 2.06", ratio)
	}
	if v := Value(nil, 7); len(v) != ValueLen || !Check(v, 7) || Check(v, 8) {
		t.Errorf("value of row 7 is %q", v)
	}
}

func TestShuffleIsAnOrderOfAllNumbers(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 1000, 4097} {
		s, seen := NewShuffle(n), map[uint64]bool{}
		for i := range n {
			j := s.At(i)
			if j >= n || seen[j] {
				t.Fatalf("of %d numbers, place %d is %d", n, i, j)
			}
			seen[j] = true
		}
	}
}
