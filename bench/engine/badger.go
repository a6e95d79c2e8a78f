package main

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

type badgerStore struct{ db *badger.DB }

func openBadger(dir string, synced bool) (store, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(synced).WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithBlockCacheSize(cacheBytes).WithLogger(nil))
	if err != nil {
		return nil, err
	}
	return &badgerStore{db}, nil
}

// Load copies the rows, since a WriteBatch keeps what it is given.
func (s *badgerStore) Load(batch []pair) error {
	b := s.db.NewWriteBatch()
	defer b.Cancel()
	for _, p := range batch {
		if err := b.Set(bytes.Clone(p.key), bytes.Clone(p.value)); err != nil {
			return err
		}
	}
	return b.Flush()
}

func (s *badgerStore) Flush() error { return s.db.Sync() }

func (s *badgerStore) Put(key, value []byte) error {
	return s.db.Update(func(tx *badger.Txn) error { return tx.Set(key, value) })
}

func (s *badgerStore) Get(key, dst []byte) (out []byte, err error) {
	err = s.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err == nil {
			out, err = item.ValueCopy(dst)
		}
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, errMissing
	}
	return out, err
}

func (s *badgerStore) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	opts := badger.DefaultIteratorOptions
	opts.Prefix = commonPrefix(lower, upper)
	return s.scan(opts, lower, func(key, value []byte) bool {
		return (upper == nil || bytes.Compare(key, upper) < 0) && fn(key, value)
	})
}

func (s *badgerStore) Reverse(fn func(key, value []byte) bool) error {
	opts := badger.DefaultIteratorOptions
	opts.Reverse = true
	return s.scan(opts, nil, fn)
}

func (s *badgerStore) scan(opts badger.IteratorOptions, from []byte, fn func(key, value []byte) bool) error {
	return s.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(opts)
		defer it.Close()
		more := true
		for it.Seek(from); more && it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error {
				more = fn(item.Key(), value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// commonPrefix lets Badger leave out tables.
func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

func (s *badgerStore) Close() error { return s.db.Close() }
