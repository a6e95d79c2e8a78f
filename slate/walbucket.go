package slate

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/wal"
)

// logPlace is where the log of the database at root in b lies: beside its other
// objects, or in the bucket given for it.
func logPlace(b bucket.Bucket, root layout.Root, walBucket bucket.Bucket, walPath string, retry bucket.RetryOptions, t BlockTransformer) wal.Place {
	if walBucket == nil {
		return wal.Place{Bucket: b, Root: root, Transformer: t}
	}
	if walPath != "" {
		root = layout.NewRoot(walPath)
	}
	return wal.Place{Bucket: bucket.WithRetry(walBucket, retry), Root: root, Transformer: t}
}

// walStoreURI is what a new manifest says of the log: nothing if it lies beside
// the database, the empty string if it lies elsewhere. SlateDB reads no more
// into it than that, and where it lies is told to each who opens it.
func (o *Options) walStoreURI() *string {
	if o.WALBucket == nil {
		return nil
	}
	return new(string)
}

// checkLog refuses a database whose log lies elsewhere than the caller thinks,
// which would miss rows or begin a second log. No collector deletes the object
// at the replay point, so its absence tells a wrong bucket or path; a clone
// alone begins without it. A manifest of version 2, which SlateDB 0.17 makes of
// every other, has no place for the mark: then a log must be there at all.
func checkLog(ctx context.Context, m *format.Manifest, walBucket bucket.Bucket, at wal.Place) error {
	unmarked := m.FromVersion == format.ManifestVersion2
	switch {
	case unmarked && walBucket == nil && m.ReplayAfterWAL > 0 && len(m.ExternalDBs) == 0:
		ids, err := at.List(ctx, m.ReplayAfterWAL-1)
		if err == nil && len(ids) == 0 {
			return fmt.Errorf("the database has no log beside its other objects, so that it must lie in another bucket, and none is given (Options.WALBucket, --wal-db): %w", ErrInvalid)
		}
		return err
	case m.WALStoreURI != nil && walBucket == nil:
		return fmt.Errorf("the database keeps its log in another bucket, and none is given (Options.WALBucket, --wal-db): %w", ErrInvalid)
	case m.WALStoreURI == nil && walBucket != nil && !unmarked:
		return fmt.Errorf("the database keeps its log beside its other objects, and another bucket was given for it: %w", ErrInvalid)
	case walBucket == nil || m.ReplayAfterWAL == 0 || len(m.ExternalDBs) > 0:
		return nil
	}
	_, err := at.Bucket.Head(ctx, at.Key(m.ReplayAfterWAL))
	if errors.Is(err, bucket.ErrNotFound) {
		return fmt.Errorf("bucket %s holds no %s: the log lies in another bucket or under another path: %w",
			at.Bucket.Capabilities().Name, at.Key(m.ReplayAfterWAL), ErrInvalid)
	}
	return err
}

// probe asks the buckets of a database that is about to be created whether
// their conditions hold.
func (db *DB) probe(ctx context.Context) error {
	if err := bucket.Probe(ctx, db.bucket, string(db.root)); err != nil || db.opts.WALBucket == nil {
		return err
	}
	return bucket.Probe(ctx, db.logAt.Bucket, string(db.logAt.Root))
}
