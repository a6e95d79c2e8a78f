package slate_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// Small transactions on rows that lie in the memtable, committed without
// waiting: what a transaction costs by itself, beside a batch that writes the
// same.
func BenchmarkTx(b *testing.B) {
	ctx := context.Background()
	const rows = 10_000
	key := func(i int) []byte { return fmt.Appendf(nil, "user%012d", i*7919%rows) }
	value := make([]byte, 100)
	volatile := slate.WriteOptions{Volatile: true}
	run := func(name string, fn func(db *slate.DB, i int) error) {
		b.Run(name, func(b *testing.B) {
			db, err := slate.Open(ctx, "db", bucket.NewInMemBucket(), slate.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			for i := range rows {
				if _, err := db.Write(ctx, writing(string(key(i))), volatile); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				if err := fn(db, i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	tx := func(level slate.Isolation, fn func(tx *slate.Tx, i int) error) func(*slate.DB, int) error {
		return func(db *slate.DB, i int) error {
			tx, err := db.Begin(slate.TxOptions{Isolation: level, Write: volatile})
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(tx, i); err != nil {
				return err
			}
			_, err = tx.Commit(ctx)
			return err
		}
	}
	readWrite := func(tx *slate.Tx, i int) error {
		if _, err := tx.Get(ctx, key(i)); err != nil {
			return err
		}
		return tx.Put(key(i), value)
	}
	run("none/get,put", func(db *slate.DB, i int) error {
		if _, err := db.Get(ctx, key(i)); err != nil {
			return err
		}
		var batch slate.Batch
		batch.Put(key(i), value)
		_, err := db.Write(ctx, &batch, volatile)
		return err
	})
	run("serializable/get,put", tx(slate.Serializable, readWrite))
	run("snapshot/get,put", tx(slate.SnapshotIsolation, readWrite))
	run("serializable/get,put,get", tx(slate.Serializable, func(tx *slate.Tx, i int) error {
		if err := readWrite(tx, i); err != nil {
			return err
		}
		_, err := tx.Get(ctx, key(i))
		return err
	}))
	run("serializable/get", tx(slate.Serializable, func(tx *slate.Tx, i int) error {
		_, err := tx.Get(ctx, key(i))
		return err
	}))
	run("beside an open one/put", func() func(*slate.DB, int) error {
		var open *slate.Tx
		return func(db *slate.DB, i int) error {
			if open == nil {
				var err error
				if open, err = db.Begin(slate.TxOptions{}); err != nil {
					return err
				}
			}
			var batch slate.Batch
			batch.Put(key(i), value)
			_, err := db.Write(ctx, &batch, volatile)
			return err
		}
	}())
	run("none/put", func(db *slate.DB, i int) error {
		var batch slate.Batch
		batch.Put(key(i), value)
		_, err := db.Write(ctx, &batch, volatile)
		return err
	})
}
