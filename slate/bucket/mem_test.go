package bucket_test

import (
	"testing"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/buckettest"
)

func TestMemContract(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket { return bucket.NewInMemBucket() })
}

func TestMemRace(t *testing.T) {
	buckettest.Race(t, bucket.NewInMemBucket(), 300, 16)
}

func TestRetryContract(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket {
		return bucket.WithRetry(bucket.NewInMemBucket(), bucket.RetryOptions{})
	})
}
