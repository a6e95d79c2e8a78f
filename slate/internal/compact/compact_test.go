package compact_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
)

func id(n byte) format.ULID { return format.ULID{15: n} }

func table(n byte) format.SST { return format.SST{ID: id(n), ViewID: id(n)} }

func tree(l0 []byte, runs ...uint32) *format.Manifest {
	m := &format.Manifest{}
	for _, n := range l0 {
		m.L0 = append(m.L0, table(n))
	}
	for _, r := range runs {
		m.Runs = append(m.Runs, format.SortedRun{ID: r})
	}
	return m
}

func shape(m *format.Manifest) string {
	s := "L0"
	for _, t := range m.L0 {
		s += fmt.Sprintf(" %d", t.ID[15])
	}
	for _, r := range m.Runs {
		s += fmt.Sprintf(" | run %d of %d", r.ID, len(r.SSTs))
	}
	if m.LastCompactedL0 != nil {
		s += fmt.Sprintf(" | compacted to %d", m.LastCompactedL0[15])
	}
	return s
}

// A full compaction takes everything and becomes the lowest run.
func TestFull(t *testing.T) {
	for _, c := range []struct {
		m    *format.Manifest
		want compact.Spec
	}{
		{tree(nil), compact.Spec{L0: nil}},
		{tree([]byte{3, 2, 1}), compact.Spec{L0: []format.ULID{id(3), id(2), id(1)}}},
		{tree([]byte{9}, 7, 4), compact.Spec{L0: []format.ULID{id(9)}, Runs: []uint32{7, 4}, Destination: 4}},
	} {
		if got := compact.Full(compact.Shape(c.m)).Spec(c.m); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", shape(c.m), got)
		}
	}
}

// A result takes its sources' place, whatever was added meanwhile; runs stay in
// descending order, and the newest L0 that was consumed is remembered.
func TestApply(t *testing.T) {
	out := []format.SST{table(99)}
	for _, c := range []struct {
		m    *format.Manifest
		spec compact.Spec
		want string
	}{
		{tree([]byte{3, 2, 1}), compact.Spec{L0: []format.ULID{id(3), id(2), id(1)}}, "L0 | run 0 of 1 | compacted to 3"},
		{tree([]byte{5, 4, 3, 2}, 0), compact.Spec{L0: []format.ULID{id(3), id(2)}, Destination: 1}, "L0 5 4 | run 1 of 1 | run 0 of 0 | compacted to 3"},
		{tree([]byte{5}, 6, 4, 2), compact.Spec{Runs: []uint32{6, 4}, Destination: 4}, "L0 5 | run 4 of 1 | run 2 of 0"},
	} {
		before := shape(c.m)
		got, err := compact.Apply(c.m, c.m, c.spec, out)
		if err != nil || shape(got) != c.want {
			t.Errorf("%s: got %s, want %s, %v", before, shape(got), c.want, err)
		}
		if shape(c.m) != before {
			t.Errorf("Apply changed its argument from %s to %s", before, shape(c.m))
		}
	}
	all := tree([]byte{2, 1})
	if _, err := compact.Apply(tree([]byte{2}), all, compact.Spec{L0: []format.ULID{id(2), id(1)}}, out); err == nil {
		t.Error("a source that is gone was not noticed")
	}
}

// A compaction is applied once, also where other runs have got the ids of its
// sources since, and never to those.
func TestApplyTellsRunsOfTheSameID(t *testing.T) {
	run := func(id uint32, ssts ...byte) format.SortedRun {
		r := format.SortedRun{ID: id}
		for _, n := range ssts {
			r.SSTs = append(r.SSTs, table(n))
		}
		return r
	}
	from := &format.Manifest{Runs: []format.SortedRun{run(6, 3), run(4, 1, 2)}}
	spec, out := compact.Spec{Runs: []uint32{6, 4}, Destination: 4}, []format.SST{table(8), table(9)}
	once, err := compact.Apply(from, from, spec, out)
	if err != nil || shape(once) != "L0 | run 4 of 2" {
		t.Fatalf("%s, %v", shape(once), err)
	}
	for _, c := range []struct {
		name string
		runs []format.SortedRun
		done bool
	}{
		{"at once", once.Runs, true},
		{"below a new run 6", []format.SortedRun{run(6, 10), run(4, 8, 9)}, true},
		{"other runs", []format.SortedRun{run(6, 10), run(4, 11)}, false},
		{"another run 6", []format.SortedRun{run(6, 10), run(4, 1, 2)}, false},
		{"one is gone", []format.SortedRun{run(4, 1, 2)}, false},
	} {
		m := &format.Manifest{Runs: c.runs}
		if got, err := compact.Apply(m, from, spec, out); c.done && got != m || !c.done && err == nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	t.Run("nothing was left of it", func(t *testing.T) {
		empty, err := compact.Apply(from, from, spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := compact.Apply(empty, from, spec, nil); again != empty || err != nil {
			t.Errorf("again: %v, %v", again, err)
		}
	})
}

// The id of a new run is above all that somebody may find recorded.
func TestNextRun(t *testing.T) {
	shape := compact.Shape(tree(nil, 0))
	shape.Active = []compact.Plan{{Runs: []uint32{7, 4, 0}, Destination: 0}}
	if next := shape.NextRun(); next != 8 {
		t.Errorf("next run %d", next)
	}
}
