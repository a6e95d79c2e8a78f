package slate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// flushLoop moves frozen memtables to L0, oldest first, until the database
// closes and none is left.
func (db *DB) flushLoop() {
	err := db.flushAll()
	if err != nil {
		db.fail(err)
	}
	if errors.Is(err, context.Canceled) {
		err = db.failure() // nothing had been published
	}
	db.flushErr = err
	close(db.flushEnd)
}

func (db *DB) flushAll() error {
	for {
		db.mu.Lock()
		var next *frozen
		if len(db.state.frozen) > 0 {
			next = db.state.frozen[0]
		}
		err, closing := cmp.Or(db.state.err, db.ctx.Err()), db.state.closing
		db.mu.Unlock()
		switch {
		case err != nil:
			return err
		case next != nil:
			if err := db.flushTable(db.ctx, next); err != nil {
				return err
			}
		case closing:
			return nil
		default:
			select {
			case <-db.flushWake:
			case <-db.dead:
			}
		}
	}
}

// flushTo is what a flush of the log is where there is none: the memtables with
// rows up to seq go to L0. If that fails it waits for the last word: a manifest
// may be on its way.
func (db *DB) flushTo(seq uint64) error {
	db.writeMu.Lock()
	db.mu.Lock()
	frozen := db.log.Durable()
	if n := len(db.state.frozen); n > 0 {
		frozen = db.state.frozen[n-1].lastSeq
	}
	if frozen < seq {
		db.freezeLocked()
	}
	db.mu.Unlock()
	db.writeMu.Unlock()
	for ended := false; ; {
		db.mu.Lock()
		changed := db.state.changed
		db.mu.Unlock()
		switch {
		case db.log.Durable() >= seq:
			return nil
		case ended:
			return cmp.Or(db.flushErr, ErrClosed)
		}
		select {
		case <-changed:
		case <-db.flushEnd:
			ended = true
		}
	}
}

// flushTable writes one memtable as an L0 SST and publishes it, once its rows
// are durable in the log, if there is one, and L0 has room.
func (db *DB) flushTable(ctx context.Context, f *frozen) error {
	if !db.opts.DisableWAL {
		if err := db.log.Wait(ctx, f.buffer); err != nil {
			return err
		}
	}
	if err := db.waitForL0(ctx); err != nil {
		return err
	}
	minSeq := db.pinned(f.lastSeq)
	l0, err := db.writeL0(ctx, f, minSeq)
	if err != nil {
		return err
	}
	return db.publishFlush(ctx, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		if m.LastL0Seq >= f.lastSeq {
			return m, nil // published already, see manifest.Store.Create
		}
		next := *m
		next.L0 = append(slices.Clone(l0), m.L0...)
		next.ReplayAfterWAL = max(m.ReplayAfterWAL, f.replayAfter)
		next.WALLastSeen = max(m.WALLastSeen, db.log.LastID())
		next.LastL0Seq = f.lastSeq
		next.LastL0ClockTick = max(m.LastL0ClockTick, f.tick)
		next.RecentSnapshotMinSeq = db.pinned(min(f.lastSeq, db.log.Durable())) // durable reads may still begin there
		next.SequenceTracker = track(m.SequenceTracker, f.lastSeq, f.tick)
		return &next, nil
	}, func() {
		db.state.frozen = db.state.frozen[1:]
		wake(db.compactWake)
	})
}

// publishFlush publishes the manifest of a flush. Without a log rows become
// durable by it: once it is on its way it runs on, whatever else ends the
// database, since only its own answer tells whether they are.
func (db *DB) publishFlush(ctx context.Context, edit manifestEdit, done func()) error {
	if !db.opts.DisableWAL {
		return db.publish(ctx, edit, done)
	}
	err := ctx.Err()
	if err == nil {
		err = db.publish(context.WithoutCancel(ctx), edit, done)
	}
	if errors.Is(err, manifest.ErrInDoubt) {
		err = fmt.Errorf("%w: %w", err, ErrUnknownOutcome)
	}
	return err
}

// writeL0 writes the rows of a memtable that a reader at minSeq or later can
// see; no SST if there are none.
func (db *DB) writeL0(ctx context.Context, f *frozen, minSeq uint64) ([]format.SST, error) {
	it := merge.Retain(f.table.Iter(nil, nil, false), merge.Policy{MinSeq: minSeq, Tick: f.tick, Operator: db.opts.MergeOperator})
	defer it.Close()
	opts := db.opts.sst()
	opts.Size = f.table.Size()
	w := sst.NewWriter(opts)
	for {
		r, err := it.Next(ctx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			break
		}
		if err := w.Add(r); err != nil {
			return nil, err
		}
	}
	if w.Rows() == 0 {
		return nil, nil
	}
	t, data, err := compact.WriteSST(ctx, db.bucket, db.root, w, db.ids.ulid)
	if err != nil {
		return nil, err
	}
	db.counters.l0.add(len(data))
	db.fill(t, data, true)
	return []format.SST{t}, nil
}

// waitForL0 waits while L0 is full. Our own compactor makes room and says so,
// watchLoop looks after one elsewhere. A database that closes does not wait:
// rows in L0 are safe, however many.
func (db *DB) waitForL0(ctx context.Context) error {
	for {
		db.mu.Lock()
		full := db.state.l0Room == 0 && !db.state.closing
		changed := db.state.changed
		db.mu.Unlock()
		if !full {
			return nil
		}
		if db.compactedElsewhere() {
			db.makeRoom()
		} else {
			wake(db.compactWake)
		}
		if err := db.await(ctx, changed); err != nil {
			return err
		}
	}
}

// makeRoom asks for a compaction if somebody waits in Compact for the flush that
// goes before it, and none has been asked for that has not ended.
func (db *DB) makeRoom() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.state.compacts == 0 {
		return
	}
	if asked := db.state.asked; asked != nil && len(asked) == 0 {
		return
	}
	db.state.asked = make(chan error, 1)
	db.state.requests = append(db.state.requests, db.state.asked)
	wake(db.compactWake)
}

// track adds the flush to the manifest's map from seqs to wall time, of which
// SlateDB keeps one pair a minute. A tracker that cannot be read is left alone:
// it serves look-ups only.
func track(old []byte, seq uint64, tickMillis int64) []byte {
	t, err := format.DecodeTracker(old)
	if err != nil {
		return old
	}
	t.Append(seq, tickMillis/1000)
	return t.Encode()
}
