package diskcache_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/diskcache"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// A program that starts again reads the database from its own disk.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "diskcache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store := bucket.NewInMemBucket() // stands for one that is far away
	run := func(work func(db *slate.DB)) {
		far := faulty.New(shared{store}, faulty.Options{}) // counts requests
		near, err := diskcache.New(far, dir, diskcache.Options{MaxBytes: 1 << 30})
		if err != nil {
			log.Fatal(err)
		}
		defer near.Close()
		db, err := slate.Open(ctx, "app", near, slate.Options{})
		if err != nil {
			log.Fatal(err)
		}
		defer db.Close()
		work(db)
		s := near.Stats()
		fmt.Println("parts cached:", s.Parts, "requests for parts of SSTs:", far.Stats()[faulty.GetRange].Requests)
	}
	run(func(db *slate.DB) {
		_ = db.Put(ctx, []byte("city"), []byte("Oslo"))
		_ = db.FlushMemtable(ctx)
	})
	run(func(db *slate.DB) {
		v, err := db.Get(ctx, []byte("city"))
		fmt.Printf("%s %v\n", v, err)
	})
	// Output:
	// parts cached: 1 requests for parts of SSTs: 0
	// Oslo <nil>
	// parts cached: 1 requests for parts of SSTs: 0
}

func ExampleBucket_Preload() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "diskcache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, path, err := bucket.Open(ctx, "mem://diskcache/app") // or s3://bucket/app
	if err != nil {
		log.Fatal(err)
	}
	db, err := slate.Open(ctx, path, b, slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	_ = db.Put(ctx, []byte("city"), []byte("Oslo"))
	_ = db.FlushMemtable(ctx)
	_ = db.Close()

	near, err := diskcache.New(b, dir, diskcache.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer near.Close()
	fmt.Println(near.Preload(ctx, path), near.Stats().Parts)
	// Output: <nil> 1
}
