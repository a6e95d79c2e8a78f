package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateManifestCmd struct {
	dbFlag
	ID   uint64 `arg:"" optional:"" help:"Number of the manifest; the newest if it is not given."`
	List bool   `help:"Print the numbers of all manifests instead."`
	JSON bool   `name:"json" help:"Print one line of JSON."`
}

// Help is shown by --help.
func (*slateManifestCmd) Help() string {
	return `The manifest names the SSTs that the database consists of, L0 first, then the sorted runs, each newest first.

Examples:
  stele slate manifest --db file://./data
  stele slate manifest --db file://./data 12 --json`
}

// Run prints a manifest, or their numbers.
func (c *slateManifestCmd) Run(e *env) error {
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		if c.List {
			return c.list(e, b, path)
		}
		m, err := slate.ReadManifest(e.ctx, path, b, c.ID)
		if c.ID > 0 && errors.Is(err, slate.ErrNoDatabase) {
			if _, none := slate.Manifests(e.ctx, path, b); none == nil {
				err = fmt.Errorf("no manifest %d in the database at %s", c.ID, c.DB)
			}
		}
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			if c.JSON {
				return writeJSON(w, m)
			}
			return printManifest(w, e, m)
		})
	})
}

func (c *slateManifestCmd) list(e *env, b bucket.Bucket, path string) error {
	ids, err := slate.Manifests(e.ctx, path, b)
	if err != nil {
		return err
	}
	return e.buffered(func(w *bufio.Writer) error {
		for _, id := range ids {
			if c.JSON {
				err = writeJSON(w, map[string]uint64{"id": id})
			} else {
				_, err = fmt.Fprintln(w, id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func printManifest(w io.Writer, e *env, m *slate.ManifestInfo) error {
	var facts strings.Builder
	fmt.Fprintf(&facts, "manifest %d, format %d\n", m.ID, m.FormatVersion)
	fmt.Fprintf(&facts, "writer epoch %d, compactor epoch %d\n", m.WriterEpoch, m.CompactorEpoch)
	fmt.Fprintf(&facts, "log is replayed after object %d, last seen %d\n", m.ReplayAfterWAL, m.WALLastSeen)
	fmt.Fprintf(&facts, "L0 holds rows up to sequence number %d\n", m.LastL0Seq)
	if m.SeparateWAL {
		facts.WriteString("the log lies in another bucket\n")
	}
	if m.Segments > 0 {
		fmt.Fprintf(&facts, "%s\n", count(m.Segments, "segment"))
	}
	if !m.Initialized {
		facts.WriteString("not initialized\n")
	}
	if _, err := io.WriteString(w, facts.String()); err != nil {
		return err
	}
	g := newGrid(w, e.stdout, "level", "SST", "first key", "last key", "data", "compression")
	err := addSSTs(g, "L0", m.L0)
	for _, r := range m.Runs {
		if err == nil {
			err = addSSTs(g, fmt.Sprintf("run %d", r.ID), r.SSTs)
		}
	}
	if err != nil {
		return err
	}
	if len(g.page) > 0 {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	if err := g.flush(); err != nil {
		return err
	}
	return printCheckpoints(w, e, m.Checkpoints)
}

func addSSTs(g *grid, level string, ssts []slate.SSTInfo) error {
	for _, s := range ssts {
		if err := g.add(level, s.ID, shortKey(s.FirstKey), shortKey(s.LastKey), byteSize(s.DataBytes), s.Compression); err != nil {
			return err
		}
	}
	return nil
}

func printCheckpoints(w io.Writer, e *env, list []slate.CheckpointInfo) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	g := newGrid(w, e.stdout, "checkpoint", "manifest", "created", "expires", "name")
	for _, c := range list {
		if err := g.add(c.ID, fmt.Sprint(c.ManifestID), timeText(&c.Created), timeText(c.Expires), c.Name); err != nil {
			return err
		}
	}
	return g.flush()
}
