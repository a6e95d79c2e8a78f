package slate

import (
	"fmt"
	"runtime"
	"time"

	"github.com/stele-db/stele/slate/internal/compact"
	"github.com/stele-db/stele/slate/internal/format"
)

// CompactionOptions are what the compactor of a writer and RunCompactor have in
// common, beside the form of the SSTs.
//
// A compactor holds at most about Workers * (Options.MaxSSTBytes + 1 MiB for
// each source) + MaxJobs * 16 MiB in memory.
type CompactionOptions struct {
	// Scheduler decides what is compacted. Default: SizeTiered, which takes L0
	// up at Options.CompactL0 SSTs.
	Scheduler Scheduler
	// MaxJobs is how many compactions may be under way at once. Default 4, of
	// which one is kept for L0. More: small compactions wait less for large ones.
	MaxJobs int
	// Workers is how many ranges of keys are compacted at the same time, in all
	// jobs together. Default: the number of processors, at least 2, at most 4. One
	// is kept for L0; with one alone, writers may wait for it while it is at work
	// on runs. More: more processors, requests and memory.
	Workers int
	// BytesPerSecond bounds what compactions read and write, all together.
	// Default 0, no bound. Less: reads and writes are disturbed less, and wait
	// once L0 is full because compaction does not keep up.
	BytesPerSecond int64
	// Filter is shown every row that a compaction keeps. Default: none.
	Filter CompactionFilter
	// PollInterval is how often RunCompactor looks for a new manifest and for
	// compactions that were submitted, which costs three requests. Default 5 s. A
	// writer's own compactor never asks.
	PollInterval time.Duration
	// Each, if not nil, is told of every compaction as it begins and ends, by one
	// goroutine at a time. It must not block.
	Each func(CompactionEvent)
}

// withDefaults fills in the defaults where L0 is compacted from compactL0 SSTs on,
// if it is positive, and full at maxL0.
func (o *CompactionOptions) withDefaults(compactL0, maxL0 int) (faults []error) {
	if o.Scheduler == nil {
		o.Scheduler = SizeTiered{MinL0: max(compactL0, 0)}
	}
	if t, ok := o.Scheduler.(SizeTiered); ok && compactL0 > 0 && t.LeastL0() > maxL0 {
		faults = append(faults, fmt.Errorf("SizeTiered compacts L0 from %d SSTs on (MinL0, MinSources), and it is full at %d (MaxL0, MaxL0PerKey): writers would wait for ever", t.LeastL0(), maxL0))
	}
	set(&o.MaxJobs, 4)
	set(&o.Workers, max(2, min(4, runtime.GOMAXPROCS(0))))
	set(&o.PollInterval, 5*time.Second)
	for name, v := range map[string]int64{"MaxJobs": int64(o.MaxJobs), "Workers": int64(o.Workers), "PollInterval": int64(o.PollInterval)} {
		if v < 1 {
			faults = append(faults, fmt.Errorf("%s of Compaction is %d, must be at least 1", name, v))
		}
	}
	if o.BytesPerSecond < 0 {
		faults = append(faults, fmt.Errorf("BytesPerSecond of Compaction is %d, must not be negative", o.BytesPerSecond))
	}
	return faults
}

// Scheduler decides what to compact. Propose is called, by one goroutine at a
// time, whenever a flush or a compaction has changed the tree. What it returns
// is checked: the sources must be a window of the tree without a gap, from the
// oldest SST of L0 down to older runs; the destination must be the oldest of the
// plan's runs or, without runs, Tree.NextRun; no run may be in two plans, and L0
// only in one. Writers wait where L0 has Options.MaxL0 SSTs: by then at the latest
// it must propose a compaction of L0. A plan that breaks this is logged and ignored. Those that are
// more than CompactionOptions.MaxJobs allows are proposed again later.
type Scheduler interface {
	Propose(CompactionTree) []CompactionPlan
}

// CompactionTree is what a Scheduler decides by.
type CompactionTree = compact.Tree

// CompactionRun is a sorted run of a CompactionTree.
type CompactionRun = compact.Run

// CompactionPlan is one compaction: what becomes which sorted run.
type CompactionPlan = compact.Plan

// SizeTiered is the default Scheduler, with SlateDB's rules and defaults.
type SizeTiered = compact.Tiered

// CompactionFilter decides row by row what a compaction keeps, after versions,
// merges and expiry have been settled. It is called concurrently for different
// keys; for one key from its newest version to its oldest. It must be
// deterministic: a compaction that is repeated shows it the same rows again.
//
// It is sharper than it looks. It sees each version of a key that is kept for a
// snapshot, and rewrites it under the snapshot: a reader may see a row before
// the compaction and not after it, at the same sequence number. A row that it
// drops uncovers the version below, which may lie in an older run that is not a
// part of the compaction; a tombstone does not, so prefer FilterDelete. Rows in
// the log, in memory and in L0 are shown to it only once they are compacted,
// which DB.Compact does with all. While there is a filter, no SST is moved
// without being rewritten.
type CompactionFilter func(row FilterRow) (FilterDecision, []byte)

// FilterRow is a row as a CompactionFilter sees it. Key and Value must not be
// changed or kept.
type FilterRow struct {
	Key, Value []byte
	Seq        uint64
	// Tombstone and Operand tell the kind: a delete, an operand of a merge; a
	// value if both are false.
	Tombstone, Operand bool
	Created, Expires   time.Time // zero: it says nothing, it never does
}

// FilterDecision is what becomes of a row.
type FilterDecision uint8

// The decisions of a CompactionFilter.
const (
	FilterKeep    FilterDecision = iota // as it is
	FilterDrop                          // as if it had never been written
	FilterDelete                        // it becomes a tombstone
	FilterReplace                       // the returned bytes become its value; a tombstone stays one
)

// edit is the filter in terms of the engine.
func (f CompactionFilter) edit() func(*format.Row) bool {
	if f == nil {
		return nil
	}
	return func(r *format.Row) bool {
		row := FilterRow{Key: r.Key, Value: r.Value, Seq: r.Seq, Tombstone: r.Kind == format.Tombstone, Operand: r.Kind == format.Merge}
		if r.HasCreate {
			row.Created = time.UnixMilli(r.CreateTS)
		}
		if r.HasExpire {
			row.Expires = time.UnixMilli(r.ExpireTS)
		}
		switch decision, value := f(row); decision {
		case FilterDrop:
			return false
		case FilterDelete:
			r.Kind, r.Value, r.HasExpire, r.ExpireTS = format.Tombstone, nil, false, 0
		case FilterReplace:
			if r.Kind != format.Tombstone {
				r.Value = value
			}
		}
		return true
	}
}

// CompactionEvent tells of a compaction that begins or ends.
type CompactionEvent struct {
	ID    string `json:"id"`    // of the compaction, a ULID
	State string `json:"state"` // started, resumed, completed, moved, failed or stopped
	// The sources and the destination, as in CompactionPlan.
	L0          int      `json:"l0"`
	Runs        []uint32 `json:"runs"`
	Destination uint32   `json:"destination"`

	SSTs    int           `json:"ssts,omitempty"`         // of the resulting run
	Read    int64         `json:"bytesRead,omitempty"`    // bytes of SSTs
	Written int64         `json:"bytesWritten,omitempty"` // bytes of SSTs
	Took    time.Duration `json:"tookNs,omitempty"`       // nanoseconds
	Error   string        `json:"error,omitempty"`        // why it failed
}

// The states of a CompactionEvent.
const (
	compactionStarted   = "started"   // from the beginning
	compactionResumed   = "resumed"   // where another compactor left it
	compactionCompleted = "completed" // the run is in the manifest
	compactionMoved     = "moved"     // likewise, without a row being rewritten
	compactionFailed    = "failed"    // it may be proposed again; one that was submitted is not
	compactionStopped   = "stopped"   // left for the next compactor to take up
)
