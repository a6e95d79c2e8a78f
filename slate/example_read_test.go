package slate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
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
