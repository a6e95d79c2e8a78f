package slate

import (
	"context"
	"fmt"
	"time"

	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/wal"
)

// WriteHandle tells of one write that is visible already.
type WriteHandle struct {
	// Seq is the write's place in the order of all writes.
	Seq uint64
	// Created is the time that the rows carry, to the millisecond.
	Created time.Time

	log    *wal.Log
	buffer *wal.Buffer
}

// AwaitDurable returns when the write, and all before it, is in the bucket. An
// error other than the context's means that it may or may not survive.
func (h WriteHandle) AwaitDurable(ctx context.Context) error {
	if h.log == nil || h.log.Durable() >= h.Seq {
		return nil
	}
	err := h.log.Wait(ctx, h.buffer)
	if err != nil && h.log.Durable() >= h.Seq {
		return nil // what failed was another memtable, behind this one
	}
	return err
}

// Put sets key to value and returns when that is durable. Keys have 1 to 65,535
// bytes, values as many as Options.MaxBatchBytes lets in and fewer than 1 GiB
// less 128 KiB; other sizes are ErrInvalid. It returns ErrFenced if a newer
// writer has taken over, and ErrUnknownOutcome if it cannot be told whether the
// put took effect.
func (db *DB) Put(ctx context.Context, key, value []byte) error {
	var b Batch
	b.Put(key, value)
	_, err := db.Write(ctx, &b, WriteOptions{})
	return err
}

// Delete removes key and returns when that is durable. It returns what Put
// returns; a key that is not there is no error.
func (db *DB) Delete(ctx context.Context, key []byte) error {
	var b Batch
	b.Delete(key)
	_, err := db.Write(ctx, &b, WriteOptions{})
	return err
}

// Write applies a batch atomically. It waits while memory is full
// (Options.MaxUnflushedBytes) or compaction is behind, which Stats.Stalls counts,
// and, unless the options say otherwise, until the batch is durable. An empty batch, one above Options.MaxBatchBytes and one with
// a key or value out of bounds are ErrInvalid and change nothing; so do merges
// without Options.MergeOperator, which are ErrNoOperator.
//
// If the context ends while Write waits for durability, the batch has been
// applied and may still become durable.
func (db *DB) Write(ctx context.Context, b *Batch, opts WriteOptions) (WriteHandle, error) {
	h, err := db.insert(ctx, b, opts.Seq, nil)
	if err != nil || opts.Volatile {
		return h, err
	}
	return h, h.AwaitDurable(ctx)
}

// insert makes a batch visible under seq, 0 for the next one. If tx is not nil,
// the batch is its own: then only if it is in no conflict, and tx ends with it.
func (db *DB) insert(ctx context.Context, b *Batch, seq uint64, tx *Tx) (WriteHandle, error) {
	switch {
	case b.err != nil:
		return WriteHandle{}, b.err
	case len(b.ops) == 0:
		return WriteHandle{}, fmt.Errorf("%w: the batch is empty", ErrInvalid)
	}
	if err := b.normalise(db.opts.MergeOperator, db.opts.expiry()); err != nil {
		return WriteHandle{}, err
	}
	if b.size > db.opts.MaxBatchBytes {
		return WriteHandle{}, fmt.Errorf("%w: batch of %d bytes, at most %d are allowed", ErrInvalid, b.size, db.opts.MaxBatchBytes)
	}
	if tx != nil { // so that little is left to compare while others wait
		if err := tx.check(); err != nil {
			return WriteHandle{}, err
		}
	}
	if err := db.lockWithRoom(ctx, b.size); err != nil {
		return WriteHandle{}, err
	}
	defer db.writeMu.Unlock()
	if last := db.writer.seq; seq == 0 {
		seq = last + 1
	} else if seq <= last || seq > MaxSeq {
		return WriteHandle{}, fmt.Errorf("%w: seq %d is not above %d, which a write has already, and at most %d", ErrInvalid, seq, last, uint64(MaxSeq))
	}
	if tx != nil {
		if err := tx.check(); err != nil {
			return WriteHandle{}, err
		}
		tx.Rollback() // what others write from here on is behind it
	}
	return db.apply(b, seq), nil
}

// apply gives the batch its seq, inserts it and makes it visible. It is called
// with writeMu held and does no I/O.
func (db *DB) apply(b *Batch, seq uint64) WriteHandle {
	w := &db.writer
	w.seq = seq
	w.tick = max(w.tick, db.opts.Clock.Now().UnixMilli())
	w.refs = w.refs[:0]
	table, def := db.state.active, db.opts.expiry()
	for _, o := range b.ops {
		row := b.row(o, w.seq, w.tick, def)
		w.refs = append(w.refs, table.Add(&row))
	}
	h := WriteHandle{Seq: w.seq, Created: time.UnixMilli(w.tick), log: db.log}
	h.buffer = db.log.Append(table, w.refs, w.seq, b.size)
	db.committed.Store(w.seq)
	db.counters.applied(b.ops)
	if db.recent.Open() { // after that: a transaction that opens now reads the batch
		db.recent.Written(w.seq, b.keys)
	}
	if db.due() {
		db.freeze()
	}
	return h
}

// freeze hands the active memtable to the flush loop and starts a new one. It
// is called with writeMu held.
func (db *DB) freeze() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.freezeLocked()
}

func (db *DB) freezeLocked() {
	if db.state.active.Rows() == 0 || db.state.err != nil {
		return
	}
	// Whatever is in the bucket by now was appended before: the buffer first,
	// then the id, so that a put ending in between is counted with the id only
	// if its rows are in this table or an older one, as all rows so far are.
	f := &frozen{table: db.state.active, buffer: db.log.Current(), lastSeq: db.writer.seq, tick: db.writer.tick}
	f.replayAfter = db.log.LastID()
	db.state.frozen = append(db.state.frozen, f)
	db.state.active = memtable.New(db.ids.seed())
	db.walPuts.Store(0)
	db.rebuildLocked(db.pic.Load().tree)
	wake(db.flushWake)
}
