package server

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stele-db/stele/record"
)

// The field numbers of IndexQuery, all in its oneof expression.
const (
	fieldEq = 1 + iota
	fieldGte
	fieldLte
	fieldBeginsWith
)

// expressionNames are the names of IndexQuery's fields by number.
var expressionNames = [...]string{fieldEq: "eq", fieldGte: "gte", fieldLte: "lte", fieldBeginsWith: "begins_with"}

// indexQuery is one decoded IndexQuery.
type indexQuery struct {
	op   protowire.Number // the field that is set
	text string
}

// field is the name of the set field, for messages about it.
func (q indexQuery) field() string { return expressionNames[q.op] }

// all reports whether q asks for every record.
func (q indexQuery) all() bool { return q.op == fieldBeginsWith && q.text == "" }

// parseIndexQuery decodes an IndexQuery. As in any oneof the last field wins;
// fields with other numbers are room for later and mean nothing here.
func parseIndexQuery(b []byte) (indexQuery, error) {
	var q indexQuery
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return q, invalid("", "the query is not a valid IndexQuery: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if num < fieldEq || num > fieldBeginsWith {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return q, invalid("", "the query is not a valid IndexQuery: %v", protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		if typ != protowire.BytesType {
			return q, invalid(expressionNames[num], "has wire type %d, want a string", typ)
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return q, invalid(expressionNames[num], "%v", protowire.ParseError(n))
		}
		if !utf8.Valid(v) {
			return q, invalid(expressionNames[num], "is not valid UTF-8")
		}
		q, b = indexQuery{num, string(v)}, b[n:]
	}
	if q.op == 0 {
		return q, invalid("expression", "is not set: give one of eq, gte, lte, begins_with (begins_with \"\" is every record)")
	}
	return q, nil
}

// query turns the IndexQuery in a request into a query of the method's table
// along its access path. No planning is left for later: the index is named.
func (m *method) query(req []byte) (record.Query, error) {
	q, err := parseIndexQuery(req)
	if err != nil {
		return record.Query{}, err
	}
	if m.field != nil {
		return fieldQuery(m.field, m.index, q)
	}
	key := m.table.Schema().Key()
	if len(key) == 1 {
		return fieldQuery(key[0], record.PrimaryKey, q)
	}
	return keyQuery(m.table.Schema(), q)
}

// ops are the comparisons of the expressions.
var ops = [...]record.Op{fieldEq: record.Eq, fieldGte: record.Ge, fieldLte: record.Le, fieldBeginsWith: record.Prefix}

// fieldQuery ranges over the values of one field. A repeated field selects the
// records that have an element in the range.
func fieldQuery(f *record.Field, using string, q indexQuery) (record.Query, error) {
	if f.Repeated() && q.all() { // its index has no entry for a record without elements
		return record.Query{Using: record.PrimaryKey}, nil
	}
	out := record.Query{Reverse: q.op == fieldLte, Using: using}
	if !f.Repeated() {
		out.OrderBy = []record.Order{{Field: f.Name()}}
	}
	if q.all() {
		return out, nil
	}
	if q.op == fieldBeginsWith && f.Kind() != record.String && f.Kind() != record.Bytes {
		return out, invalid(q.field(), "is for strings and bytes, and %s is a %s: give eq, gte or lte, or \"\" for every record", f.Name(), f.Kind())
	}
	v, err := f.ParseText(q.text)
	if err != nil {
		return out, invalid(q.field(), "is not a value of %s: %v", f.Name(), err)
	}
	out.Where = record.Compare{Field: f.Name(), Op: ops[q.op], Value: v}
	return out, nil
}

// keyQuery ranges over a composite primary key, whose order is that of its
// first part, among equals that of the second, and so on.
func keyQuery(s *record.Schema, q indexQuery) (record.Query, error) {
	out := record.Query{Reverse: q.op == fieldLte, Using: record.PrimaryKey}
	for _, f := range s.Key() {
		out.OrderBy = append(out.OrderBy, record.Order{Field: f.Name()})
	}
	if q.all() {
		return out, nil
	}
	if q.op == fieldBeginsWith {
		return out, invalid(q.field(), "must be \"\" for a composite primary key: give eq, gte or lte")
	}
	key, err := s.ParseKey(q.text)
	if err != nil {
		return out, invalid(q.field(), "is not a primary key of %s: %v", s.Table(), err)
	}
	var equal record.And // the parts before the i-th are as in the key
	var beyond record.Or // the i-th part is the first that differs, to the right side
	for i, f := range s.Key() {
		beyond = append(beyond, append(equal[:i:i], record.Compare{Field: f.Name(), Op: strict[q.op], Value: key[i]}))
		equal = append(equal, record.Compare{Field: f.Name(), Op: record.Eq, Value: key[i]})
	}
	if q.op == fieldEq {
		out.Where = equal
		return out, nil
	}
	// The first part bounds the range to read, the rest only selects from it.
	first := record.Compare{Field: s.Key()[0].Name(), Op: ops[q.op], Value: key[0]}
	out.Where = record.And{first, append(beyond, equal)}
	return out, nil
}

// strict are the comparisons of the expressions without equality.
var strict = [...]record.Op{fieldEq: record.Eq, fieldGte: record.Gt, fieldLte: record.Lt}
