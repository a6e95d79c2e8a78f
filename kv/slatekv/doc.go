// Package slatekv is the kv.Store on the engine: package slate's database in a
// bucket, as what records are kept in.
//
//	store, err := slatekv.Open(ctx, "file:///var/lib/app", slate.Options{})
//
// Open is for the one writer, OpenReader for any number of readers beside it.
// Opening a second writer fences the first: its next commit fails with
// kv.ErrFenced and changes nothing.
//
// Transactions are the engine's: none waits for another, and a commit that comes
// too late is refused with a *kv.ConflictError, which names the key. Commits
// become visible one after another and then wait for durability, so that those
// that come together share one WAL object. A transaction's writes are one batch
// of the engine: all of them, those that later ones replace included, count
// against slate.Options.MaxBatchBytes, and a write beyond that is kv.ErrInvalid.
//
// Filters hold the prefixes of records' keys (Prefixes), so that a look-up in an
// index reads only the SSTs that have entries with its value.
//
// Errors match the sentinels of package kv and those of package slate; an error
// of damaged objects is found as a *kv.CorruptError too, with the object's key
// and the offset.
package slatekv
