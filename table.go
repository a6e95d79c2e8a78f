package stele

import (
	"context"
	"fmt"
	"reflect"
)

// Table is the definition of a table, and the typed way to it: its rows are
// structs of type T, its primary keys values of type K. It is usually a
// variable of a package and works with every database that was opened with it.
// It may be used concurrently.
type Table[T, K any] struct {
	m *model
}

// NewTable defines the table name of rows of type T. T's fields and their stele
// tags are its schema, as package record/structs describes. K is the type of
// the one field that is tagged key; if several are, K is a struct with a field
// of the same name and type for each. What is wrong with it [Open] reports.
func NewTable[T, K any](name string) *Table[T, K] {
	return &Table[T, K]{m: &model{table: name, record: reflect.TypeFor[T](), key: reflect.TypeFor[K]()}}
}

// Name returns the table's name.
func (t *Table[T, K]) Name() string { return t.m.table }

func (t *Table[T, K]) definition() *model { return t.m }

// Insert writes a new row, with its index entries, durably when w is a [DB].
// It returns ErrExists if there is a row with the same primary key, a
// *[UniqueError], which matches ErrExists too, if another row has the same
// values in a unique index, and ErrInvalid if the row cannot be stored.
func (t *Table[T, K]) Insert(ctx context.Context, w Writer, row *T) error {
	return t.write(ctx, w, row, insert)
}

// Put writes a row in place of the one with the same primary key, if there is
// one. It returns the errors of Insert but that one.
func (t *Table[T, K]) Put(ctx context.Context, w Writer, row *T) error {
	return t.write(ctx, w, row, put)
}

// Update replaces the row with the same primary key. It returns ErrNotFound if
// there is none, else the errors of Put.
func (t *Table[T, K]) Update(ctx context.Context, w Writer, row *T) error {
	return t.write(ctx, w, row, update)
}

func (t *Table[T, K]) write(ctx context.Context, w Writer, row *T, verb verb) error {
	b, err := w.bindings().of(t.m)
	if err != nil {
		return err
	}
	rec, err := b.codec.Append(nil, row)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, t.m.table, err)
	}
	return w.write(ctx, func(tx *Tx) error {
		switch verb {
		case insert:
			return b.table.Insert(ctx, tx.tx, rec)
		case update:
			return b.table.Update(ctx, tx.tx, rec)
		}
		return b.table.Put(ctx, tx.tx, rec)
	})
}

// verb is how a row is written, as errors say it.
type verb string

const (
	insert verb = "insert"
	put    verb = "put"
	update verb = "update"
)

// Delete removes the row with the primary key, and its index entries. It
// reports whether there was one.
func (t *Table[T, K]) Delete(ctx context.Context, w Writer, key K) (existed bool, err error) {
	b, err := w.bindings().of(t.m)
	if err != nil {
		return false, err
	}
	pk, err := b.key.Tuple(key)
	if err != nil {
		return false, fmt.Errorf("delete %s: %w", t.m.table, err)
	}
	err = w.write(ctx, func(tx *Tx) error {
		existed, err = b.table.Delete(ctx, tx.tx, pk)
		return err
	})
	return existed, err
}

// Get returns the row with the primary key, or ErrNotFound.
func (t *Table[T, K]) Get(ctx context.Context, r Reader, key K) (T, error) {
	var row T
	b, err := r.bindings().of(t.m)
	if err != nil {
		return row, err
	}
	pk, err := b.key.Tuple(key)
	if err != nil {
		return row, fmt.Errorf("get %s: %w", t.m.table, err)
	}
	rec, err := b.table.Get(ctx, r.reader(), pk)
	if err != nil {
		return row, err
	}
	if err := b.codec.Unmarshal(rec, &row); err != nil {
		return row, fmt.Errorf("get %s %s: %w", t.m.table, b.table.Schema().FormatKey(pk), err)
	}
	return row, nil
}

// All is the query of all rows, in the order of their primary keys.
func (t *Table[T, K]) All() Query[T] { return t.Where() }

// Where is the query of the rows for which all conditions hold.
func (t *Table[T, K]) Where(conds ...Cond[T]) Query[T] {
	return Query[T]{model: t.m, where: And(conds...)}
}
