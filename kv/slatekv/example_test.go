package slatekv_test

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
)

func Example() {
	ctx := context.Background()
	store, err := slatekv.Open(ctx, "mem://slatekv-example/app", slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	tx, err := store.Begin(ctx, kv.TxOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Rollback()
	if err := tx.Put([]byte("city"), []byte("Oslo")); err != nil {
		fmt.Println(err)
		return
	}
	if err := tx.Commit(ctx); err != nil {
		fmt.Println(err)
		return
	}

	// Readers work beside the writer.
	reader, err := slatekv.OpenReader(ctx, "mem://slatekv-example/app", slate.ReaderOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	city, err := reader.Get(ctx, []byte("city"))
	fmt.Println(string(city), err)
	// Output: Oslo <nil>
}
