package kv

import (
	"context"
	"iter"
)

// Pair is one key with its value. Both slices are valid until the iteration
// that yielded them goes on; copy what must last.
type Pair struct {
	Key, Value []byte
}

// Range selects the keys k with Lower <= k < Upper, bytewise. A nil bound is
// no bound. Reverse yields them in descending order.
type Range struct {
	Lower, Upper []byte
	Reverse      bool
}

// Reader is the read half of a store: a store, a snapshot and a transaction
// all satisfy it. Its methods may be called concurrently, except those of a
// transaction.
type Reader interface {
	// Get returns the value of key, which the caller owns, or ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// Scan yields the pairs of r in key order, all from one consistent view
	// taken when the iteration starts. After an error nothing follows.
	Scan(ctx context.Context, r Range) iter.Seq2[Pair, error]
}

// Store is an ordered, transactional store of bytes. Its methods may be called
// concurrently.
type Store interface {
	Reader

	// Snapshot pins the current state for reading until it is closed.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Begin starts a transaction. It returns ErrReadOnly on a store opened for
	// reading. Every transaction must end in Commit or Rollback.
	Begin(ctx context.Context, opts TxOptions) (Tx, error)

	// Flush makes every committed write durable.
	Flush(ctx context.Context) error

	// Close makes every committed write durable and releases the store. Calls
	// after it return ErrClosed.
	Close() error
}

// Snapshot is a fixed view of a store.
type Snapshot interface {
	Reader
	// Close releases the view. It may be called more than once.
	Close()
}

// Tx is a transaction: it reads one consistent state with its own writes on
// top, and its writes take effect together at Commit, or not at all. It is
// used by one goroutine at a time.
type Tx interface {
	Reader
	// Put sets key to value at commit. It copies both.
	Put(key, value []byte) error
	// Delete removes key at commit, whether or not it is there.
	Delete(key []byte) error
	// Commit applies the writes atomically. It returns ErrConflict if another
	// transaction committed in a way that this one must not have missed: run
	// the whole transaction again.
	Commit(ctx context.Context) error
	// Rollback ends the transaction without effect. After Commit or a first
	// Rollback it does nothing.
	Rollback()
}

// TxOptions says how a transaction runs. Its zero value is the safest:
// serializable and durable.
type TxOptions struct {
	// Volatile lets Commit return when the writes are visible, before they are
	// durable; a crash may then lose the newest commits, never a part of one.
	Volatile bool
}
