// Command engine runs this project's engine beside Pebble, Badger and bbolt on
// the same workloads and prints what each operation costs.
//
//	make bench-engine                                       all of it
//	make bench-engine ARGS='-engines stele,pebble -rounds 1'
//
// Each round runs each engine once, in a process of its own, one at a time, on
// a local folder that is removed; the figures are medians of the rounds. Rows
// are those of bench/internal/rows, and every value that comes back is checked.
//
// Processor time is that of the whole process, background work included, as
// getrusage tells it: on a machine that does other work too it is the figure to
// trust. It includes making keys, some 0.03 µs. Requests are what our engine
// asks of its bucket.
//
// # Workloads
//
//   - load: batches of 1,000 rows, not synced, then flushed: everything is on disk,
//     and out of memtables where the engine has a verb for it. Processor time,
//     allocations and requests are of both, the rate is until the last batch
//     returned. In order into a new store, and in random order into another one.
//   - put: single random rows into a new store, not synced, and synced with 64
//     goroutines.
//   - open: the store loaded in random order.
//   - scan: all rows; the first time after opening, again, and backwards; and the
//     100 rows of a random prefix.
//   - get: random rows that are there or are missing, after the scans, and beside a
//     writer that puts 10,000 rows a second, not synced.
//
// # Durability
//
// "Not synced" is Volatile here, NoSync in Pebble and bbolt, SyncWrites off in
// Badger. "Synced" is a put that returns when it is fsynced: the default here
// (file and folder), Sync in Pebble, Batch in bbolt, SyncWrites in Badger.
//
// This is a module of its own so that the library's stays light.
package main
