package sst

import (
	"context"
	"errors"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

var errPending = errors.New("not written yet")

// Cache keeps decoded blocks, indexes and filters under one byte budget. A nil
// Cache keeps nothing.
type Cache struct{}

// NewCache returns a cache of so many bytes; nil for zero or less.
func NewCache(bytes int64) *Cache { return nil }

// Store opens SSTs of one bucket.
type Store struct{}

// StoreOptions are the settings of a Store.
type StoreOptions struct{}

// NewStore returns a Store over b; cache may be nil.
func NewStore(b bucket.Bucket, cache *Cache, opts StoreOptions) *Store { return &Store{} }

// Open returns the table of an SST without touching the bucket.
func (s *Store) Open(object string, sst format.SST) *Table { return &Table{} }

// ReadInfo reads the footer of an SST object.
func ReadInfo(ctx context.Context, b bucket.Bucket, object string) (format.SSTInfo, uint16, error) {
	return format.SSTInfo{}, 0, errPending
}

// Table reads one SST.
type Table struct{}

// Get finds the newest version of key with a seq of at most maxSeq.
func (t *Table) Get(ctx context.Context, key []byte, maxSeq uint64, dst *format.Row) (bool, error) {
	return false, errPending
}

// IterOptions are the settings of an Iter.
type IterOptions struct {
	Lower, Upper []byte // [Lower, Upper); empty Lower: from the start; nil Upper: to the end
	Reverse      bool   // from the last row to the first
	NoFill       bool   // do not put what is read into the cache
	ReadAhead    int    // bytes to fetch in one request; 0: grows with the scan
}

// Iter returns an iterator.
func (t *Table) Iter(opts IterOptions) *Iter { return &Iter{} }

// Iter walks over the rows of one SST.
type Iter struct{}

// Next returns the next row, nil at the end.
func (it *Iter) Next(ctx context.Context) (*format.Row, error) { return nil, errPending }

// Close releases the iterator.
func (it *Iter) Close() {}
