package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type importCmd struct {
	dbFlag
	File      string `arg:"" help:"NDJSON, one record of Protobuf JSON a line, plain or compressed with gzip or zstd; - for standard input."`
	Schema    string `placeholder:"FILE.proto" help:"The schema. It makes the table, or lets the one that is there grow. Needed for a new table only."`
	Table     string `placeholder:"NAME" help:"The table, which is the message's name too. Default: the only message with a key, or the only table."`
	Insert    bool   `help:"Refuse rows whose key exists, as bad lines, instead of replacing them."`
	Rejects   string `placeholder:"FILE" help:"Where bad lines go, with line number and reason. Default: <input>.rejected.ndjson in the working directory."`
	BatchRows int    `default:"1000" placeholder:"N" help:"The most rows that are committed together (${default})."`
	JSON      bool   `name:"json" help:"Print progress and summary as lines of JSON."`
	writerFlags
}

// Help is shown by --help.
func (*importCmd) Help() string {
	return `A row whose key exists is replaced. Lines that are no record of the table go to a file of their own, the others are imported, and the exit code is 1.

An import that was interrupted goes on where it was when the same command is run again on the same file. One that has finished can be run again from the start. Each batch of rows is reported when it is safely in the bucket.

Examples:
  stele import --db file://./data --schema package.proto packages.ndjson.gz
  zcat more.gz | stele import --db s3://bucket/app --table Package -`
}

// Run imports the file.
func (c *importCmd) Run(e *env) (err error) {
	if c.BatchRows < 1 {
		return usagef("--batch-rows is %d, which must be at least 1", c.BatchRows)
	}
	schema, err := c.compile(e.ctx)
	if err != nil {
		return err
	}
	in, err := openInput(e, c.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if c.Rejects == "" {
		c.Rejects = in.name + ".rejected.ndjson"
	} else if in.path != "" && sameFile(in.path, c.Rejects) {
		return usagef("--rejects %s is the input itself", c.Rejects)
	}
	b, path, err := openBucket(e.ctx, c.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return c.explain(c.into(e, in, schema, b, path))
}

// compile returns the schema to import with, nil if the table is to be there.
func (c *importCmd) compile(ctx context.Context) (*record.Schema, error) {
	if c.Schema == "" {
		return nil, nil
	}
	dir, name := filepath.Split(c.Schema)
	if dir == "" {
		dir = "."
	}
	if _, err := os.Stat(c.Schema); err != nil {
		return nil, fmt.Errorf("read schema %s: %w", c.Schema, cause(err))
	}
	schemas, err := record.CompileFS(ctx, os.DirFS(dir), name)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range schemas {
		if s.Table() == c.Table || c.Table == "" && len(schemas) == 1 {
			return s, nil
		}
		found = append(found, s.Table())
	}
	if c.Table == "" {
		return nil, usagef("%s has several messages with a key: choose one with --table: %s", c.Schema, strings.Join(found, ", "))
	}
	return nil, usagef("%s has no message %s with a key; it has %s", c.Schema, c.Table, strings.Join(found, ", "))
}

// into imports the input into the database at path.
func (c *importCmd) into(e *env, in *input, schema *record.Schema, b bucket.Bucket, path string) (err error) {
	if err := c.look(e.ctx, schema, b, path); err != nil {
		return err
	}
	counted := &countingBucket{Bucket: b}
	store, err := slatekv.OpenBucket(e.ctx, path, counted, c.options())
	if err != nil {
		return err
	}
	db, err := record.Open(e.ctx, store, record.Options{})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	start := time.Now()
	table, err := c.table(e.ctx, db, schema)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	im := &importer{
		cmd: c, in: in, db: db, table: table,
		rejects:  &rejects{path: c.Rejects},
		progress: newProgress(e, in, c.JSON),
	}
	err = im.run(e.ctx)
	im.progress.end()
	if err = errors.Join(err, im.rejects.close(), db.Close()); err != nil {
		if e.ctx.Err() != nil && errors.Is(err, context.Canceled) && in.path != "" {
			return errors.New("interrupted: run the same command again to go on")
		}
		return err
	}
	sum := summary{
		Table: table.Name(), Rows: im.mark.Rows - im.resumed.Rows, Resumed: im.resumed.Rows, Rejected: im.mark.Rejected,
		Seconds: time.Since(start).Seconds(), BytesRead: im.mark.Offset - im.resumed.Offset,
		BytesWritten: counted.bytes.Load(), ObjectsWritten: counted.objects.Load(),
	}
	if err := sum.print(e, c.JSON); err != nil {
		return err
	}
	if im.mark.Rejected > 0 {
		return fmt.Errorf("%s of %d rejected: see %s", count(im.mark.Rejected, "line"), im.mark.Rows+im.mark.Rejected, c.Rejects)
	}
	return nil
}

// look finds out what is wrong with the database before it is opened for
// writing, which fences the writer that it may have. Without a schema the table
// must be there, and no database may come to be. With one the look is worth its
// request too: it gives up on a bucket that does not answer much sooner.
func (c *importCmd) look(ctx context.Context, schema *record.Schema, b bucket.Bucket, path string) error {
	if schema != nil {
		_, err := slate.ReadManifest(ctx, path, b, 0)
		if errors.Is(err, slate.ErrNoDatabase) {
			return nil
		}
		return err
	}
	r, err := slatekv.OpenBucketReader(ctx, path, b, slate.ReaderOptions{})
	if err != nil {
		return err
	}
	db, err := record.Open(ctx, r, record.Options{})
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = c.table(ctx, db, nil)
	return errors.Join(err, db.Close())
}

// table returns the table to import into, made by the schema if there is one.
func (c *importCmd) table(ctx context.Context, db *record.DB, schema *record.Schema) (*record.Table, error) {
	if schema != nil {
		tables, err := db.Define(ctx, schema)
		if err != nil {
			return nil, err
		}
		return tables[0], nil
	}
	if c.Table != "" {
		return db.Table(ctx, c.Table)
	}
	tables, err := db.Tables(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(tables) == 0:
		return nil, usagef("the database has no tables: give the schema of the first with --schema")
	case len(tables) > 1:
		names := make([]string, len(tables))
		for i, t := range tables {
			names[i] = t.Name()
		}
		return nil, usagef("the database has several tables: choose one with --table: %s", strings.Join(names, ", "))
	}
	return tables[0], nil
}

// summary is what an import did, as --json prints it.
type summary struct {
	Table          string  `json:"table"`
	Rows           int64   `json:"rows"`     // imported by this run
	Resumed        int64   `json:"resumed"`  // imported by an earlier, interrupted one
	Rejected       int64   `json:"rejected"` // by both
	Seconds        float64 `json:"seconds"`
	RowsPerSecond  float64 `json:"rowsPerSecond"`
	BytesRead      int64   `json:"bytesRead"` // uncompressed
	BytesWritten   int64   `json:"bytesWritten"`
	ObjectsWritten int64   `json:"objectsWritten"`
}

func (s summary) print(e *env, asJSON bool) error {
	s.RowsPerSecond = float64(s.Rows) / max(s.Seconds, 1e-9)
	if asJSON {
		return writeJSON(e.stdout, s)
	}
	after := ""
	if s.Resumed > 0 {
		after = fmt.Sprintf(" after %d of an earlier run", s.Resumed)
	}
	_, err := fmt.Fprintf(e.stdout, "imported %s%s into %s in %.2f s (%.0f rows/s): read %s, wrote %s in %s\n",
		count(s.Rows, "row"), after, s.Table, s.Seconds, s.RowsPerSecond,
		byteSize(s.BytesRead), byteSize(s.BytesWritten), count(s.ObjectsWritten, "object"))
	return err
}

// sameFile reports whether two names are one existing file.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// cause strips the verb and the name that package os puts before an error.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
