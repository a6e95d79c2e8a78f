// Package sst writes SST objects and reads them from a bucket through a cache.
//
//   - Writer builds an object in memory, EncodeFence one without rows.
//   - ReadWAL and Parse read an object that is in memory as a whole.
//   - Store opens a Table on an object in a bucket, by a manifest's record of it
//     and so without reading its footer. Table.Get reads one key: cold at most
//     two requests (filter and index side by side, then the block), warm none
//     and no allocation. Table.Iter walks over a range in either order, fetches
//     blocks that lie side by side together, and in a long scan those that come
//     next while it reads.
//   - Cache keeps decoded blocks, indexes and filters under one budget of bytes.
//     Callers that miss the same part together make one request together, and a
//     Store bounds how many requests are under way.
//   - Filters hold the prefixes of keys beside whole keys, if there is a Prefixer;
//     a scan within one prefix then does not read SSTs that have no such key.
//
// A Transformer, if there is one, changes every part but the info, after the
// codec; who writes and who reads must have the same.
//
// Every part is checked against its checksum whenever it is read from the
// bucket. What contradicts the format is a *format.ObjectError, which names the
// object and the offset and matches format.ErrCorrupt; errors of the bucket,
// such as an object that is gone, pass through wrapped. The bytes of the objects
// themselves are package format's matter.
package sst
