package record_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// newUsers returns a table of n users, n/100 of them in each city.
func newUsers(b *testing.B, n int) (*record.DB, *record.Table, [][]byte) {
	b.Helper()
	db, tables := openTables(b, memkv.New(), userProto)
	users := tables[0]
	recs := make([][]byte, n)
	for i := range recs {
		recs[i] = user(b, users, `{"id": %d, "city": "city %02d", "email": "user%d@example.org", "tags": ["a%d", "b%d"], "age": %d}`,
			i, i%100, i, i%10, i%7, i%90)
	}
	return db, users, recs
}

// putAll writes the records in one transaction.
func putAll(b testing.TB, db *record.DB, users *record.Table, recs [][]byte) {
	b.Helper()
	update(b, db, func(tx *record.Tx) error {
		for _, rec := range recs {
			if err := users.Put(context.Background(), tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkPut is one row with four indexes (six entries), in batches: the time
// of a row must not depend on the size of its batch.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			db, users, recs := newUsers(b, 10000)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i+size > len(recs) {
					i = 0
				}
				putAll(b, db, users, recs[i:i+size])
				i += size
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/row")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	db, users, recs := newUsers(b, 10000)
	putAll(b, db, users, recs)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if _, err := users.Get(context.Background(), db.Store(), id(i%10000)); err != nil {
			b.Fatal(err)
		}
		i += 7919
	}
}

// BenchmarkQuery is 100 rows of 10,000, or all of them, by different paths.
func BenchmarkQuery(b *testing.B) {
	db, users, recs := newUsers(b, 10000)
	putAll(b, db, users, recs)
	city := record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("city 42")}
	for name, bench := range map[string]struct {
		q    record.Query
		rows int
	}{
		"index":    {record.Query{Where: city}, 100},
		"residual": {record.Query{Where: city, Using: record.PrimaryKey}, 100},
		"top":      {record.Query{Where: city, OrderBy: []record.Order{{Field: "email"}}, Limit: 10, Using: "city"}, 10},
		"scan":     {record.Query{}, 10000},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range users.Query(context.Background(), db.Store(), bench.q) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != bench.rows {
					b.Fatalf("%d rows, want %d", n, bench.rows)
				}
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	_, users, _ := newUsers(b, 0)
	q := record.Query{Where: record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("x")}, OrderBy: []record.Order{{Field: "id"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := users.Explain(q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFilter(b *testing.B) {
	_, tables := newTables(b, packageProto)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.ParseFilter(tables[0].Schema(), `section = "net" AND installed_size > 1000 AND depends:"libc6"`); err != nil {
			b.Fatal(err)
		}
	}
}
