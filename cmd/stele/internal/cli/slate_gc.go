package cli

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateGCCmd struct {
	dbFlag
	walFlag
	MinAge time.Duration `default:"5m" placeholder:"AGE" help:"How old an object must be to be deleted, such as 5m; 0s: any age will do."`
	DryRun bool          `help:"Delete nothing, print what would be deleted."`
	JSON   bool          `name:"json" help:"Print one line of JSON."`
}

// Help is shown by --help.
func (*slateGCCmd) Help() string {
	return `Deletes what neither the newest manifest nor a checkpoint needs, and removes checkpoints that have expired. It may run beside the writer and readers, and stops nobody. A reader that was opened before a compaction needs the old objects for as long as the minimum age, or the grace of "stele slate compact", lets it.

Kept whatever their age are log objects without rows: they keep a writer out that slept while another took over.

Examples:
  stele slate gc --db file://./data --dry-run
  stele slate gc --db file://./data --min-age 0s`
}

// Run collects garbage once.
func (c *slateGCCmd) Run(e *env) error {
	if c.MinAge < 0 {
		return usagef("--min-age %s is negative", c.MinAge)
	}
	if c.MinAge == 0 {
		c.MinAge = -1
	}
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		return c.withLog(e, func(log bucket.Bucket, logPath string) error {
			return e.buffered(func(w *bufio.Writer) error {
				return c.collect(e, w, b, path, slate.GCOptions{
					MinAge: c.MinAge, DryRun: c.DryRun, WALBucket: log, WALPath: logPath,
				})
			})
		})
	})
}

func (c *slateGCCmd) collect(e *env, w *bufio.Writer, b bucket.Bucket, path string, opts slate.GCOptions) error {
	if c.DryRun && !c.JSON {
		opts.Each = func(o slate.GCObject) {
			if o.Keep == "" {
				_, _ = fmt.Fprintf(w, "would delete %s, %s\n", o.Key, byteSize(o.Size)) // the writer keeps its error
			}
		}
	}
	report, err := slate.CollectGarbage(e.ctx, path, b, opts)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, report)
	}
	return printGC(w, e, &report)
}

func printGC(w io.Writer, e *env, r *slate.GCReport) error {
	verb := "deleted"
	if r.DryRun {
		verb = "would delete"
	}
	objects, bytes := r.Deleted()
	if _, err := fmt.Fprintf(w, "%s %s, %s\n", verb, count(objects, "object"), byteSize(bytes)); err != nil {
		return err
	}
	if r.ExpiredCheckpoints > 0 {
		if _, err := fmt.Fprintf(w, "expired: %s\n", count(r.ExpiredCheckpoints, "checkpoint")); err != nil {
			return err
		}
	}
	g := newGrid(w, e.stdout, "kind", "kept", "bytes", "because")
	for _, k := range []struct {
		name string
		slate.GCCount
	}{{"SST", r.SSTs}, {"log", r.WAL}, {"compactions", r.Compactions}, {"manifest", r.Manifests}} {
		for _, reason := range slices.Sorted(maps.Keys(k.KeptFor)) {
			kept := k.KeptFor[reason]
			if err := g.add(k.name, fmt.Sprint(kept.Objects), byteSize(kept.Bytes), reason); err != nil {
				return err
			}
		}
	}
	return g.flush()
}
