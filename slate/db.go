package slate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/stele-db/stele/internal/conflict"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

type (
	manifestVersion    = manifest.Version[format.Manifest]
	compactionsVersion = manifest.Version[format.Compactions]

	// manifestEdit makes the manifest with this id of the one before.
	manifestEdit func(m *format.Manifest, id uint64) (*format.Manifest, error)
)

// DB is a database opened for writing. Its methods may be called concurrently.
//
// One goroutine puts WAL objects, or without a log asks for flushes in their
// place; one flushes memtables to L0, one compacts.
// Each publishes by a conditional write; readers load an immutable view and
// take no lock.
type DB struct {
	opts      Options
	bucket    bucket.Bucket
	root      layout.Root
	manifests *manifest.Store[format.Manifest]
	compactor *compactor
	tables    *sst.Store
	logAt     wal.Place
	log       *wal.Log
	epoch     uint64
	counters  *counters

	ctx    context.Context // ends with the database: background work
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	dead   chan struct{} // closed when err is set
	ids    idSource

	flushWake   chan struct{} // a memtable was frozen, or the database closes
	flushEnd    chan struct{} // closed when no memtable will be flushed any more
	flushErr    error         // set before that: what became of those that were left
	compactWake chan struct{} // L0 grew, somebody asks, or the database closes
	gcWake      chan struct{} // something was published
	gcStop      func()        // ends garbage collection
	turn        chan struct{} // held by the write that is the next to get room
	publishing  chan struct{} // held by the one task that publishes a manifest

	pic       atomic.Pointer[view]
	committed atomic.Uint64     // highest seq that reads may see
	recent    *conflict.History // keys written while transactions are open
	walPuts   atomic.Int64      // WAL objects since the last freeze

	// Taken before mu.
	writeMu sync.Mutex
	writer  struct {
		seq  uint64
		tick int64 // ms, never goes backwards
		refs []memtable.Ref
	}

	mu    sync.Mutex
	state struct {
		err       error         // first fatal error, or ErrClosed
		closing   bool          //
		changed   chan struct{} // closed and replaced when the view changes
		version   manifestVersion
		l0Room    int    // SSTs that may be added to the version's L0
		l0Work    l0Work // of our own compactor
		active    *memtable.Table
		frozen    []*frozen      // oldest first
		snapshots map[uint64]int // pinned seqs and how often
		requests  []chan error   // callers of Compact
		compacts  int            // callers of Compact that still wait for their flush, or for it
		asked     chan error     // answered when the compaction ends that makes room for such a flush; nil: none was
		stalled   int            // writers that wait for memtables to become fewer
	}
}

// frozen is a memtable on its way to L0.
type frozen struct {
	table       *memtable.Table
	buffer      *wal.Buffer // where its last rows wait; nil: all durable
	replayAfter uint64      // WAL objects up to here hold none of what follows
	lastSeq     uint64
	tick        int64
}

// Open opens the database at path in b for writing and creates it if there is
// none. It fences every other writer: their next write fails with ErrFenced.
//
// It returns ErrUnsupported for a bucket without conditional put, ErrInvalid
// for wrong options, ErrNewerFormat or ErrCorrupt for files it cannot read, and
// ErrFenced if yet another writer opened meanwhile. The caller keeps b and
// closes it after the database.
func Open(ctx context.Context, path string, b bucket.Bucket, opts Options) (*DB, error) {
	log := b
	if opts.WALBucket != nil {
		log = opts.WALBucket
	}
	for _, b := range []bucket.Bucket{b, log} {
		if caps := b.Capabilities(); !caps.ConditionalPut {
			return nil, fmt.Errorf("open %q for writing: bucket %s has no atomic conditional put, which fencing needs: %s: %w",
				path, caps.Name, caps.Reason, ErrUnsupported)
		}
	}
	opts, err := opts.withDefaults(log.Capabilities())
	if err != nil {
		return nil, err
	}
	db := newDB(layout.NewRoot(path), b, opts)
	if err := db.open(ctx); err != nil {
		db.cancel()
		return nil, fmt.Errorf("open %q: %w", path, err)
	}
	return db, nil
}

func newDB(root layout.Root, b bucket.Bucket, opts Options) *DB {
	retry := bucket.RetryOptions{Clock: opts.Clock, Rand: opts.Random, Attempts: retryAttempts}
	c := &counters{}
	b = counted{bucket.WithRetry(b, retry), c}
	log := logPlace(b, root, opts.WALBucket, opts.WALPath, retry, opts.BlockTransformer)
	if opts.WALBucket != nil {
		log.Bucket = counted{log.Bucket, c}
	}
	log.Bucket = countedLog{log.Bucket, c}
	db := &DB{
		opts: opts, bucket: b, root: root, logAt: log, counters: c,
		manifests:   manifest.NewStore(b, root, opts.Clock, opts.Random, manifest.Manifests),
		tables:      sst.NewStore(b, sst.NewCache(opts.CacheBytes), opts.store()),
		dead:        make(chan struct{}),
		recent:      conflict.New(opts.MaxTxHistoryBytes),
		ids:         idSource{clock: opts.Clock, random: opts.Random},
		flushWake:   make(chan struct{}, 1),
		flushEnd:    make(chan struct{}),
		compactWake: make(chan struct{}, 1),
		gcWake:      make(chan struct{}, 1),
		gcStop:      func() {},
		publishing:  make(chan struct{}, 1),
		turn:        make(chan struct{}, 1),
	}
	db.compactor = newCompactor(root, b, &db.opts, &db.ids, writerHost{db})
	db.ctx, db.cancel = context.WithCancel(context.Background())
	db.state.changed = make(chan struct{})
	db.state.snapshots = map[uint64]int{}
	return db
}

// open runs SlateDB's protocol: claim an epoch, put a fence into the log,
// replay what lies before it.
func (db *DB) open(ctx context.Context) error {
	v, err := db.claim(ctx)
	if err != nil {
		return err
	}
	fence, v, err := db.fence(ctx, v)
	if err != nil {
		return err
	}
	db.setVersionLocked(v)
	for _, t := range v.Value.L0 {
		db.ids.after(t.ID) // garbage collection relies on it, also where clocks differ
	}
	if last := v.Value.LastCompactedL0; last != nil {
		db.ids.after(*last)
	}
	db.state.active = memtable.New(db.ids.seed())
	db.writer.seq = v.Value.LastL0Seq
	db.writer.tick = v.Value.LastL0ClockTick
	if err := db.replay(ctx, v, fence); err != nil {
		return err
	}
	db.committed.Store(db.writer.seq)
	db.log = wal.Start(db.logEnv(), fence, db.writer.seq, v.ConfirmedAt)
	db.rebuildLocked(nil)
	if db.opts.DisableWAL {
		db.freezeLocked() // what was replayed: without a log, no memtable is durable in part
	}
	db.compactor.seen = v.Value.CompactorEpoch
	db.tasks.Go(db.flushLoop)
	db.tasks.Go(db.compactLoop)
	db.tasks.Go(db.watchLoop)
	if db.opts.GCMinAge > 0 {
		ctx, stop := context.WithCancel(db.ctx)
		db.gcStop = stop
		db.tasks.Go(func() { db.gcLoop(ctx, fence) })
	}
	wake(db.flushWake)
	wake(db.compactWake)
	wake(db.gcWake)
	return nil
}

func (db *DB) logEnv() wal.Env {
	env := wal.Env{
		Place: db.logAt, Clock: db.opts.Clock, Random: db.opts.Random,
		MinInterval: db.opts.MinFlushInterval, MaxDelay: db.opts.MaxFlushDelay,
		MaxBytes: min(db.opts.L0Bytes, db.opts.MaxUnflushedBytes/2), SST: db.opts.sst(),
		Confirm: db.confirm,
		Flushed: func(uint64) { db.walPuts.Add(1) },
		Failed:  db.fail,
	}
	if db.opts.DisableWAL {
		env.Flush, env.MaxBytes = db.flushTo, math.MaxInt64 // a full memtable is frozen anyway
	}
	return env
}

// claim creates the database if need be and raises the writer epoch.
func (db *DB) claim(ctx context.Context) (manifestVersion, error) {
	v, err := db.manifests.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		if err := db.probe(ctx); err != nil {
			return v, err
		}
		first := &format.Manifest{Initialized: true, LastL0ClockTick: math.MinInt64, WALStoreURI: db.opts.walStoreURI()}
		v, err = db.manifests.Create(ctx, manifestVersion{}, first)
		if errors.Is(err, bucket.ErrExists) {
			v, err = db.manifests.Latest(ctx)
		}
	}
	if err != nil {
		return v, err
	}
	v, err = db.manifests.Update(ctx, v, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		if err := writable(m); err != nil {
			return nil, err
		}
		if err := checkLog(ctx, m, db.opts.WALBucket, db.logAt); err != nil {
			return nil, err
		}
		if err := db.checkTransformer(ctx, m); err != nil {
			return nil, err
		}
		next := *m
		if next.WALStoreURI == nil {
			next.WALStoreURI = db.opts.walStoreURI() // the manifest had no place for it, see checkLog
		}
		next.WriterEpoch++
		db.epoch = next.WriterEpoch
		return &next, nil
	})
	return v, err
}

// errSegments refuses a database that this engine can neither read nor change.
var errSegments = fmt.Errorf("the database keeps segments, which this version does not know: %w", ErrUnsupported)

// writable refuses what this engine cannot continue, compact or collect without
// harm.
func writable(m *format.Manifest) error {
	switch {
	case m.Segmented():
		return errSegments
	case !m.Initialized:
		return fmt.Errorf("the database is a clone that is still being made: %w", ErrUnavailable)
	}
	return nil
}

// fence puts an object without rows at the end of the log, which stops every
// older writer, and returns its id with the manifest as it was then.
func (db *DB) fence(ctx context.Context, v manifestVersion) (uint64, manifestVersion, error) {
	fence, err := sst.EncodeFence(db.opts.BlockTransformer)
	if err != nil {
		return 0, v, err
	}
	for {
		ids, err := db.logAt.List(ctx, v.Value.ReplayAfterWAL)
		if err != nil {
			return 0, v, err
		}
		// The last of them may be the fence of a newer writer, which one of ours
		// behind it would fence.
		if v, err = db.latest(ctx); err != nil {
			return 0, v, err
		}
		id := v.Value.ReplayAfterWAL + 1
		if n := len(ids); n > 0 {
			id = max(id, ids[n-1]+1)
		}
		token, err := layout.Token(db.opts.Random)
		if err != nil {
			return 0, v, err
		}
		err = db.logAt.Bucket.PutIfAbsent(ctx, db.logAt.Key(id), fence, token)
		if errors.Is(err, bucket.ErrExists) {
			continue // the writer before is at work
		}
		if err != nil {
			return 0, v, err
		}
		if v, err = db.latest(ctx); err != nil {
			return 0, v, err
		}
		if id > v.Value.ReplayAfterWAL {
			return id, v, nil
		}
	}
}

// replay brings the log's rows between the manifest and the fence into
// memtables.
func (db *DB) replay(ctx context.Context, v manifestVersion, fence uint64) error {
	var order wal.Order
	for id := v.Value.ReplayAfterWAL + 1; id < fence; id++ {
		rows, err := db.logAt.Read(ctx, id)
		if errors.Is(err, bucket.ErrNotFound) {
			if _, err := db.confirm(ctx); err != nil {
				return err
			}
			return &CorruptError{Object: db.logAt.Key(id), Offset: 0, Reason: "the object is missing from the log"}
		}
		if err == nil {
			err = order.Next(db.logAt.Key(id), rows)
		}
		if err != nil {
			return err
		}
		for i := range rows {
			r := &rows[i]
			if r.Seq <= v.Value.LastL0Seq {
				continue
			}
			if r.Seq > db.writer.seq && db.due() { // never within a batch
				db.freezeReplayed(id - 1)
			}
			db.state.active.Add(r)
			db.writer.seq = max(db.writer.seq, r.Seq)
			if r.HasCreate {
				db.writer.tick = max(db.writer.tick, r.CreateTS)
			}
		}
		db.walPuts.Add(1)
	}
	if db.due() {
		db.freezeReplayed(fence - 1)
	}
	return nil
}

// freezeReplayed freezes what was replayed, which has all rows of the log up to
// the object replayAfter.
func (db *DB) freezeReplayed(replayAfter uint64) {
	db.walPuts.Store(0)
	db.state.frozen = append(db.state.frozen, &frozen{
		table: db.state.active, replayAfter: replayAfter, lastSeq: db.writer.seq, tick: db.writer.tick,
	})
	db.state.active = memtable.New(db.ids.seed())
}

// confirm reads the latest manifest and returns the id up to which the log need
// not be replayed, and ErrFenced with it if the writer epoch is not ours any
// more.
func (db *DB) confirm(ctx context.Context) (replayAfter uint64, err error) {
	v, err := db.latest(ctx)
	if v.Value != nil {
		replayAfter = v.Value.ReplayAfterWAL
	}
	return replayAfter, err
}

// latest reads the latest manifest. It returns it with ErrFenced if it is a newer
// writer's: then nothing that is held here may be laid over it.
func (db *DB) latest(ctx context.Context) (manifestVersion, error) {
	v, err := db.manifests.Latest(ctx)
	if err == nil {
		err = db.ours(v.Value)
	}
	return v, err
}

func (db *DB) ours(m *format.Manifest) error {
	if m.WriterEpoch > db.epoch {
		return fmt.Errorf("writer epoch is %d, ours is %d: %w", m.WriterEpoch, db.epoch, ErrFenced)
	}
	return nil
}

// due reports whether the active memtable is to be frozen: because of its size,
// or for all the log objects that its rows lie in, those of writers before
// included.
func (db *DB) due() bool {
	t := db.state.active
	return t.Size() >= db.opts.freezeSize() || t.Full() || t.Rows() > 0 && db.walPuts.Load() >= int64(db.opts.MaxWALObjects)
}

// freezeSize is the size at which the active memtable is frozen.
func (o *Options) freezeSize() int64 { return max(1, min(o.L0Bytes, o.MaxUnflushedBytes/2)) }

// rebuildLocked publishes a new view to readers, with t as its tree or the one
// of the current manifest version if t is nil.
func (db *DB) rebuildLocked(t *tree) {
	if t == nil {
		t = newTree(db.state.version.ID, db.state.version.Value, db.tables, db.root)
	}
	v := &view{tree: t, mems: []*memtable.Table{db.state.active}}
	inL0 := uint64(0)
	if t.manifest.WriterEpoch == db.epoch { // else L0 has another writer's rows
		inL0 = t.manifest.LastL0Seq
		db.log.Reached(inL0)
	}
	for i := len(db.state.frozen) - 1; i >= 0; i-- {
		if f := db.state.frozen[i]; f.lastSeq > inL0 { // else its flush has not heard yet that it is published
			v.mems = append(v.mems, f.table)
		}
	}
	db.pic.Store(v)
	db.broadcastLocked()
}

// broadcastLocked wakes everyone who waits for the state to change.
func (db *DB) broadcastLocked() {
	close(db.state.changed)
	db.state.changed = make(chan struct{})
}

// current is the newest view.
func (db *DB) current() *view { return db.pic.Load() }

func (db *DB) rules(hideExpired bool) merge.Rules {
	return readRules(db.opts.MergeOperator, hideExpired || db.opts.HideExpired, db.opts.Clock)
}

// refresh loads the latest manifest: another process may have compacted and
// collected what the old view names. An object missing from the latest manifest
// itself is corruption.
func (db *DB) refresh(ctx context.Context, old *view) (*view, error) {
	if v := db.current(); v.tree.id > old.tree.id {
		return v, nil
	}
	latest, err := db.latest(ctx)
	if errors.Is(err, ErrFenced) {
		db.fail(err)
	}
	if err != nil {
		return nil, err
	}
	if latest.ID <= old.tree.id {
		return nil, &CorruptError{Object: db.root.Dir(layout.CompactedDir), Offset: 0,
			Reason: fmt.Sprintf("an SST that manifest %d names is missing", latest.ID)}
	}
	db.adopt(latest)
	return db.current(), nil
}

func (db *DB) setVersionLocked(v manifestVersion) {
	db.state.version, db.state.l0Room = v, db.opts.l0Room(v.Value)
	if db.state.l0Room > 0 && db.state.l0Work.halted {
		db.state.l0Work = l0Work{}
	}
}

// adopt takes over a manifest version that is newer than the known one.
func (db *DB) adopt(v manifestVersion) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if v.ID > db.state.version.ID {
		db.setVersionLocked(v)
		db.rebuildLocked(nil)
	}
}

// fail ends the database with its first fatal error: waiters get it, and so
// does every later call.
func (db *DB) fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.failLocked(err)
}

func (db *DB) failLocked(err error) {
	if db.state.err != nil || errors.Is(err, context.Canceled) && db.state.closing {
		return
	}
	db.state.err = err
	close(db.dead)
	db.log.Abort(err)
	db.cancel()
}

// failure is the error that ended the database, nil while it lives.
func (db *DB) failure() error {
	select {
	case <-db.dead:
	default:
		return nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.state.err
}

// Flush makes everything written so far durable.
func (db *DB) Flush(ctx context.Context) error {
	if err := db.failure(); err != nil {
		return err
	}
	return db.log.Wait(ctx, db.log.Current())
}

// FlushMemtable makes everything written so far durable and moves it to L0.
func (db *DB) FlushMemtable(ctx context.Context) error {
	if err := db.Flush(ctx); err != nil {
		return err
	}
	db.writeMu.Lock()
	db.freeze()
	seq := db.writer.seq
	db.writeMu.Unlock()
	for {
		db.mu.Lock()
		frozen, changed := db.state.frozen, db.state.changed
		db.mu.Unlock()
		if len(frozen) == 0 || frozen[0].lastSeq > seq {
			return db.failure()
		}
		if err := db.await(ctx, changed); err != nil {
			return err
		}
	}
}

// await waits for a channel to be closed while the database lives.
func (db *DB) await(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-db.dead:
		return db.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseMode says what becomes of the rows that are in memory.
type CloseMode uint8

// The ways to close a database.
const (
	CloseFlushed CloseMode = iota // they are moved to L0, as by Close
	CloseDurable                  // they are made durable in the log; the next to open replays them. Without a log: in L0
	CloseAtOnce                   // what is not durable yet is lost, as in a crash; who waits for it gets ErrClosed
)

// Close makes everything written durable, moves it to L0, leaves at most four
// L0 SSTs, and ends all background work, a garbage collection midway. It returns
// the error that had ended the database before, if one had. Closing twice
// returns ErrClosed.
func (db *DB) Close() error { return db.CloseWith(CloseFlushed) }

// CloseWith is Close for those in a hurry. Unless the mode is CloseFlushed, what
// the background is about is given up: flushes begin anew, compactions are taken
// up where they are recorded, by the next to open.
func (db *DB) CloseWith(mode CloseMode) error {
	if mode > CloseAtOnce {
		return fmt.Errorf("%w: there is no CloseMode %d", ErrInvalid, mode)
	}
	// From closing on no row is added, and the background tasks end once no
	// frozen memtable is left: the last one must be frozen in the same step.
	db.writeMu.Lock()
	db.mu.Lock()
	if db.state.closing {
		db.mu.Unlock()
		db.writeMu.Unlock()
		return ErrClosed
	}
	db.state.closing = true
	if mode == CloseFlushed || mode == CloseDurable && db.opts.DisableWAL {
		db.freezeLocked()
	}
	db.broadcastLocked()
	db.mu.Unlock()
	db.writeMu.Unlock()
	db.gcStop()

	ctx := context.Background()
	var err error
	switch mode {
	case CloseFlushed:
		err = db.FlushMemtable(ctx)
	case CloseDurable:
		err = db.Flush(ctx)
		db.cancel()
	case CloseAtOnce:
		err = db.failure()
		db.fail(ErrClosed)
	}
	wake(db.flushWake)
	wake(db.compactWake)
	db.tasks.Wait() // the compactor's last job brings L0 down
	if logErr := db.log.Close(); err == nil && mode != CloseAtOnce {
		err = logErr
	}
	db.fail(ErrClosed)
	return err
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// publish runs edit on the latest manifest and publishes the result, one
// publisher at a time; done sees the new version under the lock before readers
// do.
func (db *DB) publish(ctx context.Context, edit manifestEdit, done func()) error {
	release, err := acquire(ctx, db.publishing)
	if err != nil {
		return err
	}
	defer release()
	db.mu.Lock()
	base := db.state.version
	db.mu.Unlock()
	v, err := db.manifests.Update(ctx, base, func(m *format.Manifest, id uint64) (*format.Manifest, error) {
		if err := db.ours(m); err != nil {
			return nil, err
		}
		return edit(m, id)
	})
	if err != nil {
		return err
	}
	t := newTree(v.ID, v.Value, db.tables, db.root)
	db.mu.Lock()
	defer db.mu.Unlock()
	if v.ID > base.ID {
		wake(db.gcWake)
	}
	if v.ID > db.state.version.ID {
		db.setVersionLocked(v)
	} else if v.ID < db.state.version.ID {
		t = nil // somebody has read a later one meanwhile
	}
	if done != nil {
		done()
	}
	db.rebuildLocked(t)
	return nil
}

// pinned is the lowest seq that a snapshot or running scan reads at, or seq if
// that is lower.
func (db *DB) pinned(seq uint64) uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	for s := range db.state.snapshots {
		seq = min(seq, s)
	}
	return seq
}
