// Package kv is the one seam below records: an ordered, transactional store of
// bytes. Records see nothing of an engine but this package; an engine sees
// nothing of records.
//
// A [Store] is a sorted map from keys to values. It is read directly, through a
// [Snapshot] that stays as it is, or inside a transaction, all with the same
// two methods of [Reader]; it is changed by a [Tx] only:
//
//	tx, err := store.Begin(ctx, kv.TxOptions{})
//	if err != nil {
//		return err
//	}
//	defer tx.Rollback()
//	... tx.Get, tx.Scan, tx.Put, tx.Delete ...
//	return tx.Commit(ctx)
//
// What every store promises:
//
//   - The writes of a transaction become visible together or not at all, to
//     every reader, and survive a crash together or not at all.
//   - Transactions are serializable, unless they ask for less ([Isolation]): the
//     outcome is that of running them one after another. No transaction waits
//     for another: the Commit that comes too late is refused with a
//     [ConflictError], and the whole transaction should run again.
//   - A commit that returned is seen by every read, snapshot and transaction
//     that starts afterwards, and is durable unless it was asked to be volatile.
//   - Readers never block writers, and writers never block readers.
//
// Keys have 1 to [MaxKeySize] bytes; values any number that the store's limits
// allow, none included.
//
// The errors of this package are shared by every layer above and sorted by what
// the caller does next; stores map their own to these, and errors.Is finds them.
//
// Package memkv is a store in memory, slatekv one on the engine, and kvtest the
// suite that both pass and that a store of your own should.
package kv
