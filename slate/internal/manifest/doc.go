// Package manifest reads and publishes a database's versioned objects: the
// manifest and the compactions file. Version N+1 is written by create-if-absent,
// so of two publishers one wins and the other starts again from what won
// (SlateDB's slatedb-txn-obj).
//
// A publisher that slept so long that garbage collection may have removed the
// version it is about to write would win a race that ended long ago. So a
// version counts as published only if its base was confirmed to be the latest
// within Fresh before the put ended, or a listing afterwards shows nothing
// newer.
package manifest
