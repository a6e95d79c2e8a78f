package slate

import (
	"context"
	"log/slog"
	"time"

	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/gc"
)

// folderWALAge is how old a log object must be to be deleted where requests
// are not billed and nobody is far away: there durable writes make thousands.
const folderWALAge = 30 * time.Second

// collector returns the garbage collection of this writer. What it may delete
// is decided as in CollectGarbage; of the log it knows which objects are its
// own, and so hold rows.
func (db *DB) collector(fence uint64, report func(gc.Decision)) *gc.Collector {
	walAge := db.opts.GCMinAge
	if !db.logAt.Bucket.Capabilities().Remote {
		walAge = min(walAge, folderWALAge)
	}
	return &gc.Collector{
		Bucket: db.bucket, Root: db.root, Log: db.logAt, Clock: db.opts.Clock, Random: db.opts.Random,
		MinAge: db.opts.GCMinAge, WALMinAge: walAge, Transformer: db.opts.BlockTransformer,
		HasRows: func(id uint64) bool { return id > fence && id <= db.log.LastID() },
		Accept:  func(_ context.Context, m *format.Manifest) error { return writable(m) },
		Each:    report,
	}
}

// gcLoop collects garbage when there is some, until ctx ends: it sleeps until
// something is published, lets that reach the minimum age of log objects, and
// collects, not sooner than that after the time before, until nothing is left
// that only has to grow older. What is published meanwhile shares the next
// collection. After an error it waits for the next publication.
func (db *DB) gcLoop(ctx context.Context, fence uint64) {
	var objects int
	var bytes int64
	c := db.collector(fence, func(d gc.Decision) {
		if d.Keep == gc.Garbage {
			objects, bytes = objects+1, bytes+d.Object.Size
		}
	})
	var next time.Time // of a collection; zero: none is due
	for {
		var due <-chan time.Time
		stop := func() {}
		if !next.IsZero() {
			due, stop = db.opts.Clock.After(next.Sub(db.opts.Clock.Now()))
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-db.gcWake:
			if at := db.opts.Clock.Now().Add(c.WALMinAge); next.IsZero() || at.Before(next) {
				next = at
			}
		case <-due:
			objects, bytes = 0, 0
			res, err := c.Run(ctx)
			next = res.Next
			if soonest := db.opts.Clock.Now().Add(c.WALMinAge); !next.IsZero() && next.Before(soonest) {
				next = soonest
			}
			if err != nil {
				next = time.Time{}
				db.opts.Logger.Warn("garbage collection ended early", slog.Any("error", err))
			}
			db.opts.Logger.Debug("garbage collected", slog.Int("objects", objects), slog.Int64("bytes", bytes), slog.Time("next", next))
		}
		stop()
	}
}
