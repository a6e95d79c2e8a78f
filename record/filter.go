package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// Limits of filters: they come from strangers.
const (
	maxFilterBytes = 32 << 10
	maxFilterDepth = 100 // of parentheses
)

// FilterError says what is wrong with a filter, and where. It matches
// kv.ErrInvalid.
type FilterError struct {
	Line   int // from 1
	Column int // in characters, from 1
	Reason string
}

// Error returns the place and the reason.
func (e *FilterError) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("filter, line %d, column %d: %s", e.Line, e.Column, e.Reason)
	}
	return fmt.Sprintf("filter, column %d: %s", e.Column, e.Reason)
}

// Is reports whether target is kv.ErrInvalid.
func (e *FilterError) Is(target error) bool { return target == kv.ErrInvalid }

// ParseFilter reads a condition in the filter language of AIP-160, such as
//
//	section = "net" AND installed_size > 1000 AND depends:"libc6"
//
// Fields are named as in the schema. OR binds tighter than AND, as AIP-160 has
// it: parentheses help. NOT or a minus before a condition is its opposite; two
// conditions side by side are joined by AND. The empty text selects all.
//
//	name = "lib*"    a star at the end of a string makes it a prefix, with = != and
//	                 :, of strings and bytes; write "lib\x2a" for the star itself
//	depends:"libc6"  of a repeated field: one element equals the value
//	section:"net"    of any other field : is the same as =
//	homepage:*       the field has a value: an optional field or a message is
//	                 present, a repeated field or a map has elements
//	                 (zero is a value); NOT homepage:* selects the others
//	essential        a bool field alone is the same as essential = true
//
// Numbers are decimal, hexadecimal integers, or any form that Field.ParseText
// takes in quotes, as "1e9", "NaN", and integers beyond int64. Strings stand in
// quotes, or bare if they are one word. Times (RFC 3339), durations, UUIDs and
// bytes (base64) are strings in quotes; timestamp("...") and duration("...") may
// stand around them. Enums are names or numbers. = < <= > >= with a repeated
// field hold if they do for one element.
//
// The error is a *FilterError, which names an unknown field together with those
// that there are, and the place of a value of the wrong type.
func ParseFilter(s *Schema, filter string) (Cond, error) {
	if strings.TrimSpace(filter) == "" {
		return And(nil), nil
	}
	if len(filter) > maxFilterBytes {
		return nil, &FilterError{1, 1, fmt.Sprintf("it has %d bytes, of at most %d", len(filter), maxFilterBytes)}
	}
	p := &filterParser{schema: s, text: strings.TrimSpace(filter)}
	p.shift = strings.Index(filter, p.text)
	p.before = filter[:p.shift]
	if err := p.checkDepth(); err != nil {
		return nil, err
	}
	var parser filtering.Parser
	parser.Init(p.text)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, p.syntax(err)
	}
	p.places = parsed.GetSourceInfo().GetPositions()
	c, err := p.cond(parsed.GetExpr())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// filterParser turns the parsed expression of one filter into a condition.
type filterParser struct {
	schema *Schema
	text   string // without the white space around it
	before string // the white space before it
	shift  int
	places map[int64]int32 // byte offsets in text by expression id
}

// checkDepth bounds the recursion of the parser.
func (p *filterParser) checkDepth() error {
	var lexer filtering.Lexer
	lexer.Init(p.text)
	depth := 0
	for {
		token, err := lexer.Lex()
		if err != nil {
			return nil //nolint:nilerr // the end, or an error that the parser reports
		}
		switch token.Type {
		case filtering.TokenTypeLeftParen:
			if depth++; depth > maxFilterDepth {
				return p.errorf(int(token.Position.Offset), "more than %d parentheses in one another", maxFilterDepth)
			}
		case filtering.TokenTypeRightParen:
			depth--
		}
	}
}

// syntax returns the innermost error of the parser with its place.
func (p *filterParser) syntax(err error) error {
	type placed interface {
		error
		Position() filtering.Position
		Message() string
	}
	offset, reason := 0, "not a filter"
	for e := err; e != nil; e = errors.Unwrap(e) {
		if at, ok := e.(placed); ok { //nolint:errorlint // the loop unwraps, to reach the innermost
			offset, reason = int(at.Position().Offset), at.Message()
		} else {
			reason = e.Error()
		}
	}
	if reason == "EOF" {
		offset, reason = len(p.text), "it ends within a condition"
	}
	if raw := p.rawToken(offset); raw != "" && raw[0] >= '0' && raw[0] <= '9' {
		reason += ": numbers that are not plain decimals within int64, and times, stand in quotes"
	}
	return p.errorf(offset, "%s", reason)
}

func (p *filterParser) errorf(offset int, format string, args ...any) error {
	head := p.before + p.text[:min(max(offset, 0), len(p.text))]
	line := strings.LastIndexByte(head, '\n') + 1
	return &FilterError{
		Line:   1 + strings.Count(head, "\n"),
		Column: 1 + utf8.RuneCountInString(head[line:]),
		Reason: fmt.Sprintf(format, args...),
	}
}

// at returns where an expression begins.
func (p *filterParser) at(e *expr.Expr) int { return int(p.places[e.GetId()]) }

// cond returns the condition that an expression is.
func (p *filterParser) cond(e *expr.Expr) (Cond, error) {
	call := e.GetCallExpr()
	if call == nil {
		return p.alone(e)
	}
	args := call.GetArgs()
	if len(args) == 0 {
		return nil, p.errorf(p.at(e), "%s() is not a condition: write FIELD = VALUE", call.GetFunction())
	}
	switch name := call.GetFunction(); name {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		list, err := p.list(e, nil, filtering.FunctionAnd, filtering.FunctionFuzzyAnd)
		return And(list), err
	case filtering.FunctionOr:
		list, err := p.list(e, nil, filtering.FunctionOr)
		return Or(list), err
	case filtering.FunctionNot:
		c, err := p.cond(args[0])
		return Not{c}, err
	case "=", "!=", "<", "<=", ">", ">=", ":":
		if len(args) == 2 {
			return p.compare(e, name, args[0], args[1])
		}
	}
	return nil, p.errorf(p.at(e), "%s(...) is not a condition: write FIELD = VALUE", call.GetFunction())
}

// list collects the operands of nested calls of the same function.
func (p *filterParser) list(e *expr.Expr, out []Cond, names ...string) ([]Cond, error) {
	call := e.GetCallExpr()
	for _, name := range names {
		if call == nil || call.GetFunction() != name {
			continue
		}
		for _, arg := range call.GetArgs() {
			var err error
			if out, err = p.list(arg, out, names...); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	c, err := p.cond(e)
	return append(out, c), err
}

// alone returns the condition that a field without a comparison is.
func (p *filterParser) alone(e *expr.Expr) (Cond, error) {
	if e.GetConstExpr() != nil {
		return nil, p.errorf(p.at(e), "a value alone is not a condition: write FIELD = VALUE")
	}
	f, err := p.field(e)
	if err != nil {
		return nil, err
	}
	if f.kind != Bool || f.repeated {
		return nil, p.errorf(p.at(e), "field %q alone is not a condition: write %s = VALUE", f.name, f.name)
	}
	return Compare{f.name, Eq, tuple.Bool(true)}, nil
}

// field returns the field that an expression names.
func (p *filterParser) field(e *expr.Expr) (*Field, error) {
	var name string
	switch kind := e.GetExprKind().(type) {
	case *expr.Expr_IdentExpr:
		name = kind.IdentExpr.GetName()
	case *expr.Expr_ConstExpr: // a name in quotes
		name = kind.ConstExpr.GetStringValue()
	case *expr.Expr_SelectExpr:
		name = selectPath(e)
	}
	if name == "" {
		return nil, p.errorf(p.at(e), "a comparison begins with the name of a field")
	}
	f, err := p.schema.fieldNamed(name)
	if err != nil {
		return nil, p.errorf(p.at(e), "%s", err)
	}
	return f, nil
}

// selectPath returns a dotted path.
func selectPath(e *expr.Expr) string {
	if s := e.GetSelectExpr(); s != nil {
		return selectPath(s.GetOperand()) + "." + s.GetField()
	}
	return e.GetIdentExpr().GetName()
}

var filterOps = map[string]Op{"=": Eq, "!=": Ne, "<": Lt, "<=": Le, ">": Gt, ">=": Ge, ":": Has}

// compare returns the condition that a comparison is.
func (p *filterParser) compare(e *expr.Expr, name string, left, right *expr.Expr) (Cond, error) {
	f, err := p.field(left)
	if err != nil {
		return nil, err
	}
	lit, err := p.literal(right)
	if err != nil {
		return nil, err
	}
	op := filterOps[name]
	if op == Has && lit.text == "*" && !lit.quoted {
		return Not{Compare{Field: f.name, Op: IsNull}}, nil
	}
	if !f.kind.Comparable() {
		return nil, p.errorf(p.at(left), "field %q is of type %s, which cannot be compared; only %s:* can be asked", f.name, f.kind, f.name)
	}
	if op == Ne && f.repeated {
		return nil, p.errorf(p.at(left), "field %q is repeated: != is not defined for it; write NOT %s:VALUE", f.name, f.name)
	}
	if prefix, ok := p.prefix(f, op, lit); ok {
		var c Cond = Compare{f.name, Prefix, prefix}
		if op == Ne {
			c = Not{c}
		}
		return c, nil
	}
	v, err := p.value(f, lit)
	if err != nil {
		return nil, err
	}
	if op == Has && !f.repeated {
		op = Eq
	}
	return Compare{f.name, op, v}, nil
}

// literal is a value as it was written.
type literal struct {
	text   string
	number bool
	quoted bool
	star   bool // it ends in a star that was not escaped
	offset int
}

// literal reads the right side of a comparison.
func (p *filterParser) literal(e *expr.Expr) (literal, error) {
	lit := literal{offset: p.at(e)}
	switch kind := e.GetExprKind().(type) {
	case *expr.Expr_IdentExpr:
		lit.text = kind.IdentExpr.GetName()
		lit.star = strings.HasSuffix(lit.text, "*")
		return lit, nil
	case *expr.Expr_SelectExpr: // a bare word with dots
		lit.text = selectPath(e)
		lit.star = strings.HasSuffix(lit.text, "*")
		return lit, nil
	case *expr.Expr_CallExpr:
		args := kind.CallExpr.GetArgs()
		if name := kind.CallExpr.GetFunction(); (name == "timestamp" || name == "duration") && len(args) == 1 {
			return p.literal(args[0])
		}
	case *expr.Expr_ConstExpr:
		switch c := kind.ConstExpr.GetConstantKind().(type) {
		case *expr.Constant_StringValue:
			raw := p.rawToken(lit.offset)
			lit.text = c.StringValue
			lit.quoted = strings.HasPrefix(raw, `"`) || strings.HasPrefix(raw, `'`)
			lit.star = strings.HasSuffix(strings.TrimRight(raw, `"'`), "*")
			return lit, nil
		case *expr.Constant_Int64Value:
			lit.text, lit.number = fmt.Sprint(c.Int64Value), true
			return lit, nil
		case *expr.Constant_DoubleValue:
			lit.text, lit.number = strconv.FormatFloat(c.DoubleValue, 'g', -1, 64), true
			return lit, nil
		}
	}
	return lit, p.errorf(lit.offset, "not a value")
}

// rawToken returns the token at an offset as it was written.
func (p *filterParser) rawToken(offset int) string {
	var lexer filtering.Lexer
	lexer.Init(p.text[min(offset, len(p.text)):])
	token, err := lexer.Lex()
	if err != nil {
		return ""
	}
	return token.Value
}

// prefix returns the prefix that a string with a star at its end is.
func (p *filterParser) prefix(f *Field, op Op, lit literal) (tuple.Value, bool) {
	if !lit.star || op != Eq && op != Ne && op != Has {
		return tuple.Value{}, false
	}
	text := strings.TrimSuffix(lit.text, "*")
	switch f.kind {
	case String:
		return tuple.String(text), true
	case Bytes:
		v, err := f.ParseText(text)
		return v, err == nil
	}
	return tuple.Value{}, false
}

// value reads a literal as a value of the field.
func (p *filterParser) value(f *Field, lit literal) (tuple.Value, error) {
	wrong := func() error {
		return p.errorf(lit.offset, "field %q is of type %s; %s is not", f.name, f.kind, shown(lit))
	}
	if lit.number {
		switch f.kind {
		case Int, Uint, Float, Enum:
		default:
			return tuple.Value{}, wrong()
		}
	}
	v, err := f.ParseText(lit.text)
	if err != nil {
		return tuple.Value{}, wrong()
	}
	if v, err = convert(f, Eq, v); err != nil {
		return tuple.Value{}, p.errorf(lit.offset, "%s", err)
	}
	return v, nil
}

func shown(lit literal) string {
	if lit.number {
		return lit.text
	}
	return fmt.Sprintf("%.60q", lit.text)
}
