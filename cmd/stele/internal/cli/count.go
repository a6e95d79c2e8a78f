package cli

import (
	"context"
	"sync/atomic"

	"github.com/stele-db/stele/slate/bucket"
)

// countingBucket counts what is written through it. It may be used
// concurrently.
type countingBucket struct {
	bucket.Bucket
	objects, bytes atomic.Int64
}

func (c *countingBucket) add(err error, body []byte) error {
	if err == nil {
		c.objects.Add(1)
		c.bytes.Add(int64(len(body)))
	}
	return err
}

func (c *countingBucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	return c.add(c.Bucket.PutIfAbsent(ctx, key, body, token), body)
}

func (c *countingBucket) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	return c.add(c.Bucket.PutIfMatch(ctx, key, body, tag), body)
}

func (c *countingBucket) Put(ctx context.Context, key string, body []byte) error {
	return c.add(c.Bucket.Put(ctx, key, body), body)
}
