package record

import (
	"context"
	"fmt"
	"iter"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// Query asks for rows of a table. Its zero value asks for all, in the order of
// the primary key.
type Query struct {
	// Where selects the rows; nil selects all.
	Where Cond
	// OrderBy is the order of the rows; rows that it holds equal are ordered by
	// the primary key, in the direction of its last field. An index or the
	// primary key must have the order, unless there is a Limit: then the first
	// rows are found by looking at all that match. Without OrderBy the rows come
	// in the order of the keys that the plan reads.
	OrderBy []Order
	// Reverse turns the order around, ties included.
	Reverse bool
	// Limit is the most rows that are returned; 0 is no limit.
	Limit int
	// Using is the name of the index that must be used, PrimaryKey for none;
	// "" leaves the choice to the planner.
	Using string
	// After is the Row.Token of the last row of the page before: the result goes
	// on after that row. All else but Limit and Using must be as it was there.
	After []byte
}

// Row is one result of a query.
type Row struct {
	// Record is the stored record. It is valid until the iteration goes on: copy
	// what must last.
	Record []byte

	plan  *Plan
	pk    []byte // encoded primary key
	place []byte // in the result: see pageToken
}

// Key returns the row's primary key, or kv.ErrCorrupt if its stored form is
// damaged.
func (r Row) Key() (tuple.Tuple, error) {
	key, err := tuple.DecodeAll(r.pk, nil)
	if err != nil {
		return nil, errCorruptKey(r.pk, err)
	}
	return key, nil
}

// Token returns the place of the row in its query's result, for Query.After.
// The caller owns it. It holds values of the row, in plain: who must not see
// those must not see it.
func (r Row) Token() []byte {
	if r.plan == nil {
		return nil
	}
	var index uint64
	if ix := r.plan.path.index; ix != nil {
		index = ix.id
	}
	return appendToken(nil, r.plan.print, index, r.place)
}

// Query yields the rows that q asks for, all from one state: that of the reader,
// which is a snapshot, a transaction, or the database's store, which is pinned
// for the iteration. It returns kv.ErrInvalid for a query that does not fit the
// schema, or whose order would need unbounded memory, and kv.ErrCorrupt if an
// index and the rows disagree. After an error nothing follows.
//
// Rows of an index are fetched ahead of their use, many at a time, except in a
// transaction. Whoever stops the iteration waits for fetches under way, which
// are cancelled.
func (t *Table) Query(ctx context.Context, r kv.Reader, q Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		plan, err := t.Explain(q)
		if err == nil {
			err = t.run(ctx, r, plan, func(row Row) bool { return yield(row, nil) })
			if err != nil {
				err = fmt.Errorf("query %s: %w", t.name, err)
			}
		}
		if err != nil {
			yield(Row{}, err)
		}
	}
}

// Explain returns the plan by which Query answers q. It reads nothing. It
// returns kv.ErrInvalid for a query that Query refuses.
func (t *Table) Explain(q Query) (*Plan, error) {
	plan, err := planQuery(t.Schema(), t.id, &q)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", t.name, err)
	}
	return plan, nil
}
