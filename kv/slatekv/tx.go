package slatekv

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/slate"
)

// tx is a kv.Tx: one of the engine's.
type tx struct {
	store    *Store
	tx       *slate.Tx
	volatile bool
}

var _ kv.Tx = (*tx)(nil)

// Get implements kv.Tx.
func (t *tx) Get(ctx context.Context, key []byte) ([]byte, error) {
	return get(ctx, t.store, t.tx, key)
}

// Scan implements kv.Tx.
func (t *tx) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return scan(ctx, t.store, t.tx, r)
}

// Put implements kv.Tx.
func (t *tx) Put(key, value []byte) error { return shared(t.tx.Put(key, value)) }

// Delete implements kv.Tx.
func (t *tx) Delete(key []byte) error { return shared(t.tx.Delete(key)) }

// MarkRead implements kv.Tx.
func (t *tx) MarkRead(keys ...[]byte) error { return shared(t.tx.MarkRead(keys...)) }

// Rollback implements kv.Tx.
func (t *tx) Rollback() { t.tx.Rollback() }

// Commit implements kv.Tx.
func (t *tx) Commit(ctx context.Context) error {
	h, err := t.tx.Commit(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("commit: %w", shared(err))
	case t.volatile:
		return nil
	}
	return durable(ctx, h)
}

// durable waits for a commit that is visible already. A fenced writer's rows
// are gone with it; of any other failure it cannot be told here whether they
// reach the bucket yet.
func durable(ctx context.Context, h slate.WriteHandle) error {
	err := shared(h.AwaitDurable(ctx))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrFenced), errors.Is(err, kv.ErrUnknownOutcome):
		return fmt.Errorf("commit: %w", err)
	default:
		return fmt.Errorf("commit: visible, but perhaps not durable: %w", &engineError{err, kv.ErrUnknownOutcome})
	}
}
