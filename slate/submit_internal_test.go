package slate

import (
	"errors"
	"testing"

	"github.com/stele-db/stele/slate/internal/format"
)

// A compactions file of version 2 with work in it says more than Stele writes:
// nothing is added to it. An idle one is as good as any.
func TestSubmittableBesideNewerSlateDB(t *testing.T) {
	m := &format.Manifest{L0: []format.SST{someSST(2, "a", "b", 1)}, Runs: []format.SortedRun{{ID: 3, SSTs: []format.SST{someSST(1, "a", "z", 9)}}}}
	f := &format.Compactions{FromVersion: 2, Recent: []format.Compaction{{ID: format.ULID{1}, Status: format.CompactionCompleted}}}
	p, err := submittable(m, f, CompactionPlan{})
	if err != nil || !samePlan(p, CompactionPlan{L0: 1, Runs: []uint32{3}, Destination: 3}) {
		t.Errorf("idle: %v, %v", p, err)
	}
	f.Recent = append(f.Recent, format.Compaction{ID: format.ULID{2}, Status: format.CompactionScheduled, Runs: []uint32{9}})
	if _, err := submittable(m, f, CompactionPlan{}); !errors.Is(err, ErrBusy) {
		t.Errorf("at work: %v", err)
	}
}

func TestOutcome(t *testing.T) {
	old, young := someSST(1, "a", "z", 9), someSST(9, "a", "z", 9)
	e := format.Compaction{ID: someSST(5, "", "", 0).ID, L0: []format.ULID{someSST(2, "", "", 0).ID}, Runs: []uint32{4, 3}}
	for _, c := range []struct {
		name   string
		status format.CompactionStatus
		l0     []format.SST
		runs   []format.SortedRun
		want   format.CompactionStatus
	}{
		{"rewritten", format.CompactionRunning, []format.SST{young}, []format.SortedRun{{ID: 3, SSTs: []format.SST{young}}}, format.CompactionCompleted},
		{"rewritten by a worker", format.CompactionCompacted, nil, []format.SortedRun{{ID: 3, SSTs: []format.SST{young}}}, format.CompactionCompleted},
		{"nothing was left of it", format.CompactionRunning, nil, []format.SortedRun{{ID: 3}}, format.CompactionCompleted},
		{"compacted further", format.CompactionRunning, nil, []format.SortedRun{{ID: 2, SSTs: []format.SST{old}}}, format.CompactionCompleted},
		{"never begun", format.CompactionSubmitted, nil, []format.SortedRun{{ID: 3, SSTs: []format.SST{young}}}, format.CompactionFailed},
		{"L0 is there", format.CompactionRunning, []format.SST{someSST(2, "a", "b", 1)}, nil, format.CompactionFailed},
		{"the run is there", format.CompactionRunning, nil, []format.SortedRun{{ID: 3, SSTs: []format.SST{old, young}}}, format.CompactionFailed},
	} {
		e.Status = c.status
		if got := outcome(&format.Manifest{L0: c.l0, Runs: c.runs}, &e); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	e.Status, e.Output = format.CompactionRunning, []format.SST{young}
	if got := outcome(&format.Manifest{Runs: []format.SortedRun{{ID: 4, SSTs: []format.SST{old}}, {ID: 3, SSTs: []format.SST{young}}}}, &e); got != format.CompactionCompleted {
		t.Errorf("its output below another run with the id of a source: %v", got)
	}
}
