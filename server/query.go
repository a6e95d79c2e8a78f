package server

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
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
