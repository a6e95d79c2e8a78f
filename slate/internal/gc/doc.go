// Package gc deletes what a database no longer needs, by SlateDB's rules and
// some stricter ones.
//
// Active are the latest manifest and those that its checkpoints name; expired
// checkpoints are removed first. Mark, a pure function, decides object by
// object:
//
//   - a manifest goes if it is older than the latest and not active;
//   - a WAL object goes if it holds rows, lies below the latest replay point,
//     and is neither the replay point of a checkpoint's manifest nor among what
//     that replays, up to the object that was last when it was written. One
//     without rows is the fence that keeps an older writer out: it stays for
//     ever;
//   - an SST goes if no active manifest names it and it cannot be on its way
//     into one. Its id's time must lie before that of the oldest compaction in
//     the compactions file, whose successors may still be writing, and either
//     before that of the newest L0, or the sequence number of its first row shows
//     that L0 contains its rows: an upload that waits for its manifest holds
//     later ones. So what a crashed flush or compaction left goes as well;
//   - a compactions file goes if it is not the latest;
//   - and all of them must have reached the minimum age.
//
// Names that are no object of a database are left alone.
//
// # Order of reading
//
// The compactions file is read first, the listings follow, the manifest comes
// last. An object that is listed and not named is then garbage, or in flight
// and behind the cut-offs; with the manifest first, it could as well have been
// published since.
package gc
