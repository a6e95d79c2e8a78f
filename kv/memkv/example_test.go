package memkv_test

import (
	"context"
	"errors"
	"fmt"
	"log"

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

// Of two transactions that both read a key and write it, the one that commits
// second is refused, and told over which key.
func ExampleStore_Begin() {
	ctx := context.Background()
	store := memkv.New()
	defer store.Close()

	book := func(name string) kv.Tx {
		tx, err := store.Begin(ctx, kv.TxOptions{})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := tx.Get(ctx, []byte("seat 12")); errors.Is(err, kv.ErrNotFound) { // still free
			if err := tx.Put([]byte("seat 12"), []byte(name)); err != nil {
				log.Fatal(err)
			}
		}
		return tx
	}
	ada, grace := book("Ada"), book("Grace")
	fmt.Println("Ada:", ada.Commit(ctx))
	err := grace.Commit(ctx)
	fmt.Println("Grace:", err)
	if conflict, ok := errors.AsType[*kv.ConflictError](err); ok {
		fmt.Printf("over %s\n", conflict.Key)
	}
	// Output:
	// Ada: <nil>
	// Grace: commit: conflict: key "seat 12" was written since the transaction began
	// over seat 12
}
