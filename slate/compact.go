package slate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/merge"
)

// l0AfterClose is how many L0 SSTs a closed database may have: at eight a
// SlateDB without a compactor stops flushing.
const l0AfterClose = 4

// closingSources is how many L0 SSTs a compaction takes that makes room for
// Close.
const closingSources = 8

// compactRetry is how long the compactor rests after a failure.
const compactRetry = 10 * time.Second

// fullApart: a full compaction makes a run of L0 first if all runs are more
// than so many times as large, so that L0 is free for flushes while they are
// merged.
const fullApart = 4

// errDeposed: another compactor raised the compactor epoch.
var errDeposed = errors.New("another compactor has taken over")

// compactHost is the database that a compactor works for: the writer in this
// process, or one in another.
type compactHost interface {
	// newest is the newest manifest that is known.
	newest() manifestVersion
	// reload makes the latest manifest known.
	reload(ctx context.Context) error
	// publishEdit runs edit on the latest manifest and publishes the result. The
	// edit may be run again on a manifest that has its result already.
	publishEdit(ctx context.Context, edit manifestEdit) error
	// keepSeq is the lowest seq at which anybody reads, or will read, what m
	// names.
	keepSeq(m *format.Manifest) uint64
	// wrote is told, concurrently, of each SST that a compaction has put, with its
	// bytes, which are not the host's to keep.
	wrote(t format.SST, object []byte)
	// compactingL0 is told how far a compaction of L0 has come. It must not block.
	compactingL0(w l0Work)
	// deposed is told that another compactor works for the database now. Its
	// error ends ours.
	deposed() error
}

// compactor plans compactions and carries them out. One goroutine (run) decides
// and starts jobs; each job is a goroutine of its own.
type compactor struct {
	opts        *Options
	bucket      bucket.Bucket
	root        layout.Root
	compactions *manifest.Store[format.Compactions]
	ids         *idSource
	host        compactHost
	rate        *compact.Rate
	slots       chan struct{} // taken by each range that is worked on
	lower       chan struct{} // before that, by ranges of jobs without L0
	telling     sync.Mutex    // held while Each is called

	seen  uint64 // compactor epoch when we came; a higher one that is not ours is another's
	tried uint64 // highest epoch that we have published, or may have

	recording chan struct{} // held by who writes the compactions file

	mu      sync.Mutex
	epoch   uint64 // ours, 0 before the first compaction
	deposed bool
	file    compactionsVersion
	known   map[format.ULID]bool // what we have taken note of: true: is ours to finish, false: goes from the file
	arrived []unstarted          // submitted by others, run has not seen them yet
	totals  CompactionWork
	arrival chan struct{} // something has arrived

	// The rest belongs to the goroutine of run.
	left     []unstarted // of compactors before, or submitted
	jobs     []*compactJob
	stopped  []compact.Plan // of jobs that are left to the next compactor: their end may not be recorded
	results  chan jobResult
	settling func() // ends the record that settle has begun; nil: none
	settled  chan settlement
	requests []chan error // of full compactions that have not begun
	full     *fullCompaction
	resting  <-chan time.Time // after a failure; nil: awake
	wakeUp   func()
}

// compactJob is a compaction that is under way.
type compactJob struct {
	manifest *format.Manifest
	plan     compact.Plan
	spec     compact.Spec
	entry    format.Compaction // as recorded before it was started
	resumed  bool              // a compactor before us may have written a part of it
	asked    bool              // by SubmitCompaction
	full     bool
	cancel   context.CancelFunc
}

type jobResult struct {
	job     *compactJob
	err     error
	stopped bool // by us
}

// settlement is the end of a record that settle has begun.
type settlement struct{ err error }

// fullCompaction is a compaction of everything, in one step or in two: L0, then
// all runs.
type fullCompaction struct {
	requests []chan error
	running  bool
	runsOnly bool // L0 is done
}

// CompactionWork counts what the compactions of one compactor have done.
type CompactionWork struct {
	Jobs    int64 `json:"jobs"`         // that ended well
	Moved   int64 `json:"moved"`        // of those, the ones that rewrote nothing
	Read    int64 `json:"bytesRead"`    // bytes of SSTs
	Written int64 `json:"bytesWritten"` // bytes of SSTs
}

func newCompactor(root layout.Root, b bucket.Bucket, opts *Options, ids *idSource, host compactHost) *compactor {
	c := &compactor{
		opts: opts, bucket: b, root: root, ids: ids, host: host,
		compactions: manifest.NewStore(b, root, opts.Clock, opts.Random, manifest.Compactions),
		rate:        compact.NewRate(opts.Clock, opts.Compaction.BytesPerSecond),
		slots:       make(chan struct{}, opts.Compaction.Workers),
		lower:       make(chan struct{}, max(1, opts.Compaction.Workers-1)),
		recording:   make(chan struct{}, 1),
		known:       map[format.ULID]bool{},
		arrival:     make(chan struct{}, 1),
		results:     make(chan jobResult),
		settled:     make(chan settlement),
	}
	return c
}

func (c *compactor) work() CompactionWork {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totals
}

// compactOrders is what run is to do at a moment.
type compactOrders struct {
	requests []chan error    // full compactions, since the last time
	auto     bool            // compact as the scheduler says
	closing  bool            // leave few L0 SSTs, then end
	flushing bool            // more L0 SSTs are on their way
	dead     bool            // end at once
	changed  <-chan struct{} // orders or tree may have changed
	wake     <-chan struct{}
	poll     <-chan time.Time // the manifest may have changed
}

// run compacts by the orders until they end, the context does, or an error that
// says that nothing can be published any more. When it returns, no job is under
// way.
func (c *compactor) run(ctx context.Context, orders func() compactOrders) error {
	defer c.stop()
	for {
		o := orders()
		c.requests = append(c.requests, o.requests...)
		if o.dead || ctx.Err() != nil {
			return nil
		}
		err := c.begin(ctx, o)
		if errors.Is(err, errDone) {
			return nil
		}
		if err != nil {
			if err := c.failed(ctx, o, err); err != nil {
				return err
			}
			continue
		}
		select {
		case r := <-c.results:
			if err := c.ended(ctx, o, r); err != nil {
				return err
			}
		case r := <-c.settled:
			c.settling()
			c.settling = nil
			if r.err != nil {
				if err := c.failed(ctx, o, r.err); err != nil {
					return err
				}
			}
		case <-c.resting:
			c.awake()
		case <-o.poll:
			err := c.host.reload(ctx)
			if err == nil {
				err = c.look(ctx)
			}
			if err != nil && ctx.Err() == nil {
				if err := c.failed(ctx, o, err); err != nil {
					return err
				}
			}
		case <-c.arrival:
		case <-o.changed:
		case <-o.wake:
		case <-ctx.Done():
		}
	}
}

// errDone: the orders are carried out.
var errDone = errors.New("done")

// begin starts what is due.
func (c *compactor) begin(ctx context.Context, o compactOrders) error {
	if c.overtaken() && !c.isDeposed() {
		return errDeposed
	}
	c.admit()
	ready := c.resting == nil && !c.isDeposed() && c.settle(ctx)
	if o.closing {
		return c.beginClosing(ctx, o, ready)
	}
	waits := c.fullWaits()
	for waits && len(c.jobs) == 0 && c.settling == nil {
		if started, err := c.beginFull(ctx); started || err != nil {
			return err
		}
		waits = c.fullWaits() // nobody wakes us for those who asked meanwhile
	}
	if waits && !slices.ContainsFunc(c.jobs, func(j *compactJob) bool { return j.plan.L0 == 0 }) {
		return nil // what is under way ends soon
	}
	if !o.auto || !ready {
		return nil
	}
	if !c.hasClaimed() {
		if len(c.opts.Compaction.Scheduler.Propose(c.tree())) == 0 {
			return nil
		}
		if err := c.claim(ctx, false, anyPlan); err != nil {
			return err
		}
	}
	wanted := anyPlan
	if waits { // for jobs that may be long: L0 must not fill up meanwhile
		wanted = func(p compact.Plan) bool { return p.L0 > 0 }
	}
	if err := c.resume(ctx, wanted); err != nil {
		return err
	}
	plans := c.opts.Compaction.Scheduler.Propose(c.tree()) // after resume: what it refuses stands in nobody's way
	return c.startAll(ctx, slices.DeleteFunc(plans, func(p compact.Plan) bool { return !wanted(p) }))
}

// fullWaits reports whether a full compaction was asked for and does not run.
func (c *compactor) fullWaits() bool {
	if c.full == nil && len(c.requests) > 0 {
		c.full, c.requests = &fullCompaction{requests: c.requests}, nil
	}
	return c.full != nil && !c.full.running
}

// beginClosing ends what may as well be resumed by the next writer, and makes
// room in L0. Compactions of L0 go on while there is too much in it.
func (c *compactor) beginClosing(ctx context.Context, o compactOrders, ready bool) error {
	answer(c.requests, ErrClosed)
	c.requests = nil
	l0 := false
	for _, j := range c.jobs {
		if j.plan.L0 == 0 {
			j.cancel()
		}
		l0 = l0 || j.plan.L0 > 0
	}
	tree := c.tree()
	switch {
	case o.flushing:
		return nil
	case len(tree.L0) <= l0AfterClose || !o.auto || c.isDeposed() || c.resting != nil:
		return errDone
	case l0 || !ready:
		return nil
	}
	if err := c.claim(ctx, false, anyPlan); err != nil {
		return err
	}
	tree = c.tree()
	if slices.ContainsFunc(tree.Active, func(p compact.Plan) bool { return p.L0 > 0 }) {
		return c.resume(ctx, anyPlan)
	}
	return c.startAll(ctx, []compact.Plan{{L0: min(len(tree.L0), closingSources), Destination: tree.NextRun()}})
}

// beginFull starts the next step of a full compaction, and reports whether
// there was one.
func (c *compactor) beginFull(ctx context.Context) (bool, error) {
	if !c.hasClaimed() || c.isDeposed() { // on request we take over again
		c.forget()
		next := c.nextFull(compact.Shape(c.host.newest().Value))
		if err := c.claim(ctx, true, func(p compact.Plan) bool { return samePlan(p, next) }); err != nil {
			return false, err
		}
	}
	m := c.host.newest().Value
	tree := compact.Shape(m)
	p := c.nextFull(tree)
	if p.L0 == 0 && (len(p.Runs) == 0 || len(p.Runs) == 1 && c.opts.Compaction.Filter == nil) {
		c.endFull(nil)
		return false, nil
	}
	var entry unstarted
	for _, e := range c.left {
		if plan, ok := c.resumable(m, tree, &e.Compaction); ok && samePlan(plan, p) {
			entry = e
		}
		c.drop(e.ID)
	}
	c.left = nil
	err := c.start(ctx, m, p, entry, true)
	c.full.running = err == nil
	return true, err
}

// nextFull is the next step of a full compaction.
func (c *compactor) nextFull(tree compact.Tree) compact.Plan {
	p := compact.Full(tree)
	if c.full.runsOnly {
		p.L0 = 0
		return p
	}
	var l0, runs uint64
	for _, size := range tree.L0 {
		l0 += size
	}
	for _, r := range tree.Runs {
		runs += r.Bytes
	}
	if p.L0 > 0 && runs > fullApart*l0 {
		return compact.Plan{L0: p.L0, Destination: tree.NextRun()}
	}
	return p
}

func anyPlan(compact.Plan) bool { return true }

func samePlan(a, b compact.Plan) bool {
	return a.L0 == b.L0 && a.Destination == b.Destination && slices.Equal(a.Runs, b.Runs)
}

func (c *compactor) endFull(err error) {
	if c.full != nil {
		answer(c.full.requests, err)
		c.full = nil
	}
}

func answer(requests []chan error, err error) {
	for _, r := range requests {
		r <- err
	}
}

// tree is what the scheduler sees: what is left to resume counts as under way,
// and so do the runs of what was begun and cannot be resumed until that is
// recorded.
func (c *compactor) tree() compact.Tree {
	m := c.host.newest().Value
	tree := c.busyTree(m)
	for i := range c.left {
		e := &c.left[i]
		if p, ok := c.resumable(m, tree, &e.Compaction); ok {
			tree.Active = append(tree.Active, p)
		} else if e.begun {
			tree.Active = append(tree.Active, compact.Plan{Runs: e.Runs, Destination: e.Destination})
		}
	}
	return tree
}

// busyTree is the tree of m with the jobs that are under way.
func (c *compactor) busyTree(m *format.Manifest) compact.Tree {
	tree := compact.Shape(m)
	for _, j := range c.jobs {
		tree.Active = append(tree.Active, j.plan)
	}
	tree.Active = append(tree.Active, c.stopped...)
	return tree
}

// room reports whether one more job may be started.
func (c *compactor) room(p compact.Plan) bool {
	limit := c.opts.Compaction.MaxJobs
	if len(c.jobs) >= limit {
		return false
	}
	without := 0
	for _, j := range c.jobs {
		if j.plan.L0 == 0 {
			without++
		}
	}
	return p.L0 > 0 || without < max(1, limit-1)
}

// resume starts what compactors before have left and what was submitted, as far
// as nothing under way is in its way. Before that it refuses what can never be
// carried out any more, so that the ids of its runs may come again.
func (c *compactor) resume(ctx context.Context, wanted func(compact.Plan) bool) error {
	var fault error
	c.left = slices.DeleteFunc(c.left, func(e unstarted) bool {
		m := c.host.newest().Value
		p, err := recordedPlan(m, c.busyTree(m), &e.Compaction)
		if err == nil {
			err = p.Check(compact.Shape(m))
		}
		if err == nil || fault != nil {
			return false
		}
		fault = c.refuse(ctx, m, e, p, err)
		return fault == nil
	})
	if fault != nil {
		return fault
	}
	c.left = slices.DeleteFunc(c.left, func(e unstarted) bool {
		m := c.host.newest().Value
		busy := c.busyTree(m)
		p, ok := c.resumable(m, busy, &e.Compaction)
		if !ok || fault != nil || !wanted(p) || !c.room(p) {
			return false
		}
		fault = c.start(ctx, m, p, e, false)
		return fault == nil
	})
	return fault
}

// startAll starts the plans that there is room for.
func (c *compactor) startAll(ctx context.Context, plans []compact.Plan) error {
	tree := c.tree()
	for _, p := range plans {
		if err := p.Check(tree); err != nil {
			c.opts.Logger.Warn("compaction refused", slog.Any("error", err))
			continue
		}
		if !c.room(p) {
			continue
		}
		if err := c.start(ctx, c.host.newest().Value, p, unstarted{}, false); err != nil {
			return err
		}
		tree.Active = append(tree.Active, p)
	}
	return nil
}

// start begins a job, or takes up the one that was recorded.
func (c *compactor) start(ctx context.Context, m *format.Manifest, p compact.Plan, recorded unstarted, full bool) error {
	entry := recorded.Compaction
	var none format.ULID
	there := entry.ID != none
	j := &compactJob{manifest: m, plan: p, spec: p.Spec(m), full: full, resumed: there && recorded.begun, asked: there && !recorded.begun}
	if there {
		c.ids.after(entry.ID) // garbage collection takes what is older for no part of it
	} else {
		id, err := c.ids.ulid()
		if err != nil {
			return err
		}
		entry = format.Compaction{ID: id}
	}
	entry.Status, entry.L0, entry.Runs, entry.Destination = format.CompactionRunning, j.spec.L0, j.spec.Runs, j.spec.Destination
	j.entry = entry
	c.keep(entry.ID)
	c.jobs = append(c.jobs, j)
	jobCtx, cancel := context.WithCancel(ctx)
	j.cancel = cancel
	go func() {
		err := c.carryOut(jobCtx, j)
		stopped := err != nil && jobCtx.Err() != nil
		cancel()
		c.results <- jobResult{j, err, stopped}
	}()
	return nil
}

// ended takes note of a job's end.
func (c *compactor) ended(ctx context.Context, o compactOrders, r jobResult) error {
	c.jobs = slices.DeleteFunc(c.jobs, func(j *compactJob) bool { return j == r.job })
	switch {
	case r.stopped: // it is the next compactor's, and so are its sources and their ids
		c.stopped = append(c.stopped, r.job.plan)
	case r.err != nil:
		if c.drop(r.job.entry.ID) && r.job.asked { // its end could not be recorded: once more
			c.keep(r.job.entry.ID)
			c.left = append(c.left, unstarted{Compaction: r.job.entry, begun: true})
		}
	}
	if r.job.full && c.full != nil {
		c.full.running = false
		switch {
		case r.err != nil && o.closing:
			c.endFull(ErrClosed)
		case r.err != nil:
			c.endFull(r.err)
		case len(r.job.plan.Runs) > 0 || c.full.runsOnly:
			c.endFull(nil)
		default:
			c.full.runsOnly = true // nextFull goes on, if there are runs to merge
		}
	}
	if r.stopped && !errors.Is(r.err, errDeposed) {
		return nil
	}
	if r.err != nil {
		return c.failed(ctx, o, r.err)
	}
	return nil
}

// failed decides what an error means: one that says that this process is
// fenced, or cannot know whether it is, ends everything; another compactor ends
// ours; anything else is tried again after a while.
func (c *compactor) failed(ctx context.Context, o compactOrders, err error) error {
	if c.full != nil && !c.full.running {
		c.endFull(err)
	}
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, ErrUnknownOutcome):
		return err
	case errors.Is(err, errDeposed):
		c.depose()
		return c.host.deposed()
	}
	if ctx.Err() == nil { // else it is no wonder
		c.opts.Logger.Warn("compaction failed", slog.Any("error", err))
		if c.resting == nil {
			c.resting, c.wakeUp = c.opts.Clock.After(compactRetry)
		}
	}
	return nil
}

func (c *compactor) awake() {
	if c.resting != nil {
		c.wakeUp()
		c.resting = nil
	}
}

// depose stops all jobs: another compactor does the work from now on.
func (c *compactor) depose() {
	c.mu.Lock()
	c.deposed = true
	c.mu.Unlock()
	c.left = nil
	for _, j := range c.jobs {
		j.cancel()
	}
	c.opts.Logger.Info("compactor stops", slog.Any("reason", errDeposed))
}

// stop ends all jobs and answers all requests.
func (c *compactor) stop() {
	for _, j := range c.jobs {
		j.cancel()
	}
	for range c.jobs {
		<-c.results
	}
	c.jobs = nil
	if c.settling != nil {
		c.settling()
		<-c.settled
	}
	c.awake()
	answer(c.requests, ErrClosed)
	c.requests = nil
	c.endFull(ErrClosed)
}

// carryOut does a job: it is recorded, run, committed behind a checkpoint that
// protects running readers, and recorded as completed.
func (c *compactor) carryOut(ctx context.Context, j *compactJob) error {
	began := c.opts.Clock.Now()
	state := compactionStarted
	if j.resumed {
		state = compactionResumed
	}
	c.tell(j, CompactionEvent{State: state})
	job := c.newJob(j)
	out, moved, err := c.produce(ctx, job, j)
	if err == nil {
		err = c.commit(ctx, j, out, !moved)
	}
	read, written := job.Bytes()
	e := CompactionEvent{SSTs: len(out), Read: read, Written: written, Took: c.opts.Clock.Now().Sub(began)}
	c.mu.Lock()
	c.totals.Read += read
	c.totals.Written += written
	if err == nil {
		c.totals.Jobs++
	}
	if err == nil && moved {
		c.totals.Moved++
	}
	c.mu.Unlock()
	if err != nil {
		return c.gaveUp(ctx, j, e, err)
	}
	e.State = compactionCompleted
	if moved {
		e.State = compactionMoved
	}
	c.tell(j, e)
	return c.recordEnd(ctx, j, out)
}

// recordEnd records that a job is committed. One that was resumed ends under a
// new id: what its first attempt has left behind without recording it lies
// before that, and so garbage collection finds it.
func (c *compactor) recordEnd(ctx context.Context, j *compactJob, out []format.SST) error {
	end := j.entry
	end.Status, end.Output = format.CompactionCompleted, out
	if j.resumed {
		id, err := c.ids.ulid()
		if err != nil {
			return err
		}
		c.drop(j.entry.ID)
		end.ID = id
	}
	return c.record(ctx, end)
}

// gaveUp records that a job has failed. One that was stopped, or that another
// compactor may have taken over, stays as it is recorded.
func (c *compactor) gaveUp(ctx context.Context, j *compactJob, e CompactionEvent, err error) error {
	e.State, e.Error = compactionFailed, err.Error()
	if ctx.Err() == nil { // have we been deposed, and the sources collected?
		err = errors.Join(err, c.host.reload(ctx))
		if c.overtaken() {
			err = errDeposed
		}
	}
	if ctx.Err() != nil || errors.Is(err, errDeposed) || errors.Is(err, ErrFenced) {
		e.State, e.Error = compactionStopped, ""
		c.tell(j, e)
		switch {
		case c.isDeposed(): // which cancels the jobs
			return errDeposed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		return err
	}
	c.tell(j, e)
	if j.plan.L0 > 0 {
		c.host.compactingL0(l0Work{halted: true})
	}
	j.entry.Status, j.entry.Output = format.CompactionFailed, nil
	return errors.Join(err, c.record(ctx, j.entry))
}

func (c *compactor) tell(j *compactJob, e CompactionEvent) {
	if c.opts.Compaction.Each == nil {
		return
	}
	e.ID, e.L0, e.Runs, e.Destination = j.entry.ID.String(), j.plan.L0, j.plan.Runs, j.plan.Destination
	c.telling.Lock()
	defer c.telling.Unlock()
	c.opts.Compaction.Each(e)
}

func (c *compactor) newJob(j *compactJob) *compact.Job {
	job := &compact.Job{
		Bucket: c.bucket, Root: c.root, Rate: c.rate,
		Key: sstKeys(j.manifest, c.root),
		SST: c.opts.sst(), MaxSST: c.opts.MaxSSTBytes, Split: c.rangeBytes(j), NewID: c.ids.ulid,
		Policy: merge.Policy{
			MinSeq: c.host.keepSeq(j.manifest), Operator: c.opts.MergeOperator, Edit: c.opts.Compaction.Filter.edit(),
		},
		Slot:  func(ctx context.Context) (func(), error) { return c.slot(ctx, j.plan.L0 > 0) },
		Wrote: c.host.wrote,
		Progress: func(ctx context.Context, out []format.SST) error {
			e := j.entry
			e.Output = out
			return c.record(ctx, e)
		},
	}
	if n := len(j.manifest.L0); j.plan.L0 > 0 {
		w := l0Work{oldest: j.manifest.L0[n-1].ViewID, ssts: j.plan.L0}
		total := 2 * float64(j.sourceBytes()) // read and written
		job.Advanced = func() {
			w := w
			read, written := job.Bytes()
			w.done = min(1, float64(read+written)/total)
			c.host.compactingL0(w)
		}
		c.host.compactingL0(w)
	}
	return job
}

// rangeBytes is how much of the sources one worker takes at a time: a part of
// the whole that keeps all workers busy to the end, and lets the recorded output
// follow closely.
func (c *compactor) rangeBytes(j *compactJob) int64 {
	return min(j.sourceBytes()/int64(4*c.opts.Compaction.Workers), 4*c.opts.MaxSSTBytes)
}

// sourceBytes is the size of what the job reads.
func (j *compactJob) sourceBytes() int64 {
	var total int64
	tree := compact.Shape(j.manifest)
	for _, size := range tree.L0[len(tree.L0)-j.plan.L0:] {
		total += int64(size)
	}
	for _, r := range tree.Runs {
		if slices.Contains(j.plan.Runs, r.ID) {
			total += int64(r.Bytes)
		}
	}
	return total
}

// slot waits for a worker. Ranges of jobs without L0 leave one to those with it.
func (c *compactor) slot(ctx context.Context, l0 bool) (func(), error) {
	if l0 {
		return acquire(ctx, c.slots)
	}
	first, err := acquire(ctx, c.lower)
	if err != nil {
		return nil, err
	}
	second, err := acquire(ctx, c.slots)
	if err != nil {
		first()
		return nil, err
	}
	return func() { second(); first() }, nil
}

func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// produce makes the SSTs of the new run: moved if they can be, else merged.
func (c *compactor) produce(ctx context.Context, job *compact.Job, j *compactJob) (out []format.SST, moved bool, err error) {
	if !j.full && !j.resumed && !j.asked {
		if out, moved, err = job.Move(ctx, j.manifest, j.spec); moved || err != nil {
			return out, moved, err
		}
	}
	var done []format.SST
	if len(j.entry.Output) > 0 {
		if done, err = job.Resume(ctx, j.entry.Output); err != nil {
			return nil, false, err
		}
		j.entry.Output = done
	}
	if err := c.record(ctx, j.entry); err != nil { // before anything is written
		return nil, false, err
	}
	out, err = job.Run(ctx, j.manifest, j.spec, done)
	return out, false, err
}

// commit publishes a finished compaction. If sources are replaced, a manifest
// with a checkpoint of the old state goes before, so that readers in other
// processes can finish.
func (c *compactor) commit(ctx context.Context, j *compactJob, out []format.SST, replaced bool) error {
	if c.opts.ReaderGrace > 0 && replaced {
		id, err := c.ids.uuid()
		if err != nil {
			return err
		}
		err = c.publish(ctx, func(m *format.Manifest, manifestID uint64) (*format.Manifest, error) {
			return withCheckpoint(m, id, manifestID, c.opts.Clock.Now(), c.opts.ReaderGrace), nil
		})
		if err != nil {
			return err
		}
	}
	err := c.publish(ctx, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		return compact.Apply(m, j.manifest, j.spec, out)
	})
	if err != nil && c.committed(ctx, j, out) {
		return nil
	}
	return err
}

// committed looks whether a compaction whose publication failed is in the
// manifest all the same.
func (c *compactor) committed(ctx context.Context, j *compactJob, out []format.SST) bool {
	if c.host.reload(ctx) != nil {
		return false
	}
	m := c.host.newest().Value
	next, err := compact.Apply(m, j.manifest, j.spec, out)
	return err == nil && next == m
}

// publish refuses the edit if another compactor has taken over.
func (c *compactor) publish(ctx context.Context, edit manifestEdit) error {
	return c.host.publishEdit(ctx, func(m *format.Manifest, id uint64) (*format.Manifest, error) {
		if c.epochBelow(m.CompactorEpoch) {
			return nil, errDeposed
		}
		return edit(m, id)
	})
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
