package slate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/merge"
)

// l0AfterClose is how many L0 SSTs a closed database may have: at eight a
// SlateDB without a compactor stops flushing.
const l0AfterClose = 4

// compactRetry is how long the compactor rests after a failure.
const compactRetry = 10 * time.Second

// errDeposed: another compactor raised the compactor epoch.
var errDeposed = errors.New("another compactor has taken over")

// Compact moves everything written so far to L0 and merges all L0 SSTs and
// sorted runs into one run, leaving out what no snapshot can see. It returns
// when the result is published.
func (db *DB) Compact(ctx context.Context) error {
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

// compactLoop compacts when L0 has grown or somebody asks, until the database
// closes.
func (db *DB) compactLoop() {
	for {
		db.mu.Lock()
		requests := db.state.requests
		db.state.requests = nil
		l0 := len(db.state.version.Value.L0)
		closing, flushing := db.state.closing, len(db.state.frozen) > 0
		dead, deposed := db.state.err != nil, db.state.deposed
		changed := db.state.changed
		db.mu.Unlock()

		due := len(requests) > 0
		if db.opts.CompactL0 > 0 && !deposed {
			due = due || !closing && l0 >= db.opts.CompactL0 || closing && (l0 > l0AfterClose || l0 >= db.opts.MaxL0 && flushing)
		}
		switch {
		case dead:
			answer(requests, ErrClosed)
			return
		case due:
			err := db.compactAll(db.ctx)
			answer(requests, err)
			if err != nil && !db.rest(err) {
				return
			}
		case closing && !flushing:
			return
		default:
			select {
			case <-db.compactWake:
			case <-changed:
			case <-db.dead:
			}
		}
	}
}

func answer(requests []chan error, err error) {
	for _, r := range requests {
		r <- err
	}
}

// rest decides what a failed compaction means: fenced ends the database,
// another compactor ends ours, anything else is tried again after a while. It
// reports whether the loop goes on.
func (db *DB) rest(err error) bool {
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, ErrUnknownOutcome):
		db.fail(err)
		return false
	case errors.Is(err, errDeposed):
		db.mu.Lock()
		db.state.deposed = true
		db.broadcastLocked() // a flush that waits for this compactor waits for the other from now on
		db.mu.Unlock()
		db.opts.Logger.Info("compactor stops", slog.Any("reason", err))
		return true
	case errors.Is(err, context.Canceled):
		return true
	}
	db.opts.Logger.Warn("compaction failed", slog.Any("error", err))
	timer, stop := db.opts.Clock.After(compactRetry)
	defer stop()
	for {
		db.mu.Lock()
		closing, changed := db.state.closing, db.state.changed
		db.mu.Unlock()
		if closing {
			return false // the database is whole; the next writer compacts
		}
		select {
		case <-timer:
			return true
		case <-db.dead:
			return true
		case <-changed:
		}
	}
}

// compactAll merges everything there is into one run, by SlateDB's steps: the
// job is recorded, run, committed behind a checkpoint that protects running
// readers, and recorded as completed.
func (db *DB) compactAll(ctx context.Context) error {
	if err := db.claimCompactor(ctx); err != nil {
		return err
	}
	db.mu.Lock()
	m := db.state.version.Value
	db.mu.Unlock()
	spec := compact.Full(m)
	if spec.Empty() || len(spec.L0) == 0 && len(spec.Runs) == 1 {
		return nil // one run already
	}
	id, err := db.ids.ulid()
	if err != nil {
		return err
	}
	entry := format.Compaction{ID: id, Status: format.CompactionRunning, L0: spec.L0, Runs: spec.Runs, Destination: spec.Destination}
	if err := db.record(ctx, entry); err != nil {
		return err
	}
	job := compact.Job{
		Bucket: db.bucket, Root: db.root, Tables: scanTables{db, m},
		SST: db.opts.sst(), MaxSST: db.opts.MaxSSTBytes, NewID: db.ids.ulid,
		MinSeq: db.pinned(m.RecentSnapshotMinSeq), Operator: db.opts.MergeOperator,
	}
	out, err := job.Run(ctx, m, spec)
	if err != nil {
		entry.Status = format.CompactionFailed
		return errors.Join(err, db.record(ctx, entry))
	}
	if err := db.commit(ctx, spec, out); err != nil {
		return err
	}
	entry.Status, entry.Output = format.CompactionCompleted, out
	return db.record(ctx, entry)
}

// commit publishes a finished compaction. The first manifest holds a
// checkpoint of the old state, so that readers in other processes can finish;
// the second holds the new state.
func (db *DB) commit(ctx context.Context, spec compact.Spec, out []format.SST) error {
	if db.opts.ReaderGrace > 0 {
		id, err := db.ids.uuid()
		if err != nil {
			return err
		}
		err = db.publish(ctx, db.asCompactor(func(m *format.Manifest, manifestID uint64) (*format.Manifest, error) {
			return withCheckpoint(m, id, manifestID, db.opts.Clock.Now(), db.opts.ReaderGrace), nil
		}), nil)
		if err != nil {
			return err
		}
	}
	return db.publish(ctx, db.asCompactor(func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		return compact.Apply(m, spec, out)
	}), nil)
}

// asCompactor refuses the edit if another compactor has taken over.
func (db *DB) asCompactor(edit manifestEdit) manifestEdit {
	return func(m *format.Manifest, id uint64) (*format.Manifest, error) {
		if m.CompactorEpoch > db.compactorEpoch() {
			return nil, errDeposed
		}
		return edit(m, id)
	}
}

// compactionReads are how a compaction reads its sources.
var compactionReads = ReadOptions{NoFill: true}

// scanTables reads compaction sources past the cache.
type scanTables struct {
	db *DB
	m  *format.Manifest
}

func (s scanTables) Iter(t format.SST) merge.Iterator {
	return openTable(s.m, &t, s.db.tables, s.db.root).iter(Range{}, &compactionReads)
}

func (s scanTables) IterRun(r format.SortedRun) merge.Iterator {
	tables := make(run, len(r.SSTs))
	for i := range tables {
		tables[i] = openTable(s.m, &r.SSTs[i], s.db.tables, s.db.root)
	}
	if it := tables.iter(Range{}, &compactionReads); it != nil {
		return it
	}
	return merge.Sorted(nil, false)
}

func (db *DB) compactorEpoch() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.state.compactor
}

// claimCompactor raises the compactor epoch before the first compaction, in
// the manifest and in the compactions file, which fences every older compactor.
func (db *DB) claimCompactor(ctx context.Context) error {
	if db.compactorEpoch() > 0 {
		return nil
	}
	var epoch uint64
	err := db.publish(ctx, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		next := *m
		next.CompactorEpoch++
		epoch = next.CompactorEpoch
		return &next, nil
	}, nil)
	if err != nil {
		return err
	}
	v, err := db.compactions.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		v, err = db.compactions.Create(ctx, compactionsVersion{}, &format.Compactions{})
		if errors.Is(err, bucket.ErrExists) {
			v, err = db.compactions.Latest(ctx)
		}
	}
	if err != nil {
		return err
	}
	v, err = db.compactions.Update(ctx, v, func(c *format.Compactions, _ uint64) (*format.Compactions, error) {
		if c.CompactorEpoch >= epoch {
			return nil, errDeposed
		}
		return &format.Compactions{CompactorEpoch: epoch, Recent: keepFinished(c.Recent)}, nil
	})
	if err != nil {
		return err
	}
	db.mu.Lock()
	db.state.compactor, db.state.compacted = epoch, v
	db.mu.Unlock()
	return nil
}

// record writes the state of a compaction to the compactions file.
func (db *DB) record(ctx context.Context, entry format.Compaction) error {
	db.mu.Lock()
	base, epoch := db.state.compacted, db.state.compactor
	db.mu.Unlock()
	v, err := db.compactions.Update(ctx, base, func(c *format.Compactions, _ uint64) (*format.Compactions, error) {
		if c.CompactorEpoch > epoch {
			return nil, errDeposed
		}
		next := &format.Compactions{CompactorEpoch: epoch, Recent: keepFinished(c.Recent)}
		next.Recent = slices.DeleteFunc(next.Recent, func(c format.Compaction) bool { return c.ID == entry.ID })
		if entry.Status.Finished() {
			next.Recent = nil // of the finished ones the last is kept
		}
		next.Recent = append(next.Recent, entry)
		return next, nil
	})
	if err != nil {
		return err
	}
	db.mu.Lock()
	db.state.compacted = v
	db.mu.Unlock()
	return nil
}

// keepFinished keeps the last compaction. One that an ended compactor left
// unfinished has failed: garbage collection finds its outputs by the next one's
// id, and the sources by its own, should it have come as far as the commit.
func keepFinished(all []format.Compaction) []format.Compaction {
	var kept []format.Compaction
	for _, c := range all {
		if !c.Status.Finished() {
			c.Status = format.CompactionFailed
		}
		if len(kept) == 0 || c.ID.Compare(kept[0].ID) > 0 {
			kept = []format.Compaction{c}
		}
	}
	return kept
}

// withCheckpoint adds a checkpoint of the manifest that will have this id, and
// drops those that have expired. It is m itself if the checkpoint is there: one
// listed twice would make the manifest corrupt.
func withCheckpoint(m *format.Manifest, id format.UUID, manifestID uint64, now time.Time, life time.Duration) *format.Manifest {
	if slices.ContainsFunc(m.Checkpoints, func(c format.Checkpoint) bool { return c.ID == id }) {
		return m
	}
	next := *m
	sec := uint32(now.Unix())
	next.Checkpoints = slices.DeleteFunc(slices.Clone(m.Checkpoints), func(c format.Checkpoint) bool {
		return c.ExpireSec != 0 && c.ExpireSec <= sec
	})
	next.Checkpoints = append(next.Checkpoints, format.Checkpoint{
		ID: id, ManifestID: manifestID, CreateSec: sec, ExpireSec: sec + uint32(life/time.Second),
	})
	return &next
}
