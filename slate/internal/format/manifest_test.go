package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func id(n byte) ULID { return ULID{0, 1, 2, 3, 4, n, 15: n} }

// sstOf is an SST with the keys from first to last.
func sstOf(n byte, first, last string) SST {
	return SST{ID: id(n), ViewID: id(n), Version: SSTVersion2, Info: SSTInfo{FirstKey: []byte(first), LastKey: []byte(last), HasLast: true,
		FilterOffset: 100, IndexOffset: 100, IndexLen: 50}}
}

// fullManifest has a value in every field that version 1 stores.
func fullManifest() *Manifest {
	last, uri, final := id(9), "", UUID{3}
	cut := sstOf(1, "a", "z")
	cut.Visible = &KeyRange{Start: Bound{Included, []byte("b")}, End: Bound{Excluded, []byte("y")}}
	return &Manifest{
		Initialized: true, WriterEpoch: 3, CompactorEpoch: 2, ReplayAfterWAL: 7, WALLastSeen: 9,
		LastCompactedL0: &last, LastCompactedL0View: &last,
		L0:              []SST{cut, sstOf(2, "a", "b")},
		Runs:            []SortedRun{{ID: 5, SSTs: []SST{sstOf(3, "a", "c"), sstOf(4, "c", "d"), sstOf(5, "e", "e")}}, {ID: 0}},
		LastL0ClockTick: math.MinInt64, LastL0Seq: 99,
		Checkpoints:          []Checkpoint{{ID: UUID{1}, ManifestID: 4, ExpireSec: 10, CreateSec: 9, Name: "nightly"}, {ID: UUID{2}, ManifestID: 5}},
		ExternalDBs:          []ExternalDB{{Path: "parent", SourceCheckpoint: UUID{7}, FinalCheckpoint: &final, SSTs: []ULID{id(2)}}},
		WALStoreURI:          &uri,
		RecentSnapshotMinSeq: 98, SequenceTracker: (&Tracker{}).Encode(), FromVersion: ManifestVersion1,
	}
}

func dump(v any) string { return fmt.Sprintf("%+v", v) }

// dumpManifest prints a manifest, pointers followed.
func dumpManifest(m *Manifest) string {
	var out strings.Builder
	c := *m
	fmt.Fprintf(&out, "last %v view %v uri %q extractor %q\n", c.LastCompactedL0, c.LastCompactedL0View, str(c.WALStoreURI), str(c.SegmentExtractor))
	c.LastCompactedL0, c.LastCompactedL0View, c.WALStoreURI, c.SegmentExtractor = nil, nil, nil, nil
	ssts := func(in []SST) {
		for _, s := range in {
			if s.Visible != nil {
				fmt.Fprintf(&out, "visible %+v ", *s.Visible)
			}
			s.Visible = nil
			fmt.Fprintf(&out, "%+v\n", s)
		}
	}
	ssts(c.L0)
	for _, r := range c.Runs {
		fmt.Fprintf(&out, "run %d\n", r.ID)
		ssts(r.SSTs)
	}
	for _, s := range c.Segments {
		fmt.Fprintf(&out, "segment %q %v\n", s.Prefix, s.LastCompactedL0View)
		ssts(s.L0)
		for _, r := range s.Runs {
			fmt.Fprintf(&out, "run %d\n", r.ID)
			ssts(r.SSTs)
		}
	}
	for _, e := range c.ExternalDBs {
		if e.FinalCheckpoint != nil {
			fmt.Fprintf(&out, "final %s ", *e.FinalCheckpoint)
		}
		e.FinalCheckpoint = nil
		fmt.Fprintf(&out, "%+v\n", e)
	}
	c.L0, c.Runs, c.ExternalDBs, c.Segments = nil, nil, nil, nil
	return out.String() + dump(c)
}

func str(s *string) string {
	if s == nil {
		return "<none>"
	}
	return *s
}

func TestManifestRoundTrip(t *testing.T) {
	for _, m := range []*Manifest{fullManifest(), {FromVersion: 1}, {Initialized: true, LastL0ClockTick: math.MinInt64, FromVersion: 1}} {
		got, err := DecodeManifest(EncodeManifest(m))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := dumpManifest(got), dumpManifest(m); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	}
}

func TestManifestRoundTripRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Manifest{FromVersion: 1, Initialized: rapid.Bool().Draw(t, "initialized"), WriterEpoch: rapid.Uint64Max(maxCount).Draw(t, "writer"),
			WALLastSeen: rapid.Uint64Max(maxCount).Draw(t, "seen"), LastL0ClockTick: rapid.Int64().Draw(t, "tick"), LastL0Seq: rapid.Uint64Range(1, maxCount).Draw(t, "seq")}
		m.ReplayAfterWAL = rapid.Uint64Max(m.WALLastSeen).Draw(t, "replay")
		n := byte(0)
		sst := func() SST {
			n++
			return SST{ID: id(n), ViewID: id(n), Info: genInfo().Draw(t, "info"), Version: uint16(rapid.IntRange(1, 2).Draw(t, "version"))}
		}
		for range rapid.IntRange(0, 4).Draw(t, "l0s") {
			m.L0 = append(m.L0, sst())
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "runs") {
			m.Runs = append(m.Runs, SortedRun{ID: uint32(9 - i), SSTs: []SST{sst()}})
		}
		data := EncodeManifest(m)
		got, err := DecodeManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := dumpManifest(got), dumpManifest(m); a != b {
			t.Fatalf("got\n%s\nwant\n%s", a, b)
		}
		// Whatever bit flips, the decoder answers.
		data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := DecodeManifest(data); err == nil && !got.Segmented() {
			EncodeManifest(got)
		}
	})
}

// Every contradiction that can be seen is ErrCorrupt.
func TestManifestContradictions(t *testing.T) {
	for name, spoil := range map[string]func(*Manifest){
		"runs that ascend":           func(m *Manifest) { m.Runs[0].ID, m.Runs[1].ID = 0, 5 },
		"a run twice":                func(m *Manifest) { m.Runs[1].ID = 5 },
		"SSTs of a run that overlap": func(m *Manifest) { m.Runs[0].SSTs[1].Info.FirstKey = []byte("b") },
		"SSTs of a run that descend": func(m *Manifest) { r := m.Runs[0].SSTs; r[0], r[2] = r[2], r[0] },
		"an SST twice":               func(m *Manifest) { m.L0[1] = m.Runs[0].SSTs[0] },
		"a part of an SST twice, with another between": func(m *Manifest) {
			m.L0 = slices.Insert(m.L0, 1, m.L0[0], m.L0[0])
			m.L0[0].Visible = &KeyRange{End: Bound{Excluded, []byte("y")}}
			m.L0[1].Visible = &KeyRange{Start: Bound{Included, []byte("y")}}
			m.L0[2].Visible = m.L0[0].Visible
		},
		"an open SST in mid run":      func(m *Manifest) { i := &m.Runs[0].SSTs[0].Info; i.HasLast, i.LastKey = false, nil },
		"a last key before the first": func(m *Manifest) { m.L0[1].Info.LastKey = []byte("A") },
		"no first key":                func(m *Manifest) { m.L0[1].Info.FirstKey = nil },
		"no index":                    func(m *Manifest) { m.L0[1].Info.IndexLen = 0 },
		"a filter within the index":   func(m *Manifest) { m.L0[1].Info.FilterLen = 10 },
		"statistics within the index": func(m *Manifest) { m.L0[1].Info.StatsOffset, m.L0[1].Info.StatsLen = 120, 9 },
		"offsets that overflow":       func(m *Manifest) { m.L0[1].Info.IndexOffset = math.MaxUint64 },
		"an unknown codec":            func(m *Manifest) { m.L0[1].Info.Codec = 5 },
		"an unknown filter format":    func(m *Manifest) { m.L0[1].Info.FilterFormat = 2 },
		"an SST of the WAL": func(m *Manifest) {
			m.L0[1].Info.Type, m.L0[1].Info.FirstKey, m.L0[1].Info.HasLast = WAL, make([]byte, 8), false
		},
		"a visible range elsewhere":      func(m *Manifest) { m.L0[0].Visible.Start.Key, m.L0[0].Visible.End = []byte("zz"), Bound{} },
		"an empty visible range":         func(m *Manifest) { m.L0[0].Visible.End.Key = []byte("b") },
		"an excluded start":              func(m *Manifest) { m.L0[0].Visible.Start.Kind = Excluded },
		"L0s without a seq":              func(m *Manifest) { m.LastL0Seq = 0 },
		"a checkpoint twice":             func(m *Manifest) { m.Checkpoints[1].ID = m.Checkpoints[0].ID },
		"a broken sequence tracker":      func(m *Manifest) { m.SequenceTracker = []byte{1, 2, 3} },
		"a sequence tracker of nonsense": func(m *Manifest) { m.SequenceTracker = bytes.Repeat([]byte{1}, 30) },
	} {
		m := fullManifest()
		spoil(m)
		var d *DecodeError
		if _, err := DecodeManifest(EncodeManifest(m)); !errors.As(err, &d) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*Manifest){
		"parts of one SST": func(m *Manifest) {
			m.L0[1] = m.L0[0]
			m.L0[1].Visible = &KeyRange{Start: Bound{Included, []byte("y")}}
		},
		"a key whose versions go on": func(m *Manifest) { m.Runs[0].SSTs[1].Info.FirstKey = []byte("c") },
		"an SST without last key":    func(m *Manifest) { i := &m.Runs[0].SSTs[2].Info; i.HasLast, i.LastKey = false, nil },
	} {
		m := fullManifest()
		spoil(m)
		if _, err := DecodeManifest(EncodeManifest(m)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := fullManifest()
	if err := m.CheckID(4); !errors.Is(err, ErrCorrupt) {
		t.Errorf("checkpoint of a later manifest: %v", err)
	}
	if err := m.CheckID(5); err != nil {
		t.Error(err)
	}
}

func TestManifestVersions(t *testing.T) {
	data := EncodeManifest(fullManifest())
	for version, want := range map[uint16]error{0: ErrCorrupt, 3: ErrNewer, 0xffff: ErrNewer} {
		binary.BigEndian.PutUint16(data, version)
		if _, err := DecodeManifest(data); !errors.Is(err, want) {
			t.Errorf("version %d: %v", version, err)
		}
		if _, err := DecodeCompactions(data); !errors.Is(err, want) {
			t.Errorf("compactions version %d: %v", version, err)
		}
	}
	m := fullManifest()
	m.L0[1].Version = 3
	if _, err := DecodeManifest(EncodeManifest(m)); !errors.Is(err, ErrNewer) {
		t.Errorf("SST of version 3: %v", err)
	}
	for n := range 60 {
		if _, err := DecodeManifest(data[:n]); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
}

// manifestV2 writes a manifest of version 2, which nothing but this test does.
func manifestV2(ssts []SST, l0 []SST, runs []SortedRun, segments []Segment, extractor string) []byte {
	b := newBuilder(256)
	putView := func(b *builder, s *SST) ref {
		view, sst := putID(b, s.ViewID), putID(b, s.ID)
		var visible ref
		if s.Visible != nil {
			visible = putRange(b, s.Visible)
		}
		b.begin()
		b.child(2, visible)
		b.child(1, sst)
		b.child(0, view)
		return b.end()
	}
	putRun := func(b *builder, r *SortedRun) ref {
		views := putAll(b, r.SSTs, putView)
		b.begin()
		b.child(1, views)
		b.u32(0, r.ID)
		return b.end()
	}
	all := putAll(b, ssts, func(b *builder, s *SST) ref {
		id, info := putID(b, s.ID), putInfo(b, &s.Info)
		b.begin()
		b.child(1, info)
		b.child(0, id)
		b.u16(2, s.Version)
		return b.end()
	})
	l0s, rs := putAll(b, l0, putView), putAll(b, runs, putRun)
	var segs, name ref
	if len(segments) > 0 {
		segs = putAll(b, segments, func(b *builder, s *Segment) ref {
			prefix, l0, runs := b.bytes(s.Prefix), putAll(b, s.L0, putView), putAll(b, s.Runs, putRun)
			b.begin()
			b.child(3, runs)
			b.child(2, l0)
			b.child(0, prefix)
			return b.end()
		})
	}
	if extractor != "" {
		name = b.text(extractor)
	}
	checkpoints, last := putAll(b, []Checkpoint{{ID: UUID{1}, ManifestID: 1}}, putCheckpoint), putID(b, id(77))
	b.begin()
	b.u64(14, 5)
	b.u64(13, 6)
	b.u64(11, 7)
	b.child(17, name)
	b.child(16, segs)
	b.child(12, checkpoints)
	b.child(10, rs)
	b.child(9, l0s)
	b.child(8, all)
	b.child(7, last)
	b.flag(2, true)
	return versioned(ManifestVersion2, b.finish(b.end()))
}

func TestManifestV2(t *testing.T) {
	a, b, c := sstOf(1, "a", "f"), sstOf(2, "a", "c"), sstOf(3, "d", "f")
	viewed := func(s SST, view byte) SST { s.ViewID = id(view); return s }
	left := viewed(a, 11)
	left.Visible = &KeyRange{End: Bound{Excluded, []byte("c")}}
	right := viewed(a, 12)
	right.Visible = &KeyRange{Start: Bound{Included, []byte("c")}}
	l0, runs := []SST{left, right}, []SortedRun{{ID: 4, SSTs: []SST{viewed(b, 13), viewed(c, 14)}}}
	m, err := DecodeManifest(manifestV2([]SST{a, b, c}, l0, runs, nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	last := id(77)
	want := &Manifest{FromVersion: 2, Initialized: true, LastCompactedL0: &last, LastCompactedL0View: &last, L0: l0, Runs: runs,
		LastL0ClockTick: 7, LastL0Seq: 6, RecentSnapshotMinSeq: 5, Checkpoints: []Checkpoint{{ID: UUID{1}, ManifestID: 1}}}
	if x, y := dumpManifest(m), dumpManifest(want); x != y || m.Segmented() {
		t.Errorf("got\n%s\nwant\n%s", x, y)
	}
	if _, err := DecodeManifest(EncodeManifest(m)); err != nil {
		t.Errorf("as version 1: %v", err)
	}

	segments := []Segment{{Prefix: []byte("a"), L0: []SST{viewed(b, 21)}}, {Prefix: []byte("d"), Runs: []SortedRun{{ID: 1, SSTs: []SST{viewed(c, 22)}}}}}
	m, err = DecodeManifest(manifestV2([]SST{b, c}, nil, nil, segments, "first-byte"))
	if err != nil || !m.Segmented() || len(m.Segments) != 2 || str(m.SegmentExtractor) != "first-byte" || m.Segments[1].Runs[0].SSTs[0].ViewID != id(22) {
		t.Errorf("%v, %+v", err, m)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("segments were lost in version 1")
			}
		}()
		EncodeManifest(m)
	}()
	for name, data := range map[string][]byte{
		"a view of an SST that is not listed": manifestV2([]SST{b}, []SST{viewed(c, 1)}, nil, nil, ""),
		"an SST listed twice":                 manifestV2([]SST{b, b}, nil, nil, nil, ""),
		"overlapping views of one SST":        manifestV2([]SST{a}, []SST{viewed(a, 1), viewed(a, 2)}, nil, nil, ""),
		"a segment without prefix":            manifestV2(nil, nil, nil, []Segment{{}}, "x"),
		"a prefix of another":                 manifestV2(nil, nil, nil, []Segment{{Prefix: []byte("a")}, {Prefix: []byte("ab")}}, "x"),
		"segments that go back":               manifestV2(nil, nil, nil, []Segment{{Prefix: []byte("b")}, {Prefix: []byte("a")}}, "x"),
	} {
		if _, err := DecodeManifest(data); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompactions(t *testing.T) {
	want := &Compactions{CompactorEpoch: 4, FromVersion: 1, Recent: []Compaction{
		{ID: id(1), Status: CompactionRunning, L0: []ULID{id(2), id(3)}, Output: []SST{sstOf(4, "a", "b")}},
		{ID: id(5), Status: CompactionCompleted, L0: []ULID{id(6)}, Runs: []uint32{9, 7, 3}, Destination: 3, DestinationKnown: true},
	}}
	data := EncodeCompactions(want)
	got, err := DecodeCompactions(data)
	if err != nil || dump(got) != dump(want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
	if !got.Recent[1].Status.Finished() || got.Recent[0].Status.Finished() || got.Recent[0].Status.String() != "running" {
		t.Error("statuses are wrong")
	}
	for name, spoil := range map[string]func(*Compactions){
		"an unknown status": func(c *Compactions) { c.Recent[0].Status = 6 },
		"runs that ascend":  func(c *Compactions) { c.Recent[1].Runs[0] = 1 },
		"a compaction twice": func(c *Compactions) {
			c.Recent[1].ID = c.Recent[0].ID
		},
	} {
		c, err := DecodeCompactions(data)
		if err != nil {
			t.Fatal(err)
		}
		spoil(c)
		if _, err := DecodeCompactions(EncodeCompactions(c)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A compactions file of version 2 decodes with what only it has.
func TestCompactionsV2(t *testing.T) {
	b := newBuilder(256)
	one := putID(b, id(1))
	runs, segment := b.words([]uint32{3, 2}), b.bytes([]byte("seg"))
	b.begin()
	b.u32(4, 8)
	b.child(3, segment)
	b.child(1, runs)
	spec := b.end()
	name := b.text("worker")
	b.begin()
	b.u64(1, 12345)
	b.child(0, name)
	worker := b.end()
	r := putRange(b, &KeyRange{Start: Bound{Included, []byte("a")}})
	b.begin()
	b.child(0, r)
	subs := b.refs([]ref{b.end()})
	b.begin()
	b.u64(1, 77)
	b.child(0, subs)
	ctx := b.end()
	b.begin()
	b.child(7, ctx)
	b.child(5, worker)
	b.child(2, spec)
	b.child(0, one)
	b.u8(6, ctxTiered)
	b.u8(3, uint8(CompactionScheduled))
	b.u8(1, specTiered)
	tiered := b.end()
	two := putID(b, id(2))
	drained := b.bytes([]byte("old"))
	b.begin()
	b.child(0, drained)
	spec = b.end()
	b.begin()
	b.child(2, spec)
	b.child(0, two)
	b.u8(1, specDrain)
	all := b.refs([]ref{tiered, b.end()})
	b.begin()
	b.child(1, all)
	got, err := DecodeCompactions(versioned(CompactionsVersion2, b.finish(b.end())))
	if err != nil {
		t.Fatal(err)
	}
	want := &Compactions{FromVersion: 2, Recent: []Compaction{
		{ID: id(1), Status: CompactionScheduled, Runs: []uint32{3, 2}, Destination: 8, DestinationKnown: true, Segment: []byte("seg"),
			Worker: "worker", HeartbeatMS: 12345, HasSubcontext: true, RetentionSeq: 77,
			Subs: []Subcompaction{{Range: KeyRange{Start: Bound{Included, []byte("a")}}}}},
		{ID: id(2), Drain: true, Segment: []byte("old")},
	}}
	if dump(got) != dump(want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}
