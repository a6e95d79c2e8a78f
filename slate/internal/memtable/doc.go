// Package memtable holds the newest versions of keys, sorted, in memory: a
// skip list of (key ascending, seq descending) with one writer and any number
// of readers that take no lock.
//
// Nodes, keys included, live in chunks of 32-bit words and values in chunks of
// their own, so that a table of millions of rows is a few thousand
// allocations and holds no pointer that the garbage collector must follow.
// References are (chunk, offset) pairs packed into 32 bits. A node is written
// completely before the word that links it is stored atomically, so a reader
// that finds a node sees all of it; chunk directories are replaced, never
// changed, before a node in the new chunk is linked.
//
// Skip lists: W. Pugh, "Skip Lists: A Probabilistic Alternative to Balanced
// Trees", CACM 33(6), 1990.
package memtable
