package slate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
)

// SubmitOptions say what SubmitCompaction asks for. The zero value asks for all.
type SubmitOptions struct {
	// Plan is what becomes which run, in terms of the latest manifest. Default, if
	// it has no sources: all of L0 and all runs become one run, which is rewritten
	// if it is one already. The destination of a plan without runs is chosen when
	// it is carried out.
	Plan CompactionPlan
	// Clock is where time comes from. Default: the machine's.
	Clock Clock
	// Random is where ids and tokens come from. Default: crypto/rand. It must be
	// safe for concurrent use.
	Random io.Reader
}

// SubmitCompaction asks the compactor of the database at path in b, whichever it
// is, for a compaction, and returns its id for ReadCompaction. It fences and
// deposes nobody, and does not wait.
//
// RunCompactor, and SlateDB's compactor, look for submissions as often as they
// poll. A writer's own compactor never asks the bucket: it finds them when it
// next writes down what it does. A compactor that begins finds them too. It then
// checks the plan again, and carries it out by its own options, in which L0 has no
// other compaction meanwhile: where writers are busy and runs are large, submit
// the runs alone. A plan that has become wrong by then, or that fails, has failed
// for good.
//
// While a submission waits, garbage collection keeps unneeded SSTs that are
// younger. SlateDB refuses a plan of L0 alone where there are runs: the file has
// no place for the destination.
//
// It returns ErrNoDatabase if there is none, ErrInvalid for a plan that must not
// be carried out or if there is nothing to compact, ErrBusy if another compaction
// that has not ended uses the same sources, or if SlateDB from 0.13 on has one
// under way, and ErrUnsupported for a database with segments or a bucket without
// conditional put. After any other error it may have been submitted all the same:
// submitting again says ErrBusy then.
func SubmitCompaction(ctx context.Context, path string, b bucket.Bucket, opts SubmitOptions) (id string, err error) {
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	if caps := b.Capabilities(); !caps.ConditionalPut {
		return "", fmt.Errorf("submit a compaction of %q: bucket %s has no atomic conditional put: %s: %w", path, caps.Name, caps.Reason, ErrUnsupported)
	}
	b = bucket.WithRetry(b, bucket.RetryOptions{Clock: opts.Clock, Rand: opts.Random})
	root := layout.NewRoot(path)
	s := submitter{
		opts:        &opts,
		ids:         idSource{clock: opts.Clock, random: opts.Random},
		manifests:   manifest.NewStore(b, root, opts.Clock, opts.Random, manifest.Manifests),
		compactions: manifest.NewStore(b, root, opts.Clock, opts.Random, manifest.Compactions),
	}
	for {
		id, err := s.try(ctx)
		if errors.Is(err, bucket.ErrExists) {
			continue // with what another has written
		}
		if err != nil {
			return "", fmt.Errorf("submit a compaction of %q: %w", path, err)
		}
		return id.String(), nil
	}
}

type submitter struct {
	opts        *SubmitOptions
	ids         idSource
	manifests   *manifest.Store[format.Manifest]
	compactions *manifest.Store[format.Compactions]
	last        format.ULID // of the try before, which may have been published
}

// try publishes the next version of the compactions file. The file is read first:
// what has begun by then is in it, and what has ended is in the manifest.
func (s *submitter) try(ctx context.Context) (id format.ULID, err error) {
	base, err := s.compactions.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		base.Value = &format.Compactions{} // as a compactor begins it, which has the first epoch
	} else if err != nil {
		return id, err
	}
	if s.last != id && find(base.Value, s.last) != nil {
		return s.last, nil
	}
	m, err := s.manifests.Latest(ctx)
	if errors.Is(err, bucket.ErrNotFound) {
		return id, ErrNoDatabase
	}
	if err == nil {
		err = writable(m.Value)
	}
	if err != nil {
		return id, err
	}
	p, err := submittable(m.Value, base.Value, s.opts.Plan)
	if err != nil {
		return id, err
	}
	// Younger than its sources, which are garbage afterwards, whatever our clock
	// says: garbage collection, and outcome, go by the id.
	for t := range treeSSTs(m.Value) {
		s.ids.after(t.ID)
	}
	s.ids.afterAll(base.Value)
	if id, err = s.ids.ulid(); err != nil {
		return id, err
	}
	spec := p.Spec(m.Value)
	s.last = id
	_, err = s.compactions.Create(ctx, base, &format.Compactions{
		CompactorEpoch: base.Value.CompactorEpoch,
		Recent: append(slices.Clone(base.Value.Recent), format.Compaction{
			ID: id, Status: format.CompactionSubmitted, L0: spec.L0, Runs: spec.Runs, Destination: spec.Destination,
		}),
	})
	return id, err
}

// submittable returns what is to be submitted, or why it must not be.
func submittable(m *format.Manifest, f *format.Compactions, p CompactionPlan) (CompactionPlan, error) {
	tree := compact.Shape(m)
	full := p.L0 == 0 && len(p.Runs) == 0
	if full {
		p = compact.Full(tree)
		if p.L0 == 0 && len(p.Runs) == 0 {
			return p, fmt.Errorf("%w: there is nothing to compact", ErrInvalid)
		}
	} else if len(p.Runs) == 0 {
		p.Destination = tree.NextRun()
	}
	if err := p.Check(tree); err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for i := range f.Recent {
		e := &f.Recent[i]
		if e.Status.Finished() {
			continue
		}
		if f.FromVersion > format.CompactionsVersion1 { // which says more than we could write
			return p, fmt.Errorf("%w: compaction %s is under way: submit again once it has ended", ErrBusy, e.ID)
		}
		if active, err := recordedPlan(m, tree, e); err == nil {
			tree.Active = append(tree.Active, active)
		}
	}
	if len(p.Runs) == 0 {
		p.Destination = tree.NextRun()
	}
	if err := p.Check(tree); err != nil {
		return p, fmt.Errorf("%w: %w: submit again once that has ended", ErrBusy, err)
	}
	return p, nil
}

// CompactionInfo is a compaction for people and programs to look at.
type CompactionInfo struct {
	ID string `json:"id"` // a ULID
	// State is submitted, running, completed or failed; under SlateDB from 0.13 on
	// scheduled and compacted as well, which are not the end.
	State string   `json:"state"`
	L0    []string `json:"l0"`   // ids of source SSTs, newest first
	Runs  []uint32 `json:"runs"` // source runs, descending
	SSTs  int      `json:"ssts"` // of its output, as far as it is recorded
}

// Ended reports whether nothing more will happen to the compaction.
func (c *CompactionInfo) Ended() bool { return c.State == "completed" || c.State == "failed" }

// ReadCompaction tells how far the compaction with this id has come, one that was
// submitted or one of a CompactionEvent. What has begun and is in the latest
// manifest is completed, be that recorded or not.
//
// Of the compactions that have ended the compactions file keeps one. For one that
// it does not have any more the last version that had it is looked for, in as
// many requests as there are versions since. It returns ErrNotFound if there is
// none, as when that was collected as garbage.
func ReadCompaction(ctx context.Context, path string, b bucket.Bucket, id string) (*CompactionInfo, error) {
	ulid, ok := layout.SSTID(id + ".sst")
	if !ok {
		return nil, fmt.Errorf("%w: %q is not the id of a compaction, 26 characters such as 01ARZ3NDEKTSV4RRFFQ69G5FAV", ErrInvalid, id)
	}
	store := manifest.NewStore(bucket.WithRetry(b, bucket.RetryOptions{}), layout.NewRoot(path), clock.System, rand.Reader, manifest.Compactions)
	e, latest, err := lastRecord(ctx, store, ulid)
	if err != nil {
		return nil, err
	}
	if !e.Status.Finished() && (!latest || e.Status != format.CompactionSubmitted) {
		m, err := inspector(path, b).Latest(ctx)
		if err != nil {
			return nil, err
		}
		if end := outcome(m.Value, e); !latest || end == format.CompactionCompleted {
			e.Status = end
		}
	}
	return describeCompaction(e), nil
}

// lastRecord finds what the last version of the file that has the compaction says
// of it, and whether that is the latest.
func lastRecord(ctx context.Context, store *manifest.Store[format.Compactions], id format.ULID) (e *format.Compaction, latest bool, err error) {
	v, err := store.Latest(ctx)
	if err != nil && !errors.Is(err, bucket.ErrNotFound) {
		return nil, false, err
	}
	if err == nil {
		if e := find(v.Value, id); e != nil {
			return e, true, nil
		}
	}
	versions, err := store.List(ctx, 0)
	if err != nil {
		return nil, false, err
	}
	for _, n := range slices.Backward(versions) {
		if n >= v.ID {
			continue
		}
		v, err := store.Read(ctx, n)
		if errors.Is(err, bucket.ErrNotFound) {
			break // collected, and so are those before
		}
		if err != nil {
			return nil, false, err
		}
		if e := find(v.Value, id); e != nil {
			return e, false, nil
		}
	}
	return nil, false, fmt.Errorf("compaction %s: %w in any compactions file that is left", id, ErrNotFound)
}

func find(f *format.Compactions, id format.ULID) *format.Compaction {
	for i := range f.Recent {
		if f.Recent[i].ID == id {
			return &f.Recent[i]
		}
	}
	return nil
}

func describeCompaction(e *format.Compaction) *CompactionInfo {
	out := &CompactionInfo{ID: e.ID.String(), State: e.Status.String(), L0: []string{}, Runs: append([]uint32{}, e.Runs...), SSTs: len(e.Output)}
	for _, id := range e.L0 {
		out.L0 = append(out.L0, id.String())
	}
	for _, s := range e.Subs {
		out.SSTs += len(s.Output)
	}
	return out
}
