package format

// CompactionStatus is how far a compaction has come.
type CompactionStatus uint8

// The life of a compaction. Scheduled and Compacted are known to SlateDB from
// 0.13 on only.
const (
	CompactionSubmitted CompactionStatus = 0
	CompactionRunning   CompactionStatus = 1
	CompactionCompleted CompactionStatus = 2
	CompactionFailed    CompactionStatus = 3
	CompactionCompacted CompactionStatus = 4
	CompactionScheduled CompactionStatus = 5
)

// String returns the status as a word.
func (s CompactionStatus) String() string {
	if int(s) < len(compactionStatus) {
		return compactionStatus[s]
	}
	return "unknown"
}

var compactionStatus = [...]string{"submitted", "running", "completed", "failed", "compacted", "scheduled"}

// Finished reports whether nothing more will happen to the compaction.
func (s CompactionStatus) Finished() bool {
	return s == CompactionCompleted || s == CompactionFailed
}

// Compactions is the state that the compactor keeps of its work.
type Compactions struct {
	CompactorEpoch uint64
	Recent         []Compaction // every active one and the last finished
	FromVersion    uint16       // the file's format version, set by DecodeCompactions
}

// Compaction is one task: merge L0s and runs into the run Destination.
type Compaction struct {
	ID     ULID
	Status CompactionStatus
	L0     []ULID   // view ids, newest first
	Runs   []uint32 // descending
	// Destination is the run that the output becomes. Version 1 does not store
	// it: there it is the least of Runs; without Runs it is 0 and DestinationKnown
	// is false.
	Destination      uint32
	DestinationKnown bool
	Output           []SST // what has been written so far

	// Fields of version 2.
	Drain         bool   // empties a segment instead of merging
	Segment       []byte // the segment's prefix, empty for the root tree
	Worker        string // who works on it
	HeartbeatMS   uint64 // when the worker last said so, milliseconds since the epoch
	Subs          []Subcompaction
	RetentionSeq  uint64
	HasSubcontext bool
}

// Subcompaction is the part of a compaction that one range of keys makes.
type Subcompaction struct {
	Range  KeyRange
	Output []SST
}
