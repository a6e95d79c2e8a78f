package record

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/tuple"
)

// Op is what a [Compare] asks of a field.
type Op uint8

// The comparisons. On a repeated field each holds for a row if it holds for at
// least one element; Ne is refused there, because it would not be the opposite
// of Eq: say Not of Eq.
const (
	Eq     Op = iota + 1 // equal to the value
	Ne                   // not equal to the value
	Lt                   // less than the value
	Le                   // less than or equal to the value
	Gt                   // greater than the value
	Ge                   // greater than or equal to the value
	Prefix               // a string, or bytes, that begins with the value
	Has                  // of a repeated field: an element equals the value; else as Eq
	IsNull               // absent, or without elements; the value is not used
)

var opNames = [...]string{"?", "=", "!=", "<", "<=", ">", ">=", "=", ":", ":*"}

// String returns the operator as filters write it.
func (op Op) String() string {
	if int(op) < len(opNames) {
		return opNames[op]
	}
	return opNames[0]
}

// Cond is a condition on a record: a [Compare], [And], [Or] or [Not].
//
// Conditions follow the three-valued logic of SQL: a comparison with a null
// field, or with a null value, is neither true nor false but unknown, and so is
// its negation; a row is selected only if the whole condition is true. Only
// IsNull looks at null itself. Zero is a value like others.
//
// Floats compare as numbers with two additions: -0 equals 0, and NaN equals
// itself and is greater than all others, which is where indexes keep it.
// Numbers are converted to the type of the field; of a 32-bit float field a
// condition compares with the nearest 32-bit float.
type Cond interface {
	// String returns the condition in the form that ParseFilter reads.
	String() string
	// bind resolves names and types. If negate is set the result is the
	// condition's opposite.
	bind(b *binder, negate bool) (node, error)
}

// Compare compares a field with a value. The value's kind is the field's:
// integers for Int, Uint, Enum (the number) and Duration (nanoseconds).
type Compare struct {
	Field string
	Op    Op
	Value tuple.Value
}

// And holds if all of its conditions do; with none it is true.
type And []Cond

// Or holds if one of its conditions does; with none it is false.
type Or []Cond

// Not holds if its condition is false: not if that is unknown.
type Not struct{ Cond Cond }

// String returns the comparison in the form that ParseFilter reads, as far as
// that can be said without the schema: enums are numbers, and so are durations,
// in nanoseconds, which ParseFilter does not take.
func (c Compare) String() string { return compareText(c.Field, c.Op, valueText(nil, c.Op, c.Value)) }

// String returns the conditions joined by AND.
func (c And) String() string { return joinConds(c, " AND ") }

// String returns the conditions joined by OR.
func (c Or) String() string { return joinConds(c, " OR ") }

// String returns NOT and the condition.
func (c Not) String() string {
	if c.Cond == nil {
		return ""
	}
	return "NOT (" + c.Cond.String() + ")"
}

func joinConds(list []Cond, sep string) string {
	parts := make([]string, 0, len(list))
	for _, c := range list {
		switch c.(type) {
		case And, Or:
			parts = append(parts, "("+c.String()+")")
		case nil:
		default:
			parts = append(parts, c.String())
		}
	}
	return strings.Join(parts, sep)
}

func compareText(field string, op Op, value string) string {
	switch op {
	case IsNull:
		return "NOT " + field + ":*"
	case Has:
		return field + ":" + value
	}
	return field + " " + op.String() + " " + value
}

// valueText writes a value as filters do: numbers and booleans bare, all else
// in quotes. The field, if it is known, says how.
func valueText(f *Field, op Op, v tuple.Value) string {
	text := v.String()
	switch v.Kind() {
	case tuple.KindNull:
		return "null"
	case tuple.KindString:
		s, _ := v.AsString()
		return quoteFilter(s, op == Prefix)
	case tuple.KindBool:
		return text
	case tuple.KindInt:
		if i, ok := v.AsInt64(); (f == nil || f.kind == Int || f.kind == Uint) && ok && i != math.MinInt64 {
			return text // the language's own numbers go no further
		}
	case tuple.KindFloat:
		if x, _ := v.AsFloat64(); !math.IsNaN(x) && !math.IsInf(x, 0) {
			return strconv.FormatFloat(x, 'f', -1, 64)
		}
	case tuple.KindBytes:
		b, _ := v.AsBytes()
		return quoteFilter(base64.StdEncoding.EncodeToString(b), op == Prefix)
	case tuple.KindTime:
		t, _ := v.AsTime()
		text = t.UTC().Format(time.RFC3339Nano)
	}
	if f != nil {
		text = f.FormatText(v)
	}
	return quoteFilter(text, op == Prefix)
}

// quoteFilter quotes a string for a filter. A star at its end would make it a
// prefix, so one that is meant as it is gets escaped.
func quoteFilter(s string, prefix bool) string {
	switch {
	case prefix:
		return strconv.Quote(s + "*")
	case strings.HasSuffix(s, "*"):
		q := strconv.Quote(s)
		return q[:len(q)-2] + `\x2a"`
	}
	return strconv.Quote(s)
}

// truth is a value of three-valued logic. AND is the least, OR the greatest.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

func (t truth) not() truth { return yes - t }

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// node is a condition whose names and types are resolved.
type node interface {
	eval(e *evaluator) (truth, error)
	String() string
}

type (
	allOf []node
	anyOf []node
	// fixed is a condition that no row changes.
	fixed truth
	// noElement is the opposite of a test of a repeated field.
	noElement struct{ *test }
)

// test is a comparison of a field with a value of the field's type.
type test struct {
	field     *Field
	slot      int // of the field's values in the evaluator
	op        Op  // never Has; IsNull may be negated
	negate    bool
	value     tuple.Value
	low, high tuple.Value // all that counts as equal to value
}

// binder resolves conditions for one schema.
type binder struct {
	schema *Schema
	fields []*Field // by slot
}

// bindCond resolves a condition; nil selects all rows.
func bindCond(s *Schema, c Cond) (node, []*Field, error) {
	b := &binder{schema: s}
	if c == nil {
		return allOf(nil), nil, nil
	}
	n, err := c.bind(b, false)
	return n, b.fields, err
}

func (b *binder) slot(f *Field) int {
	for i, g := range b.fields {
		if g == f {
			return i
		}
	}
	b.fields = append(b.fields, f)
	return len(b.fields) - 1
}

// field finds a field, or says which there are.
func (s *Schema) fieldNamed(name string) (*Field, error) {
	if f := s.Field(name); f != nil {
		return f, nil
	}
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return nil, invalidf("%s has no field %q; its fields are %s", s.table, name, strings.Join(names, ", "))
}

func (c And) bind(b *binder, negate bool) (node, error) {
	list, err := b.list(c, negate)
	if negate {
		return oneOf(list), err
	}
	return every(list), err
}

func (c Or) bind(b *binder, negate bool) (node, error) {
	list, err := b.list(c, negate)
	if negate {
		return every(list), err
	}
	return oneOf(list), err
}

func (c Not) bind(b *binder, negate bool) (node, error) {
	if c.Cond == nil {
		return nil, invalidf("Not has no condition")
	}
	return c.Cond.bind(b, !negate)
}

func (b *binder) list(conds []Cond, negate bool) ([]node, error) {
	list := make([]node, 0, len(conds))
	for _, c := range conds {
		if c == nil {
			return nil, invalidf("a condition is nil")
		}
		n, err := c.bind(b, negate)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// every is the conjunction of the list, nested ones joined into it, so that the
// planner sees every conjunct.
func every(list []node) node {
	var out allOf
	for _, n := range list {
		if inner, ok := n.(allOf); ok {
			out = append(out, inner...)
		} else {
			out = append(out, n)
		}
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// oneOf is the alternative of the list; with none it is false.
func oneOf(list []node) node {
	var out anyOf
	for _, n := range list {
		if inner, ok := n.(anyOf); ok {
			out = append(out, inner...)
		} else {
			out = append(out, n)
		}
	}
	switch len(out) {
	case 0:
		return fixed(no)
	case 1:
		return out[0]
	}
	return out
}

// opposite is the comparison that holds, in three-valued logic, exactly where
// the other does not.
var opposite = map[Op]Op{Eq: Ne, Ne: Eq, Lt: Ge, Le: Gt, Gt: Le, Ge: Lt}

func (c Compare) bind(b *binder, negate bool) (node, error) {
	f, err := b.schema.fieldNamed(c.Field)
	if err != nil {
		return nil, err
	}
	t := &test{field: f, slot: b.slot(f), op: c.Op, value: c.Value}
	switch {
	case t.op == IsNull:
		t.value, t.negate = tuple.Null(), negate
		return t, nil
	case t.op < Eq || t.op > IsNull:
		return nil, invalidf("field %q: %d is not an operator", f.name, c.Op)
	case t.op == Ne && f.repeated:
		return nil, invalidf("field %q is repeated: != is not defined for it; write NOT %s:VALUE", f.name, f.name)
	case !f.kind.Comparable():
		return nil, invalidf("field %q is of type %s, which cannot be compared; only %s:* can be asked", f.name, f.kind, f.name)
	case t.op == Has:
		t.op = Eq
	}
	if t.value, err = convert(f, t.op, c.Value); err != nil {
		return nil, err
	}
	if t.value.IsNull() {
		return fixed(unknown), nil
	}
	t.low, t.high = tuple.EqualRange(t.value)
	switch {
	case !negate:
		return t, nil
	case f.repeated:
		return noElement{t}, nil
	case opposite[t.op] != 0:
		t.op = opposite[t.op]
	default: // Prefix
		t.negate = true
	}
	return t, nil
}

// convert makes a value of the field's type of v.
func convert(f *Field, op Op, v tuple.Value) (tuple.Value, error) {
	want := valueKind(f.kind)
	if op == Prefix && want != tuple.KindString && want != tuple.KindBytes {
		return v, invalidf("field %q is of type %s: only strings and bytes have prefixes", f.name, f.kind)
	}
	switch {
	case v.IsNull():
		return v, nil
	case want == tuple.KindFloat && v.Kind() == tuple.KindInt:
		if i, ok := v.AsInt64(); ok {
			v = tuple.Float(float64(i))
		} else if u, ok := v.AsUint64(); ok {
			v = tuple.Float(float64(u))
		}
	case want == tuple.KindInt && v.Kind() == tuple.KindFloat:
		if x, _ := v.AsFloat64(); x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			v = tuple.Int(int64(x))
		}
	}
	if v.Kind() != want {
		return v, invalidf("field %q is of type %s; it cannot be compared with a value of type %s", f.name, f.kind, v.Kind())
	}
	if x, ok := v.AsFloat64(); ok && x == 0 {
		v = tuple.Float(0) // -0 is the same condition
	}
	if f.fd.Kind() == protoreflect.FloatKind {
		x, _ := v.AsFloat64()
		if y := float64(float32(x)); !math.IsInf(y, 0) {
			v = tuple.Float(y)
		}
	}
	if _, err := tuple.Append(nil, v, false); err != nil {
		return v, invalidf("field %q: %w", f.name, err)
	}
	return v, nil
}

// valueKind returns the kind of value that a field of kind k has.
func valueKind(k Kind) tuple.Kind {
	switch k {
	case Bool:
		return tuple.KindBool
	case Int, Uint, Enum, Duration:
		return tuple.KindInt
	case Float:
		return tuple.KindFloat
	case String:
		return tuple.KindString
	case Bytes:
		return tuple.KindBytes
	case UUID:
		return tuple.KindUUID
	case Time:
		return tuple.KindTime
	}
	return tuple.KindNull
}

// evaluator reads the fields that a condition needs from one record after
// another, each at most once a record. It is used by one goroutine.
type evaluator struct {
	fields []*Field // by slot
	rec    []byte
	values [][]tuple.Value
	read   []bool
}

func newEvaluator(fields []*Field) *evaluator {
	return &evaluator{fields: fields, values: make([][]tuple.Value, len(fields)), read: make([]bool, len(fields))}
}

// reset turns the evaluator to a record, which must stay unchanged until the
// next reset.
func (e *evaluator) reset(rec []byte) {
	e.rec = rec
	clear(e.read)
}

func (e *evaluator) get(slot int) ([]tuple.Value, error) {
	if !e.read[slot] {
		vals, err := e.fields[slot].Values(e.rec, e.values[slot][:0])
		if err != nil {
			return nil, err
		}
		e.values[slot], e.read[slot] = vals, true
	}
	return e.values[slot], nil
}

func (l allOf) eval(e *evaluator) (truth, error) {
	result := yes
	for _, n := range l {
		t, err := n.eval(e)
		if err != nil || t == no {
			return no, err
		}
		result = min(result, t)
	}
	return result, nil
}

func (l anyOf) eval(e *evaluator) (truth, error) {
	result := no
	for _, n := range l {
		t, err := n.eval(e)
		if err != nil || t == yes {
			return t, err
		}
		result = max(result, t)
	}
	return result, nil
}

func (t fixed) eval(*evaluator) (truth, error) { return truth(t), nil }

func (n noElement) eval(e *evaluator) (truth, error) {
	t, err := n.test.eval(e)
	return t.not(), err
}

func (t *test) eval(e *evaluator) (truth, error) {
	if t.op == IsNull {
		null, err := t.isNull(e)
		return truthOf(null != t.negate), err
	}
	vals, err := e.get(t.slot)
	if err != nil {
		return no, err
	}
	if !t.field.repeated && vals[0].IsNull() {
		return unknown, nil
	}
	for _, v := range vals {
		if t.match(v) != t.negate {
			return yes, nil
		}
	}
	return no, nil
}

// isNull reports whether the record has no value for the field.
func (t *test) isNull(e *evaluator) (bool, error) {
	if !t.field.kind.Comparable() {
		return !present(t.field, e.rec), nil
	}
	vals, err := e.get(t.slot)
	if err != nil {
		return false, err
	}
	return len(vals) == 0 || !t.field.repeated && vals[0].IsNull(), nil
}

// present reports whether the record has the field, a message or a map.
func present(f *Field, rec []byte) bool {
	found := false
	for len(rec) > 0 {
		w, n := consumeField(rec)
		if n < 0 {
			break
		}
		rec = rec[n:]
		if w.number == f.number {
			found = true
		} else if f.isRival(w.number) {
			found = false
		}
	}
	return found
}

func (t *test) match(v tuple.Value) bool {
	switch t.op {
	case Eq:
		return tuple.Compare(t.low, v) <= 0 && tuple.Compare(v, t.high) <= 0
	case Ne:
		return tuple.Compare(t.low, v) > 0 || tuple.Compare(v, t.high) > 0
	case Lt:
		return tuple.Compare(v, t.low) < 0
	case Le:
		return tuple.Compare(v, t.high) <= 0
	case Gt:
		return tuple.Compare(v, t.high) > 0
	case Ge:
		return tuple.Compare(v, t.low) >= 0
	}
	return hasPrefix(v, t.value)
}

func hasPrefix(v, prefix tuple.Value) bool {
	if s, ok := v.AsString(); ok {
		p, _ := prefix.AsString()
		return strings.HasPrefix(s, p)
	}
	b, _ := v.AsBytes()
	p, _ := prefix.AsBytes()
	return bytes.HasPrefix(b, p)
}

// singleValue reports whether all rows for which the test holds have one value,
// in the sense of keys: a condition on the float 0 has two, -0 and 0.
func (t *test) singleValue() bool {
	return t.op == IsNull && !t.negate || t.op == Eq && tuple.Compare(t.low, t.high) == 0
}

func (l allOf) String() string { return joinNodes(l, " AND ") }
func (l anyOf) String() string { return joinNodes(l, " OR ") }

func (t fixed) String() string { return [...]string{"false", "unknown", "true"}[t] }

func (n noElement) String() string { return "NOT " + n.test.String() }

func (t *test) String() string {
	op := t.op
	if t.field.repeated && (op == Eq || op == Prefix) {
		op = Has
	}
	text := compareText(t.field.name, op, valueText(t.field, t.op, t.value))
	switch {
	case t.negate && op == IsNull:
		return strings.TrimPrefix(text, "NOT ")
	case t.negate:
		return "NOT " + text
	}
	return text
}

func joinNodes(list []node, sep string) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = n.String()
		switch n.(type) {
		case anyOf, allOf:
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, sep)
}
