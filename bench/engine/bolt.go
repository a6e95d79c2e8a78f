package main

import (
	"bytes"
	"path/filepath"

	"go.etcd.io/bbolt"
)

type boltStore struct {
	db     *bbolt.DB
	synced bool
}

var boltBucket = []byte("rows")

func openBolt(dir string, synced bool) (store, error) {
	opts := *bbolt.DefaultOptions
	opts.NoSync = !synced
	opts.FreelistType = bbolt.FreelistMapType
	opts.InitialMmapSize = 1 << 30
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o666, &opts)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltBucket)
		return err
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &boltStore{db, synced}, nil
}

func (s *boltStore) Load(batch []pair) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(boltBucket)
		for _, p := range batch {
			if err := b.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) Flush() error { return s.db.Sync() }

func (s *boltStore) Put(key, value []byte) error {
	put := func(tx *bbolt.Tx) error { return tx.Bucket(boltBucket).Put(key, value) }
	if s.synced {
		return s.db.Batch(put)
	}
	return s.db.Update(put)
}

func (s *boltStore) Get(key, dst []byte) (out []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket(boltBucket).Get(key)
		if value == nil {
			return errMissing
		}
		out = append(dst, value...)
		return nil
	})
	return out, err
}

func (s *boltStore) Scan(lower, upper []byte, fn func(key, value []byte) bool) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(boltBucket).Cursor()
		for k, v := c.Seek(lower); k != nil && (upper == nil || bytes.Compare(k, upper) < 0) && fn(k, v); {
			k, v = c.Next()
		}
		return nil
	})
}

func (s *boltStore) Reverse(fn func(key, value []byte) bool) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(boltBucket).Cursor()
		for k, v := c.Last(); k != nil && fn(k, v); {
			k, v = c.Prev()
		}
		return nil
	})
}

func (s *boltStore) Close() error { return s.db.Close() }
