package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/stele-db/stele/record"
)

type queryCmd struct {
	dbFlag
	Table   string `arg:"" help:"Name of the table."`
	Filter  string `arg:"" optional:"" help:"Condition on the fields, by the rules of AIP-160; without one, every record."`
	Order   string `placeholder:"FIELD" help:"Order by this field, or by several with commas between; ties go by the key. Default: whatever order is cheapest."`
	Desc    bool   `help:"Turn the order round."`
	Limit   int    `placeholder:"N" help:"Print at most N records."`
	Fields  string `placeholder:"FIELDS" help:"Show these fields only, with commas between. Not with --json."`
	Using   string `placeholder:"INDEX" help:"Use this index instead of the one that the planner would choose."`
	Explain bool   `help:"Print how the query would run, and do not run it."`
	JSON    bool   `name:"json" help:"Print each record as one line of Protobuf JSON."`
}

// Help is shown by --help.
func (*queryCmd) Help() string {
	return `Filters compare fields, by their names in the schema, with = != < <= > >=, joined by AND, OR and NOT.
A colon asks whether a repeated field has an element; * at the end of a string matches every string that begins so.

Examples:
  stele query --db file://./data Package 'section = "net" AND installed_size > 1000'
  stele query --db file://./data Package 'depends:"libc6"' --order installed_size --desc --limit 10 --fields name,installed_size
  stele query --db file://./data Package 'name = "lib*"' --json`
}

// Run plans the query, and prints the plan or the records.
func (c *queryCmd) Run(e *env) error {
	if c.Limit < 0 {
		return usagef("--limit is %d, which must not be negative", c.Limit)
	}
	if c.Fields != "" && c.JSON {
		return usagef("--fields is for people: --json prints whole records")
	}
	return c.readTable(e, c.Table, func(db *record.DB, t *record.Table) error {
		q, err := c.query(t.Schema())
		if err != nil {
			return err
		}
		return e.buffered(func(w *bufio.Writer) error {
			switch {
			case c.Explain:
				return c.explainPlan(w, t, q)
			case c.JSON:
				return c.printJSON(e, w, db, t, q)
			default:
				return c.printTable(e, w, db, t, q)
			}
		})
	})
}

func (c *queryCmd) query(s *record.Schema) (record.Query, error) {
	q := record.Query{Reverse: c.Desc, Limit: c.Limit, Using: c.Using}
	if strings.TrimSpace(c.Filter) != "" {
		where, err := record.ParseFilter(s, c.Filter)
		if err != nil {
			return q, err
		}
		q.Where = where
	}
	var err error
	q.OrderBy, err = record.ParseOrder(s, c.Order)
	return q, err
}

func (c *queryCmd) explainPlan(w *bufio.Writer, t *record.Table, q record.Query) error {
	plan, err := t.Explain(q)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w, map[string]string{"plan": plan.String()})
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(plan.String(), "\n"))
	return err
}

func (c *queryCmd) printJSON(e *env, w *bufio.Writer, db *record.DB, t *record.Table, q record.Query) error {
	s := t.Schema()
	for row, err := range t.Query(e.ctx, db.Store(), q) {
		if err != nil {
			return err
		}
		if err := writeRecord(w, s, row.Record); err != nil {
			return err
		}
	}
	return nil
}

func (c *queryCmd) printTable(e *env, w *bufio.Writer, db *record.DB, t *record.Table, q record.Query) error {
	s := t.Schema()
	fields, err := chooseFields(s, c.Fields)
	if err != nil {
		return err
	}
	g, rows := newGrid(w, e.stdout, names(fields)...), 0
	for row, err := range t.Query(e.ctx, db.Store(), q) {
		if err != nil {
			return err
		}
		cells, err := fieldTexts(s, fields, row.Record)
		if err != nil {
			return err
		}
		if err := g.add(cells...); err != nil {
			return err
		}
		rows++
	}
	if err := g.flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, count(rows, "row"))
	return err
}

// chooseFields returns the fields that are named in list, all if it is empty.
func chooseFields(s *record.Schema, list string) ([]*record.Field, error) {
	if list == "" {
		return s.Fields(), nil
	}
	var out []*record.Field
	for name := range strings.SplitSeq(list, ",") {
		f := s.Field(strings.TrimSpace(name))
		if f == nil {
			return nil, fmt.Errorf("--fields: %s has no field %q; its fields are %s", s.Table(), name, strings.Join(fieldNames(s), ", "))
		}
		out = append(out, f)
	}
	return out, nil
}
