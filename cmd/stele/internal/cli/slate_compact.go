package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateCompactCmd struct {
	dbFlag
	walFlag
	compactionFlags
	Rewrite bool `help:"Rewrite what is one run already, too: with another codec or operator."`
	Submit  bool `help:"Ask the compactor that is at work for it, instead of taking over; print the id of the compaction. It rewrites what is one run already, and how to write is the compactor's own matter: the other flags say nothing then."`
	Wait    bool `help:"With --submit: wait until the compaction has ended, however long that takes."`
	JSON    bool `name:"json" help:"Print one line of JSON; with --submit --wait a second one at the end."`
}

// Help is shown by --help.
func (*slateCompactCmd) Help() string {
	return `Moves the log to L0 and merges all L0 SSTs and sorted runs into one run, without what nobody can see any more. The command is the database's writer while it runs: a writer that is open elsewhere is fenced, its next write fails. What the database no longer needs stays in the bucket until "stele slate gc" deletes it. Rows go that had expired when the last row was written; operands of merges are folded onto their values by the operator that is named, and kept without one.

With --submit the command writes nothing but a request, which fences nobody: "stele slate compactor" or SlateDB's compactor carries it out the next time it looks, a writer's own when it next compacts or is opened. What is in the log stays there.

Examples:
  stele slate compact --db file://./data
  stele slate compact --db file://./data --reader-grace 0s
  stele slate compact --db file://./data --rewrite --merge-operator concat --compression zstd
  stele slate compact --db s3://bucket/app --submit --wait`
}

// compacted is what a compaction has changed.
type compacted struct {
	Before shape `json:"before"`
	After  shape `json:"after"`
}

// shape is what a manifest consists of.
type shape struct {
	Manifest uint64 `json:"manifest"`
	L0       int    `json:"l0"`
	Runs     int    `json:"runs"`
	SSTs     int    `json:"ssts"`
	Bytes    uint64 `json:"bytes"` // of data, before filters and indexes
}

// Run compacts everything.
func (c *slateCompactCmd) Run(e *env) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	if c.Submit {
		return c.submit(e)
	}
	if c.Wait {
		return usagef("--wait is for --submit: without that the command always waits")
	}
	if c.Rewrite { // a filter has to see every row
		opts.Compaction.Filter = func(slate.FilterRow) (slate.FilterDecision, []byte) { return slate.FilterKeep, nil }
	}
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		before, err := shapeOf(e, b, path) // there must be a database: Open would make one
		if err != nil {
			return err
		}
		err = c.withLog(e, func(log bucket.Bucket, logPath string) error {
			opts.WALBucket, opts.WALPath = log, logPath
			db, err := slate.Open(e.ctx, path, b, opts)
			if err != nil {
				return err
			}
			return errors.Join(db.Compact(e.ctx), db.Close())
		})
		if err != nil {
			return err
		}
		after, err := shapeOf(e, b, path)
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			if c.JSON {
				return writeJSON(w, compacted{Before: before, After: after})
			}
			_, err := fmt.Fprintf(w, "before: %s\nafter: %s\n", before, after)
			return err
		})
	})
}

func shapeOf(e *env, b bucket.Bucket, path string) (s shape, err error) {
	m, err := slate.ReadManifest(e.ctx, path, b, 0)
	if err != nil {
		return s, err
	}
	s = shape{Manifest: m.ID, L0: len(m.L0), Runs: len(m.Runs)}
	ssts := m.L0
	for _, r := range m.Runs {
		ssts = append(ssts, r.SSTs...)
	}
	s.SSTs = len(ssts)
	for _, t := range ssts {
		s.Bytes += t.DataBytes
	}
	return s, nil
}

// String describes the shape in words.
func (s shape) String() string {
	return fmt.Sprintf("%s in L0, %s, %s in all, %s of data", count(s.L0, "SST"), count(s.Runs, "run"), count(s.SSTs, "SST"), byteSize(s.Bytes))
}
