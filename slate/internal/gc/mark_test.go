package gc

import (
	"math"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

var start = time.UnixMilli(1_700_000_000_000)

// id is the id minted at the given second.
func id(second int) (u format.ULID) {
	if err := u.SetTime(ulid.Timestamp(start.Add(time.Duration(second) * time.Second))); err != nil {
		panic(err)
	}
	u[15] = 1
	return u
}

func tables(seconds ...int) (out []format.SST) {
	for _, s := range seconds {
		out = append(out, format.SST{ID: id(s), ViewID: id(s)})
	}
	return out
}

func object(second int, size int64) bucket.Object {
	return bucket.Object{Size: size, Modified: start.Add(time.Duration(second) * time.Second)}
}

// state is a database whose compaction at second 40 consumed L0s up to 30 into
// run 0; since then an L0 was published at 50. Now is second 1000.
func state() *State {
	boundary := id(30)
	return &State{
		Now: start.Add(1000 * time.Second), LatestID: 9,
		Latest: &format.Manifest{
			Initialized: true, ReplayAfterWAL: 7, LastL0Seq: 100, LastCompactedL0: &boundary,
			L0: tables(50), Runs: []format.SortedRun{{ID: 0, SSTs: tables(41, 42)}},
		},
		Pinned: map[uint64]*format.Manifest{}, CompactionsID: 4,
		Compactions: &format.Compactions{Recent: []format.Compaction{{ID: id(40), Status: format.CompactionCompleted}}},
		WALContent:  map[uint64]Content{}, SSTContent: map[format.ULID]Content{},
	}
}

func TestMarkSST(t *testing.T) {
	later := Content{Rows: true, FirstSeq: 101}
	contained := Content{Rows: true, FirstSeq: 100}
	for _, c := range []struct {
		name   string
		second int
		edit   func(*State)
		want   Reason
	}{
		{"in L0", 50, nil, Named},
		{"in a run", 42, nil, Named},
		{"consumed", 29, nil, Garbage},
		{"newest consumed L0", 30, nil, Boundary},
		{"between the boundary and the compaction", 35, nil, Garbage},
		{"as old as the compaction", 40, nil, Compacting},
		{"younger than the compaction", 45, nil, Compacting},
		{"young", 29, func(s *State) { s.MinAge = 972 * time.Second }, Young},
		{"just old enough", 29, func(s *State) { s.MinAge = 971 * time.Second }, Garbage},
		{"named, however old", 42, func(s *State) { s.MinAge = time.Second }, Named},
		{"no compactions file", 29, func(s *State) { s.Compactions = nil }, Compacting},
		{"empty compactions file", 29, func(s *State) { s.Compactions = &format.Compactions{} }, Compacting},
		{"an older compaction runs", 29, func(s *State) {
			s.Compactions.Recent = append(s.Compactions.Recent, format.Compaction{ID: id(20), Status: format.CompactionRunning})
		}, Compacting},
		{"pinned by a checkpoint", 29, func(s *State) { s.Pinned[3] = &format.Manifest{L0: tables(29)} }, Named},
		{"pinned in a run", 29, func(s *State) {
			s.Pinned[3] = &format.Manifest{Runs: []format.SortedRun{{SSTs: tables(29)}}}
		}, Named},
		{"of another database", 29, func(s *State) {
			s.Latest.ExternalDBs = []format.ExternalDB{{Path: "parent", SSTs: []format.ULID{id(29)}}}
		}, Named},
		{"behind the newest L0, not looked into", 35, func(s *State) { s.Latest.L0 = nil }, Unknown},
		{"behind the newest L0, an upload", 35, func(s *State) { s.Latest.L0 = nil; s.SSTContent[id(35)] = later }, Uploading},
		{"behind the newest L0, an orphan", 35, func(s *State) { s.Latest.L0 = nil; s.SSTContent[id(35)] = contained }, Garbage},
		{"behind the newest L0, unreadable", 35, func(s *State) { s.Latest.L0 = nil; s.SSTContent[id(35)] = Content{Bad: true} }, Unreadable},
		{"behind the newest L0, without rows", 35, func(s *State) { s.Latest.L0 = nil; s.SSTContent[id(35)] = Content{} }, Unreadable},
		{"no L0 ever", 35, func(s *State) {
			s.Latest.L0, s.Latest.LastCompactedL0 = nil, nil
			s.SSTContent[id(35)] = later
		}, Uploading},
	} {
		s := state()
		if c.edit != nil {
			c.edit(s)
		}
		s.SSTs = []Table{{ID: id(c.second)}}
		if got := Mark(s)[0].Keep; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMarkWAL(t *testing.T) {
	rows := Content{Rows: true}
	for _, c := range []struct {
		name    string
		id      uint64
		size    int64
		content *Content
		edit    func(*State)
		want    Reason
	}{
		{"below the replay point", 6, 200, &rows, nil, Garbage},
		{"large, so it holds rows", 6, maxFence + 1, nil, nil, Garbage},
		{"small, not looked into", 6, 200, nil, nil, Unknown},
		{"at the replay point", 7, 200, &rows, nil, Replayed},
		{"above it", 8, 200, &rows, nil, Replayed},
		{"fence", 6, 200, &Content{}, nil, Fence},
		{"fence of no bytes", 6, 0, nil, nil, Fence},
		{"unreadable", 6, 200, &Content{Bad: true}, nil, Unreadable},
		{"young", 6, 200, &rows, func(s *State) { s.WALMinAge = 991 * time.Second }, Young},
		{"old enough", 6, 200, &rows, func(s *State) { s.MinAge, s.WALMinAge = time.Hour, 990*time.Second }, Garbage},
		{"at the replay point of a checkpoint", 5, 200, &rows, func(s *State) { s.Pinned[3] = &format.Manifest{ReplayAfterWAL: 5} }, Replayed},
		{"below that", 4, 200, &rows, func(s *State) { s.Pinned[3] = &format.Manifest{ReplayAfterWAL: 5} }, Garbage},
		{"what a checkpoint replays", 4, 200, &rows, func(s *State) { s.Pinned[3] = &format.Manifest{ReplayAfterWAL: 2, WALLastSeen: 4} }, Replayed},
		{"behind what a checkpoint replays", 5, 200, &rows, func(s *State) { s.Pinned[3] = &format.Manifest{ReplayAfterWAL: 2, WALLastSeen: 4} }, Garbage},
	} {
		s := state()
		if c.content != nil {
			s.WALContent[c.id] = *c.content
		}
		if c.edit != nil {
			c.edit(s)
		}
		s.WAL = []Numbered{{object(10, c.size), c.id}}
		if got := Mark(s)[0].Keep; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMarkManifestsAndCompactions(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		id     uint64
		minAge time.Duration
		want   Reason
	}{
		{Manifest, 8, 0, Garbage}, {Manifest, 9, 0, Latest}, {Manifest, 10, 0, Latest}, {Manifest, 3, 0, Pinned},
		{Manifest, 8, 991 * time.Second, Young}, {Manifest, 8, 990 * time.Second, Garbage},
		{Compactions, 3, 0, Garbage}, {Compactions, 4, 0, Latest}, {Compactions, 5, 0, Latest},
		{Compactions, 3, 991 * time.Second, Young},
		{Manifest, math.MaxUint64, 0, Latest},
	} {
		s := state()
		s.MinAge = c.minAge
		s.Pinned[3] = &format.Manifest{}
		n := []Numbered{{object(10, 1), c.id}}
		if c.kind == Manifest {
			s.Manifests = n
		} else {
			s.CompactionFiles = n
		}
		if got := Mark(s)[0].Keep; got != c.want {
			t.Errorf("kind %d, id %d, age %v: %q, want %q", c.kind, c.id, c.minAge, got, c.want)
		}
	}
}
