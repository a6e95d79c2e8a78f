package kvtest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
)

func testGetPut(t *testing.T, s kv.Store) {
	for what, r := range readers(t, s) {
		wantMissing(t, "empty "+what, r, "a")
		wantScan(t, "empty "+what, r, kv.Range{}, "")
	}
	write(t, s, "a=1", "b=2", "c=")
	write(t, s, "a=3", "b", "nothing there")
	for what, r := range readers(t, s) {
		wantGet(t, what, r, "a", "3")
		wantMissing(t, what, r, "b")
		wantGet(t, what, r, "c", "")
		wantMissing(t, what, r, "A")
		wantScan(t, what, r, kv.Range{}, "a=3 c=")
	}
	write(t, s, "b=again")
	wantScan(t, "put after delete", s, kv.Range{}, "a=3 b=again c=")
}

// testKeysAndValues tests the limits, and who owns which slice.
func testKeysAndValues(t *testing.T, s kv.Store) {
	ctx := t.Context()
	longest, tooLong := bytes.Repeat([]byte{0xff}, kv.MaxKeySize), make([]byte, kv.MaxKeySize+1)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)

	tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
	defer tx.Rollback()
	for what, key := range map[string][]byte{"nil key": nil, "empty key": {}, "key too long": tooLong} {
		wantError(t, "Put of "+what, tx.Put(key, []byte("x")), kv.ErrInvalid)
		wantError(t, "Delete of "+what, tx.Delete(key), kv.ErrInvalid)
		for name, r := range map[string]kv.Reader{"store": s, "transaction": tx} {
			_, err := r.Get(ctx, key)
			wantError(t, name+": Get of "+what, err, kv.ErrInvalid)
		}
	}
	key, value := []byte("mine"), []byte("value")
	noError(t, "Put", tx.Put(key, value))
	copy(key, "your")
	copy(value, "VALUE")
	gone := []byte("gone")
	noError(t, "Delete", tx.Delete(gone))
	copy(gone, "mine")
	wantGet(t, "own write", tx, "mine", "value")
	got := must(tx.Get(ctx, []byte("mine")))(t)
	copy(got, "VALUE")
	for _, k := range [][]byte{longest, {0}, {0, 0}, {0xff}} {
		noError(t, "Put", tx.Put(k, k))
	}
	noError(t, "Put", tx.Put([]byte("big"), big))
	noError(t, "Put", tx.Put([]byte("nil"), nil))
	noError(t, "Commit", tx.Commit(ctx))

	for what, r := range readers(t, s) {
		wantGet(t, what, r, "mine", "value")
		copy(must(r.Get(ctx, []byte("mine")))(t), "VALUE")
		wantGet(t, what, r, "mine", "value")
		wantGet(t, what, r, "nil", "")
		for _, k := range [][]byte{longest, {0}, {0, 0}, {0xff}} {
			wantGet(t, what, r, string(k), string(k))
		}
		wantGet(t, what, r, "big", string(big))
		var order []string
		for p, err := range r.Scan(ctx, kv.Range{}) {
			noError(t, "Scan", err)
			order = append(order, string(p.Key[:min(4, len(p.Key))]))
		}
		if got, want := strings.Join(order, ","), "\x00,\x00\x00,big,mine,nil,\xff,\xff\xff\xff\xff"; got != want {
			t.Errorf("%s: order %q, want %q", what, got, want)
		}
	}
}

const scanned = "a=1 aa=2 b=3 b\x00=4 b\xff=5 c=6 \xff=7"

func testScan(t *testing.T, s kv.Store) {
	write(t, s, strings.Fields(scanned)...)
	var bounds [][]byte
	for _, b := range []string{"", "\x00", "a", "a\x00", "aa", "b", "b\x00", "b\xff", "bb", "d", "\xff", "\xff\xff"} {
		bounds = append(bounds, []byte(b))
	}
	bounds = append(bounds, nil)
	for what, r := range readers(t, s) {
		for _, lower := range bounds {
			for _, upper := range bounds {
				for _, reverse := range []bool{false, true} {
					rg := kv.Range{Lower: lower, Upper: upper, Reverse: reverse}
					wantScan(t, what, r, rg, cut(scanned, rg))
				}
			}
		}
		n := 0
		for _, err := range r.Scan(t.Context(), kv.Range{}) {
			noError(t, "Scan", err)
			if n++; n == 2 {
				break
			}
		}
		outer := 0
		for p, err := range r.Scan(t.Context(), kv.Range{}) {
			noError(t, "Scan", err)
			outer++
			wantScan(t, what+" within a scan", r, kv.Range{Lower: bytes.Clone(p.Key), Upper: []byte("aa")},
				cut(scanned, kv.Range{Lower: bytes.Clone(p.Key), Upper: []byte("aa")}))
		}
		if outer != len(strings.Fields(scanned)) {
			t.Errorf("%s: %d pairs around other scans", what, outer)
		}
	}
}

// testScanView commits while scans run.
func testScanView(t *testing.T, s kv.Store) {
	write(t, s, "a=1", "c=1", "e=1")
	seq := s.Scan(t.Context(), kv.Range{})
	var seen []string
	for p, err := range seq {
		noError(t, "Scan", err)
		seen = append(seen, string(p.Key)+"="+string(p.Value))
		if len(seen) == 1 {
			write(t, s, "a=2", "b=2", "c", "e=2", "f=2")
		}
	}
	if got := strings.Join(seen, " "); got != "a=1 c=1 e=1" {
		t.Errorf("a scan saw %q of writes that came after its start", got)
	}
	if got := must(collect(seq))(t); got != "a=2 b=2 e=2 f=2" {
		t.Errorf("the same sequence again yields %q; want a view of its own", got)
	}
}

func testSnapshot(t *testing.T, s kv.Store) {
	ctx := t.Context()
	first := must(s.Snapshot(ctx))(t)
	write(t, s, "a=1", "b=1")
	second := must(s.Snapshot(ctx))(t)
	defer second.Close()
	write(t, s, "a=2", "b", "c=2")
	noError(t, "Flush", s.Flush(ctx))
	wantScan(t, "first", first, kv.Range{}, "")
	wantScan(t, "second", second, kv.Range{}, "a=1 b=1")
	wantGet(t, "second", second, "b", "1")
	wantMissing(t, "second", second, "c")
	wantScan(t, "store", s, kv.Range{Reverse: true}, "c=2 a=2")

	first.Close()
	first.Close()
	_, err := first.Get(ctx, []byte("a"))
	wantError(t, "Get of a closed snapshot", err, kv.ErrClosed)
	_, err = collect(first.Scan(ctx, kv.Range{}))
	wantError(t, "Scan of a closed snapshot", err, kv.ErrClosed)
	wantGet(t, "second after the first is closed", second, "a", "1")
}
