package stele

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/stele-db/stele/record"
)

// Query asks for rows of a table. It is a plain value that no method changes:
// each returns another query. It may be kept, extended and run any number of
// times, concurrently too.
type Query[T any] struct {
	model   *model
	where   Cond[T]
	orderBy []record.Order
	reverse bool
	limit   *int
	using   string
	uses    []use
}

// Ordering is something to order rows by: a [Field].
type Ordering[T any] interface {
	order(T) (field string, uses []use)
}

// Index is something that names an index: a [Field] that has one of its own, an
// [Index2] or an [Index3].
type Index[T any] interface {
	index(T) (name string, uses []use)
}

// Where adds conditions: all of them must hold.
func (q Query[T]) Where(conds ...Cond[T]) Query[T] {
	q.where = And(append([]Cond[T]{q.where}, conds...)...)
	return q
}

// OrderBy orders the rows by the fields, the first before the second. Rows that
// are equal there come in the order of their primary keys. An index or the
// primary key must have that order, unless there is a Limit. Without OrderBy
// the rows come as the chosen index has them.
func (q Query[T]) OrderBy(fields ...Ordering[T]) Query[T] {
	q.orderBy, q.uses = slices.Clone(q.orderBy), slices.Clone(q.uses)
	for _, f := range fields {
		var row T
		name, uses := f.order(row)
		q.orderBy = append(q.orderBy, record.Order{Field: name})
		q.uses = append(q.uses, uses...)
	}
	return q
}

// Reverse turns the order around.
func (q Query[T]) Reverse() Query[T] {
	q.reverse = !q.reverse
	return q
}

// Limit ends the rows after the first n, which must be positive.
func (q Query[T]) Limit(n int) Query[T] {
	q.limit = &n
	return q
}

// Using insists on an index, where the planner would choose for itself.
func (q Query[T]) Using(ix Index[T]) Query[T] {
	var row T
	name, uses := ix.index(row)
	q.using, q.uses = name, append(slices.Clone(q.uses), uses...)
	return q
}

// Rows yields the rows of the query, all from one state: the snapshot's, the
// transaction's, or the database's when the iteration starts. After an error
// nothing follows. Errors: ErrInvalid for a query that does not fit the table,
// or whose order would need unbounded memory; those of reading.
func (q Query[T]) Rows(ctx context.Context, r Reader) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		b, rq, err := q.compile(r)
		if err != nil {
			yield(none, err)
			return
		}
		for row, err := range b.table.Query(ctx, r.reader(), rq) {
			if err != nil {
				yield(none, err)
				return
			}
			var v T
			if err := b.codec.Unmarshal(row.Record, &v); err != nil {
				yield(none, fmt.Errorf("query %s: %w", b.table.Name(), err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// First returns the first row of the query, or ErrNotFound.
func (q Query[T]) First(ctx context.Context, r Reader) (T, error) {
	for row, err := range q.Limit(1).Rows(ctx, r) {
		return row, err
	}
	var none T
	return none, fmt.Errorf("query %s: no row: %w", q.model.table, ErrNotFound)
}

// Explain returns the plan by which the query would run, as text for people. It
// reads nothing.
func (q Query[T]) Explain(r Reader) (string, error) {
	b, rq, err := q.compile(r)
	if err != nil {
		return "", err
	}
	plan, err := b.table.Explain(rq)
	if err != nil {
		return "", err
	}
	return plan.String(), nil
}

// compile checks the query against the reader's table.
func (q Query[T]) compile(r Reader) (*binding, record.Query, error) {
	rq := record.Query{Where: q.where.cond, OrderBy: q.orderBy, Reverse: q.reverse, Using: q.using}
	b, err := r.bindings().of(q.model)
	if err == nil {
		err = q.where.err
	}
	for _, u := range slices.Concat(q.where.uses, q.uses) {
		if err == nil {
			err = u.check(b)
		}
	}
	if q.limit != nil {
		if rq.Limit = *q.limit; rq.Limit < 1 && err == nil {
			err = fmt.Errorf("%w: the limit is %d; it must be positive", ErrInvalid, rq.Limit)
		}
	}
	if err != nil {
		return nil, rq, fmt.Errorf("query %s: %w", q.model.table, err)
	}
	return b, rq, nil
}
