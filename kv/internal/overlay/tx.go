// Package overlay makes transactions out of snapshots: the writes of a
// transaction lie in memory, on top of the state that it reads, until the store
// applies them as one batch. Stores share it; what differs between them is the
// snapshot below and what a commit does.
//
// Transactions that write run one at a time: a store's Begin takes its [Lock]
// and the transaction gives it back as soon as its writes are visible, so that
// several commits may wait for durability together. A store that detects
// conflicts instead needs no lock, and refuses in its commit function.
package overlay

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/internal/sorted"
)

// Write is what a transaction does to one key.
type Write struct {
	Value  []byte
	Delete bool
}

// Hooks are what a store adds to a transaction.
type Hooks struct {
	// Apply makes writes, one for each key and in key order, visible, all or
	// none. It is called at most once, and not if there are none. The slices
	// are not used again. If wait is not nil, the commit returns what it does:
	// it is where a commit becomes durable.
	Apply func(ctx context.Context, writes iter.Seq2[[]byte, Write]) (wait func(context.Context) error, err error)
	// Release is called once, when the transaction has ended and before wait.
	Release func()
}

// Tx is a kv.Tx over a snapshot, which it owns.
type Tx struct {
	base   kv.Snapshot
	writes *sorted.Map[Write]
	hooks  Hooks
	ended  bool
}

var _ kv.Tx = (*Tx)(nil)

// Begin returns a transaction that reads base and closes it at its end.
func Begin(base kv.Snapshot, hooks Hooks) *Tx {
	return &Tx{base: base, writes: sorted.New[Write](), hooks: hooks}
}

var errEnded = fmt.Errorf("transaction has ended: %w", kv.ErrClosed)

// Get implements kv.Tx.
func (t *Tx) Get(ctx context.Context, key []byte) ([]byte, error) {
	if t.ended {
		return nil, errEnded
	}
	w, ok := t.writes.Get(key)
	switch {
	case !ok:
		return t.base.Get(ctx, key)
	case w.Delete:
		return nil, kv.ErrNotFound
	}
	return append([]byte{}, w.Value...), nil
}

// Scan implements kv.Tx.
func (t *Tx) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		switch {
		case t.ended:
			yield(kv.Pair{}, errEnded)
		case t.writes.Len() == 0:
			t.base.Scan(ctx, r)(yield)
		default: // a clone, so that the loop's body may write
			merge(t.base.Scan(ctx, r), t.writes.Clone().Cursor(r), r.Reverse, yield)
		}
	}
}

// merge yields the pairs of base with the writes that own walks on top. Both
// cover the same range in the same direction.
func merge(base iter.Seq2[kv.Pair, error], own *sorted.Cursor[Write], reverse bool, yield func(kv.Pair, error) bool) {
	more := own.Next()
	// ownBefore yields the own writes that come before key, or all of them.
	ownBefore := func(key []byte, all bool) bool {
		for ; more && (all || before(own.Key(), key, reverse)); more = own.Next() {
			if w := own.Value(); !w.Delete && !yield(kv.Pair{Key: own.Key(), Value: w.Value}, nil) {
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
func (t *Tx) Put(key, value []byte) error {
	return t.write(key, Write{Value: append([]byte{}, value...)})
}

// Delete implements kv.Tx.
func (t *Tx) Delete(key []byte) error { return t.write(key, Write{Delete: true}) }

func (t *Tx) write(key []byte, w Write) error {
	if t.ended {
		return errEnded
	}
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	t.writes.Set(bytes.Clone(key), w)
	return nil
}

// Commit implements kv.Tx.
func (t *Tx) Commit(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	wait, err := t.apply(ctx)
	if err != nil || wait == nil {
		return err
	}
	return wait(ctx)
}

func (t *Tx) apply(ctx context.Context) (wait func(context.Context) error, err error) {
	defer t.Rollback()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.writes.Len() == 0 {
		return nil, nil
	}
	return t.hooks.Apply(ctx, t.writes.Scan(kv.Range{}))
}

// Rollback implements kv.Tx.
func (t *Tx) Rollback() {
	if t.ended {
		return
	}
	t.ended = true
	t.base.Close()
	t.hooks.Release()
	t.writes = nil
}
