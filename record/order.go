package record

import (
	"strings"

	"github.com/stele-db/stele/tuple"
)

// Order is one field that rows are ordered by. Null comes first, -0 before 0,
// NaN after all other numbers; strings are ordered by code point, enums by
// number.
type Order struct {
	Field string
	Desc  bool // the greatest first
}

// ParseOrder reads an order such as "installed_size desc, name": fields with
// commas between them, each followed by asc or desc if wanted. The empty text
// is no order. It returns kv.ErrInvalid for unknown fields and for those that
// have no order, repeated ones and messages.
func ParseOrder(s *Schema, text string) ([]Order, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list []Order
	for item := range strings.SplitSeq(text, ",") {
		words := strings.Fields(item)
		if len(words) == 0 || len(words) > 2 {
			return nil, invalidf("order %q: want FIELD or FIELD asc or FIELD desc, with commas between", text)
		}
		o := Order{Field: words[0]}
		if len(words) == 2 {
			switch strings.ToLower(words[1]) {
			case "desc":
				o.Desc = true
			case "asc":
			default:
				return nil, invalidf("order %q: after a field comes asc or desc, not %q", text, words[1])
			}
		}
		if _, err := orderField(s, o.Field); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

// orderField finds a field that rows can be ordered by.
func orderField(s *Schema, name string) (*Field, error) {
	f, err := s.fieldNamed(name)
	switch {
	case err != nil:
		return nil, err
	case f.repeated:
		return nil, invalidf("cannot order by field %q: it is repeated", name)
	case !f.kind.Comparable():
		return nil, invalidf("cannot order by field %q: it is of type %s", name, f.kind)
	}
	return f, nil
}

// orderKey is one part of a total order of rows.
type orderKey struct {
	field *Field
	desc  bool
}

// totalOrder returns the order that the query asks for, made total by the
// primary key in the direction of the last field. Fields that the condition
// fixes to one value, and repetitions, are left out. Without OrderBy it is
// empty: any order will do.
func totalOrder(s *Schema, q *Query, constant func(*Field) bool) ([]orderKey, error) {
	if len(q.OrderBy) == 0 {
		return nil, nil
	}
	var keys []orderKey
	desc := false
	add := func(f *Field) {
		if !constant(f) && !hasField(keys, f) {
			keys = append(keys, orderKey{f, desc})
		}
	}
	for _, o := range q.OrderBy {
		f, err := orderField(s, o.Field)
		if err != nil {
			return nil, err
		}
		desc = o.Desc != q.Reverse
		add(f)
	}
	for _, f := range s.key {
		add(f)
	}
	return keys, nil
}

func hasField(keys []orderKey, f *Field) bool {
	for _, k := range keys {
		if k.field == f {
			return true
		}
	}
	return false
}

// appendSortKey appends bytes that sort as the record does in the order.
func appendSortKey(dst []byte, keys []orderKey, rec []byte, values []tuple.Value) ([]byte, []tuple.Value, error) {
	for _, k := range keys {
		var err error
		if values, err = k.field.Values(rec, values[:0]); err != nil {
			return dst, values, err
		}
		if dst, err = tuple.Append(dst, values[0], k.desc); err != nil {
			return dst, values, err
		}
	}
	return dst, values, nil
}

func orderText(keys []orderKey) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k.field.name
		if k.desc {
			parts[i] += " desc"
		}
	}
	return strings.Join(parts, ", ")
}
