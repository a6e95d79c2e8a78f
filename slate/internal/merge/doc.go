// Package merge combines sources of row versions: k-way by key and sequence
// number, then reduced to what a reader sees (Visible) or to what a flush or
// compaction must keep (Retain).
package merge
