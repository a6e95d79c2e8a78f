package stele

import (
	"context"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// Reader is what rows are read from: a *[DB], a *[ReadDB], a *[Snapshot] or a
// *[Tx]. Nothing else implements it.
type Reader interface {
	reader() kv.Reader
	bindings() bindings
}

// Writer is what rows are written to: a *[DB], for which each call is a
// transaction of its own, or a *[Tx]. Nothing else implements it.
type Writer interface {
	Reader
	write(ctx context.Context, fn func(*Tx) error) error
}

// Tx is a transaction: it reads one state of the database with its own writes
// on top. It lives within a call of [DB.Update], in one goroutine.
type Tx struct {
	tx    *record.Tx
	bound bindings
}

func (tx *Tx) reader() kv.Reader                                 { return tx.tx }
func (tx *Tx) bindings() bindings                                { return tx.bound }
func (tx *Tx) write(_ context.Context, fn func(*Tx) error) error { return fn(tx) }

// Snapshot is a fixed state of the database, for reading. It may be used
// concurrently.
type Snapshot struct {
	snap  kv.Reader
	close func()
	bound bindings
}

func (s *Snapshot) reader() kv.Reader  { return s.snap }
func (s *Snapshot) bindings() bindings { return s.bound }

// Close releases the state. It may be called more than once.
func (s *Snapshot) Close() { s.close() }
