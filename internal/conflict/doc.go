// Package conflict tells whether a key that a transaction read or writes was
// written by another one since it began.
//
// A store has one [History]. While transactions are open, it is told the keys
// of every write and keeps them in the order of their seqs, in a list of
// chunks; while none is, a write costs one atomic load. A transaction holds a
// [Mark], its place in that list, and the keys and ranges that it read in a
// [Keys]. Before it commits, the store goes through what was written behind
// the mark: this takes time that grows with what the others wrote meanwhile,
// and not with what is stored. What is older than the oldest mark is dropped.
//
// Memory is bounded in both places, at a price that is known. A history that
// would grow beyond its limit forgets its oldest keys, and the transactions
// that needed them cannot commit. A Keys that would grow beyond its limit makes
// ranges out of neighbouring keys, which may find a conflict where there is
// none, and never misses one.
//
// [Again] is how a function runs again whose transaction was refused.
package conflict
