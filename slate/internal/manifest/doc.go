// Package manifest reads and publishes a database's versioned objects: the
// manifest and the compactions file. Version N+1 is written by create-if-absent,
// so of two publishers one wins and the other starts again from what won
// (SlateDB's slatedb-txn-obj).
//
// Where garbage collection has removed the version that a publisher is about to
// write, because others have long published later ones, the put succeeds and
// means nothing. A version counts as published only once a listing afterwards
// shows nothing newer, whatever the age at which garbage is collected.
package manifest
