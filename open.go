package stele

import (
	"context"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
)

// openWriter opens the engine's database at the URL for writing.
func openWriter(ctx context.Context, url string, opts Options) (kv.Store, error) {
	return slatekv.Open(ctx, url, opts.engineOptions())
}

// openReader opens it for reading.
func openReader(ctx context.Context, url string, opts Options) (kv.Store, error) {
	e := opts.engineOptions()
	return slatekv.OpenReader(ctx, url, slate.ReaderOptions{
		WALBucket: e.WALBucket, WALPath: e.WALPath, CacheBytes: e.CacheBytes, MaxReads: e.MaxReads,
		BlockTransformer: e.BlockTransformer, MergeOperator: e.MergeOperator, HideExpired: e.HideExpired, Clock: e.Clock,
	})
}
