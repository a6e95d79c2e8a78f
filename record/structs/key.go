package structs

import (
	"cmp"
	"fmt"
	"reflect"
	"time"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// ValueOf returns the value that stands for v in keys and conditions: what the
// record layer reads from a field that holds v. Durations are nanoseconds,
// enums their numbers. It returns kv.ErrInvalid for a type that has no order:
// nested structs, and whatever no record holds.
func ValueOf(v any) (tuple.Value, error) {
	// The common types need no reflection.
	switch x := v.(type) {
	case string:
		return tuple.String(x), nil
	case int64:
		return tuple.Int(x), nil
	case int:
		return tuple.Int(int64(x)), nil
	case time.Time:
		return tuple.Time(x), nil
	case []byte:
		return tuple.Bytes(x), nil
	}
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		return tuple.Value{}, fmt.Errorf("%w: nil has no place in an order", kv.ErrInvalid)
	}
	switch shapeOf(rv.Type()) {
	case number:
		return numberValue(rv), nil
	case text:
		return tuple.String(rv.String()), nil
	case blob:
		return tuple.Bytes(rv.Bytes()), nil
	case uuid:
		var u [16]byte
		reflect.Copy(reflect.ValueOf(&u).Elem(), rv)
		return tuple.UUID(u), nil
	case duration:
		return tuple.Int(rv.Int()), nil
	}
	return tuple.Value{}, fmt.Errorf("%w: values of type %T have no order", kv.ErrInvalid, v)
}

func numberValue(v reflect.Value) tuple.Value {
	switch {
	case v.CanInt():
		return tuple.Int(v.Int())
	case v.CanUint():
		return tuple.Uint(v.Uint())
	case v.CanFloat():
		return tuple.Float(v.Float())
	}
	return tuple.Bool(v.Bool())
}

// Key turns primary keys of one Go type into tuples: a key of one part is a
// value of that part's type, one of several parts a struct of them. It is
// immutable and may be used concurrently.
type Key struct {
	typ   reflect.Type
	parts []keyPart
}

// keyPart is where a part of the key lies in the Go value.
type keyPart struct {
	field Field
	index []int // nil: the value itself
}

// CompileKey prepares keys of type t for records of the codec c, whose key
// fields, in the order of the tuples' parts, are named by parts. If t is a
// struct, its fields are matched with the parts by name. The error matches
// kv.ErrInvalid and lists all faults.
func CompileKey(t reflect.Type, c *Codec, parts []string) (*Key, error) {
	k := &Key{typ: t}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	have := keyFields(t)
	for _, name := range parts {
		f, ok := c.Field(name)
		if !ok {
			fault("key field %s is not in the struct", name)
			continue
		}
		part, ok := have[name]
		if have == nil && len(parts) == 1 {
			part, ok = keyPart{field: Field{Type: t}}, true
		}
		switch {
		case !ok:
			fault("key type %v has no field for the key's part %s (%v)", t, name, f.Type)
		case part.field.Type != f.Type:
			fault("key type %v says that %s is a %v, the record's field is a %v", t, name, part.field.Type, f.Type)
		}
		delete(have, name)
		k.parts = append(k.parts, keyPart{field: f, index: part.index})
	}
	for name := range have {
		fault("key type %v has a field %s that is no part of the key", t, name)
	}
	if len(faults) > 0 {
		return nil, &DefinitionError{Type: c.Type(), Faults: faults}
	}
	return k, nil
}

// keyFields returns the fields of a key type by their names in the message, or
// nil if a value of it is one part.
func keyFields(t reflect.Type) map[string]keyPart {
	if shapeOf(t) != nested {
		return nil
	}
	out := map[string]keyPart{}
	for _, sf := range reflect.VisibleFields(t) {
		if !sf.IsExported() || sf.Anonymous && inlined(sf.Type) {
			continue
		}
		tg, _ := parseTag(sf.Tag.Get(tagName))
		name := cmp.Or(tg.name, snake(sf.Name))
		out[name] = keyPart{field: Field{Name: name, Type: sf.Type}, index: sf.Index}
	}
	return out
}

// Tuple returns the tuple of the key v, which must be of the key's type.
func (k *Key) Tuple(v any) (tuple.Tuple, error) {
	t := make(tuple.Tuple, 0, len(k.parts))
	var rv reflect.Value
	for _, p := range k.parts {
		part := v
		if p.index != nil {
			if !rv.IsValid() {
				if rv = reflect.ValueOf(v); !rv.IsValid() || rv.Type() != k.typ {
					return nil, errKeyType(k.typ, v)
				}
			}
			part = rv.FieldByIndex(p.index).Interface()
		}
		val, err := ValueOf(part)
		if err != nil {
			return nil, fmt.Errorf("key part %s: %w", p.field.Name, err)
		}
		t = append(t, val)
	}
	return t, nil
}

func errKeyType(t reflect.Type, v any) error {
	return fmt.Errorf("%w: the key is a %T, not a %v", kv.ErrInvalid, v, t)
}
