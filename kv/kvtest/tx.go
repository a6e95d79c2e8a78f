package kvtest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stele-db/stele/kv"
)

func testOwnWrites(t *testing.T, s kv.Store) {
	ctx := t.Context()
	write(t, s, "b=1", "d=1", "f=1", "h=1")
	tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
	defer tx.Rollback()
	apply(t, tx, "a=2", "b=2", "d", "e=2", "e", "f", "f=3", "i=2", "zz")
	const want = "a=2 b=2 f=3 h=1 i=2"
	for _, lower := range []string{"", "a", "b", "c", "d", "e", "f", "i", "j"} {
		for _, upper := range []string{"a", "b", "c", "d", "e", "f", "i", "j"} {
			for _, reverse := range []bool{false, true} {
				rg := kv.Range{Lower: []byte(lower), Upper: []byte(upper), Reverse: reverse}
				wantScan(t, "transaction", tx, rg, cut(want, rg))
			}
		}
	}
	wantScan(t, "transaction", tx, kv.Range{}, want)
	wantScan(t, "transaction", tx, kv.Range{Reverse: true}, "i=2 h=1 f=3 b=2 a=2")
	for p, err := range tx.Scan(ctx, kv.Range{}) {
		noError(t, "Scan", err)
		if string(p.Key) == "b" {
			break
		}
	}
	wantGet(t, "transaction", tx, "f", "3")
	wantMissing(t, "transaction", tx, "d")
	wantMissing(t, "transaction", tx, "e")
	wantScan(t, "store before the commit", s, kv.Range{}, "b=1 d=1 f=1 h=1")
	before := must(s.Snapshot(ctx))(t)
	defer before.Close()
	noError(t, "Commit", tx.Commit(ctx))
	wantScan(t, "store after the commit", s, kv.Range{}, want)
	wantScan(t, "snapshot from before", before, kv.Range{}, "b=1 d=1 f=1 h=1")
}

// testScanWhileWriting changes a transaction in the loop over its own scan.
func testScanWhileWriting(t *testing.T, s kv.Store) {
	ctx := t.Context()
	write(t, s, "a=1", "c=1", "e=1")
	for _, reverse := range []bool{false, true} {
		tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
		apply(t, tx, "b=1", "d=1")
		var seen []string
		for p, err := range tx.Scan(ctx, kv.Range{Reverse: reverse}) {
			noError(t, "Scan", err)
			key := bytes.Clone(p.Key)
			seen = append(seen, string(key)+"="+string(p.Value))
			noError(t, "Put", tx.Put(append(key, '+'), []byte("2")))
			apply(t, tx, "a=2", "b", "c", "d=2", "e")
		}
		want := cut("a=1 b=1 c=1 d=1 e=1", kv.Range{Reverse: reverse})
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("a scan saw %q of its transaction's later writes; want %q", got, want)
		}
		wantScan(t, "next scan", tx, kv.Range{}, "a=2 a+=2 b+=2 c+=2 d=2 d+=2 e+=2")
		tx.Rollback()
	}
}

func testRollback(t *testing.T, s kv.Store) {
	ctx := t.Context()
	write(t, s, "a=1")
	tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
	apply(t, tx, "a", "b=2")
	tx.Rollback()
	tx.Rollback()
	wantScan(t, "after rollback", s, kv.Range{}, "a=1")

	tx = must(s.Begin(ctx, kv.TxOptions{}))(t)
	apply(t, tx, "b=2")
	noError(t, "Commit", tx.Commit(ctx))
	tx.Rollback()
	wantScan(t, "rollback after commit", s, kv.Range{}, "a=1 b=2")

	tx = must(s.Begin(ctx, kv.TxOptions{}))(t)
	noError(t, "Commit of nothing", tx.Commit(ctx))
	wantScan(t, "after a commit of nothing", s, kv.Range{}, "a=1 b=2")
}

func testEndedTx(t *testing.T, s kv.Store) {
	ctx := t.Context()
	for what, end := range map[string]func(kv.Tx){
		"committed":   func(tx kv.Tx) { noError(t, "Commit", tx.Commit(ctx)) },
		"rolled back": func(tx kv.Tx) { tx.Rollback() },
	} {
		tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
		apply(t, tx, "a=1")
		end(tx)
		_, err := tx.Get(ctx, []byte("a"))
		wantError(t, what+": Get", err, kv.ErrClosed)
		_, err = collect(tx.Scan(ctx, kv.Range{}))
		wantError(t, what+": Scan", err, kv.ErrClosed)
		wantError(t, what+": Put", tx.Put([]byte("a"), nil), kv.ErrClosed)
		wantError(t, what+": Delete", tx.Delete([]byte("a")), kv.ErrClosed)
		wantError(t, what+": MarkRead", tx.MarkRead([]byte("a")), kv.ErrClosed)
		wantError(t, what+": Commit", tx.Commit(ctx), kv.ErrClosed)
		tx.Rollback()
	}
}

func testVolatile(t *testing.T, s kv.Store) {
	ctx := t.Context()
	for i := range 20 {
		tx := must(s.Begin(ctx, kv.TxOptions{Volatile: true}))(t)
		value := strconv.Itoa(i)
		noError(t, "Put", tx.Put([]byte("a"), []byte(value)))
		noError(t, "Commit", tx.Commit(ctx))
		wantGet(t, "after a volatile commit", s, "a", value)
	}
	noError(t, "Flush", s.Flush(ctx))
	write(t, s, "b=1")
	wantScan(t, "store", s, kv.Range{}, "a=19 b=1")
}

// testContext shows that a context that has ended stops what has not begun, and
// that nothing stays behind.
func testContext(t *testing.T, s kv.Store) {
	write(t, s, "a=1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tx, err := s.Begin(ended, kv.TxOptions{})
	wantError(t, "Begin", err, context.Canceled)
	if err == nil {
		tx.Rollback()
	}
	_, err = collect(s.Scan(ended, kv.Range{}))
	wantError(t, "Scan", err, context.Canceled)

	tx = must(s.Begin(t.Context(), kv.TxOptions{}))(t)
	apply(t, tx, "a=2", "b=2")
	wantError(t, "Commit", tx.Commit(ended), context.Canceled)
	wantScan(t, "after a commit without time", s, kv.Range{}, "a=1")

	write(t, s, "c=3")
	wantScan(t, "store", s, kv.Range{}, "a=1 c=3")
}

// testClosed closes the store itself. It must be open for reading at least.
func testClosed(t *testing.T, s kv.Store) {
	ctx := t.Context()
	tx, err := s.Begin(ctx, kv.TxOptions{})
	if err != nil && !errors.Is(err, kv.ErrReadOnly) {
		t.Fatal(err)
	}
	sn := must(s.Snapshot(ctx))(t)
	during := make(chan error)
	go func() {
		second, err := s.Begin(ctx, kv.TxOptions{})
		if err == nil {
			second.Rollback()
		}
		during <- err
	}()
	noError(t, "Close", s.Close())
	if err := <-during; err != nil && !errors.Is(err, kv.ErrClosed) && !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("Begin during Close: %v; want ErrClosed", err)
	}
	noError(t, "Close again", s.Close())

	_, err = s.Begin(ctx, kv.TxOptions{})
	wantError(t, "Begin", err, kv.ErrClosed)
	_, err = s.Snapshot(ctx)
	wantError(t, "Snapshot", err, kv.ErrClosed)
	wantError(t, "Flush", s.Flush(ctx), kv.ErrClosed)
	all := map[string]kv.Reader{"store": s, "snapshot": sn}
	if tx != nil {
		all["transaction"] = tx
	}
	for what, r := range all {
		_, err = r.Get(ctx, []byte("a"))
		wantError(t, what+": Get", err, kv.ErrClosed)
		_, err = collect(r.Scan(ctx, kv.Range{}))
		wantError(t, what+": Scan", err, kv.ErrClosed)
	}
	sn.Close()
	if tx != nil {
		apply(t, tx, "a=1")
		wantError(t, "Commit", tx.Commit(ctx), kv.ErrClosed)
		tx.Rollback()
	}
}

// testAtomic moves amounts between accounts while others add them up.
func testAtomic(t *testing.T, s kv.Store) {
	const accounts, total, moves = 5, 1000, 60
	ctx := t.Context()
	key := func(i int) []byte { return []byte{'a' + byte(i%accounts)} }
	write(t, s, "a=1000", "b=0", "c=0", "d=0", "e=0")

	var stop, done sync.WaitGroup
	stop.Add(1)
	finished := make(chan struct{})
	sum := func(r kv.Reader, reverse bool) {
		got, n := 0, 0
		for p, err := range r.Scan(ctx, kv.Range{Reverse: reverse}) {
			if err != nil {
				t.Errorf("Scan: %v", err)
				return
			}
			v, _ := strconv.Atoi(string(p.Value))
			got, n = got+v, n+1
		}
		if got != total || n != accounts {
			t.Errorf("%d accounts hold %d together; want %d and %d", n, got, accounts, total)
		}
	}
	for range 2 {
		done.Add(1)
		go func() {
			defer done.Done()
			for i := 0; ; i++ {
				sum(s, i%2 == 0)
				if sn, err := s.Snapshot(ctx); err != nil {
					t.Errorf("Snapshot: %v", err)
				} else {
					sum(sn, i%2 == 1)
					sn.Close()
				}
				select {
				case <-finished:
					return
				default:
				}
			}
		}()
	}
	for i := range moves {
		err := update(ctx, s, func(tx kv.Tx) error {
			amount := i%7 + 1
			if err := add(ctx, tx, key(i), -amount); err != nil {
				return err
			}
			return add(ctx, tx, key(i+1+i%3), amount)
		})
		if err != nil {
			t.Errorf("move %d: %v", i, err)
		}
	}
	close(finished)
	done.Wait()
	sum(s, false)
}

// testSerializable loses no increment, however transactions meet.
func testSerializable(t *testing.T, s kv.Store) {
	const workers, rounds = 4, 10
	ctx := t.Context()
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range rounds {
				err := update(ctx, s, func(tx kv.Tx) error { return add(ctx, tx, []byte("n"), 1) })
				if err != nil {
					t.Errorf("increment: %v", err)
				}
			}
		}()
	}
	wg.Wait()
	wantGet(t, "counter", s, "n", strconv.Itoa(workers*rounds))
}

// update runs fn in a transaction until it does not conflict.
func update(ctx context.Context, s kv.Store, fn func(kv.Tx) error) error {
	for {
		tx, err := s.Begin(ctx, kv.TxOptions{})
		if err != nil {
			return err
		}
		err = fn(tx)
		if err == nil {
			err = tx.Commit(ctx)
		}
		tx.Rollback()
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// add changes the decimal number at key.
func add(ctx context.Context, tx kv.Tx, key []byte, n int) error {
	b, err := tx.Get(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	v, _ := strconv.Atoi(string(b))
	return tx.Put(key, strconv.AppendInt(nil, int64(v+n), 10))
}
