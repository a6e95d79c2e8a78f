package compact

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
)

// Tree is the shape of a database as a scheduler sees it. Sizes are bytes of
// data and index.
type Tree struct {
	L0   []uint64 // sizes of the SSTs in L0, newest first
	Runs []Run    // newest first, which is by descending id
	// Active are the compactions that are under way. Their sources are still in
	// the tree.
	Active []Plan
}

// Run is a sorted run of a Tree.
type Run struct {
	ID    uint32
	SSTs  int
	Bytes uint64
}

// Plan is a compaction: the oldest SSTs of L0 and neighbouring sorted runs
// become one sorted run.
type Plan struct {
	L0          int      // how many SSTs of L0, from the oldest on
	Runs        []uint32 // descending
	Destination uint32   // the id of the resulting run
}

// String names the plan's sources and destination.
func (p Plan) String() string {
	s := ""
	if p.L0 > 0 {
		s = fmt.Sprintf("%d of L0, ", p.L0)
	}
	return fmt.Sprintf("%sruns %v into run %d", s, p.Runs, p.Destination)
}

// Shape returns the tree of a manifest.
func Shape(m *format.Manifest) Tree {
	var t Tree
	for i := range m.L0 {
		t.L0 = append(t.L0, m.L0[i].Info.Size())
	}
	for i := range m.Runs {
		t.Runs = append(t.Runs, Run{ID: m.Runs[i].ID, SSTs: len(m.Runs[i].SSTs), Bytes: m.Runs[i].Size()})
	}
	return t
}

// NextRun returns the id of a run that is newer than every run there is or will
// be, and that no source of a compaction under way has: recorded with its source
// runs, it may be resumed by their ids.
func (t *Tree) NextRun() uint32 {
	next := uint32(0)
	for _, r := range t.Runs {
		next = max(next, r.ID+1)
	}
	for _, a := range t.Active {
		next = max(next, a.Destination+1)
		for _, id := range a.Runs {
			next = max(next, id+1)
		}
	}
	return next
}

// busy reports whether a compaction that is under way reads or makes the run.
func (t *Tree) busy(run uint32) bool {
	return slices.ContainsFunc(t.Active, func(p Plan) bool { return p.Destination == run || slices.Contains(p.Runs, run) })
}

// l0Busy reports whether a compaction that is under way reads L0.
func (t *Tree) l0Busy() bool {
	return slices.ContainsFunc(t.Active, func(p Plan) bool { return p.L0 > 0 })
}

// Check returns why the plan must not be carried out on the tree. The rules are
// SlateDB's: the sources are a window of the tree without a gap, so that no row
// gets below one that is older; the result takes the place of the oldest run
// among them, or one above all runs; and no two compactions share a run or read
// L0 at the same time.
func (p Plan) Check(t Tree) error {
	var faults []error
	fault := func(text string, args ...any) { faults = append(faults, fmt.Errorf(text, args...)) }
	if p.L0 == 0 && len(p.Runs) == 0 {
		fault("it has no sources")
	}
	switch {
	case p.L0 < 0 || p.L0 > len(t.L0):
		fault("L0 has %d SSTs", len(t.L0))
	case p.L0 > 0 && t.l0Busy():
		fault("another compaction of L0 is under way")
	}
	at := 0
	if len(p.Runs) > 0 {
		at = slices.IndexFunc(t.Runs, func(r Run) bool { return r.ID == p.Runs[0] })
	}
	for i, id := range p.Runs {
		if at < 0 || at+i >= len(t.Runs) || t.Runs[at+i].ID != id {
			fault("run %d is not there, or not next to the one before", id)
			break
		}
		if t.busy(id) {
			fault("another compaction of run %d is under way", id)
		}
	}
	if p.L0 > 0 && len(p.Runs) > 0 && at > 0 {
		fault("run %d, between L0 and run %d, is left out", t.Runs[0].ID, p.Runs[0])
	}
	switch {
	case len(p.Runs) > 0 && p.Destination != p.Runs[len(p.Runs)-1]:
		fault("the destination must be the oldest of its runs, %d", p.Runs[len(p.Runs)-1])
	case len(p.Runs) == 0 && p.Destination < t.NextRun():
		fault("the destination must be above all runs, at least %d", t.NextRun())
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("compaction of %v: %w", p, errors.Join(faults...))
}

// Full returns the plan that makes one run of everything.
func Full(t Tree) Plan {
	p := Plan{L0: len(t.L0), Destination: t.NextRun()}
	for _, r := range t.Runs {
		p.Runs = append(p.Runs, r.ID)
		p.Destination = r.ID
	}
	return p
}

// Spec names the sources of a compaction, in the manifest's order, and the
// sorted run they become.
type Spec struct {
	L0          []format.ULID // view ids, newest first
	Runs        []uint32      // descending
	Destination uint32
}

// Spec returns the plan in terms of the manifest that it was made for.
func (p Plan) Spec(m *format.Manifest) Spec {
	s := Spec{Runs: p.Runs, Destination: p.Destination}
	for _, t := range m.L0[len(m.L0)-p.L0:] {
		s.L0 = append(s.L0, t.ViewID)
	}
	return s
}

// Plan returns the spec as a plan for m, and false if it is none: sources are
// gone, or newer than others that it leaves out.
func (s Spec) Plan(m *format.Manifest) (Plan, bool) {
	p := Plan{L0: len(s.L0), Runs: s.Runs, Destination: s.Destination}
	if len(s.L0) > len(m.L0) {
		return p, false
	}
	for i, t := range m.L0[len(m.L0)-len(s.L0):] {
		if t.ViewID != s.L0[i] {
			return p, false
		}
	}
	return p, true
}

// Apply returns m with the spec's sources, as they stood in from, replaced by
// the finished run. It returns m itself if that has happened already, and an
// error if a source is gone otherwise: somebody else compacted it.
func Apply(m, from *format.Manifest, s Spec, run []format.SST) (*format.Manifest, error) {
	if !there(m, from, s) {
		if at := findRun(m, s.Destination); at >= 0 && sameSSTs(m.Runs[at].SSTs, run) {
			return m, nil
		}
		return nil, fmt.Errorf("sources of the compaction into run %d are gone from the manifest", s.Destination)
	}
	next := *m
	next.L0 = slices.DeleteFunc(slices.Clone(m.L0), func(t format.SST) bool { return slices.Contains(s.L0, t.ViewID) })
	next.Runs = slices.DeleteFunc(slices.Clone(m.Runs), func(r format.SortedRun) bool { return slices.Contains(s.Runs, r.ID) })
	at := slices.IndexFunc(next.Runs, func(r format.SortedRun) bool { return r.ID <= s.Destination })
	if at >= 0 && next.Runs[at].ID == s.Destination {
		return nil, fmt.Errorf("run %d, the destination of a compaction, is there already", s.Destination)
	}
	if at < 0 {
		at = len(next.Runs)
	}
	next.Runs = slices.Insert(next.Runs, at, format.SortedRun{ID: s.Destination, SSTs: run})
	if len(s.L0) > 0 {
		newest := m.L0[slices.IndexFunc(m.L0, func(t format.SST) bool { return t.ViewID == s.L0[0] })]
		next.LastCompactedL0 = &newest.ID
		next.LastCompactedL0View = &newest.ViewID
	}
	return &next, nil
}

// there reports whether m has the spec's sources as from has them. The id of a
// run does not tell: it comes again once all runs above are merged into older
// ones.
func there(m, from *format.Manifest, s Spec) bool {
	for _, id := range s.L0 {
		if !slices.ContainsFunc(m.L0, func(t format.SST) bool { return t.ViewID == id }) {
			return false
		}
	}
	for _, id := range s.Runs {
		now, then := findRun(m, id), findRun(from, id)
		if now < 0 || then < 0 || !sameSSTs(m.Runs[now].SSTs, from.Runs[then].SSTs) {
			return false
		}
	}
	return true
}

func findRun(m *format.Manifest, id uint32) int {
	return slices.IndexFunc(m.Runs, func(r format.SortedRun) bool { return r.ID == id })
}

func sameSSTs(a, b []format.SST) bool {
	return slices.EqualFunc(a, b, func(a, b format.SST) bool { return a.ID == b.ID && a.ViewID == b.ViewID })
}
