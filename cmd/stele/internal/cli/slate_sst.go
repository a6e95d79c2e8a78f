package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateSSTCmd struct {
	dbFlag
	ID    string `arg:"" help:"Id of the SST, as manifest prints it."`
	Rows  bool   `help:"Print its rows too: every version of every key."`
	Limit int    `placeholder:"N" help:"Print at most N rows."`
	JSON  bool   `name:"json" help:"Print one line of JSON for the SST, and one for each row."`
}

// Help is shown by --help.
func (*slateSSTCmd) Help() string {
	return `Example:
  stele slate sst --db file://./data 01M7XQTT1TGV83TB1XJR3Z1PNE --rows --limit 20`
}

// errEnough ends reading rows at the limit.
var errEnough = errors.New("enough rows")

// Run prints what the SST is, then its rows.
func (c *slateSSTCmd) Run(e *env) error {
	if c.Limit < 0 {
		return usagef("--limit is %d, which must not be negative", c.Limit)
	}
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		info, err := slate.ReadSST(e.ctx, path, b, c.ID, slate.InspectOptions{}, nil)
		if errors.Is(err, bucket.ErrNotFound) {
			return fmt.Errorf("no SST %s in the database at %s", c.ID, c.DB)
		}
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			if c.JSON {
				err = writeJSON(w, info)
			} else {
				err = printSST(w, e, info)
			}
			if err != nil || !c.Rows {
				return err
			}
			return c.rows(e, w, b, path)
		})
	})
}

func printSST(w io.Writer, e *env, s *slate.SSTInfo) error {
	g := newGrid(w, e.stdout)
	return errors.Join(
		g.add("id", s.ID),
		g.add("format", fmt.Sprint(s.FormatVersion)),
		g.add("first key", shortKey(s.FirstKey)),
		g.add("last key", shortKey(s.LastKey)),
		g.add("compression", s.Compression),
		g.add("data", byteSize(s.DataBytes)),
		g.add("filter", byteSize(s.FilterBytes)),
		g.add("index", byteSize(s.IndexBytes)),
		g.add("statistics", byteSize(s.StatsBytes)),
		g.flush())
}

func (c *slateSSTCmd) rows(e *env, w *bufio.Writer, b bucket.Bucket, path string) error {
	if !c.JSON {
		if _, err := w.WriteString("\n"); err != nil {
			return err
		}
	}
	g, n := newGrid(w, e.stdout, rowColumns...), 0
	_, err := slate.ReadSST(e.ctx, path, b, c.ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
		n++
		var err error
		if c.JSON {
			err = writeJSON(w, r)
		} else {
			err = addRow(g, r)
		}
		if err == nil && n == c.Limit {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, g.flush())
}
