package diskcache

import "github.com/stele-db/stele/slate/bucket"

// RetryWrites is how many parts go without the cache after the disk failed.
const RetryWrites = retryWrites

// NewForAll is New for a cache of all objects, whatever their names.
func NewForAll(b bucket.Bucket, dir string, opts Options) (*Bucket, error) {
	return open(b, dir, opts, func(string) bool { return true })
}

// IsPart reports whether a file name is that of a part.
func IsPart(name string) bool {
	_, ok := parsePart(name)
	return ok
}
