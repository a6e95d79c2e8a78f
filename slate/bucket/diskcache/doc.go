// Package diskcache wraps a bucket that is far away so that the SSTs of a
// database are read from files on local disk once they were fetched:
//
//	far, path, err := bucket.Open(ctx, "s3://bucket/app")
//	near, err := diskcache.New(far, "/var/cache/app", diskcache.Options{})
//	db, err := slate.Open(ctx, path, near, slate.Options{})
//
// For typed tables, slatekv.OpenBucket takes it, and stele.OpenStore what that
// returns.
//
// Only SSTs are cached, objects named compacted/ULID.sst, and of those only
// what GetRange reads: they are the bulk of a database, they are all that is
// read twice, and an object of that name is never written again with other
// bytes, so that a part of it cannot become wrong. Everything else passes
// through as it is. Manifests, compactions files and the log are how processes
// see each other, and an answer that was true a moment ago is a wrong one
// there; conditional puts, heads and lists are questions about what is in the
// bucket now. An SST that was deleted elsewhere may still be read here, which
// is what a view that still names it wants.
//
// Objects are cached in parts of a fixed size, 4 MiB by default. A read of a
// few KiB fetches the whole part around it: the first read takes longer by the
// time that the part needs on the wire, and the hundreds of blocks beside it
// then cost nothing, neither time nor a request. No read sends more than one
// request for each run of adjacent parts that are missing, so one that finds
// nothing in the cache sends a single request, as it does without it. A part
// that several want at once is fetched once.
//
// A part is one file, named by a hash of the bucket's name and the key,
// never by the key itself. It is written under another name and renamed, and it holds a
// checksum for every 4 KiB. A file that a crash cut short, or that rots on the
// disk, is noticed when it is read, dropped, and fetched again. Nothing is
// fsynced: what a crash loses is fetched again too. What the bucket answered is
// taken as it is, and is what the checksums are of. No file stays open between
// reads.
//
// The files are found again by the next process. A directory belongs to one
// process at a time, by a lock that the system releases with the process; New
// refuses a directory that is taken. When the cache is full, the parts that
// were not used for longest make room; of parts that an earlier process left,
// those that were written first.
//
// A disk that is full or cannot be written any more makes the cache pass reads
// through, for as long as that lasts. It is counted, and told to the logger
// once, and no read fails of it.
//
// The lock is flock(2): the package works on Linux, macOS and the BSDs, and New
// refuses elsewhere.
package diskcache
