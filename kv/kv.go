package kv

import (
	"bytes"
	"context"
	"fmt"
	"iter"
)

// MaxKeySize is the size of the longest key, in bytes. The shortest has one.
const MaxKeySize = 65535

// CheckKey returns ErrInvalid, with the reason, for a key that no store takes:
// one that is empty or longer than MaxKeySize.
func CheckKey(key []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("empty key: %w", ErrInvalid)
	case len(key) > MaxKeySize:
		return fmt.Errorf("key of %d bytes, at most %d are allowed: %w", len(key), MaxKeySize, ErrInvalid)
	}
	return nil
}

// Pair is one key with its value. Both slices belong to the store: they must
// not be changed, and are valid until the iteration that yielded them goes on.
// Copy what must last.
type Pair struct {
	Key, Value []byte
}

// Range selects the keys k with Lower <= k < Upper, bytewise. A nil bound is
// no bound; bounds that leave no key between them select nothing, without an
// error. Reverse yields the keys in descending order. The bounds must not be
// changed while the range is in use.
type Range struct {
	Lower, Upper []byte
	Reverse      bool
}

// Contains reports whether key lies in r.
func (r Range) Contains(key []byte) bool {
	return bytes.Compare(key, r.Lower) >= 0 && (r.Upper == nil || bytes.Compare(key, r.Upper) < 0)
}

// Empty reports whether no key can lie in r.
func (r Range) Empty() bool { return r.Upper != nil && bytes.Compare(r.Lower, r.Upper) >= 0 }

// Reader is the read half of a store: a store, a snapshot and a transaction
// all satisfy it. Its methods may be called concurrently, except those of a
// transaction. Both return ErrClosed once the store, the snapshot or the
// transaction has ended, the error of ctx if that ended first, and ErrCorrupt
// or ErrUnavailable if the stored data cannot be read.
type Reader interface {
	// Get returns the value of key, which the caller owns. It returns
	// ErrNotFound if there is none, and ErrInvalid for a key that CheckKey
	// refuses. An empty value is a value.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// Scan yields the pairs of r in key order, all from one consistent view
	// taken when the iteration starts: what is written while it runs, by its
	// own transaction too, is not seen. Each iteration over the returned
	// sequence takes a view of its own. After an error nothing follows.
	Scan(ctx context.Context, r Range) iter.Seq2[Pair, error]
}

// Store is an ordered, transactional store of bytes. Its methods may be called
// concurrently.
type Store interface {
	Reader

	// Snapshot pins the current state, every commit that has returned included,
	// for reading until it is closed. It neither waits for writers nor holds
	// them up.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Begin starts a transaction, which sees every commit that has returned. It
	// waits for no other transaction. It returns ErrReadOnly on a store opened
	// for reading. Every transaction must end in Commit or Rollback; until then
	// the store keeps what it sees.
	Begin(ctx context.Context, opts TxOptions) (Tx, error)

	// Flush makes every committed write durable.
	Flush(ctx context.Context) error

	// Close makes every committed write durable and releases the store. It does
	// not wait for open snapshots and transactions: those fail from then on.
	// Calls after it return ErrClosed; Close itself then returns nil.
	Close() error
}

// Snapshot is a fixed view of a store. It may be used concurrently.
type Snapshot interface {
	Reader
	// Close releases the view. It may be called more than once.
	Close()
}

// Tx is a transaction: it reads one consistent state with its own writes on
// top, and its writes take effect together at Commit, or not at all. It is
// used by one goroutine at a time. Once it has ended, all its methods but
// Rollback return ErrClosed.
type Tx interface {
	Reader
	// Put sets key to value at commit. It copies both. It returns ErrInvalid
	// for a key that CheckKey refuses.
	Put(key, value []byte) error
	// Delete removes key at commit, whether or not it is there. It returns
	// ErrInvalid for a key that CheckKey refuses.
	Delete(key []byte) error
	// MarkRead makes the transaction conflict with writes of the keys as if it
	// were serializable and had read them. It copies them.
	MarkRead(keys ...[]byte) error
	// Commit applies the writes atomically and ends the transaction, whatever
	// it returns. With a *ConflictError, which matches ErrConflict, another
	// transaction committed in a way that this one must not have missed: run the
	// whole transaction again. One that has written nothing is never refused for
	// that, and one is never refused if no other committed since its begin. With
	// ErrUnknownOutcome, it may take effect or not: read before writing again.
	// With any other error nothing of it took effect, and nothing will.
	Commit(ctx context.Context) error
	// Rollback ends the transaction without effect. After Commit or a first
	// Rollback it does nothing, so that it can be deferred.
	Rollback()
}

// Isolation says which commits of others a transaction must not have missed.
type Isolation uint8

const (
	// Serializable: those that wrote what it has read, by key or by range, or
	// what it writes. A store may count a little more as read than was read.
	Serializable Isolation = iota
	// SnapshotIsolation: those that wrote what it writes, and the keys of
	// MarkRead. Two transactions may then each write what the other has read.
	SnapshotIsolation
)

// TxOptions says how a transaction runs. Its zero value is the safest:
// serializable and durable.
type TxOptions struct {
	// Isolation is Serializable by default.
	Isolation Isolation
	// Volatile lets Commit return when the writes are visible, before they are
	// durable; a crash may then lose the newest commits, never a part of one
	// nor one that a surviving commit came after.
	Volatile bool
}
