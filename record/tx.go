package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// Tx is a transaction over tables: it reads one consistent state with its own
// writes on top. It lives within a call of [DB.Update], in one goroutine. It is
// a kv.Reader, so everything that reads takes it.
type Tx struct {
	db    *DB
	tx    kv.Tx
	maker entryMaker
	// Entries of the row being written, kept for their memory.
	before, after []entry
}

// DB returns the database of the transaction.
func (tx *Tx) DB() *DB { return tx.db }

// Get returns the value of a key of the store, as kv.Reader says.
func (tx *Tx) Get(ctx context.Context, key []byte) ([]byte, error) { return tx.tx.Get(ctx, key) }

// Scan yields pairs of the store, as kv.Reader says.
func (tx *Tx) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	return tx.tx.Scan(ctx, r)
}

// Put sets a raw key, such as [ImportKey], at commit. It returns kv.ErrInvalid
// for the keys of rows and index entries, which only a Table may write.
func (tx *Tx) Put(key, value []byte) error {
	if err := rawKey(key); err != nil {
		return err
	}
	return tx.tx.Put(key, value)
}

// Delete removes a raw key at commit, under the conditions of Put.
func (tx *Tx) Delete(key []byte) error {
	if err := rawKey(key); err != nil {
		return err
	}
	return tx.tx.Delete(key)
}

func rawKey(key []byte) error {
	if len(key) > 2 && key[0] == spaceTables && (key[2] == tagData || key[2] == tagIndex) {
		return invalidf("key %x belongs to a table: write it through the table", key)
	}
	return nil
}

// Update runs fn in a serializable transaction and commits it, durably, if fn
// returns nil; else nothing is changed and the error is returned. Transactions
// do not wait for each other: when this one conflicts with another it runs again,
// up to 32 times, after waits that double from 1 ms to 200 ms and are shortened
// at random by up to half. So fn must be prepared to run more than once. Update
// returns kv.ErrConflict, with the row or index and a *kv.ConflictError that has
// the key, if it conflicted every time, and kv.ErrUnknownOutcome if the store cannot tell
// whether the commit took effect. fn must not call Update or Define.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.UpdateWith(ctx, kv.TxOptions{}, fn)
}

// UpdateWith is Update with options of the store's transaction. Rows and index
// entries agree under snapshot isolation too, and unique stays unique: a Table
// writes each key of which it must be sure. After a volatile one, Store().Flush
// waits until it is durable, and with it all that were committed before.
func (db *DB) UpdateWith(ctx context.Context, opts kv.TxOptions, fn func(*Tx) error) error {
	refused := func(err error) bool { return errors.Is(err, kv.ErrConflict) }
	err := conflict.Again(db.opts.Clock, db.opts.Random).Do(ctx, refused, func() error { return db.attempt(ctx, opts, fn) })
	if c, ok := errors.AsType[*kv.ConflictError](err); ok {
		if what := db.describe(c.Key); what != "" {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return err
}

// describe names the row or the index to which a key belongs, "" if none.
func (db *DB) describe(key []byte) string {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, t := range db.tables {
		s := t.Schema()
		if rest, ok := bytes.CutPrefix(key, rowPrefix(t.id)); ok {
			if pk, err := tuple.DecodeAll(rest, nil); err == nil {
				return t.name + " " + keyText(s, pk)
			}
		}
		for _, ix := range s.indexes {
			if bytes.HasPrefix(key, indexPrefix(t.id, ix.id)) {
				return t.name + ": index " + ix.name
			}
		}
	}
	return ""
}

// attempt runs fn once.
func (db *DB) attempt(ctx context.Context, opts kv.TxOptions, fn func(*Tx) error) error {
	db.defining.RLock()
	defer db.defining.RUnlock()
	tx, err := db.store.Begin(ctx, opts)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(&Tx{db: db, tx: tx}); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// View calls fn with a reader of one state of the database. The reader must not
// be used after fn has returned.
func (db *DB) View(ctx context.Context, fn func(kv.Reader) error) error {
	snap, err := db.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	return fn(snap)
}

// Snapshot pins the current state of the database for reading until it is
// closed.
func (db *DB) Snapshot(ctx context.Context) (kv.Snapshot, error) { return db.store.Snapshot(ctx) }
