// Package slate is an LSM tree on object storage in pure Go. It reads and
// writes the files of SlateDB (https://slatedb.io), in both directions: either
// engine opens what the other wrote, and each fences the other.
//
//	b := bucket.NewInMemBucket()
//	db, err := slate.Open(ctx, "/tmp/testDB", b, slate.Options{})
//	err = db.Put(ctx, []byte("key1"), []byte("value1"))
//	value, err := db.Get(ctx, []byte("key1"))
//	err = db.Close()
//
// # What is promised
//
// A write is one Batch: all of it takes effect or nothing. A write that
// returned without error, and was not volatile, survives the loss of the
// process and of the machine, if the bucket does. Reads see every write that
// has returned; a Scan or Snapshot sees one state. One writer at a time: a
// second Open fences the first, whose next write fails with ErrFenced and
// changes nothing. Readers (OpenReader) write nothing and fence nobody.
//
// All stored bytes but manifests, compactions files and the last ten bytes of
// SSTs carry checksums, which are verified on every read from the bucket;
// damage is an error that names object and offset.
//
// # What a write costs
//
// Rows go to the write-ahead log, one object for all that arrive while the put
// before is under way, and to the memtable, which becomes an L0 SST when it is
// large enough. A writer alone with nothing to do sends no request, once its
// garbage is gone.
//
// When four L0 SSTs stand, they become a sorted run, and runs of similar size
// become one, so that a row is rewritten about once for every factor of four by
// which the database outgrows L0 (SizeTiered, or a Scheduler of the caller's).
// Up to four compactions run at a time, each over several ranges of keys;
// CompactionOptions bound memory and bandwidth. What a compaction has done is
// recorded: after a crash the next compactor goes on from there. RunCompactor
// compacts in a process of its own. SubmitCompaction asks the compactor for more.
// What is no longer needed is deleted once it
// is old enough (Options.GCMinAge), by the writer or by CollectGarbage in any
// process.
//
// # What a read costs
//
// A get of what the cache does not hold costs two requests in the SST that has the
// row, filter and index together and then the block, and one in each SST above
// whose filter is not known yet; once filters and indexes are cached, one. Those of the SSTs
// that a writer makes are in its cache from the start (Options.CacheNew), and DB.Warm brings
// those of a range, or its blocks, before anybody asks. Options.CacheBytes
// bounds blocks, indexes and filters together; the latter stay first, and a scan
// cannot flush it. What is larger than the cache is read and not kept. Whoever wants
// the same part at the same time shares the request, and Options.MaxReads bounds those under way.
//
// A scan fetches the first blocks of its SSTs side by side, and then reads ahead
// (ReadOptions). Within a prefix that Options.Prefixes knows it asks the filters
// first, and reads only the SSTs that have such keys. ScanRecent reads source
// after source, from the newest to the oldest, for who stops early.
//
// # Encryption at rest
//
// Options.BlockTransformer is user code that every block passes on its way to the
// bucket and back. It can encrypt all but the first and last key of each SST.
//
// # Merges and expiry
//
// With Options.MergeOperator, Merge writes an operand without reading the key,
// and reads fold all operands onto the value that they were written on. Flushes
// and compactions fold those that no snapshot parts. Without the operator such
// rows are refused by key when they are read, and kept otherwise.
//
// A put or merge may carry an Expiry; without one Options.DefaultTTL counts. What
// has expired is dropped by flushes and compactions, and hidden at once if
// Options.HideExpired says so.
//
// # Deleting ranges
//
// DB.DeleteRange writes a tombstone for every key of a range, in one batch if
// they fit, which is then a single moment, else in several one after the other.
//
// # Transactions
//
// DB.Begin starts a transaction, which reads one state with its own writes on
// top, and takes no lock. Its commit compares what it has read and what it writes
// with what others have written since: on a conflict it is refused with a
// *ConflictError that names the key. DB.Update runs a function in a transaction,
// again after a conflict. Transactions are serializable unless TxOptions ask for
// snapshot isolation. While none is open, writes cost what they cost without.
package slate
