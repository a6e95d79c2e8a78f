package slate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/merge"
)

// Isolation says which writes of others make a transaction conflict.
type Isolation uint8

const (
	// Serializable: a transaction that writes commits only if nothing that it
	// has read, and no key that it writes, was written by others since it began.
	// The outcome is that of running the transactions one after another, in the
	// order of their commits. It is the default.
	Serializable Isolation = iota
	// SnapshotIsolation: a transaction commits if no key that it writes was
	// written by others since it began. Two transactions may then each write
	// what the other has read (write skew); MarkRead guards single keys.
	SnapshotIsolation
)

// TxOptions say how a transaction runs. The zero value is serializable and
// durable.
type TxOptions struct {
	Isolation Isolation
	// Write is how the commit writes.
	Write WriteOptions
}

// txReads bounds what a transaction remembers of its reads, in bytes.
const txReads = 1 << 20

// Tx is a transaction: it reads the state at its begin with its own writes on
// top, and Commit applies the writes together, or refuses with a
// *ConflictError. It holds no lock and nobody waits for it; until it ends, the
// versions that it sees are kept. It is used by one goroutine at a time, and
// must end in Commit or Rollback: all other methods then return ErrClosed.
//
// The rows that others write meanwhile are compared with what the transaction
// has read, in the bounds in which it did: a key, or a range up to where the
// scan of it was left. Beyond some 1 MiB of keys, neighbours are remembered as
// one range: a transaction that reads very much may conflict with a write
// between the keys that it read. See Options.MaxTxHistoryBytes for the other
// bound. A transaction without writes never conflicts: it is one state that it
// has read.
type Tx struct {
	db    *DB
	opts  TxOptions
	snap  *Snapshot
	mark  conflict.Mark // where it began
	seen  conflict.Mark // up to where it was compared
	ended bool

	reads   conflict.Keys
	cursors []*Cursor // those that are open

	batch    Batch
	unmarked map[string]struct{} // written keys that are not compared

	// own holds the first writes of the batch, those that reads have met.
	own     *memtable.Table
	indexed int
}

var errTxEnded = fmt.Errorf("the transaction has ended: %w", ErrClosed)

// Begin starts a transaction on the current state. It waits for nothing.
func (db *DB) Begin(opts TxOptions) (*Tx, error) {
	if opts.Isolation > SnapshotIsolation {
		return nil, fmt.Errorf("%w: isolation %d is unknown", ErrInvalid, opts.Isolation)
	}
	mark := db.recent.Begin() // before the state is read
	snap, err := db.Snapshot()
	if err != nil {
		db.recent.End(mark)
		return nil, err
	}
	return &Tx{db: db, opts: opts, snap: snap, mark: mark, seen: mark, reads: conflict.Keys{Limit: txReads}}, nil
}

// Update runs fn in a transaction and commits it if fn returns nil; else nothing
// is changed and fn's error is returned. On a conflict both run again, up to 32
// times in all, after waits that double from 1 ms to 200 ms and are shortened at
// random by up to half: fn must be prepared to run more than once, and must not
// end the transaction itself. It returns what Commit returns.
func (db *DB) Update(ctx context.Context, opts TxOptions, fn func(*Tx) error) error {
	refused := func(err error) bool { return errors.Is(err, ErrConflict) }
	return conflict.Again(db.opts.Clock, db.opts.Random).Do(ctx, refused, func() error {
		tx, err := db.Begin(opts)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fn(tx); err != nil {
			return err
		}
		_, err = tx.Commit(ctx)
		return err
	})
}

// Seq is the sequence number that the transaction reads at.
func (tx *Tx) Seq() uint64 { return tx.snap.seq }

func (tx *Tx) alive() error {
	if tx.ended {
		return errTxEnded
	}
	return tx.db.failure()
}

// Put sets key to value at commit. It copies both. Sizes are bounded as in
// Batch.Put, and all writes of a transaction together, those that later ones
// replace included, by Options.MaxBatchBytes; beyond it is ErrInvalid. A write
// that returns an error is no part of the transaction, which may go on.
func (tx *Tx) Put(key, value []byte) error {
	return tx.write(format.Value, key, value, Expiry{})
}

// PutExpiring is Put for a value that expires. A time relative to the write
// counts from the commit.
func (tx *Tx) PutExpiring(key, value []byte, e Expiry) error {
	return tx.write(format.Value, key, value, e)
}

// Merge writes an operand at commit, as Batch.Merge does. It reads nothing, but
// counts as a write of key: see UnmarkWrite for operands that may meet.
func (tx *Tx) Merge(key, operand []byte) error {
	return tx.write(format.Merge, key, operand, Expiry{})
}

// MergeExpiring is Merge for an operand that expires. Merges of one key with
// several expiries are refused by Commit, as in Batch.MergeExpiring.
func (tx *Tx) MergeExpiring(key, operand []byte, e Expiry) error {
	return tx.write(format.Merge, key, operand, e)
}

// Delete removes key at commit, whether or not it is there. It returns what Put
// returns.
func (tx *Tx) Delete(key []byte) error {
	return tx.write(format.Tombstone, key, nil, Expiry{})
}

func (tx *Tx) write(kind format.Kind, key, value []byte, e Expiry) error {
	if tx.ended {
		return errTxEnded
	}
	if err := checkSizes(key, value); err != nil {
		return err
	}
	if kind == format.Merge {
		if err := checkOperand(tx.db.opts.MergeOperator, key, value); err != nil {
			return err
		}
	}
	if size := tx.batch.size + memtable.EncodedSize(key, value); size > tx.db.opts.MaxBatchBytes {
		return fmt.Errorf("%w: transaction of %d bytes, at most %d are allowed", ErrInvalid, size, tx.db.opts.MaxBatchBytes)
	}
	delete(tx.unmarked, string(key))
	tx.batch.add(kind, key, value, e)
	return nil
}

// MarkRead makes the transaction conflict with writes of the keys as if it had
// read them, under SnapshotIsolation too. It copies them.
func (tx *Tx) MarkRead(keys ...[]byte) error {
	if tx.ended {
		return errTxEnded
	}
	for _, key := range keys {
		tx.reads.Add(key)
	}
	return nil
}

// UnmarkWrite lets the transaction write keys whatever others did to them since
// it began: merge operands that may come in any order, or values of which the
// last may win. Keys that it has read too are compared nevertheless, and a later
// write of a key marks it again.
func (tx *Tx) UnmarkWrite(keys ...[]byte) error {
	if tx.ended {
		return errTxEnded
	}
	if tx.unmarked == nil {
		tx.unmarked = map[string]struct{}{}
	}
	for _, key := range keys {
		tx.unmarked[string(key)] = struct{}{}
	}
	return nil
}

// Commit applies the writes atomically and ends the transaction, whatever it
// returns. A *ConflictError, which matches ErrConflict, means that nothing was
// written and that the whole transaction should run again. Otherwise it is
// DB.Write for all writes as one batch. Without writes it returns at once, with
// a zero WriteHandle.
func (tx *Tx) Commit(ctx context.Context) (WriteHandle, error) {
	h, err := tx.insert(ctx)
	if err != nil || tx.opts.Write.Volatile {
		return h, err
	}
	return h, h.AwaitDurable(ctx)
}

func (tx *Tx) insert(ctx context.Context) (WriteHandle, error) {
	defer tx.Rollback()
	if err := tx.alive(); err != nil {
		return WriteHandle{}, err
	}
	if err := ctx.Err(); err != nil {
		return WriteHandle{}, err
	}
	if tx.batch.Len() == 0 {
		return WriteHandle{}, nil
	}
	for _, c := range tx.cursors {
		c.remember()
	}
	tx.reads.Settle()
	return tx.db.insert(ctx, &tx.batch, tx.opts.Write.Seq, tx)
}

// Rollback ends the transaction without effect. Afterwards, and after Commit, it
// does nothing.
func (tx *Tx) Rollback() {
	if tx.ended {
		return
	}
	tx.ended = true
	tx.db.recent.End(tx.mark)
	tx.snap.Close()
}

// check compares what others have committed since the last look with what the
// transaction read and writes. The batch is in key order by now.
func (tx *Tx) check() error {
	key, seq, end, err := tx.db.recent.Find(tx.seen, tx.snap.seq, tx.touches)
	tx.seen = end
	if key != nil || err != nil {
		return &ConflictError{Key: key, Seq: seq, Start: tx.snap.seq}
	}
	return nil
}

func (tx *Tx) touches(key []byte) bool {
	if tx.reads.Contains(key) {
		return true
	}
	if _, writes := slices.BinarySearchFunc(tx.batch.ops, key, tx.batch.compare); !writes {
		return false
	}
	_, free := tx.unmarked[string(key)]
	return !free
}

// Get returns the value of key, which the caller owns, or ErrNotFound.
func (tx *Tx) Get(ctx context.Context, key []byte) ([]byte, error) {
	value, _, err := tx.GetRow(ctx, key, nil, ReadOptions{})
	return value, err
}

// GetRow appends the value of key to dst; see DB.GetRow. Meta.Seq of a row with
// an own write in it is 0. ReadOptions.Durable is ErrInvalid: a transaction
// reads one state.
func (tx *Tx) GetRow(ctx context.Context, key, dst []byte, opts ReadOptions) ([]byte, Meta, error) {
	if err := tx.readable(&opts); err != nil {
		return dst, Meta{}, err
	}
	if tx.opts.Isolation == Serializable {
		tx.reads.Add(key)
	}
	value, meta, err := get(ctx, (*txSource)(tx), key, dst, &opts)
	return value, tx.known(meta), err
}

// Scan yields the keys of r with their values as of the start of the iteration:
// what the transaction writes while it runs is not seen.
func (tx *Tx) Scan(ctx context.Context, r Range) iter.Seq2[KV, error] {
	return tx.ScanRows(ctx, r, ReadOptions{})
}

// ScanRows is Scan with options; see GetRow.
func (tx *Tx) ScanRows(ctx context.Context, r Range, opts ReadOptions) iter.Seq2[KV, error] {
	return scan(ctx, func() (*Cursor, error) { return tx.Cursor(r, opts) })
}

// Cursor opens a cursor over r as of now; see GetRow. What it is moved over, and
// not what it skips, counts as read.
func (tx *Tx) Cursor(r Range, opts ReadOptions) (*Cursor, error) {
	if err := tx.readable(&opts); err != nil {
		return nil, err
	}
	src := (*txSource)(tx)
	v, seq := src.pin(false)
	c := &Cursor{src: src, view: v, seq: seq, rules: src.rules(opts.HideExpired), opts: opts, bounds: r, rest: r, tx: tx}
	tx.cursors = append(tx.cursors, c)
	c.release = func() { tx.cursors = slices.DeleteFunc(tx.cursors, func(x *Cursor) bool { return x == c }) }
	return c, nil
}

func (tx *Tx) readable(opts *ReadOptions) error {
	if opts.Durable {
		return fmt.Errorf("%w: a transaction reads one state, not only what is durable", ErrInvalid)
	}
	return tx.alive()
}

// known is what there is to know of a row: an own write has no seq yet.
func (tx *Tx) known(m Meta) Meta {
	if m.Seq > tx.snap.seq {
		m.Seq = 0
	}
	return m
}

// remember adds the part of a range that a cursor was moved over to the reads.
func (tx *Tx) remember(r Range) {
	if !tx.ended && tx.opts.Isolation == Serializable {
		tx.reads.AddRange(r.Lower, r.Upper)
	}
}

// txSource is what a transaction reads from: the database with the own writes
// on top. Those have the seqs behind the one of the begin, in their order.
type txSource Tx

// pin implements source.
func (t *txSource) pin(bool) (*view, uint64) {
	if fresh := t.batch.ops[t.indexed:]; len(fresh) > 0 {
		if t.own == nil {
			t.own = memtable.New(t.snap.seq)
		}
		now := t.db.opts.Clock.Now().UnixMilli()
		for _, o := range fresh {
			t.indexed++
			row := t.batch.row(o, t.snap.seq+uint64(t.indexed), now, t.db.opts.expiry())
			t.own.Add(&row)
		}
	}
	return t.on(t.db.current()), t.snap.seq + uint64(t.indexed)
}

func (t *txSource) refresh(ctx context.Context, old *view) (*view, error) {
	v, err := t.db.refresh(ctx, old)
	if err != nil {
		return nil, err
	}
	return t.on(v), nil
}

func (t *txSource) rules(hideExpired bool) merge.Rules { return t.db.rules(hideExpired) }

// on lays the own writes over a view.
func (t *txSource) on(v *view) *view {
	if t.own == nil {
		return v
	}
	return &view{own: t.own, upTo: t.snap.seq, mems: v.mems, tree: v.tree}
}
