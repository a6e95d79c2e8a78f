// Package bucket is what the engine needs of an object store: put if absent,
// put, ranged get, head, ordered list and delete, with errors sorted by what
// the caller does next.
//
// Open finds a bucket by its URL. A local folder (OpenDir) and memory
// (NewInMemBucket) are part of the package; importing a driver package, such
// as slate/bucket/s3, adds its scheme. All pass the suite in buckettest.
//
// Drivers send each request once. WithRetry is the one place where requests
// are repeated, and where a conditional put whose reply was lost is settled:
// by a random token that the driver keeps with the object, never by comparing
// bytes, since two writers may well write the same ones.
//
// Everything above stands on PutIfAbsent being atomic. Where a store only
// pretends, Probe finds out; a bucket that cannot do it is not emulated.
package bucket
