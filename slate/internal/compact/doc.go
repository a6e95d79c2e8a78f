// Package compact turns L0 SSTs and sorted runs into fewer, larger runs.
//
// It decides without I/O what to compact (Tiered, Full), whether a plan may be
// carried out (Plan.Check), and how its result changes the manifest (Apply).
// Job merges the rows, several ranges of keys at a time; Move makes a run of
// SSTs that need no merging. What they write is garbage until the caller
// publishes that manifest, so a compaction may fail or be abandoned at any
// moment, and be taken up again where its recorded output ends (Job.Resume).
package compact
