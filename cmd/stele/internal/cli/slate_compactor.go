package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateCompactorCmd struct {
	dbFlag
	compactionFlags
	L0             int           `name:"l0" default:"4" placeholder:"N" help:"How many SSTs in L0 start a compaction; 4 if it is not given."`
	Poll           time.Duration `default:"5s" placeholder:"TIME" help:"How often to look for new SSTs and for compactions that were submitted, which costs three requests; 5s if it is not given."`
	Jobs           int           `default:"4" placeholder:"N" help:"How many compactions may run at once; 4 if it is not given."`
	Workers        int           `placeholder:"N" help:"How many ranges of keys are worked on at once; as many as there are processors, 2 to 4, if it is not given."`
	BytesPerSecond int           `placeholder:"N" help:"Read and write no more than so many bytes a second; as fast as possible if it is not given."`
	JSON           bool          `name:"json" help:"Print one line of JSON for each compaction that begins or ends, and one at the end."`
}

// Help is shown by --help.
func (*slateCompactorCmd) Help() string {
	return `Merges L0 and sorted runs of about equal size, beside the writer, until it gets SIGTERM or an interrupt; what is under way then is taken up by the next compactor. The writer's own compactor stops, and the writer goes on. A writer that is opened later takes compaction back, unless it is told to leave it alone: "stele serve" and "stele import" have --no-compaction.

Examples:
  stele slate compactor --db s3://bucket/app
  stele slate compactor --db file://./data --merge-operator concat --compression zstd --json`
}

// compactionFlags say how compactions write; compact and compactor have them.
type compactionFlags struct {
	operatorFlag
	ReaderGrace time.Duration `default:"15m" placeholder:"TIME" help:"How long the state before a compaction stays for readers that run, 15m if it is not given; 0s: not at all."`
	Compression string        `enum:"none,snappy,zlib,lz4,zstd" default:"none" placeholder:"CODEC" help:"How the blocks of new SSTs are compressed: none, snappy, zlib, lz4 or zstd."`
}

var codecs = map[string]slate.Codec{
	"none": slate.NoCompression, "snappy": slate.Snappy, "zlib": slate.Zlib, "lz4": slate.LZ4, "zstd": slate.Zstd,
}

// options are those of the engine.
func (f compactionFlags) options() (slate.Options, error) {
	if f.ReaderGrace < 0 {
		return slate.Options{}, usagef("--reader-grace %s is negative", f.ReaderGrace)
	}
	if f.ReaderGrace == 0 {
		f.ReaderGrace = -1
	}
	op, err := f.operator()
	return slate.Options{
		ReaderGrace: f.ReaderGrace, Compression: codecs[f.Compression], MergeOperator: op, Prefixes: slatekv.Prefixes,
	}, err
}

// Run compacts until the program is told to stop.
func (c *slateCompactorCmd) Run(e *env) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	for _, n := range []struct {
		flag  string
		value int64
		least int64
	}{
		{"l0", int64(c.L0), 1}, {"poll", int64(c.Poll), 1}, {"jobs", int64(c.Jobs), 1},
		{"workers", int64(c.Workers), 0}, {"bytes-per-second", int64(c.BytesPerSecond), 0},
	} {
		if n.value < n.least {
			return usagef("--%s must be at least %d", n.flag, n.least)
		}
	}
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	out := &compactorLog{env: e, json: c.JSON, stop: stop}
	opts.CompactL0, opts.MaxL0 = c.L0, max(c.L0, 8)
	opts.Compaction = slate.CompactionOptions{
		MaxJobs: c.Jobs, Workers: c.Workers, BytesPerSecond: int64(c.BytesPerSecond), PollInterval: c.Poll, Each: out.event,
	}
	opts.Logger = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		if _, err := slate.ReadManifest(ctx, path, b, 0); err != nil {
			return err
		}
		if !c.JSON {
			out.print("compacting %s\n", c.DB)
		}
		err := slate.RunCompactor(ctx, path, b, opts)
		out.summary()
		return errors.Join(err, out.err)
	})
}

// compactorLog tells of compactions as they begin and end.
type compactorLog struct {
	env  *env
	json bool
	stop func()
	err  error // of stdout

	ended compactorSummary
}

// compactorSummary is what a compactor has done in its life.
type compactorSummary struct {
	Compactions int   `json:"compactions"` // that ended well
	Read        int64 `json:"bytesRead"`
	Written     int64 `json:"bytesWritten"`
}

func (l *compactorLog) event(ev slate.CompactionEvent) {
	l.ended.Read += ev.Read
	l.ended.Written += ev.Written
	if ev.State == "completed" || ev.State == "moved" {
		l.ended.Compactions++
	}
	if l.json {
		l.note(writeJSON(l.env.stdout, ev))
		return
	}
	switch ev.State {
	case "started", "resumed":
		l.print("%s %s: %s into run %d\n", ev.ID, ev.State, sourcesText(ev.L0, ev.Runs), ev.Destination)
	case "failed":
		l.print("%s failed: %s\n", ev.ID, printable(ev.Error))
	case "stopped":
		l.print("%s stopped; the next compactor takes it up\n", ev.ID)
	default:
		l.print("%s %s: %s, read %s, wrote %s, %s\n", ev.ID, ev.State,
			count(ev.SSTs, "SST"), byteSize(ev.Read), byteSize(ev.Written), ev.Took.Round(time.Millisecond))
	}
}

func sourcesText(l0 int, runs []uint32) string {
	switch {
	case len(runs) == 0:
		return count(l0, "SST") + " of L0"
	case l0 == 0:
		return fmt.Sprintf("%s %v", plural(len(runs), "run"), runs)
	}
	return fmt.Sprintf("%s of L0 and %s %v", count(l0, "SST"), plural(len(runs), "run"), runs)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func (l *compactorLog) summary() {
	if l.json {
		l.note(writeJSON(l.env.stdout, l.ended))
		return
	}
	l.print("ended after %s: read %s, wrote %s\n", count(l.ended.Compactions, "compaction"), byteSize(l.ended.Read), byteSize(l.ended.Written))
}

func (l *compactorLog) print(format string, args ...any) {
	_, err := fmt.Fprintf(l.env.stdout, format, args...)
	l.note(err)
}

// note ends the compactor if nobody can be told what it does.
func (l *compactorLog) note(err error) {
	if err != nil && l.err == nil {
		l.err = err
		l.stop()
	}
}
