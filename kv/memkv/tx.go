package memkv

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv/internal/sorted"
)

// change is what a transaction does to one key.
type change struct {
	value   []byte
	deleted bool
}

// tx is a kv.Tx: a snapshot with the transaction's writes on top.
type tx struct {
	store *Store
	opts  kv.TxOptions
	base  *snapshot
	mark  conflict.Mark
	ended bool

	reads  conflict.Keys
	scans  []*extent // those that run
	writes *sorted.Map[change]
}

var _ kv.Tx = (*tx)(nil)

// extent is how far a scan has come.
type extent struct {
	r    kv.Range
	at   []byte // the last key that was yielded; valid while it is
	left bool   // the caller wanted no more
}

var errEnded = fmt.Errorf("transaction has ended: %w", kv.ErrClosed)

func (t *tx) check(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	return t.store.check(ctx)
}

// Get implements kv.Tx.
func (t *tx) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if t.opts.Isolation == kv.Serializable {
		t.reads.Add(key)
	}
	w, ok := t.writes.Get(key)
	switch {
	case !ok:
		return t.base.Get(ctx, key)
	case w.deleted:
		return nil, kv.ErrNotFound
	}
	return append([]byte{}, w.value...), nil
}

// Scan implements kv.Tx.
func (t *tx) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		if err := t.check(ctx); err != nil {
			yield(kv.Pair{}, err)
			return
		}
		e := &extent{r: r}
		t.scans = append(t.scans, e)
		defer func() {
			if !e.left {
				e.at = nil
			}
			t.remember(e)
			t.scans = slices.DeleteFunc(t.scans, func(x *extent) bool { return x == e })
		}()
		// A clone, so that the loop's body may write.
		overlay(t.base.Scan(ctx, r), t.writes.Clone().Cursor(r), r.Reverse, func(p kv.Pair, err error) bool {
			e.at = p.Key
			if e.left = !yield(p, err); e.left {
				return false
			}
			if t.ended && err == nil {
				yield(kv.Pair{}, errEnded)
				return false
			}
			return true
		})
	}
}

// remember adds what a scan has seen to the reads: the whole range if it is at
// its end.
func (t *tx) remember(e *extent) {
	if t.ended || t.opts.Isolation != kv.Serializable {
		return
	}
	lower, upper := e.r.Lower, e.r.Upper
	switch {
	case e.at == nil:
	case e.r.Reverse:
		lower = e.at
	default:
		upper = append(slices.Clip(e.at), 0)
	}
	t.reads.AddRange(lower, upper)
}

// overlay yields the pairs of base with the writes that own walks on top. Both
// cover the same range in the same direction.
func overlay(base iter.Seq2[kv.Pair, error], own *sorted.Cursor[change], reverse bool, yield func(kv.Pair, error) bool) {
	more := own.Next()
	// ownBefore yields the own writes that come before key, or all of them.
	ownBefore := func(key []byte, all bool) bool {
		for ; more && (all || before(own.Key(), key, reverse)); more = own.Next() {
			if w := own.Value(); !w.deleted && !yield(kv.Pair{Key: own.Key(), Value: w.value}, nil) {
				return false
			}
		}
		return true
	}
	for p, err := range base {
		if err != nil {
			yield(kv.Pair{}, err)
			return
		}
		if !ownBefore(p.Key, false) {
			return
		}
		if more && bytes.Equal(own.Key(), p.Key) {
			continue // our write replaces it, and comes with the next key
		}
		if !yield(p, nil) {
			return
		}
	}
	ownBefore(nil, true)
}

func before(a, b []byte, reverse bool) bool {
	c := bytes.Compare(a, b)
	return c != 0 && (c < 0) != reverse
}

// Put implements kv.Tx.
func (t *tx) Put(key, value []byte) error {
	return t.write(key, change{value: append([]byte{}, value...)})
}

// Delete implements kv.Tx.
func (t *tx) Delete(key []byte) error { return t.write(key, change{deleted: true}) }

func (t *tx) write(key []byte, c change) error {
	if t.ended {
		return errEnded
	}
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	t.writes.Set(bytes.Clone(key), c)
	return nil
}

// MarkRead implements kv.Tx.
func (t *tx) MarkRead(keys ...[]byte) error {
	if t.ended {
		return errEnded
	}
	for _, key := range keys {
		t.reads.Add(key)
	}
	return nil
}

// Commit implements kv.Tx.
func (t *tx) Commit(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	defer t.Rollback()
	for _, e := range t.scans {
		t.remember(e)
	}
	if err := t.store.commit(ctx, t); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// touches reports whether the transaction has read the key or writes it.
func (t *tx) touches(key []byte) bool {
	_, writes := t.writes.Get(key)
	return writes || t.reads.Contains(key)
}

// Rollback implements kv.Tx.
func (t *tx) Rollback() {
	if t.ended {
		return
	}
	t.ended = true
	t.base.Close()
	t.store.recent.End(t.mark)
}
