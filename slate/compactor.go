package slate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
)

// RunCompactor compacts the database at path in b until ctx ends; it then
// returns nil. The writer, in any process, goes on meanwhile. Of the options it
// heeds those on compactions, on the form of SSTs, MergeOperator and the
// components. The caller keeps b and closes it afterwards.
//
// There is one compactor at a time: this one deposes the one before, which may
// be the writer's own. That one stops, and its writer lives on. A writer that is
// opened later takes compaction back with its first, unless its
// Options.CompactL0 is negative: open the writer so where a compactor of its own
// is to stay.
//
// A compaction that is cut short, by ctx or by a crash, is taken up by the next
// compactor where its recorded output ends. What others submit
// (SubmitCompaction) is found at each poll.
//
// It returns ErrFenced if another compactor has taken over, ErrNoDatabase if
// there is none, ErrUnsupported for one with segments or a bucket without
// conditional put, and ErrNewerFormat or ErrCorrupt for files it cannot read. A
// compaction that fails is logged and tried again.
func RunCompactor(ctx context.Context, path string, b bucket.Bucket, opts Options) error {
	if err := runCompactor(ctx, path, b, opts); err != nil && ctx.Err() == nil {
		return fmt.Errorf("compact %q: %w", path, err)
	}
	return nil
}

func runCompactor(ctx context.Context, path string, b bucket.Bucket, opts Options) error {
	caps := b.Capabilities()
	if !caps.ConditionalPut {
		return fmt.Errorf("bucket %s has no atomic conditional put: %s: %w", caps.Name, caps.Reason, ErrUnsupported)
	}
	opts, err := opts.withDefaults(caps)
	if err != nil {
		return err
	}
	b = bucket.WithRetry(b, bucket.RetryOptions{Clock: opts.Clock, Rand: opts.Random, Attempts: retryAttempts})
	root := layout.NewRoot(path)
	h := &soloHost{
		manifests:  manifest.NewStore(b, root, opts.Clock, opts.Random, manifest.Manifests),
		publishing: make(chan struct{}, 1),
	}
	if err := h.reload(ctx); errors.Is(err, bucket.ErrNotFound) {
		return ErrNoDatabase
	} else if err != nil {
		return err
	}
	c := newCompactor(root, b, &opts, &idSource{clock: opts.Clock, random: opts.Random}, h)
	if err := c.claim(ctx, true, anyPlan); errors.Is(err, errDeposed) {
		return h.deposed()
	} else if err != nil {
		return err
	}
	var poll <-chan time.Time
	stop := func() {}
	defer func() { stop() }()
	return c.run(ctx, func() compactOrders {
		stop()
		poll, stop = opts.Clock.After(opts.Compaction.PollInterval)
		return compactOrders{auto: true, poll: poll}
	})
}

// soloHost is a database whose writer, if there is one, is in another process.
type soloHost struct {
	manifests  *manifest.Store[format.Manifest]
	publishing chan struct{}

	mu      sync.Mutex
	version manifestVersion
}

func (h *soloHost) newest() manifestVersion {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version
}

func (h *soloHost) adopt(v manifestVersion) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.ID > h.version.ID {
		h.version = v
	}
}

func (h *soloHost) reload(ctx context.Context) error {
	v, err := h.manifests.Latest(ctx)
	if err == nil {
		err = writable(v.Value)
	}
	if err != nil {
		return err
	}
	h.adopt(v)
	return nil
}

func (h *soloHost) publishEdit(ctx context.Context, edit manifestEdit) error {
	release, err := acquire(ctx, h.publishing)
	if err != nil {
		return err
	}
	defer release()
	v, err := h.manifests.Update(ctx, h.newest(), edit)
	if err != nil {
		return err
	}
	h.adopt(v)
	return nil
}

// keepSeq goes by what the writer has published: nobody reads what was in L0 by
// then below that seq.
func (h *soloHost) keepSeq(m *format.Manifest) uint64 {
	return min(m.RecentSnapshotMinSeq, m.LastL0Seq)
}

// wrote does nothing: there is no cache.
func (h *soloHost) wrote(format.SST, []byte) {}

// compactingL0 tells nobody: the writer looks into the manifest.
func (h *soloHost) compactingL0(l0Work) {}

func (h *soloHost) deposed() error { return fmt.Errorf("%w: %w", errDeposed, ErrFenced) }
