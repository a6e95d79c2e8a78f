// Package bucket is what the engine needs of an object store: put if absent,
// put, ranged get, head, ordered list and delete, with errors sorted by what
// the caller does next.
package bucket
