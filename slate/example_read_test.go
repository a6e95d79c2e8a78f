package slate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// A cursor skips from group to group and reads one row of each.
func ExampleDB_Cursor() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "cities", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var b slate.Batch
	for _, k := range []string{"no/Bergen", "no/Oslo", "no/Tromsø", "se/Lund", "se/Malmö", "uk/Bath"} {
		b.Put([]byte(k), nil)
	}
	if _, err := db.Write(ctx, &b, slate.WriteOptions{}); err != nil {
		log.Fatal(err)
	}

	c, err := db.Cursor(slate.Range{}, slate.ReadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for c.Next(ctx) {
		fmt.Println(string(c.KV().Key))
		group := slate.Prefix(c.KV().Key[:3])
		if err := c.Seek(group.Upper); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// no/Bergen
	// se/Lund
	// uk/Bath
}

// Gets into one buffer allocate nothing while the rows lie in memory.
func ExampleDB_GetRow() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "sessions", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var b slate.Batch
	b.PutExpiring([]byte("s1"), []byte("Ada"), slate.ExpireAfter(time.Hour))
	if _, err := db.Write(ctx, &b, slate.WriteOptions{}); err != nil {
		log.Fatal(err)
	}

	var buf []byte
	for _, k := range []string{"s1", "s2"} {
		value, meta, err := db.GetRow(ctx, []byte(k), buf[:0], slate.ReadOptions{Durable: true, HideExpired: true})
		buf = value // also with an error
		switch {
		case errors.Is(err, slate.ErrNotFound):
			fmt.Println(k, "is not there")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(k, string(value), meta.Seq, meta.Expires().Sub(meta.Created()))
		}
	}
	// Output:
	// s1 Ada 1 1h0m0s
	// s2 is not there
}

// beforeSlash takes what comes before the first slash of a key, with it, as the
// key's prefix.
type beforeSlash struct{}

func (beforeSlash) Name() string             { return "example.com/before-slash" }
func (beforeSlash) Version() uint32          { return 1 }
func (beforeSlash) PrefixLen(key []byte) int { return bytes.IndexByte(key, '/') + 1 }

// Filters that hold prefixes let a scan pass over the SSTs that have none of its
// keys: it reads no more than the blocks with its rows. The filters and indexes
// themselves are in the cache since the SSTs were written.
func ExamplePrefixExtractor() {
	ctx := context.Background()
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{}) // it counts requests
	opts := slate.Options{Prefixes: beforeSlash{}, MinFilterKeys: 1, CompactL0: -1}
	db, err := slate.Open(ctx, "cities", b, opts)
	if err != nil {
		log.Fatal(err)
	}
	for _, keys := range [][]string{{"no/Oslo", "se/Lund"}, {"fr/Lyon", "uk/Bath"}, {"it/Rome", "se/Malmö"}} {
		for _, k := range keys {
			if err := db.Put(ctx, []byte(k), make([]byte, 100_000)); err != nil {
				log.Fatal(err)
			}
		}
		if err := db.FlushMemtable(ctx); err != nil { // each into an SST of its own
			log.Fatal(err)
		}
	}
	for _, country := range []string{"no/", "pl/", "se/"} {
		before, n := b.Stats(), 0
		for _, err := range db.Scan(ctx, slate.Prefix([]byte(country))) {
			if err != nil {
				log.Fatal(err)
			}
			n++
		}
		fmt.Println(country, n, "rows,", b.Stats().Since(before).Total(faulty.GetRange).Requests, "requests")
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// no/ 1 rows, 1 requests
	// pl/ 0 rows, 0 requests
	// se/ 2 rows, 2 requests
}
