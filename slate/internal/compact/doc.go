// Package compact decides what to compact (pure), merges it into a sorted run
// (I/O), and says how the result changes the manifest (pure).
package compact
