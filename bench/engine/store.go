package main

import (
	"errors"
	"fmt"
)

// errMissing is what Get returns for a key that is not there.
var errMissing = errors.New("not found")

// pair is a row to load.
type pair struct{ key, value []byte }

// store is what the workloads need of an engine. Get, Put and Scan may be
// called concurrently. Slices handed in may be reused once a call has returned;
// those handed to a scan's function are valid until it returns.
type store interface {
	// Load writes a batch that may not be on disk yet.
	Load(batch []pair) error
	// Flush returns when everything written is on disk.
	Flush() error
	// Put writes one row, on disk when it returns if the store was opened so.
	Put(key, value []byte) error
	// Get appends the value of key to dst.
	Get(key, dst []byte) ([]byte, error)
	// Scan calls fn for the keys in [lower, upper), nil meaning no bound, until it
	// returns false.
	Scan(lower, upper []byte, fn func(key, value []byte) bool) error
	// Reverse calls fn for all keys, from the last to the first.
	Reverse(fn func(key, value []byte) bool) error
	Close() error
}

// requester is a store that asks something of an object store.
type requester interface {
	// Requests counts those that write and those that read, since it was opened.
	Requests() (writes, reads int64)
}

// engine is a name with what it opens and how that is set.
type engine struct {
	name     string
	settings string
	open     func(dir string, synced bool) (store, error)
}

const cacheBytes = 512 << 20

var engines = []engine{
	{"stele", "512 MiB cache, otherwise default: 64 MiB memtable, 4 KiB blocks, 10-bit Bloom filters, no compression", openStele},
	{"stele-snappy", "the same with Snappy", openSteleSnappy},
	{"pebble", "512 MiB cache, 64 MiB memtable, 10-bit Bloom filters on all levels, newest format, 1 or 2 compactions at a time, otherwise default: Snappy, 4 KiB blocks", openPebble},
	{"badger", "512 MiB block cache, DetectConflicts off, one version, otherwise default: Snappy, 64 MiB memtables, values inline", openBadger},
	{"bbolt", "map freelist, 1 GiB initial mmap, otherwise default; no compression", openBolt},
}

// defaultEngines are those that run if none is named.
const defaultEngines = "stele,pebble,badger,bbolt"

func engineNamed(name string) (engine, error) {
	for _, e := range engines {
		if e.name == name {
			return e, nil
		}
	}
	return engine{}, fmt.Errorf("unknown engine %q", name)
}

func names() (all []string) {
	for _, e := range engines {
		all = append(all, e.name)
	}
	return all
}
