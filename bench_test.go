package stele_test

import (
	"fmt"
	"testing"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv/memkv"
)

// The benchmarks run on a store in memory: they measure what types, records and
// indexes cost, not a bucket.

func benchDB(b *testing.B, rows int) *stele.DB {
	b.Helper()
	db, err := stele.OpenStore(b.Context(), memkv.New(), stele.Options{Tables: []stele.Model{Users}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	ctx := b.Context()
	err = db.Update(ctx, func(tx *stele.Tx) error {
		for i := range rows {
			if err := Users.Put(ctx, tx, benchUser(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func benchUser(i int) *User {
	return &User{ID: fmt.Sprintf("u%06d", i), City: fmt.Sprint("city", i%10), Age: int64(i % 100), Tags: []string{"a", "b"}}
}

func BenchmarkPut(b *testing.B) {
	db, ctx, i := benchDB(b, 0), b.Context(), 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if err := Users.Put(ctx, db, benchUser(i%1000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db, ctx := benchDB(b, 1000), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Users.Get(ctx, db, "u000500"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRows reads 100 rows by an index; figures are per query.
func BenchmarkRows(b *testing.B) {
	db, ctx := benchDB(b, 1000), b.Context()
	q := Users.Where(UserCity.Eq("city3"))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range q.Rows(ctx, db) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100 {
			b.Fatal(n)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	db, ctx := benchDB(b, 1000), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range Users.All().Rows(ctx, db) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}
