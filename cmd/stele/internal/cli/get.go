package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

type getCmd struct {
	dbFlag
	Table string `arg:"" help:"Name of the table."`
	Key   string `arg:"" help:"The key: integers in decimal, UUIDs and times (RFC 3339) as text, bytes in base64, a key of several fields as a JSON array."`
	JSON  bool   `name:"json" help:"Print the record as one line of Protobuf JSON."`
}

// Help is shown by --help.
func (*getCmd) Help() string {
	return `Examples:
  stele get --db file://./data Package bash
  stele get --db file://./data Reading '["sensor-7", "2026-01-31T12:00:00Z"]' --json`
}

// Run prints the record.
func (c *getCmd) Run(e *env) error {
	return c.readTable(e, c.Table, func(db *record.DB, t *record.Table) error {
		key, err := t.Schema().ParseKey(c.Key)
		if err != nil {
			return err
		}
		rec, err := t.Get(e.ctx, db.Store(), key)
		if errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("no record %s in table %s", c.Key, c.Table)
		}
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			if c.JSON {
				return writeRecord(w, t.Schema(), rec)
			}
			return printRecord(w, e, t.Schema(), rec)
		})
	})
}
