package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func Example() {
	ctx := context.Background()
	b := bucket.WithRetry(bucket.NewInMemBucket(), bucket.RetryOptions{})
	defer b.Close()

	fmt.Println(b.PutIfAbsent(ctx, "manifest/1", []byte("mine"), ""))
	err := b.PutIfAbsent(ctx, "manifest/1", []byte("theirs"), "")
	fmt.Println(errors.Is(err, bucket.ErrExists), err)
	body, _ := b.GetRange(ctx, "manifest/1", 1, 2)
	fmt.Printf("%s\n", body)
	for o, err := range b.List(ctx, "manifest/", "") {
		fmt.Println(o.Key, o.Size, err)
	}
	// Output:
	// <nil>
	// true put if absent manifest/1 in mem://: object already exists
	// in
	// manifest/1 4 <nil>
}

func ExampleOpen() {
	b, path, err := bucket.Open(context.Background(), "file:///srv/data/app?root=/srv")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(b.Capabilities().Name, path)

	_, _, err = bucket.Open(context.Background(), "s3://backups/app")
	fmt.Println(err)
	// Output:
	// file:///srv data/app
	// open s3://backups/app: not supported by this bucket: no driver for s3 URLs: add `import _ "github.com/stele-db/stele/slate/bucket/s3"`
}

// A reply gets lost, but the token tells that the object is this call's.
func ExampleWithRetry() {
	ctx := context.Background()
	f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	b := bucket.WithRetry(f, bucket.RetryOptions{FirstWait: time.Microsecond})

	f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Times: 1, Lose: true})
	fmt.Println(b.PutIfAbsent(ctx, "manifest/1", []byte("mine"), ""))
	fmt.Println(f.Stats())
	// Output:
	// <nil>
	// Head 1, PutIfAbsent 2
}

func ExampleProbe() {
	ctx := context.Background()
	fmt.Println(bucket.Probe(ctx, bucket.NewInMemBucket(), "app"))
	// Output: <nil>
}
