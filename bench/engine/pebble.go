package main

import (
	"errors"
	"log"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

type pebbleStore struct {
	db    *pebble.DB
	cache *pebble.Cache
	write *pebble.WriteOptions
}

// quiet is Pebble's logger without its notes.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (quiet) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

func openPebble(dir string, synced bool) (store, error) {
	s := &pebbleStore{cache: pebble.NewCache(cacheBytes), write: pebble.NoSync}
	if synced {
		s.write = pebble.Sync
	}
	opts := &pebble.Options{
		Cache: s.cache, MemTableSize: 64 << 20,
		FormatMajorVersion:         pebble.FormatNewest,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     quiet{},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	var err error
	if s.db, err = pebble.Open(dir, opts); err != nil {
		s.cache.Unref()
		return nil, err
	}
	return s, nil
}

func (s *pebbleStore) Load(batch []pair) error {
	b := s.db.NewBatch()
	for _, p := range batch {
		if err := b.Set(p.key, p.value, nil); err != nil {
			return err
		}
	}
	return errors.Join(b.Commit(s.write), b.Close())
}

func (s *pebbleStore) Flush() error { return s.db.Flush() }

func (s *pebbleStore) Put(key, value []byte) error { return s.db.Set(key, value, s.write) }

func (s *pebbleStore) Get(key, dst []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if err == pebble.ErrNotFound { //nolint:errorlint // the cheapest way, which Pebble promises
		return nil, errMissing
	}
	if err != nil {
		return nil, err
	}
	return append(dst, value...), closer.Close()
}

func (s *pebbleStore) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && fn(it.Key(), it.Value()); {
		ok = it.Next()
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *pebbleStore) Reverse(fn func(key, value []byte) bool) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.Last(); ok && fn(it.Key(), it.Value()); {
		ok = it.Prev()
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *pebbleStore) Close() error {
	err := s.db.Close()
	s.cache.Unref()
	return err
}
