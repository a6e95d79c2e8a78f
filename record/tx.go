package record

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/stele-db/stele/kv"
)

const (
	// maxAttempts is how often Update runs its function before it gives up.
	maxAttempts = 32
	// Waits between attempts double from the first to the longest.
	firstBackoff = time.Millisecond
	maxBackoff   = 200 * time.Millisecond
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

// Update runs fn in a transaction and commits it, durably, if fn returns nil;
// else nothing is changed and the error is returned. When the transaction
// conflicts with another one it runs again, after a short wait that grows, up to
// 32 times: fn must be prepared to run more than once. It returns kv.ErrConflict
// if it conflicted every time, and kv.ErrUnknownOutcome if the store cannot tell
// whether the commit took effect. fn must not call Update or Define.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.UpdateWith(ctx, kv.TxOptions{}, fn)
}

// UpdateWith is Update with options of the store's transaction. After a
// volatile one, Store().Flush waits until it is durable, and with it all that
// were committed before.
func (db *DB) UpdateWith(ctx context.Context, opts kv.TxOptions, fn func(*Tx) error) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := db.attempt(ctx, opts, fn)
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
		if attempt == maxAttempts {
			return fmt.Errorf("gave up after %d attempts: %w", attempt, err)
		}
		if err := db.wait(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (db *DB) wait(ctx context.Context, d time.Duration) error {
	fired, stop := db.opts.Clock.After(d)
	defer stop()
	select {
	case <-fired:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
