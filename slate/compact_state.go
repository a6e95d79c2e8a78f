package slate

import (
	"context"
	"errors"
	"slices"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
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

func (c *compactor) setKnown(id format.ULID, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known {
		c.known[id] = true
	} else {
		delete(c.known, id)
	}
}

// forget gives up the epoch, so that the next claim takes a new one.
func (c *compactor) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.deposed, c.known = 0, false, map[format.ULID]bool{}
	c.left = nil
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
	err := c.host.publishEdit(ctx, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !force && m.CompactorEpoch > max(c.seen, c.tried) {
			return nil, errDeposed
		}
		next := *m
		next.CompactorEpoch++
		epoch = next.CompactorEpoch
		c.tried = epoch
		return &next, nil
	})
	if err != nil {
		return err
	}
	v, err := c.compactions.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		v, err = c.compactions.Create(ctx, compactionsVersion{}, &format.Compactions{})
		if errors.Is(err, bucket.ErrExists) {
			v, err = c.compactions.Latest(ctx)
		}
	}
	if err != nil {
		return err
	}
	m := c.host.newest().Value
	for _, e := range v.Value.Recent {
		c.ids.after(e.ID) // even if our clock is late: what is older goes as garbage
	}
	fresh, err := c.ids.ulid()
	if err != nil {
		return err
	}
	var left []format.Compaction
	v, err = c.compactions.Update(ctx, v, func(f *format.Compactions, _ uint64) (*format.Compactions, error) {
		if f.CompactorEpoch > epoch { // at the same epoch it is our own file, published and overtaken
			return nil, errDeposed
		}
		next := &format.Compactions{CompactorEpoch: epoch}
		next.Recent, left = c.inherit(m, f.Recent, keep, fresh)
		return next, nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.file, c.left = epoch, v, left
	for _, e := range left {
		c.known[e.ID] = true
	}
	return nil
}

// inherit divides what another compactor recorded into what goes on and what
// has ended. That ends under a new id: all it has written by now is in the
// manifest or is garbage, and garbage collection goes by the id.
func (c *compactor) inherit(m *format.Manifest, recent []format.Compaction, keep func(compact.Plan) bool, fresh format.ULID) (all, left []format.Compaction) {
	tree := compact.Shape(m)
	var failed format.Compaction
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
				failed = format.Compaction{ID: fresh, Status: format.CompactionFailed, L0: e.L0, Runs: e.Runs, Destination: e.Destination}
				continue
			}
		}
		all = append(all, e)
	}
	if failed.ID == fresh {
		all = append(all, failed)
	}
	return pruned(all), left
}

// resumable returns the plan of a recorded compaction if it may still be carried
// out. A file of version 1 does not tell the destination of a compaction of L0
// alone: nothing of the output depends on it.
func (c *compactor) resumable(m *format.Manifest, tree compact.Tree, e *format.Compaction) (compact.Plan, bool) {
	if e.Drain || len(e.Segment) > 0 {
		return compact.Plan{}, false
	}
	s := compact.Spec{L0: e.L0, Runs: e.Runs, Destination: e.Destination}
	if len(s.Runs) == 0 {
		s.Destination = tree.NextRun()
	}
	p, ok := s.Plan(m)
	return p, ok && p.Check(tree) == nil
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

// record writes the state of one compaction to the compactions file. To do it
// twice does no harm.
func (c *compactor) record(ctx context.Context, entry format.Compaction) error {
	if _, err := acquire(ctx, c.recording); err != nil {
		return err
	}
	defer func() { <-c.recording }()
	c.mu.Lock()
	base, epoch := c.file, c.epoch
	c.mu.Unlock()
	v, err := c.compactions.Update(ctx, base, func(f *format.Compactions, _ uint64) (*format.Compactions, error) {
		if f.CompactorEpoch > epoch {
			return nil, errDeposed
		}
		all := []format.Compaction{entry}
		c.mu.Lock()
		for _, e := range f.Recent {
			if e.ID != entry.ID && (c.known[e.ID] || e.Status.Finished()) {
				all = append(all, e)
			}
		}
		c.mu.Unlock()
		return &format.Compactions{CompactorEpoch: epoch, Recent: pruned(all)}, nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = v
	if entry.Status.Finished() {
		delete(c.known, entry.ID)
	}
	return nil
}
