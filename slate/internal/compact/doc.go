// Package compact decides what to compact (Full, pure), merges it into a sorted
// run (Job.Run, I/O), and says how the result changes the manifest (Apply,
// pure). What it has written is garbage until the caller publishes that
// manifest, so a compaction may fail or be abandoned at any moment.
package compact
