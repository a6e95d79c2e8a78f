package stele

import (
	"fmt"
	"reflect"

	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/record/structs"
)

// Field is a typed handle to a field of a table's rows, indexed or not. Its
// methods make conditions: on values of the field's own type, so that a wrong
// one does not compile. Handles are plain values and may be copied and used
// concurrently.
//
// Conditions follow the logic of SQL: a field that is a nil pointer is neither
// equal to a value nor different from it, and only IsNull finds it. Zero is a
// value like others.
type Field[T, V any] struct {
	m    *model
	name string
}

// FieldOf returns a handle to the field name, as the schema has it (in
// snake_case, or as its tag says), of the table's rows. V is the type of the
// struct's field; of what it points to if that is a pointer; of one element if
// it is a slice, unless it is a []byte. A handle that does not fit is reported
// by [Open], and by queries if it was made later.
func FieldOf[V, T, K any](t *Table[T, K], name string) Field[T, V] {
	t.m.declareField(name, reflect.TypeFor[V]())
	return Field[T, V]{m: t.m, name: name}
}

// Name returns the field's name in the schema.
func (f Field[T, V]) Name() string { return f.name }

// Eq holds for rows whose field equals v.
func (f Field[T, V]) Eq(v V) Cond[T] { return f.compare(record.Eq, v) }

// Ne holds for rows whose field differs from v. Repeated fields do not have it:
// say Not(f.Has(v)).
func (f Field[T, V]) Ne(v V) Cond[T] { return f.compare(record.Ne, v) }

// Lt holds for rows whose field is less than v.
func (f Field[T, V]) Lt(v V) Cond[T] { return f.compare(record.Lt, v) }

// Le holds for rows whose field is v or less.
func (f Field[T, V]) Le(v V) Cond[T] { return f.compare(record.Le, v) }

// Gt holds for rows whose field is greater than v.
func (f Field[T, V]) Gt(v V) Cond[T] { return f.compare(record.Gt, v) }

// Ge holds for rows whose field is v or greater.
func (f Field[T, V]) Ge(v V) Cond[T] { return f.compare(record.Ge, v) }

// Between holds for rows whose field is neither less than low nor greater than
// high.
func (f Field[T, V]) Between(low, high V) Cond[T] { return And(f.Ge(low), f.Le(high)) }

// In holds for rows whose field equals one of the values; with none, for no row.
func (f Field[T, V]) In(values ...V) Cond[T] {
	conds := make([]Cond[T], len(values))
	for i, v := range values {
		conds[i] = f.Eq(v)
	}
	return Or(conds...)
}

// HasPrefix holds for rows whose field, a string or bytes, begins with prefix.
func (f Field[T, V]) HasPrefix(prefix V) Cond[T] { return f.compare(record.Prefix, prefix) }

// Has holds for rows whose field, a slice, has an element equal to v.
func (f Field[T, V]) Has(v V) Cond[T] { return f.compare(record.Has, v) }

// IsNull holds for rows whose field is a nil pointer, or a slice without
// elements.
func (f Field[T, V]) IsNull() Cond[T] {
	return Cond[T]{cond: record.Compare{Field: f.name, Op: record.IsNull}, uses: f.uses()}
}

func (f Field[T, V]) compare(op record.Op, v V) Cond[T] {
	value, err := structs.ValueOf(v)
	if err != nil {
		err = fmt.Errorf("field %s: %w", f.name, err)
	}
	return Cond[T]{cond: record.Compare{Field: f.name, Op: op, Value: value}, uses: f.uses(), err: err}
}

func (f Field[T, V]) uses() []use { return []use{{f.m, handle{f.name, reflect.TypeFor[V]()}}} }

func (f Field[T, V]) order(T) (string, []use) { return f.name, f.uses() }
func (f Field[T, V]) index(T) (string, []use) { return f.name, f.uses() }

// use is a handle that a query depends on, and the table it was made for.
type use struct {
	model *model
	field handle
}

// check reports why the handle is not good in a query of b's table.
func (u use) check(b *binding) error {
	if u.model != b.model {
		return fmt.Errorf("%w: the handle to field %q is not one of this table", ErrInvalid, u.field.name)
	}
	if err := u.field.check(b.codec); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Cond is a condition on rows of type T. The zero value holds for all rows.
type Cond[T any] struct {
	cond record.Cond // nil: true
	uses []use
	err  error
}

// String returns the condition as filters write it.
func (c Cond[T]) String() string {
	if c.cond == nil {
		return ""
	}
	return c.cond.String()
}

// And holds if all conditions do.
func And[T any](conds ...Cond[T]) Cond[T] {
	all, out := gather(conds)
	if len(all) == 1 {
		out.cond = all[0]
	} else if len(all) > 1 {
		out.cond = record.And(all)
	}
	return out
}

// Or holds if one of the conditions does; with none, for no row.
func Or[T any](conds ...Cond[T]) Cond[T] {
	any, out := gather(conds)
	if len(any) == len(conds) { // none of them is always true
		out.cond = record.Or(any)
	}
	return out
}

// Not holds for the rows for which the condition is false. Where a field is
// null both the condition and its opposite are unknown, and neither holds.
func Not[T any](c Cond[T]) Cond[T] {
	if c.cond == nil {
		c.cond = record.Or(nil)
		return c
	}
	c.cond = record.Not{Cond: c.cond}
	return c
}

// gather collects what conditions are made of.
func gather[T any](conds []Cond[T]) ([]record.Cond, Cond[T]) {
	var list []record.Cond
	var out Cond[T]
	for _, c := range conds {
		if c.cond != nil {
			list = append(list, c.cond)
		}
		out.uses = append(out.uses, c.uses...)
		if out.err == nil {
			out.err = c.err
		}
	}
	return list, out
}
