package main

import (
	"context"
	"errors"
	"sync"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// steleStore is this project's engine on a local folder.
type steleStore struct {
	db      *slate.DB
	bucket  *faulty.Bucket // counts requests
	write   slate.WriteOptions
	batches sync.Pool // of *slate.Batch, as a program that writes much keeps them
}

func openStele(dir string, synced bool) (store, error) {
	return openSlate(dir, synced, slate.Options{CacheBytes: cacheBytes})
}

func openSteleSnappy(dir string, synced bool) (store, error) {
	return openSlate(dir, synced, slate.Options{CacheBytes: cacheBytes, Compression: slate.Snappy})
}

func openSlate(dir string, synced bool, opts slate.Options) (store, error) {
	b, err := bucket.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	counting := faulty.New(b, faulty.Options{})
	db, err := slate.Open(context.Background(), "db", counting, opts)
	if err != nil {
		return nil, errors.Join(err, counting.Close())
	}
	s := &steleStore{db: db, bucket: counting, write: slate.WriteOptions{Volatile: !synced}}
	s.batches.New = func() any { return new(slate.Batch) }
	return s, nil
}

func (s *steleStore) Load(batch []pair) error {
	b := s.batches.Get().(*slate.Batch)
	for _, p := range batch {
		b.Put(p.key, p.value)
	}
	_, err := s.db.Write(context.Background(), b, s.write)
	b.Reset()
	s.batches.Put(b)
	return err
}

func (s *steleStore) Flush() error { return s.db.FlushMemtable(context.Background()) }

func (s *steleStore) Put(key, value []byte) error { return s.Load([]pair{{key, value}}) }

func (s *steleStore) Get(key, dst []byte) ([]byte, error) {
	value, _, err := s.db.GetRow(context.Background(), key, dst, slate.ReadOptions{})
	if errors.Is(err, slate.ErrNotFound) {
		return nil, errMissing
	}
	return value, err
}

func (s *steleStore) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	return s.scan(slate.Range{Lower: lower, Upper: upper}, fn)
}

func (s *steleStore) Reverse(fn func(key, value []byte) bool) error {
	return s.scan(slate.Range{Reverse: true}, fn)
}

func (s *steleStore) scan(r slate.Range, fn func(key, value []byte) bool) error {
	for kv, err := range s.db.Scan(context.Background(), r) {
		if err != nil {
			return err
		}
		if !fn(kv.Key, kv.Value) {
			break
		}
	}
	return nil
}

func (s *steleStore) Requests() (writes, reads int64) {
	stats := s.bucket.Stats()
	writes = stats.Total(faulty.Writes...).Requests
	return writes, stats.Total().Requests - writes
}

func (s *steleStore) Close() error { return errors.Join(s.db.Close(), s.bucket.Close()) }
