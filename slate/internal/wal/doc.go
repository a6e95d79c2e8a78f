// Package wal is the write-ahead log: rows wait in a buffer and go to the
// bucket as numbered SSTs, one put in flight, ids without a gap.
//
// A flush starts when none is under way and somebody waits for it, when the
// buffer reaches its byte limit, and at the latest MaxDelay after the first row
// that waits. All that arrives meanwhile shares the next one. MinInterval,
// counted from start to start, bounds the number of puts.
//
// A put that finds its id taken means that another writer fenced this one. A
// put that succeeds proves the opposite only while the fence could not have
// been collected, which is for manifest.Fresh from the start of the last
// confirmation. After a longer pause the log asks its owner to confirm by the
// latest manifest before it puts; and if the put itself took longer than that,
// once more before it acknowledges. A log that puts without a pause asks every
// few seconds: a newer writer may not get hold of an id beside it.
//
// A writer may do without: with Env.Flush rows wait for one another in the same
// way and become durable in another.
package wal
