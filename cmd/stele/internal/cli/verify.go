package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

type verifyCmd struct {
	dbFlag
	Table string `arg:"" optional:"" help:"Name of the table; without one, every table."`
	JSON  bool   `name:"json" help:"Print the result of each table as one line of JSON."`
}

// Help is shown by --help.
func (*verifyCmd) Help() string {
	return `Reads everything: each row must be a valid record with exactly its index entries, and each entry that of a row. Exit code 1 if something is wrong.

Example:
  stele verify --db file://./data`
}

// errFaulty ends a verification that found something.
var errFaulty = errors.New("the database is damaged: restore it from a copy")

// Run checks the tables, all of them before it fails.
func (c *verifyCmd) Run(e *env) error {
	return c.read(e, func(db *record.DB) error {
		tables, err := c.tables(e, db)
		if err != nil {
			return err
		}
		sound := true
		err = e.buffered(func(w *bufio.Writer) error {
			for _, t := range tables {
				v, err := c.verify(e, db, t)
				if err != nil {
					return err
				}
				sound = sound && v.OK()
				if c.JSON {
					err = writeJSON(w, v)
				} else {
					err = printVerification(w, v)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && !sound {
			err = errFaulty
		}
		return err
	})
}

func (c *verifyCmd) tables(e *env, db *record.DB) ([]*record.Table, error) {
	if c.Table == "" {
		return db.Tables(e.ctx)
	}
	t, err := db.Table(e.ctx, c.Table)
	return []*record.Table{t}, err
}

// verify checks the rows, and the text of the schema against the catalog.
func (c *verifyCmd) verify(e *env, db *record.DB, t *record.Table) (v *record.Verification, err error) {
	err = db.View(e.ctx, func(r kv.Reader) error {
		v, err = record.VerifyTable(e.ctx, r, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := db.SchemaText(e.ctx, t.Name())
	switch {
	case errors.Is(err, kv.ErrNotFound):
		v.First = append(v.First, "the text of the schema is missing")
	case err != nil:
		return nil, err
	case text != t.Schema().Text():
		v.First = append(v.First, "the text of the schema is not the catalog's, which counts")
	default:
		return v, nil
	}
	v.Faults++
	return v, nil
}

func printVerification(w *bufio.Writer, v *record.Verification) error {
	verdict := "sound"
	if !v.OK() {
		verdict = count(v.Faults, "fault")
	}
	_, err := fmt.Fprintf(w, "%s: %s, %s: %s\n", v.Table, count(v.Rows, "row"), entries(v.Entries), verdict)
	for _, fault := range v.First {
		if err == nil {
			_, err = fmt.Fprintf(w, "  %s\n", printable(fault))
		}
	}
	return err
}

func entries(n int) string {
	if n == 1 {
		return "1 index entry"
	}
	return fmt.Sprintf("%d index entries", n)
}
