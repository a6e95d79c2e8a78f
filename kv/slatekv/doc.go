// Package slatekv is the kv.Store on the engine: package slate's database in a
// bucket, as what records are kept in.
//
//	store, err := slatekv.Open(ctx, "file:///var/lib/app", slate.Options{})
//
// Open is for the one writer, OpenReader for any number of readers beside it.
// Opening a second writer fences the first: its next commit fails with
// kv.ErrFenced and changes nothing.
//
// Transactions that write run one at a time: Begin waits until the one before
// has ended. A commit gives the next its turn as soon as its writes are visible
// and then waits for durability, so commits that come together share one WAL
// object. A transaction's writes are one batch of the engine: they count against
// slate.Options.MaxBatchBytes, and a commit above it is kv.ErrInvalid.
//
// Errors match the sentinels of package kv and those of package slate; an error
// of damaged objects is found as a *kv.CorruptError too, with the object's key
// and the offset.
package slatekv
