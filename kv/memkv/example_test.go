package memkv_test

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
)

func Example() {
	ctx := context.Background()
	store := memkv.New()
	defer store.Close()

	tx, err := store.Begin(ctx, kv.TxOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Rollback()
	for _, key := range []string{"b", "c", "a"} {
		if err := tx.Put([]byte(key), []byte("value of "+key)); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := tx.Commit(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for p, err := range store.Scan(ctx, kv.Range{Lower: []byte("b"), Reverse: true}) {
		fmt.Printf("%s: %s %v\n", p.Key, p.Value, err)
	}
	// Output:
	// c: value of c <nil>
	// b: value of b <nil>
}
