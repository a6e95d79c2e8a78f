package compact_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/internal/compact"
)

// shaped is a tree of L0 SSTs of one byte and of runs with these sizes, newest
// first, which have descending ids down to 0.
func shaped(l0 int, runs ...uint64) compact.Tree {
	var t compact.Tree
	for range l0 {
		t.L0 = append(t.L0, 1)
	}
	for i, size := range runs {
		t.Runs = append(t.Runs, compact.Run{ID: uint32(len(runs) - 1 - i), SSTs: 1, Bytes: size})
	}
	return t
}

func busy(t compact.Tree, active ...compact.Plan) compact.Tree {
	t.Active = active
	return t
}

// The size-tiered scheduler proposes what SlateDB's does.
func TestTiered(t *testing.T) {
	for _, c := range []struct {
		name string
		tree compact.Tree
		rule compact.Tiered
		want string
	}{
		{"empty", shaped(0), compact.Tiered{}, ""},
		{"few in L0", shaped(3, 5), compact.Tiered{}, ""},
		{"L0", shaped(4), compact.Tiered{}, "4 of L0, runs [] into run 0"},
		{"L0 above runs", shaped(5, 50, 500), compact.Tiered{}, "5 of L0, runs [] into run 2"},
		{"the oldest of much in L0", shaped(11), compact.Tiered{}, "8 of L0, runs [] into run 0"},
		{"L0 sooner", shaped(2), compact.Tiered{MinL0: 2}, "2 of L0, runs [] into run 0"},
		{"L0 is busy", busy(shaped(9), compact.Plan{L0: 4}), compact.Tiered{}, ""},
		{"equal runs", shaped(0, 10, 10, 10, 10), compact.Tiered{}, "runs [3 2 1 0] into run 0"},
		{"the fourth is too large", shaped(0, 10, 10, 10, 41), compact.Tiered{}, ""},
		{"the fourth is just small enough", shaped(0, 10, 10, 10, 40), compact.Tiered{}, "runs [3 2 1 0] into run 0"},
		{"the smallest counts", shaped(0, 40, 10, 10, 41), compact.Tiered{}, ""},
		{"a small one above", shaped(0, 1, 100, 100, 100, 100), compact.Tiered{}, "runs [3 2 1 0] into run 0"},
		{"a large one below", shaped(0, 9, 9, 9, 9, 100), compact.Tiered{}, "runs [4 3 2 1] into run 1"},
		{"the oldest of many", shaped(0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9), compact.Tiered{}, "runs [7 6 5 4 3 2 1 0] into run 0"},
		{"runs without rows join", shaped(0, 0, 9, 0, 9), compact.Tiered{}, "runs [3 2 1 0] into run 0"},
		{"a busy run ends the chain", busy(shaped(0, 9, 9, 9, 9, 9), compact.Plan{Runs: []uint32{1}, Destination: 1}), compact.Tiered{}, ""},
		{"both at once", shaped(4, 9, 9, 9, 9), compact.Tiered{}, "4 of L0, runs [] into run 4; runs [3 2 1 0] into run 0"},
		{"two tiers at once", shaped(0, 9, 9, 9, 9, 90, 90, 90, 90), compact.Tiered{}, "runs [7 6 5 4] into run 4; runs [3 2 1 0] into run 0"},
		{"L0 after too many runs of its size", shaped(4, 9, 9, 9, 9, 9, 9, 9, 9), compact.Tiered{},
			"runs [7 6 5 4 3 2 1 0] into run 0; 4 of L0, runs [] into run 8"},
		{"L0 waits while all that is due is under way", busy(shaped(4, 9), compact.Plan{L0: 1, Destination: 1}), compact.Tiered{}, ""},
		{"settings", shaped(0, 5, 10, 20), compact.Tiered{MinSources: 2, MaxSources: 2, IncludeThreshold: 2}, "runs [2 1] into run 1"},
	} {
		var got []string
		tree := c.tree
		for _, p := range c.rule.Propose(c.tree) {
			got = append(got, p.String())
			if err := p.Check(tree); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			tree.Active = append(tree.Active, p)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

// What a plan breaks is told, all of it at once.
func TestCheck(t *testing.T) {
	tree := busy(shaped(2, 9, 9, 9), compact.Plan{L0: 1, Destination: 3})
	err := compact.Plan{L0: 5, Runs: []uint32{1, 2}, Destination: 7}.Check(tree)
	for _, want := range []string{"L0 has 2 SSTs", "run 2 is not there, or not next", "run 2, between L0 and run 1, is left out", "must be the oldest of its runs, 2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	for want, p := range map[string]compact.Plan{
		"no sources":                           {Destination: 4},
		"another compaction of L0":             {L0: 1, Destination: 4},
		"above all runs, at least 4":           {L0: 1, Destination: 3},
		"another compaction of run 1 is under": {Runs: []uint32{1, 0}},
	} {
		tree := busy(shaped(2, 9, 9, 9), compact.Plan{L0: 1, Destination: 3}, compact.Plan{Runs: []uint32{2, 1}, Destination: 1})
		if err := p.Check(tree); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", p, err, want)
		}
	}
}

// Bytes pass as fast as the rate says, in the order of their callers; a large
// piece is paid for afterwards.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := compact.NewRate(clock.System, 100)
		began := time.Now()
		at := ""
		for _, n := range []int64{50, 100, 0, 1000, 1} {
			if err := r.Take(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			at += fmt.Sprint(" ", time.Since(began))
		}
		if at != " 0s 500ms 1.5s 1.5s 11.5s" {
			t.Errorf("passed at%s", at)
		}
	})
}
