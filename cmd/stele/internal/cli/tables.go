package cli

import (
	"bufio"
	"strings"

	"github.com/stele-db/stele/record"
)

type tablesCmd struct {
	dbFlag
	JSON bool `name:"json" help:"Print each table as one line of JSON."`
}

// Help is shown by --help.
func (*tablesCmd) Help() string {
	return `Example:
  stele tables --db file://./data`
}

// tableInfo is a table as tables --json prints it.
type tableInfo struct {
	Table   string      `json:"table"`
	ID      uint64      `json:"id"`
	Version int         `json:"version"` // of the schema
	Key     []string    `json:"key"`
	Fields  []string    `json:"fields"`
	Indexes []indexInfo `json:"indexes"`
}

type indexInfo struct {
	Name   string   `json:"name"`
	Fields []string `json:"fields"`
	Unique bool     `json:"unique,omitempty"`
	State  string   `json:"state"`
}

// Run prints the tables; nothing if there are none.
func (c *tablesCmd) Run(e *env) error {
	return c.read(e, func(db *record.DB) error {
		tables, err := db.Tables(e.ctx)
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			g := newGrid(w, e.stdout, "table", "key", "indexes", "fields")
			for _, t := range tables {
				info := describeTable(t)
				if c.JSON {
					err = writeJSON(w, info)
				} else {
					err = g.add(info.Table, strings.Join(info.Key, ", "), strings.Join(indexNames(info.Indexes), ", "), strings.Join(info.Fields, ", "))
				}
				if err != nil {
					return err
				}
			}
			return g.flush()
		})
	})
}

func describeTable(t *record.Table) tableInfo {
	s := t.Schema()
	info := tableInfo{Table: t.Name(), ID: t.ID(), Version: s.Version(), Key: names(s.Key()), Fields: fieldNames(s), Indexes: []indexInfo{}}
	for _, ix := range s.Indexes() {
		info.Indexes = append(info.Indexes, indexInfo{Name: ix.Name(), Fields: names(ix.Fields()), Unique: ix.Unique(), State: ix.State().String()})
	}
	return info
}

func names(fields []*record.Field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.Name()
	}
	return out
}

// indexNames names the indexes, with what is special of each.
func indexNames(indexes []indexInfo) []string {
	out := make([]string, len(indexes))
	for i, ix := range indexes {
		out[i] = ix.Name
		if ix.Unique {
			out[i] += " (unique)"
		}
		if ix.State != record.IndexReadable.String() {
			out[i] += " (" + ix.State + ")"
		}
	}
	return out
}
