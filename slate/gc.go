package slate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/gc"
	"github.com/stele-db/stele/slate/internal/layout"
)

// GCOptions are the settings and components of a garbage collection. The zero
// value is the default.
type GCOptions struct {
	// MinAge is how old an object must be to be deleted. Default 5 minutes, which
	// SlateDB's collector waits as well; negative: any age will do. More: more
	// garbage is kept. Less: readers that hold an old view, without a checkpoint
	// to protect it, lose it sooner.
	MinAge time.Duration
	// DryRun decides and reports, and writes and deletes nothing.
	DryRun bool
	// WALBucket and WALPath say where the log of a database lies that was created
	// with them; see Options. Its objects are collected there.
	WALBucket bucket.Bucket
	WALPath   string
	// BlockTransformer is the one that the database is written with; see Options.
	// Without it everything is collected but what a crashed flush has left since
	// the last one that succeeded.
	BlockTransformer BlockTransformer

	// Each, if not nil, is told of every object of the database: what stays, and
	// what goes once it is gone (in a dry run: what would go). It is called by one
	// goroutine at a time.
	Each func(GCObject)
	// Clock is where time comes from. Default: the machine's.
	Clock Clock
	// Random is where tokens come from. Default: crypto/rand. It must be safe for
	// concurrent use.
	Random io.Reader
	// Logger is told what is skipped and why. Default: none.
	Logger *slog.Logger
}

// GCObject is what a garbage collection decided about one object.
type GCObject struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`           // bytes
	Keep string `json:"keep,omitempty"` // why it stays; empty: it goes
}

// GCCount counts objects of one kind.
type GCCount struct {
	Deleted ObjectSum `json:"deleted"`
	Kept    ObjectSum `json:"kept"`
	// KeptFor splits Kept by reason.
	KeptFor map[string]ObjectSum `json:"keptFor,omitempty"`
}

// ObjectSum is a number of objects and the sum of their sizes.
type ObjectSum struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (s *ObjectSum) add(bytes int64) {
	s.Objects++
	s.Bytes += bytes
}

// GCReport says what a garbage collection did or, in a dry run, would do.
type GCReport struct {
	DryRun             bool    `json:"dryRun"`
	Manifest           uint64  `json:"manifest"`           // id of the latest manifest
	ExpiredCheckpoints int     `json:"expiredCheckpoints"` // removed
	SSTs               GCCount `json:"ssts"`
	WAL                GCCount `json:"wal"`
	Compactions        GCCount `json:"compactions"` // compactions files
	Manifests          GCCount `json:"manifests"`
	// BoundaryFiles: the bucket can replace an object conditionally, so that the
	// numbers of deleted manifests and compactions files are recorded for
	// SlateDB 0.13.1 and later.
	BoundaryFiles bool `json:"boundaryFiles"`
}

// Deleted counts the objects of all kinds that went, and their bytes.
func (r *GCReport) Deleted() (objects int, bytes int64) {
	for _, c := range []*GCCount{&r.SSTs, &r.WAL, &r.Compactions, &r.Manifests} {
		objects += c.Deleted.Objects
		bytes += c.Deleted.Bytes
	}
	return objects, bytes
}

// CollectGarbage deletes the objects of the database at path in b that neither
// its latest manifest nor a live checkpoint needs, and removes checkpoints that
// have expired. It may run beside a writer, readers and other collectors, of
// Stele and of SlateDB, and fences nobody. A writer that lives long enough
// collects by itself (Options.GCMinAge); this is for all others.
//
// Kept on purpose are the newest L0 that was compacted, the WAL object at the
// replay point, the latest compactions file, and, whatever their age, WAL
// objects without rows: they keep a writer out that slept while another took
// over. An SST that may still be on its way into a manifest is kept as well.
//
// It returns ErrNoDatabase, ErrNewerFormat or ErrCorrupt for a database that it
// cannot judge, and ErrUnsupported for one with segments or a bucket without
// conditional put, and ErrInvalid for a log that lies elsewhere than the
// options say; nothing is deleted then. After another error, and when ctx
// ends, a part is deleted and the report says which; run it again.
func CollectGarbage(ctx context.Context, path string, b bucket.Bucket, opts GCOptions) (GCReport, error) {
	report := GCReport{DryRun: opts.DryRun}
	set(&opts.MinAge, 5*time.Minute)
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if caps := b.Capabilities(); !caps.ConditionalPut && !opts.DryRun {
		return report, fmt.Errorf("collect garbage of %q: bucket %s has no atomic conditional put: %s: %w", path, caps.Name, caps.Reason, ErrUnsupported)
	}
	retry := bucket.RetryOptions{Clock: opts.Clock, Rand: opts.Random}
	root := layout.NewRoot(path)
	b = bucket.WithRetry(b, retry)
	log := logPlace(b, root, opts.WALBucket, opts.WALPath, retry, opts.BlockTransformer)
	c := gc.Collector{
		Bucket: b, Root: root, Log: log,
		Clock: opts.Clock, Random: opts.Random,
		MinAge: opts.MinAge, WALMinAge: opts.MinAge, DryRun: opts.DryRun, Transformer: opts.BlockTransformer,
		Accept: func(ctx context.Context, m *format.Manifest) error {
			return errors.Join(writable(m), checkLog(ctx, m, opts.WALBucket, log))
		},
		Each: func(d gc.Decision) {
			report.add(d)
			if opts.Each != nil {
				opts.Each(GCObject{Key: d.Object.Key, Size: d.Object.Size, Keep: string(d.Keep)})
			}
		},
	}
	res, err := c.Run(ctx)
	report.Manifest, report.ExpiredCheckpoints, report.BoundaryFiles = res.Manifest, res.Expired, res.Boundaries
	if err != nil {
		if report.Manifest == 0 && errors.Is(err, bucket.ErrNotFound) {
			err = ErrNoDatabase
		}
		return report, fmt.Errorf("collect garbage of %q: %w", path, err)
	}
	if !res.Boundaries {
		opts.Logger.Info("no boundary files: the bucket cannot replace an object conditionally", slog.String("path", path))
	}
	return report, nil
}

func (r *GCReport) add(d gc.Decision) {
	c := map[gc.Kind]*GCCount{gc.SST: &r.SSTs, gc.WAL: &r.WAL, gc.Compactions: &r.Compactions, gc.Manifest: &r.Manifests}[d.Kind]
	if d.Keep == gc.Garbage {
		c.Deleted.add(d.Object.Size)
		return
	}
	c.Kept.add(d.Object.Size)
	if c.KeptFor == nil {
		c.KeptFor = map[string]ObjectSum{}
	}
	sum := c.KeptFor[string(d.Keep)]
	sum.add(d.Object.Size)
	c.KeptFor[string(d.Keep)] = sum
}
