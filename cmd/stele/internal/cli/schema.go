package cli

import (
	"bufio"
	"path/filepath"

	"github.com/stele-db/stele/record"
)

type schemaCmd struct {
	dbFlag
	Table string `arg:"" optional:"" help:"Name of the table; without one, every table."`
	Out   string `placeholder:"DIR" help:"Write <table>.proto files, and stele/options.proto beside them, into this folder instead: protoc and buf compile it as it is."`
	JSON  bool   `name:"json" help:"Print each schema as one line of JSON."`
}

// Help is shown by --help.
func (*schemaCmd) Help() string {
	return `Prints the schemas as they lie in the database.

Examples:
  stele schema --db file://./data Package
  stele schema --db file://./data --out proto && protoc -I proto --python_out=. proto/*.proto`
}

// Run prints or writes the schemas.
func (c *schemaCmd) Run(e *env) error {
	return c.read(e, func(db *record.DB) error {
		tables, err := c.tables(e, db)
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			if c.Out != "" {
				return c.write(e, w, db, tables)
			}
			return c.print(e, w, db, tables)
		})
	})
}

// tables returns the names of the tables asked for.
func (c *schemaCmd) tables(e *env, db *record.DB) ([]string, error) {
	if c.Table != "" {
		_, err := db.Table(e.ctx, c.Table)
		return []string{c.Table}, err
	}
	tables, err := db.Tables(e.ctx)
	out := make([]string, len(tables))
	for i, t := range tables {
		out[i] = t.Name()
	}
	return out, err
}

// schemaJSON is a schema as --json prints it.
type schemaJSON struct {
	Table  string `json:"table"`
	Schema string `json:"schema"` // .proto
}

func (c *schemaCmd) print(e *env, w *bufio.Writer, db *record.DB, tables []string) error {
	for i, name := range tables {
		text, err := db.SchemaText(e.ctx, name)
		if err != nil {
			return err
		}
		if c.JSON {
			err = writeJSON(w, schemaJSON{Table: name, Schema: text})
		} else {
			if i > 0 {
				text = "\n" + text
			}
			_, err = w.WriteString(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *schemaCmd) write(e *env, w *bufio.Writer, db *record.DB, tables []string) error {
	if len(tables) == 0 {
		return nil
	}
	files, err := db.WriteSchemas(e.ctx, c.Out, tables...)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(c.Out, f)
		if c.JSON {
			err = writeJSON(w, map[string]string{"file": path})
		} else {
			_, err = w.WriteString("wrote " + path + "\n")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
