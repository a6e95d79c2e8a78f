package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateWALCmd struct {
	dbFlag
	walFlag
	ID   uint64 `arg:"" optional:"" help:"Number of a log object, whose rows are printed; without one, the objects are listed."`
	JSON bool   `name:"json" help:"Print each object or row as one line of JSON."`
}

// Help is shown by --help.
func (*slateWALCmd) Help() string {
	return `An object without rows is a fence: with it a writer took the database over.

Examples:
  stele slate wal --db file://./data
  stele slate wal --db file://./data 3 --json
  stele slate wal --db s3://bucket/app --wal-db file:///var/log/app`
}

// walInfo is an object of the log.
type walInfo struct {
	ID       uint64 `json:"id"`
	Rows     int    `json:"rows"`
	FirstSeq uint64 `json:"firstSeq,omitempty"`
	LastSeq  uint64 `json:"lastSeq,omitempty"`
}

// Run lists the log, or prints the rows of one object.
func (c *slateWALCmd) Run(e *env) error {
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		m, err := slate.ReadManifest(e.ctx, path, b, 0)
		switch {
		case err != nil:
			return err
		case m.SeparateWAL && c.WALDB == "":
			return usagef("the database keeps its log in another bucket: say where with --wal-db")
		case !m.SeparateWAL && c.WALDB != "":
			return usagef("the database keeps its log beside its other objects: leave --wal-db out")
		}
		return c.withLog(e, func(log bucket.Bucket, logPath string) error {
			if log != nil {
				b, path = log, logPath
			}
			return e.buffered(func(w *bufio.Writer) error {
				if c.ID == 0 {
					return c.list(e, w, b, path)
				}
				return c.rows(e, w, b, path)
			})
		})
	})
}

func (c *slateWALCmd) list(e *env, w *bufio.Writer, b bucket.Bucket, path string) error {
	ids, err := slate.WALObjects(e.ctx, path, b)
	if err != nil {
		return err
	}
	g := newGrid(w, e.stdout, "object", "rows", "first seq", "last seq")
	for _, id := range ids {
		rows, err := slate.ReadWAL(e.ctx, path, b, id, slate.InspectOptions{})
		if err != nil {
			return err
		}
		info := walInfo{ID: id, Rows: len(rows)}
		if len(rows) > 0 {
			info.FirstSeq, info.LastSeq = rows[0].Seq, rows[len(rows)-1].Seq
		}
		switch {
		case c.JSON:
			err = writeJSON(w, info)
		case len(rows) == 0:
			err = g.add(fmt.Sprint(id), "0 (fence)", "", "")
		default:
			err = g.add(fmt.Sprint(id), fmt.Sprint(info.Rows), fmt.Sprint(info.FirstSeq), fmt.Sprint(info.LastSeq))
		}
		if err != nil {
			return err
		}
	}
	return g.flush()
}

func (c *slateWALCmd) rows(e *env, w *bufio.Writer, b bucket.Bucket, path string) error {
	rows, err := slate.ReadWAL(e.ctx, path, b, c.ID, slate.InspectOptions{})
	if errors.Is(err, bucket.ErrNotFound) {
		return fmt.Errorf("no log object %d in the database at %s", c.ID, c.DB)
	}
	if err != nil {
		return err
	}
	if len(rows) == 0 && !c.JSON {
		_, err = fmt.Fprintln(w, "no rows: a fence")
		return err
	}
	g := newGrid(w, e.stdout, rowColumns...)
	for _, r := range rows {
		if c.JSON {
			err = writeJSON(w, r)
		} else {
			err = addRow(g, r)
		}
		if err != nil {
			return err
		}
	}
	return g.flush()
}
