package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	_ "github.com/stele-db/stele/slate/bucket/s3" // s3://
)

// dbFlag names the database; every command has it.
type dbFlag struct {
	DB string `name:"db" required:"" env:"STELE_DB" placeholder:"URL" help:"The database, as file://./folder, file:///srv/folder or s3://bucket/path."`
}

// openBucket opens the bucket of a database URL and the path in it.
func openBucket(ctx context.Context, url string) (bucket.Bucket, string, error) {
	b, path, err := bucket.Open(ctx, url)
	if errors.Is(err, bucket.ErrInvalid) || errors.Is(err, bucket.ErrUnsupported) {
		return nil, "", usagef("%v", err)
	}
	return b, path, err
}

// withBucket calls f with the bucket and the path of the database, for looking
// at its objects.
func (d dbFlag) withBucket(e *env, f func(b bucket.Bucket, path string) error) error {
	b, path, err := openBucket(e.ctx, d.DB)
	if err != nil {
		return err
	}
	return errors.Join(d.explain(f(b, path)), b.Close())
}

// walFlag names the place of the log; commands on the engine have it.
type walFlag struct {
	WALDB string `name:"wal-db" placeholder:"URL" help:"Where the log of the database lies, if not beside its other objects: the URL of the folder that has the log's folder wal in it."`
}

// withLog calls f with the bucket of the log and the path in it; with nil if
// the log lies beside the other objects.
func (l walFlag) withLog(e *env, f func(log bucket.Bucket, path string) error) error {
	if l.WALDB == "" {
		return f(nil, "")
	}
	b, path, err := openBucket(e.ctx, l.WALDB)
	if err != nil {
		return err
	}
	return errors.Join(f(b, "/"+path), b.Close())
}

// readEngine calls f with the engine, opened for reading.
func (d dbFlag) readEngine(e *env, l walFlag, opts slate.ReaderOptions, f func(r *slate.Reader) error) error {
	return d.withBucket(e, func(b bucket.Bucket, path string) error {
		return l.withLog(e, func(log bucket.Bucket, logPath string) error {
			opts.WALBucket, opts.WALPath = log, logPath
			r, err := slate.OpenReader(e.ctx, path, b, opts)
			if err != nil {
				return err
			}
			return errors.Join(f(r), r.Close())
		})
	})
}

// read calls f with the database, opened for reading: one fixed view.
func (d dbFlag) read(e *env, f func(db *record.DB) error) error {
	return d.withBucket(e, func(b bucket.Bucket, path string) error {
		r, err := slatekv.OpenBucketReader(e.ctx, path, b, slate.ReaderOptions{})
		if err != nil {
			return err
		}
		db, err := record.Open(e.ctx, r, record.Options{})
		if err != nil {
			return errors.Join(err, r.Close())
		}
		return errors.Join(f(db), db.Close())
	})
}

// readTable calls f with one table of the database, opened for reading.
func (d dbFlag) readTable(e *env, name string, f func(db *record.DB, t *record.Table) error) error {
	return d.read(e, func(db *record.DB) error {
		t, err := db.Table(e.ctx, name)
		if err != nil {
			return err
		}
		return f(db, t)
	})
}

// explain says of an error where it happened or what to do, if it does not say
// so itself.
func (d dbFlag) explain(err error) error {
	if errors.Is(err, slate.ErrNoDatabase) {
		return fmt.Errorf("no database at %s", d.DB)
	}
	if errors.Is(err, slate.ErrNewerFormat) {
		return fmt.Errorf("%w: use a newer version of Stele; nothing was changed", err)
	}
	return err
}
