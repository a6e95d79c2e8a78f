package slatekv

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/slate"
)

// view is what a database, its snapshots and a reader have in common.
type view interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	Scan(ctx context.Context, r slate.Range) iter.Seq2[slate.KV, error]
}

// checker says why reading is over: the store or the context has ended.
type checker interface {
	check(ctx context.Context) error
}

func get(ctx context.Context, c checker, v view, key []byte) ([]byte, error) {
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	if err := kv.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := v.Get(ctx, key)
	return value, shared(err)
}

func scan(ctx context.Context, c checker, v view, r kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		if err := c.check(ctx); err != nil {
			yield(kv.Pair{}, err)
			return
		}
		if r.Empty() {
			return
		}
		for p, err := range v.Scan(ctx, slate.Range{Lower: r.Lower, Upper: r.Upper, Reverse: r.Reverse}) {
			if err != nil {
				yield(kv.Pair{}, shared(err))
				return
			}
			if !yield(kv.Pair{Key: p.Key, Value: p.Value}, nil) {
				return
			}
		}
	}
}

// snapshot is a fixed view of a store.
type snapshot struct {
	store   checker
	view    view
	release func() // may be called more than once
	closed  atomic.Bool
}

func (sn *snapshot) check(ctx context.Context) error {
	if sn.closed.Load() {
		return fmt.Errorf("snapshot: %w", kv.ErrClosed)
	}
	return sn.store.check(ctx)
}

// Get implements kv.Reader.
func (sn *snapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	return get(ctx, sn, sn.view, key)
}

// Scan implements kv.Reader.
func (sn *snapshot) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return scan(ctx, sn, sn.view, r)
}

// Close implements kv.Snapshot.
func (sn *snapshot) Close() {
	sn.closed.Store(true)
	sn.release()
}
