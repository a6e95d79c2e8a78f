package gc

import (
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// Kind is what an object is to a database.
type Kind uint8

// The kinds of objects, in the order in which they are collected.
const (
	SST Kind = iota
	WAL
	Compactions
	Manifest
)

// Reason is why an object stays; the zero Reason is that it goes.
type Reason string

// The reasons.
const (
	Garbage    Reason = ""
	Named      Reason = "an active manifest names it"
	Latest     Reason = "it is the latest"
	Pinned     Reason = "a checkpoint pins it"
	Young      Reason = "it is younger than the minimum age"
	Boundary   Reason = "it is the newest L0 that was compacted"
	Compacting Reason = "it may belong to a compaction that is under way"
	Uploading  Reason = "it may be an L0 that waits for its manifest"
	Replayed   Reason = "an active manifest replays from there"
	Fence      Reason = "it has no rows: it fences older writers"
	Unreadable Reason = "it cannot be read"

	// Unknown: the answer lies in the object; look into it and mark again.
	Unknown Reason = "it was not looked into"
)

// Numbered is an object whose name holds a number.
type Numbered struct {
	bucket.Object
	ID uint64
}

// Table is an SST object.
type Table struct {
	bucket.Object
	ID format.ULID
}

// Content is what a look into an object has shown.
type Content struct {
	Rows     bool   // it holds at least one row
	FirstSeq uint64 // of an SST: the sequence number of its first row
	Bad      bool   // it could not be understood
}

// State is what Mark decides by. It is not changed.
type State struct {
	Now       time.Time
	MinAge    time.Duration // 0 or less: any age will do
	WALMinAge time.Duration // the same, of WAL objects

	LatestID uint64
	Latest   *format.Manifest            // without expired checkpoints
	Pinned   map[uint64]*format.Manifest // those that its checkpoints name

	CompactionsID uint64
	Compactions   *format.Compactions // the latest file; nil: there is none

	Manifests, WAL, CompactionFiles []Numbered
	SSTs                            []Table

	WALContent map[uint64]Content // what is known of objects so far
	SSTContent map[format.ULID]Content
}

// Decision is what becomes of one object.
type Decision struct {
	Kind   Kind
	Object bucket.Object
	Keep   Reason // Garbage: delete it

	// Mature is when a Young object reaches the minimum age.
	Mature time.Time

	Number uint64      // of a WAL object, manifest or compactions file
	ID     format.ULID // of an SST
}

// Mark decides about every listed object, in the order of the kinds and of
// their lists.
func Mark(s *State) []Decision {
	var out []Decision
	tables := s.tableRule()
	for _, t := range s.SSTs {
		out = append(out, Decision{Kind: SST, Object: t.Object, ID: t.ID, Keep: tables(t), Mature: ulid.Time(t.ID.Time()).Add(s.MinAge)})
	}
	for _, o := range s.WAL {
		out = append(out, s.numbered(WAL, o, s.WALMinAge, s.wal(o)))
	}
	for _, o := range s.CompactionFiles {
		keep := s.old(o.Object, s.MinAge)
		if o.ID >= s.CompactionsID {
			keep = Latest
		}
		out = append(out, s.numbered(Compactions, o, s.MinAge, keep))
	}
	for _, o := range s.Manifests {
		keep := s.old(o.Object, s.MinAge)
		if o.ID >= s.LatestID {
			keep = Latest
		} else if _, ok := s.Pinned[o.ID]; ok {
			keep = Pinned
		}
		out = append(out, s.numbered(Manifest, o, s.MinAge, keep))
	}
	return out
}

func (s *State) numbered(k Kind, o Numbered, minAge time.Duration, keep Reason) Decision {
	return Decision{Kind: k, Object: o.Object, Number: o.ID, Keep: keep, Mature: o.Modified.Add(minAge)}
}

// old is the age rule for objects whose names tell no time.
func (s *State) old(o bucket.Object, minAge time.Duration) Reason {
	if minAge > 0 && s.Now.Sub(o.Modified) < minAge {
		return Young
	}
	return Garbage
}

// Next is when a later collection would find more than this one did, if nothing
// else happens: a checkpoint has expired, or all that is too young of one kind
// has matured. The zero time is never.
func Next(s *State, all []Decision) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	var last [Manifest + 1]time.Time // one collection for all of a kind
	for _, d := range all {
		if d.Keep == Young && d.Mature.After(last[d.Kind]) {
			last[d.Kind] = d.Mature
		}
	}
	for _, t := range last {
		sooner(t)
	}
	for _, cp := range s.Latest.Checkpoints {
		if cp.ExpireSec != 0 {
			sooner(time.Unix(int64(cp.ExpireSec), 0))
		}
	}
	return next
}

func (s *State) active() []*format.Manifest {
	all := []*format.Manifest{s.Latest}
	for _, m := range s.Pinned {
		all = append(all, m)
	}
	return all
}

// replays reports whether an active manifest may be read with this WAL object,
// or has its replay point there. A checkpoint's reader ends at the object that
// was the last when the manifest was written, whatever has come since.
func (s *State) replays(id uint64) bool {
	if id >= s.Latest.ReplayAfterWAL {
		return true
	}
	for _, m := range s.Pinned {
		if id == m.ReplayAfterWAL || id > m.ReplayAfterWAL && id <= m.WALLastSeen {
			return true
		}
	}
	return false
}

func (s *State) wal(o Numbered) Reason {
	content, known := s.WALContent[o.ID]
	switch {
	case s.replays(o.ID):
		return Replayed
	case s.old(o.Object, s.WALMinAge) != Garbage:
		return Young
	case o.Size == 0:
		return Fence
	case o.Size > maxFence:
		return Garbage
	case !known:
		return Unknown
	case content.Bad:
		return Unreadable
	case !content.Rows:
		return Fence
	}
	return Garbage
}

// maxFence is the size above which a WAL object holds rows for certain: one
// without any is a few hundred bytes of index, info and footer.
const maxFence = 4 << 10

// tableRule returns the rule for SSTs.
func (s *State) tableRule() func(Table) Reason {
	named := map[format.ULID]bool{}
	for _, m := range s.active() {
		name(m, named)
	}
	compaction, compacted := oldestCompaction(s.Compactions)
	newestL0, hasL0 := newestL0(s.Latest)
	boundary := s.Latest.LastCompactedL0
	return func(t Table) Reason {
		content, known := s.SSTContent[t.ID]
		switch ms := t.ID.Time(); {
		case named[t.ID]:
			return Named
		case boundary != nil && *boundary == t.ID:
			return Boundary
		case s.MinAge > 0 && s.Now.Sub(ulid.Time(ms)) < s.MinAge:
			return Young
		case !compacted || ms >= compaction:
			return Compacting
		case hasL0 && ms < newestL0:
			return Garbage
		case !known:
			return Unknown
		case content.Bad || !content.Rows:
			return Unreadable
		case content.FirstSeq > s.Latest.LastL0Seq:
			return Uploading
		}
		return Garbage
	}
}

// name adds the SSTs that m names.
func name(m *format.Manifest, named map[format.ULID]bool) {
	for _, t := range m.L0 {
		named[t.ID] = true
	}
	for _, r := range m.Runs {
		for _, t := range r.SSTs {
			named[t.ID] = true
		}
	}
	for _, e := range m.ExternalDBs {
		for _, id := range e.SSTs {
			named[id] = true
		}
	}
}

// oldestCompaction is the time of the oldest compaction that the file keeps:
// one that runs, or the last that ended. What a compaction writes is younger
// than itself.
func oldestCompaction(c *format.Compactions) (ms uint64, ok bool) {
	if c == nil {
		return 0, false
	}
	for _, e := range c.Recent {
		if t := e.ID.Time(); !ok || t < ms {
			ms, ok = t, true
		}
	}
	return ms, ok
}

// newestL0 is the time of the L0 that was published last: one that is still on
// its way is no older.
func newestL0(m *format.Manifest) (ms uint64, ok bool) {
	if len(m.L0) > 0 {
		return m.L0[0].ID.Time(), true
	}
	if m.LastCompactedL0 != nil {
		return m.LastCompactedL0.Time(), true
	}
	return 0, false
}
