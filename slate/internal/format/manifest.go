package format

// Manifest is the root of a database at one moment: which SSTs are in it, how
// far the WAL is contained in them, and who may write.
//
// Where rows of equal key meet, precedence is: memtables, L0 from first to
// last, Runs from first to last.
type Manifest struct {
	// Initialized is false only while a clone is being made.
	Initialized bool
	// WriterEpoch and CompactorEpoch grow by one at every open of a writer or
	// compactor; one with a smaller epoch than the latest manifest's is fenced.
	WriterEpoch, CompactorEpoch uint64
	// ReplayAfterWAL: WAL objects up to this id need no replay.
	ReplayAfterWAL uint64
	// WALLastSeen is the last WAL id known when the manifest was written. It may
	// lag behind; readers of a checkpoint replay up to it and no further.
	WALLastSeen uint64
	// LastCompactedL0 is the SST id of the newest L0 that a compaction consumed,
	// nil if none was; LastCompactedL0View is the view id of the same. Version 1
	// knows the first only, version 2 the second only; where the other cannot be
	// told they are equal.
	LastCompactedL0, LastCompactedL0View *ULID
	L0                                   []SST       // newest first
	Runs                                 []SortedRun // descending id, which is newest first

	// LastL0ClockTick is the greatest creation time (ms) that was flushed to L0,
	// math.MinInt64 before the first.
	LastL0ClockTick int64
	// LastL0Seq is the greatest seq contained in L0 and Runs.
	LastL0Seq   uint64
	Checkpoints []Checkpoint
	ExternalDBs []ExternalDB
	// WALStoreURI is nil if the WAL lies beside the rest. Not nil, today always
	// the empty string, means that it lies in a store of its own.
	WALStoreURI *string
	// RecentSnapshotMinSeq: a compaction must keep what a reader at this seq sees.
	RecentSnapshotMinSeq uint64
	// SequenceTracker relates seqs to wall time, see DecodeTracker. nil counts as
	// empty.
	SequenceTracker []byte

	// FromVersion is the file's format version, set by DecodeManifest.
	FromVersion uint16
	// Segments and SegmentExtractor exist in version 2 only. A database that has
	// either must not be opened by who does not know its segments.
	Segments         []Segment
	SegmentExtractor *string
}

// Segmented reports whether the database keeps segments, which EncodeManifest
// cannot write.
func (m *Manifest) Segmented() bool { return len(m.Segments) > 0 || m.SegmentExtractor != nil }

// SortedRun is a sequence of SSTs with ascending, disjoint key ranges. It may
// have none.
type SortedRun struct {
	ID   uint32
	SSTs []SST
}

// Size returns the sum of its SSTs' sizes.
func (r *SortedRun) Size() (n uint64) {
	for i := range r.SSTs {
		n += r.SSTs[i].Info.Size()
	}
	return n
}

// Checkpoint pins a manifest and everything it names against collection.
type Checkpoint struct {
	ID         UUID
	ManifestID uint64
	ExpireSec  uint32 // seconds since the epoch, 0 = never
	CreateSec  uint32 // seconds since the epoch
	Name       string
}

// ExternalDB is a database whose SSTs this one, its clone, refers to.
type ExternalDB struct {
	Path             string
	SourceCheckpoint UUID
	FinalCheckpoint  *UUID
	SSTs             []ULID
}

// Segment is the tree of one key prefix, in a database that keeps segments.
type Segment struct {
	Prefix              []byte
	LastCompactedL0     *ULID
	LastCompactedL0View *ULID
	L0                  []SST
	Runs                []SortedRun
}
