package slate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// The first program of slatedb-go's README, on this engine.
func Example() {
	b := bucket.NewInMemBucket()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db, err := slate.Open(ctx, "/tmp/testDB", b, slate.Options{})
	if err != nil {
		slog.Error("Unable to open", "error", err)
		return
	}

	key := []byte("key1")
	value := []byte("value1")

	if err := db.Put(ctx, key, value); err != nil {
		slog.Error("Unable to put", "error", err)
	}
	fmt.Println("Put:", string(key), string(value))

	data, err := db.Get(ctx, key)
	if err != nil {
		slog.Error("Unable to get", "error", err)
	}
	fmt.Println("Get:", string(key), string(data))

	if err := db.Delete(ctx, key); err != nil {
		slog.Error("Unable to delete", "error", err)
	}
	_, err = db.Get(ctx, key)
	if err != nil && err.Error() == "key not found" {
		fmt.Println("Delete:", string(key))
	} else {
		slog.Error("Unable to delete", "error", err)
	}

	if err := db.Close(); err != nil {
		slog.Error("Error closing db", "error", err)
	}

	// Output:
	// Put: key1 value1
	// Get: key1 value1
	// Delete: key1
}

func ExampleDB_Scan() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "scan", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	var b slate.Batch
	for _, k := range []string{"fig", "apple", "apricot", "banana"} {
		b.Put([]byte(k), []byte{})
	}
	if _, err := db.Write(ctx, &b, slate.WriteOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	r := slate.Prefix([]byte("ap"))
	r.Reverse = true
	for kv, err := range db.Scan(ctx, r) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(kv.Key))
	}
	// Output:
	// apricot
	// apple
}

func ExampleDB_Snapshot() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "snapshot", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	_ = db.Put(ctx, []byte("k"), []byte("before"))
	s, err := db.Snapshot()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	_ = db.Put(ctx, []byte("k"), []byte("after"))

	old, _ := s.Get(ctx, []byte("k"))
	now, _ := db.Get(ctx, []byte("k"))
	fmt.Println(string(old), string(now))
	// Output: before after
}

func ExampleOpenReader() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	_, err := slate.OpenReader(ctx, "shop", b, slate.ReaderOptions{})
	fmt.Println(errors.Is(err, slate.ErrNoDatabase))

	db, err := slate.Open(ctx, "shop", b, slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("k"), []byte("v"))

	r, err := slate.OpenReader(ctx, "shop", b, slate.ReaderOptions{}) // beside the writer
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Close() }()
	v, _ := r.Get(ctx, []byte("k"))
	fmt.Println(string(v))
	// Output:
	// true
	// v
}

func ExampleDB_Merge() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "guests", bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, name := range []string{"Ada,", "Grace,", "Barbara"} {
		if err := db.Merge(ctx, []byte("visitors"), []byte(name)); err != nil { // reads nothing
			log.Fatal(err)
		}
	}
	visitors, err := db.Get(ctx, []byte("visitors"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", visitors)
	// Output: Ada,Grace,Barbara
}

func ExampleDB_Update() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "bank", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("alice"), []byte{100})
	_ = db.Put(ctx, []byte("bob"), []byte{20})

	// Both accounts change together, or neither. Should another transaction
	// change one of them meanwhile, this one runs again.
	err = db.Update(ctx, slate.TxOptions{}, func(tx *slate.Tx) error {
		from, err := tx.Get(ctx, []byte("alice"))
		if err != nil {
			return err
		}
		to, err := tx.Get(ctx, []byte("bob"))
		if err != nil {
			return err
		}
		if err := tx.Put([]byte("alice"), []byte{from[0] - 30}); err != nil {
			return err
		}
		return tx.Put([]byte("bob"), []byte{to[0] + 30})
	})
	if err != nil {
		log.Fatal(err)
	}
	for kv := range db.Scan(ctx, slate.Range{}) {
		fmt.Println(string(kv.Key), kv.Value[0])
	}
	// Output:
	// alice 70
	// bob 50
}

func ExampleDB_Begin() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "seats", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	book := func(name string) *slate.Tx {
		tx, err := db.Begin(slate.TxOptions{})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := tx.Get(ctx, []byte("seat 12")); errors.Is(err, slate.ErrNotFound) { // still free
			_ = tx.Put([]byte("seat 12"), []byte(name))
		}
		return tx
	}
	ada, grace := book("Ada"), book("Grace")
	_, err = ada.Commit(ctx)
	fmt.Println("Ada:", err)
	_, err = grace.Commit(ctx)
	fmt.Println("Grace:", err)
	fmt.Println(errors.Is(err, slate.ErrConflict))
	// Output:
	// Ada: <nil>
	// Grace: conflict: key "seat 12" was written at seq 1, after the transaction began at seq 0: run it again
	// true
}

func ExampleDB_DeleteRange() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "mail", bucket.NewInMemBucket(), slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, key := range []string{"inbox/1", "spam/1", "spam/2", "spam/3", "trash/1"} {
		if err := db.Put(ctx, []byte(key), nil); err != nil {
			log.Fatal(err)
		}
	}
	done, err := db.DeleteRange(ctx, slate.Prefix([]byte("spam/")), slate.DeleteRangeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Keys, "keys in", done.Batches, "batch")
	for kv := range db.Scan(ctx, slate.Range{}) {
		fmt.Println(string(kv.Key))
	}
	// Output:
	// 3 keys in 1 batch
	// inbox/1
	// trash/1
}

func ExampleExpiry() {
	ctx := context.Background()
	db, err := slate.Open(ctx, "sessions", bucket.NewInMemBucket(), slate.Options{DefaultTTL: time.Hour, HideExpired: true})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	var b slate.Batch
	b.Put([]byte("session"), []byte("for an hour"))
	b.PutExpiring([]byte("code"), []byte("for a minute"), slate.ExpireAfter(time.Minute))
	b.PutExpiring([]byte("name"), []byte("for ever"), slate.ExpireNever())
	b.PutExpiring([]byte("past"), []byte("gone already"), slate.ExpireAt(time.Unix(0, 0)))
	h, err := db.Write(ctx, &b, slate.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for row := range db.Scan(ctx, slate.Range{}) {
		life := "ever"
		if end := row.Expires(); !end.IsZero() {
			life = end.Sub(h.Created).String()
		}
		fmt.Println(string(row.Key), life)
	}
	// Output:
	// code 1m0s
	// name ever
	// session 1h0m0s
}
