package format

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A manifest file of version 1:
//
//	version u16 BE = 1 | FlatBuffer ManifestV1
//
//	ManifestV1       { 0 manifest_id u64, always absent: the file's name is the id; 1 external_dbs [ExternalDb];
//	                   2 initialized bool; 3 writer_epoch u64; 4 compactor_epoch u64; 5 replay_after_wal_id u64;
//	                   6 wal_id_last_seen u64; 7 l0_last_compacted Ulid; 8 l0 [CompactedSsTable];
//	                   9 compacted [SortedRun]; 10 last_l0_clock_tick i64; 11 checkpoints [Checkpoint];
//	                   12 last_l0_seq u64; 13 wal_object_store_uri string; 14 recent_snapshot_min_seq u64;
//	                   15 sequence_tracker [u8] }
//	CompactedSsTable { 0 id Ulid; 1 info SsTableInfo; 2 visible_range BytesRange; 3 format_version u16, absent = 1 }
//	SortedRun        { 0 id u32; 1 ssts [CompactedSsTable] }
//	BytesRange       { 0 start_bound BytesBound; 1 end_bound BytesBound }
//	BytesBound       { 0 key [u8]; 1 bound_type i8: 1 unbounded, 2 included, 3 excluded }
//	Checkpoint       { 0 id Uuid; 1 manifest_id u64; 2 expire_s u32; 3 create_s u32; 4 metadata_type u8; 5 metadata; 6 name string }
//	ExternalDb       { 0 path string; 1 source_checkpoint_id Uuid; 2 final_checkpoint_id Uuid; 3 sst_ids [Ulid] }
//	Ulid, Uuid       { 0 high u64; 1 low u64 }
//
// Version 2 lists every SST once and refers to it from views:
//
//	ManifestV2           { 0 to 6 as before; 7 last_compacted_l0_sst_view_id Ulid; 8 ssts [CompactedSsTableV2];
//	                       9 l0 [CompactedSsTableView]; 10 compacted [SortedRunV2]; 11 last_l0_clock_tick i64;
//	                       12 checkpoints; 13 last_l0_seq; 14 recent_snapshot_min_seq; 15 sequence_tracker;
//	                       16 segments [Segment]; 17 segment_extractor_name string }
//	CompactedSsTableV2   { 0 id Ulid; 1 info; 2 format_version u16 }
//	CompactedSsTableView { 0 id Ulid; 1 sst_id Ulid; 2 visible_range BytesRange }
//	SortedRunV2          { 0 id u32; 1 ssts [CompactedSsTableView] }
//	Segment              { 0 prefix [u8]; 1 last_compacted_l0_sst_view_id Ulid; 2 l0 [View]; 3 compacted [SortedRunV2] }

// EncodeManifest returns m as a manifest file of version 1. View ids are not
// stored. m must not be segmented, which version 1 cannot say: EncodeManifest
// panics then, lest the segments be lost.
func EncodeManifest(m *Manifest) []byte {
	if m.Segmented() {
		panic("format: a manifest with segments cannot be written as version 1")
	}
	b := newBuilder(1024)
	l0 := putAll(b, m.L0, putSST)
	last := putOptionalID(b, m.LastCompactedL0)
	runs := putAll(b, m.Runs, func(b *builder, r *SortedRun) ref {
		ssts := putAll(b, r.SSTs, putSST)
		b.begin()
		b.child(1, ssts)
		b.u32(0, r.ID)
		return b.end()
	})
	checkpoints := putAll(b, m.Checkpoints, putCheckpoint)
	var external, uri, tracker ref
	if len(m.ExternalDBs) > 0 {
		external = putAll(b, m.ExternalDBs, putExternalDB)
	}
	if m.WALStoreURI != nil {
		uri = b.text(*m.WALStoreURI)
	}
	if m.SequenceTracker != nil {
		tracker = b.bytes(m.SequenceTracker)
	}
	b.begin()
	b.u64(14, m.RecentSnapshotMinSeq)
	b.u64(12, m.LastL0Seq)
	b.u64(10, uint64(m.LastL0ClockTick))
	b.u64(6, m.WALLastSeen)
	b.u64(5, m.ReplayAfterWAL)
	b.u64(4, m.CompactorEpoch)
	b.u64(3, m.WriterEpoch)
	b.child(15, tracker)
	b.child(13, uri)
	b.child(11, checkpoints)
	b.child(9, runs)
	b.child(8, l0)
	b.child(7, last)
	b.child(1, external)
	b.flag(2, m.Initialized)
	return versioned(ManifestVersion1, b.finish(b.end()))
}

// versioned puts the version of a file before its FlatBuffer.
func versioned(version uint16, body []byte) []byte {
	out := make([]byte, 0, 2+len(body))
	return append(binary.BigEndian.AppendUint16(out, version), body...)
}

// unversioned returns the version of a file and its FlatBuffer.
func unversioned(what string, data []byte, known uint16) (uint16, *flatbuf, error) {
	if len(data) < 2 {
		return 0, nil, corrupt(0, "%s of %d bytes", what, len(data))
	}
	version := binary.BigEndian.Uint16(data)
	if err := checkVersion(what, version, known, 0); err != nil {
		return 0, nil, err
	}
	return version, newFlatbuf(data[2:], 2), nil
}

func putOptionalID[T ~[16]byte](b *builder, id *T) ref {
	if id == nil {
		return 0
	}
	return putID(b, *id)
}

func putSST(b *builder, s *SST) ref {
	id := putID(b, s.ID)
	info := putInfo(b, &s.Info)
	var visible ref
	if s.Visible != nil {
		visible = putRange(b, s.Visible)
	}
	b.begin()
	b.child(2, visible)
	b.child(1, info)
	b.child(0, id)
	b.u16(3, s.Version)
	return b.end()
}

func putRange(b *builder, r *KeyRange) ref {
	start, end := putBound(b, r.Start), putBound(b, r.End)
	b.begin()
	b.child(1, end)
	b.child(0, start)
	return b.end()
}

func putBound(b *builder, d Bound) ref {
	var key ref
	if d.Kind != Unbounded {
		key = b.bytes(d.Key)
	}
	b.begin()
	b.child(0, key)
	b.u8(1, uint8(d.Kind)+1)
	return b.end()
}

func putCheckpoint(b *builder, c *Checkpoint) ref {
	id := putID(b, c.ID)
	var name ref
	if c.Name != "" {
		name = b.text(c.Name)
	}
	b.begin()
	b.u64(1, c.ManifestID)
	b.child(6, name)
	b.u32(3, c.CreateSec)
	b.u32(2, c.ExpireSec)
	b.child(0, id)
	return b.end()
}

func putExternalDB(b *builder, e *ExternalDB) ref {
	path := b.text(e.Path)
	source := putID(b, e.SourceCheckpoint)
	final := putOptionalID(b, e.FinalCheckpoint)
	ssts := putAll(b, e.SSTs, func(b *builder, id *ULID) ref { return putID(b, *id) })
	b.begin()
	b.child(3, ssts)
	b.child(2, final)
	b.child(1, source)
	b.child(0, path)
	return b.end()
}

// DecodeManifest reads a manifest file of version 1 or 2. A manifest has no
// checksum; what can be told from its content is checked: bounds, order and
// overlap of the runs, that no SST stands in it twice, that infos do not
// contradict themselves. Errors match ErrCorrupt, as *DecodeError, or ErrNewer.
// The result does not alias data.
func DecodeManifest(data []byte) (*Manifest, error) {
	version, fb, err := unversioned("manifest", data, ManifestVersion2)
	if err != nil {
		return nil, err
	}
	t := fb.root()
	m := &Manifest{FromVersion: version}
	m.readHead(t)
	if version == ManifestVersion1 {
		m.readV1(t)
	} else {
		m.readV2(t)
	}
	if fb.err != nil {
		return nil, fb.err
	}
	if fault := m.check(); fault != "" {
		return nil, corrupt(2, "%s", fault)
	}
	return m, nil
}

// readHead reads the slots that both versions have in common.
func (m *Manifest) readHead(t table) {
	m.Initialized = t.flag(2)
	m.WriterEpoch = t.u64(3)
	m.CompactorEpoch = t.u64(4)
	m.ReplayAfterWAL = t.u64(5)
	m.WALLastSeen = t.u64(6)
	if last, ok := t.child(7); ok {
		sst, view := ULID(last.id()), ULID(last.id())
		m.LastCompactedL0, m.LastCompactedL0View = &sst, &view
	}
	m.RecentSnapshotMinSeq = t.u64(14)
	m.SequenceTracker = t.copied(15)
	m.ExternalDBs = readAll(t, 1, readExternalDB)
}

func (m *Manifest) readV1(t table) {
	m.L0 = readNeeded(t, 8, "l0", readSST)
	m.Runs = readNeeded(t, 9, "compacted", func(t table) SortedRun {
		return SortedRun{ID: t.u32(0), SSTs: readNeeded(t, 1, "ssts of a sorted run", readSST)}
	})
	m.LastL0ClockTick = int64(t.u64(10))
	m.Checkpoints = readNeeded(t, 11, "checkpoints", readCheckpoint)
	m.LastL0Seq = t.u64(12)
	if uri, ok := t.bytes(13); ok {
		s := string(uri)
		m.WALStoreURI = &s
	}
}

func (m *Manifest) readV2(t table) {
	ssts := map[ULID]SST{}
	for _, s := range readNeeded(t, 8, "ssts", readSSTV2) {
		if _, ok := ssts[s.ID]; ok {
			t.b.fault(t.pos, "SST %s is listed twice", s.ID)
		}
		ssts[s.ID] = s
	}
	view := func(t table) SST { return readView(t, ssts) }
	run := func(t table) SortedRun {
		return SortedRun{ID: t.u32(0), SSTs: readNeeded(t, 1, "ssts of a sorted run", view)}
	}
	m.L0 = readNeeded(t, 9, "l0", view)
	m.Runs = readNeeded(t, 10, "compacted", run)
	m.LastL0ClockTick = int64(t.u64(11))
	m.Checkpoints = readNeeded(t, 12, "checkpoints", readCheckpoint)
	m.LastL0Seq = t.u64(13)
	m.Segments = readAll(t, 16, func(t table) Segment {
		s := Segment{Prefix: t.copied(0), L0: readNeeded(t, 2, "l0 of a segment", view), Runs: readNeeded(t, 3, "compacted of a segment", run)}
		if last, ok := t.child(1); ok {
			sst, view := ULID(last.id()), ULID(last.id())
			s.LastCompactedL0, s.LastCompactedL0View = &sst, &view
		}
		return s
	})
	if name, ok := t.bytes(17); ok {
		s := string(name)
		m.SegmentExtractor = &s
	}
}

// readAll reads the vector of tables in field i, nil if it is absent or empty.
func readAll[T any](t table, i int, read func(table) T) []T {
	v, _ := t.vector(i, 4)
	return readVector(v, read)
}

// readNeeded is readAll for a vector that must be there.
func readNeeded[T any](t table, i int, name string, read func(table) T) []T {
	return readVector(t.needVector(i, 4, name), read)
}

func readVector[T any](v vector, read func(table) T) []T {
	var out []T
	for i := 0; i < v.n && v.b.err == nil; i++ {
		out = append(out, read(v.table(i)))
	}
	return out
}

func readSST(t table) SST {
	s := SST{ID: t.need(0, "id of an SST").id(), Info: readInfo(t.need(1, "info of an SST")), Visible: readVisible(t, 2)}
	s.ViewID = s.ID
	s.Version = readSSTVersion(t, 3)
	checkSST(t, &s)
	return s
}

func readSSTV2(t table) SST {
	return SST{ID: t.need(0, "id of an SST").id(), Info: readInfo(t.need(1, "info of an SST")), Version: readSSTVersion(t, 2)}
}

func readView(t table, ssts map[ULID]SST) SST {
	view, id := t.need(0, "id of a view").id(), ULID(t.need(1, "SST of a view").id())
	s, ok := ssts[id]
	if !ok {
		t.b.fault(t.pos, "view of the SST %s, which is not listed", id)
		return s
	}
	s.ViewID, s.Visible = view, readVisible(t, 2)
	checkSST(t, &s)
	return s
}

func readSSTVersion(t table, i int) uint16 {
	v := t.u16(i, SSTVersion1)
	if err := checkVersion("SST in manifest", v, SSTVersion2, t.b.base+t.pos); err != nil && t.b.err == nil {
		t.b.err = err
	}
	return v
}

func readVisible(t table, i int) *KeyRange {
	r, ok := t.child(i)
	if !ok {
		return nil
	}
	k := readRange(r)
	return &k
}

func readRange(t table) KeyRange {
	return KeyRange{Start: readBound(t.need(0, "start of a range")), End: readBound(t.need(1, "end of a range"))}
}

func readBound(t table) Bound {
	kind := t.u8(1)
	key, ok := t.bytes(0)
	if kind < 1 || kind > 3 || ok != (kind > 1) || len(key) > MaxStoredKey {
		t.b.fault(t.pos, "bound of type %d with a key of %d bytes", kind, len(key))
		return Bound{}
	}
	return Bound{Kind: BoundKind(kind - 1), Key: t.copied(0)}
}

func readCheckpoint(t table) Checkpoint {
	name, _ := t.bytes(6)
	return Checkpoint{ID: t.need(0, "id of a checkpoint").id(), ManifestID: t.u64(1),
		ExpireSec: t.u32(2), CreateSec: t.u32(3), Name: string(name)}
}

func readExternalDB(t table) ExternalDB {
	path, ok := t.bytes(0)
	if !ok {
		t.b.fault(t.pos, "path of an external database is missing")
	}
	e := ExternalDB{Path: string(path), SourceCheckpoint: t.need(1, "source checkpoint of an external database").id(),
		SSTs: readNeeded(t, 3, "SSTs of an external database", func(t table) ULID { return t.id() })}
	if final, ok := t.child(2); ok {
		id := UUID(final.id())
		e.FinalCheckpoint = &id
	}
	return e
}

// checkSST faults a manifest's record of an SST that cannot be.
func checkSST(t table, s *SST) {
	switch {
	case t.b.err != nil:
	case s.Info.Type != Compacted:
		t.b.fault(t.pos, "SST %s is of the WAL's type", s.ID)
	case len(s.Info.FirstKey) == 0:
		t.b.fault(t.pos, "SST %s has no rows", s.ID)
	case s.Visible != nil && s.Visible.Start.Kind == Excluded:
		t.b.fault(t.pos, "visible range of SST %s begins with an excluded key", s.ID)
	case s.Range().Empty():
		t.b.fault(t.pos, "SST %s has no visible key", s.ID)
	}
}

// CheckID returns an error that matches ErrCorrupt if the manifest cannot be
// the one with this id.
func (m *Manifest) CheckID(id uint64) error {
	for i := range m.Checkpoints {
		if c := &m.Checkpoints[i]; c.ManifestID > id {
			return corrupt(2, "checkpoint %s is of manifest %d, in manifest %d", c.ID, c.ManifestID, id)
		}
	}
	return nil
}

// maxCount bounds what counts up from 0 by one: a billion a second take a
// century to get there.
const maxCount = 1 << 62

// check returns what the manifest contradicts, empty if nothing.
func (m *Manifest) check() string {
	switch {
	case max(m.WriterEpoch, m.CompactorEpoch, m.WALLastSeen, m.LastL0Seq, m.RecentSnapshotMinSeq) > maxCount:
		return "an epoch, log id or seq that nobody can have reached"
	case m.ReplayAfterWAL > m.WALLastSeen:
		return fmt.Sprintf("log is contained up to %d, and was seen up to %d", m.ReplayAfterWAL, m.WALLastSeen)
	}
	seen := map[ULID][]*SST{}
	trees := append([]Segment{{L0: m.L0, Runs: m.Runs}}, m.Segments...)
	rows := false
	for i := range trees {
		t := &trees[i]
		if i > 0 && len(t.Prefix) == 0 {
			return "segment without a prefix"
		}
		if i > 1 && (string(trees[i-1].Prefix) >= string(t.Prefix) || sharedLen(trees[i-1].Prefix, t.Prefix) == len(trees[i-1].Prefix)) {
			return fmt.Sprintf("segment %q after segment %q", t.Prefix, trees[i-1].Prefix)
		}
		if fault := checkTree(t.L0, t.Runs, seen); fault != "" {
			return fault
		}
		rows = rows || len(t.L0) > 0 || slices.ContainsFunc(t.Runs, func(r SortedRun) bool { return len(r.SSTs) > 0 })
	}
	if rows && m.LastL0Seq == 0 {
		return "there are SSTs, but the last seq in them is 0"
	}
	ids := map[UUID]bool{}
	for i := range m.Checkpoints {
		if ids[m.Checkpoints[i].ID] {
			return fmt.Sprintf("checkpoint %s is listed twice", m.Checkpoints[i].ID)
		}
		ids[m.Checkpoints[i].ID] = true
	}
	tracker, err := DecodeTracker(m.SequenceTracker)
	if err != nil {
		return "sequence tracker: " + err.Error()
	}
	if n := tracker.Len(); n > 0 && tracker.seqs[n-1] > m.LastL0Seq {
		return fmt.Sprintf("sequence tracker knows seq %d, the last one in an SST is %d", tracker.seqs[n-1], m.LastL0Seq)
	}
	return ""
}

// checkTree checks that runs descend, that the SSTs of a run ascend without
// overlap (but for a key whose versions go on in the next one), and that no
// SST is seen twice, unless in disjoint parts.
func checkTree(l0 []SST, runs []SortedRun, seen map[ULID][]*SST) string {
	for i := range l0 {
		if fault := checkSeen(&l0[i], seen); fault != "" {
			return fault
		}
	}
	for i := range runs {
		r := &runs[i]
		if i > 0 && r.ID >= runs[i-1].ID {
			return fmt.Sprintf("sorted run %d after %d", r.ID, runs[i-1].ID)
		}
		for j := range r.SSTs {
			if fault := checkSeen(&r.SSTs[j], seen); fault != "" {
				return fault
			}
			if j == 0 {
				continue
			}
			a, b := r.SSTs[j-1].Range(), r.SSTs[j].Range()
			if a.End.Kind == Unbounded || string(a.End.Key) > string(b.Start.Key) {
				return fmt.Sprintf("SSTs %s and %s of sorted run %d overlap", r.SSTs[j-1].ID, r.SSTs[j].ID, r.ID)
			}
		}
	}
	return ""
}

func checkSeen(s *SST, seen map[ULID][]*SST) string {
	for _, o := range seen[s.ID] {
		if !o.Range().Intersect(s.Range()).Empty() {
			return fmt.Sprintf("SST %s is in the tree twice", s.ID)
		}
	}
	seen[s.ID] = append(seen[s.ID], s)
	return ""
}
