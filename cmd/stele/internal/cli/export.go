package cli

import (
	"bufio"

	"github.com/stele-db/stele/record"
)

type exportCmd struct {
	dbFlag
	Table string `arg:"" help:"Name of the table."`
	JSON  bool   `name:"json" help:"Accepted for uniformity: the output always is JSON."`
}

// Help is shown by --help.
func (*exportCmd) Help() string {
	return `Prints one fixed state of the table, whatever a writer does meanwhile.

Example:
  stele export --db file://./data Package > packages.ndjson`
}

// Run prints every record of the table.
func (c *exportCmd) Run(e *env) error {
	return c.readTable(e, c.Table, func(db *record.DB, t *record.Table) error {
		s := t.Schema()
		return e.buffered(func(w *bufio.Writer) error {
			for row, err := range t.Query(e.ctx, db.Store(), record.Query{}) {
				if err != nil {
					return err
				}
				if err := writeRecord(w, s, row.Record); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
