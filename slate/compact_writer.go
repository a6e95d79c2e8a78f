package slate

import (
	"context"

	"github.com/stele-db/stele/slate/internal/format"
)

// Compact moves everything written so far to L0 and merges all L0 SSTs and
// sorted runs into one run, leaving out what no snapshot can see; what is one
// run already is left as it is, unless there is a CompactionFilter. It returns
// when the result is published. Where the runs are much larger than L0, L0
// becomes a run first, so that flushes go on meanwhile.
//
// Another compactor that has taken over is deposed.
func (db *DB) Compact(ctx context.Context) error {
	compacts := func(n int) {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.state.compacts += n
		db.broadcastLocked()
	}
	compacts(1)
	defer compacts(-1)
	if err := db.FlushMemtable(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	db.mu.Lock()
	if db.state.closing {
		db.mu.Unlock()
		return ErrClosed
	}
	db.state.requests = append(db.state.requests, done)
	db.mu.Unlock()
	wake(db.compactWake)
	select {
	case err := <-done:
		return err
	case <-db.dead:
		return db.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CompactionWork returns what the writer's own compactions have done since it
// was opened.
func (db *DB) CompactionWork() CompactionWork { return db.compactor.work() }

// compactLoop compacts when the scheduler says so or somebody asks, until the
// database closes.
func (db *DB) compactLoop() {
	if err := db.compactor.run(db.ctx, db.compactOrders); err != nil {
		db.fail(err)
	}
	db.mu.Lock()
	requests := db.state.requests
	db.state.requests = nil
	db.mu.Unlock()
	answer(requests, ErrClosed)
}

func (db *DB) compactOrders() compactOrders {
	db.mu.Lock()
	defer db.mu.Unlock()
	o := compactOrders{
		requests: db.state.requests, auto: db.opts.CompactL0 > 0,
		closing: db.state.closing, flushing: len(db.state.frozen) > 0, dead: db.state.err != nil,
		changed: db.state.changed, wake: db.compactWake,
	}
	db.state.requests = nil
	return o
}

// writerHost is the writer that a compactor in the same process works for.
type writerHost struct{ db *DB }

func (h writerHost) newest() manifestVersion {
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	return h.db.state.version
}

func (h writerHost) reload(ctx context.Context) error {
	v, err := h.db.latest(ctx)
	if err == nil {
		h.db.adopt(v)
	}
	return err
}

func (h writerHost) publishEdit(ctx context.Context, edit manifestEdit) error {
	return h.db.publish(ctx, edit, nil)
}

// keepSeq knows every snapshot, so it need not go by what the manifest says of
// those that there were at the last flush.
func (h writerHost) keepSeq(m *format.Manifest) uint64 { return h.db.pinned(m.LastL0Seq) }

func (h writerHost) wrote(t format.SST, object []byte) { h.db.fill(t, object, false) }

func (h writerHost) compactingL0(w l0Work) { h.db.compactingL0(w) }

// deposed wakes a flush that waits for L0: it has to look for itself now.
func (h writerHost) deposed() error {
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	h.db.broadcastLocked()
	return nil
}
