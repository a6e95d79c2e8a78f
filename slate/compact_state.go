package slate

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/manifest"
)

// What a compactor does is recorded in the compactions file: a compaction
// before it writes its first SST, then every part of its output that is done,
// and its end. The file belongs to the compactor with the highest epoch.
//
// A compactor that starts finds what the one before left unfinished. It takes
// up, whoever left them, Stele or SlateDB,
//
//   - submitted and scheduled compactions, which nobody has begun;
//   - running and compacted ones, behind the output that is recorded, as far as
//     that is complete (compact.Job.Resume);
//
// if their sources are still in the tree and the plan may be carried out by
// today's tree. Everything else has failed, or had been committed and was not
// recorded any more: outputs that are in no manifest are garbage. Parts that
// SlateDB from 0.14 on records by subcompaction are not taken up, they are
// written anew.
//
// The id of a run comes again once all above it are merged, but not before the
// compaction that has consumed it is recorded as ended (compact.Tree.NextRun,
// settle). Where that rule was broken, the manifest names the recorded output:
// the compaction was committed, and what is in the tree are other runs.
//
// Others may add submitted compactions to the file while a compactor is at work
// (SubmitCompaction). It takes note of them whenever it reads or writes the file.

// unstarted is a recorded compaction that nobody works on.
type unstarted struct {
	format.Compaction
	begun bool // a compactor before us may have written a part of it
}

func (c *compactor) hasClaimed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch > 0
}

func (c *compactor) isDeposed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deposed
}

func (c *compactor) epochBelow(epoch uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch < epoch
}

// keep makes a compaction ours to finish.
func (c *compactor) keep(id format.ULID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[id] = true
}

// drop leaves a compaction out of the file from its next version on. It reports
// whether it was ours, and not recorded as ended.
func (c *compactor) drop(id format.ULID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ours := c.known[id]
	if ours {
		c.known[id] = false
	}
	return ours
}

// forget gives up the epoch, so that the next claim takes a new one.
func (c *compactor) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.deposed, c.known = 0, false, map[format.ULID]bool{}
	c.left, c.arrived, c.stopped = nil, nil, nil
}

// overtaken reports whether the manifest names a compactor that came after us.
func (c *compactor) overtaken() bool {
	epoch := c.host.newest().Value.CompactorEpoch
	c.mu.Lock()
	defer c.mu.Unlock()
	return epoch > max(c.epoch, c.seen, c.tried)
}

// claim raises the compactor epoch before the first compaction, in the manifest
// and in the compactions file, which deposes every older compactor. Unless it is
// forced, it does not depose one that came after us. Of what the compactor
// before has left unfinished, it keeps what can be resumed and keep wants.
func (c *compactor) claim(ctx context.Context, force bool, keep func(compact.Plan) bool) error {
	if c.hasClaimed() {
		return nil
	}
	var epoch uint64
	// An edit that is repeated does not look for what it did before: another
	// compactor may have claimed the same number. It claims the next.
	for {
		err := c.host.publishEdit(ctx, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
			if !force && m.CompactorEpoch > max(c.seen, c.tried) {
				return nil, errDeposed
			}
			next := *m
			next.CompactorEpoch++
			epoch = next.CompactorEpoch
			return &next, nil
		})
		inDoubt := errors.Is(err, manifest.ErrInDoubt)
		if err == nil || inDoubt { // it may be ours that is there
			c.mu.Lock()
			c.tried = epoch
			c.mu.Unlock()
		}
		if err == nil {
			break
		}
		if !inDoubt || !errors.Is(err, errDeposed) {
			return err
		}
	}
	v, err := c.compactions.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		v, err = c.compactions.Create(ctx, compactionsVersion{}, &format.Compactions{})
		if errors.Is(err, bucket.ErrExists) {
			v, err = c.compactions.Latest(ctx)
		}
	}
	if err != nil {
		return notFatal(ctx, err)
	}
	m := c.host.newest().Value
	var left []format.Compaction
	v, err = c.compactions.Update(ctx, v, func(f *format.Compactions, _ uint64) (*format.Compactions, error) {
		if f.CompactorEpoch > epoch { // at the same epoch it is our own file, published and overtaken
			return nil, errDeposed
		}
		c.ids.afterAll(f)
		fresh, err := c.ids.ulid()
		if err != nil {
			return nil, err
		}
		next := &format.Compactions{CompactorEpoch: epoch}
		next.Recent, left = c.inherit(m, f.Recent, keep, fresh)
		return next, nil
	})
	if err != nil {
		return notFatal(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.file, c.left = epoch, v, nil
	for _, e := range left {
		c.known[e.ID] = true
		c.left = append(c.left, unstarted{Compaction: e, begun: true})
	}
	return nil
}

// inherit divides what another compactor recorded into what goes on and what
// has ended. That ends under a new id: all it has written by now is in the
// manifest or is garbage, and garbage collection goes by the id.
func (c *compactor) inherit(m *format.Manifest, recent []format.Compaction, keep func(compact.Plan) bool, fresh format.ULID) (all, left []format.Compaction) {
	tree := compact.Shape(m)
	var over format.Compaction
	for _, e := range recent {
		if !e.Status.Finished() {
			plan, ok := c.resumable(m, tree, &e)
			if ok && keep(plan) {
				if e.HasSubcontext && e.Status != format.CompactionCompacted {
					e.Output = nil
				}
				e = format.Compaction{ID: e.ID, Status: format.CompactionSubmitted, L0: e.L0, Runs: e.Runs, Destination: plan.Destination, Output: e.Output}
				tree.Active = append(tree.Active, plan)
				left = append(left, e)
			} else {
				over = format.Compaction{ID: fresh, Status: outcome(m, &e), L0: e.L0, Runs: e.Runs, Destination: e.Destination}
				continue
			}
		}
		all = append(all, e)
	}
	if over.ID == fresh {
		all = append(all, over)
	}
	return pruned(all), left
}

// resumable returns the plan of a recorded compaction if it may still be carried
// out.
func (c *compactor) resumable(m *format.Manifest, tree compact.Tree, e *format.Compaction) (compact.Plan, bool) {
	p, err := recordedPlan(m, tree, e)
	return p, err == nil && p.Check(tree) == nil
}

var (
	errSourcesGone = errors.New("its sources are gone: they have been compacted meanwhile")
	errCommitted   = errors.New("it has been committed already: its output is in the tree")
)

// recordedPlan returns a recorded compaction as a plan for m. A file of version 1
// does not tell the destination of a compaction of L0 alone: nothing of the
// output depends on it.
func recordedPlan(m *format.Manifest, tree compact.Tree, e *format.Compaction) (compact.Plan, error) {
	if e.Drain || len(e.Segment) > 0 {
		return compact.Plan{}, errSegments
	}
	if inTree(m, e.Output) {
		return compact.Plan{}, errCommitted
	}
	s := compact.Spec{L0: e.L0, Runs: e.Runs, Destination: e.Destination}
	if len(s.Runs) == 0 {
		s.Destination = tree.NextRun()
	}
	p, ok := s.Plan(m)
	if !ok {
		return p, errSourcesGone
	}
	return p, nil
}

// inTree reports whether a run has one of the SSTs.
func inTree(m *format.Manifest, ssts []format.SST) bool {
	ids := map[format.ULID]bool{}
	for i := range ssts {
		ids[ssts[i].ID] = true
	}
	return slices.ContainsFunc(m.Runs, func(r format.SortedRun) bool {
		return slices.ContainsFunc(r.SSTs, func(t format.SST) bool { return ids[t.ID] })
	})
}

// pruned leaves of the compactions that have ended the last one, whose id tells
// garbage collection how far it may go.
func pruned(all []format.Compaction) []format.Compaction {
	slices.SortFunc(all, func(a, b format.Compaction) int { return a.ID.Compare(b.ID) })
	last := -1
	for i := range all {
		if all[i].Status.Finished() {
			last = i
		}
	}
	var kept []format.Compaction
	for i := range all {
		if i == last || !all[i].Status.Finished() {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// record writes the state of compactions to the compactions file, leaves out
// those that were dropped, and takes note of what others have submitted there. To
// do it twice does no harm.
func (c *compactor) record(ctx context.Context, entries ...format.Compaction) error {
	if _, err := acquire(ctx, c.recording); err != nil {
		return err
	}
	defer func() { <-c.recording }()
	if len(entries) == 0 && !c.hasDropped() {
		return nil // who was here before has seen to it
	}
	c.mu.Lock()
	base, epoch := c.file, c.epoch
	c.mu.Unlock()
	v, err := c.compactions.Update(ctx, base, func(f *format.Compactions, _ uint64) (*format.Compactions, error) {
		if f.CompactorEpoch > epoch {
			return nil, errDeposed
		}
		all := slices.Clone(entries)
		c.mu.Lock()
		for _, e := range f.Recent {
			ours, noted := c.known[e.ID]
			anew := slices.ContainsFunc(entries, func(n format.Compaction) bool { return n.ID == e.ID })
			if !anew && (ours || !noted || e.Status.Finished()) {
				all = append(all, e)
			}
		}
		c.mu.Unlock()
		return &format.Compactions{CompactorEpoch: epoch, Recent: pruned(all)}, nil
	})
	if err != nil {
		return notFatal(ctx, err)
	}
	c.mu.Lock()
	for _, e := range entries {
		if e.Status.Finished() {
			delete(c.known, e.ID)
		}
	}
	c.mu.Unlock()
	c.notice(v)
	return nil
}

// notFatal says of an error of a write to the compactions file that its outcome
// need not be known: it is written again, as a whole.
func notFatal(ctx context.Context, err error) error {
	if errors.Is(err, ErrUnknownOutcome) {
		return errors.Join(errors.New(err.Error()), ctx.Err())
	}
	return err
}

// settle leaves what was dropped out of the file now, before anything is started:
// recorded as unfinished it must not outlive the ids of its runs. It reports
// whether there is nothing of that kind; else run hears of the end of the record,
// for which Close does not wait.
func (c *compactor) settle(ctx context.Context) bool {
	if c.settling != nil {
		return false
	}
	if !c.hasDropped() {
		return true
	}
	ctx, c.settling = context.WithCancel(ctx)
	go func() { c.settled <- settlement{c.record(ctx)} }()
	return false
}

// hasDropped reports whether the file may have what was dropped.
func (c *compactor) hasDropped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ours := range c.known {
		if !ours {
			return true
		}
	}
	return false
}

// look reads the compactions file if there is a new version of it.
func (c *compactor) look(ctx context.Context) error {
	if _, err := acquire(ctx, c.recording); err != nil { // what ends meanwhile would look new
		return err
	}
	defer func() { <-c.recording }()
	c.mu.Lock()
	base, epoch := c.file, c.epoch
	c.mu.Unlock()
	newer, err := c.compactions.List(ctx, base.ID)
	if err != nil || len(newer) == 0 {
		return err
	}
	v, err := c.compactions.Latest(ctx)
	if err != nil {
		return err
	}
	if v.Value.CompactorEpoch > epoch {
		return errDeposed
	}
	c.notice(v)
	return nil
}

// notice makes v the version that we know, and what is new in it ours.
func (c *compactor) notice(v compactionsVersion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = v
	c.ids.afterAll(v.Value)
	there := map[format.ULID]bool{}
	for _, e := range v.Value.Recent {
		there[e.ID] = !e.Status.Finished()
		if _, noted := c.known[e.ID]; !noted && !e.Status.Finished() {
			c.known[e.ID] = true
			c.arrived = append(c.arrived, unstarted{Compaction: e})
			wake(c.arrival)
		}
	}
	for id, ours := range c.known {
		if !ours && !there[id] {
			delete(c.known, id)
		}
	}
}

// admit puts what has been submitted behind what is left to do.
func (c *compactor) admit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = append(c.left, c.arrived...)
	c.arrived = nil
}

// refuse records the end of a compaction that may not be carried out any more.
func (c *compactor) refuse(ctx context.Context, m *format.Manifest, e unstarted, p compact.Plan, why error) error {
	end := format.Compaction{ID: e.ID, Status: outcome(m, &e.Compaction), L0: e.L0, Runs: e.Runs, Destination: e.Destination}
	if e.begun { // as for one that is resumed: see recordEnd
		id, err := c.ids.ulid()
		if err != nil {
			return err
		}
		end.ID = id
		c.drop(e.ID)
	}
	if err := c.record(ctx, end); err != nil {
		c.keep(e.ID)
		return err
	}
	if end.Status == format.CompactionFailed {
		c.opts.Logger.Warn("compaction refused", slog.String("id", e.ID.String()), slog.Any("error", why))
		c.tell(&compactJob{plan: p, entry: e.Compaction}, CompactionEvent{State: compactionFailed, Error: why.Error()})
	}
	return nil
}

// outcome is how a recorded compaction has ended that may not be carried out any
// more, or is recorded no more, while m is the latest manifest. It was committed
// if its output is there, or if it had been begun and nothing is left of its
// sources: what was made of them is younger than itself.
func outcome(m *format.Manifest, e *format.Compaction) format.CompactionStatus {
	if inTree(m, e.Output) {
		return format.CompactionCompleted
	}
	l0 := slices.ContainsFunc(m.L0, func(t format.SST) bool { return slices.Contains(e.L0, t.ViewID) })
	runs := slices.ContainsFunc(m.Runs, func(r format.SortedRun) bool {
		return slices.Contains(e.Runs, r.ID) && slices.ContainsFunc(r.SSTs, func(t format.SST) bool { return t.ID.Compare(e.ID) < 0 })
	})
	if l0 || runs || e.Status != format.CompactionRunning && e.Status != format.CompactionCompacted {
		return format.CompactionFailed
	}
	return format.CompactionCompleted
}
