package slate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func run(ctx context.Context) error {
	b, path, err := bucket.Open(ctx, "mem://readme/engine") // or file://./engine
	if err != nil {
		return err
	}
	defer b.Close()
	db, err := slate.Open(ctx, path, b, slate.Options{Compression: slate.Zstd})
	if err != nil {
		return err
	}
	var batch slate.Batch // all of it or nothing
	batch.Put([]byte("fruit/apple"), []byte("red"))
	batch.Put([]byte("fruit/banana"), []byte("yellow"))
	if _, err := db.Write(ctx, &batch, slate.WriteOptions{}); err != nil {
		return err
	}
	for kv, err := range db.Scan(ctx, slate.Prefix([]byte("fruit/"))) {
		if err != nil {
			return err
		}
		fmt.Printf("%s %s\n", kv.Key, kv.Value)
	}
	return db.Close()
}

func Example_readme() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// fruit/apple red
	// fruit/banana yellow
}
