package record

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// PrimaryKey is the name by which Query.Using means the rows themselves, in the
// order of the primary key, unless an index has that name.
const PrimaryKey = "primary"

// maxSorted is the largest limit for which rows are sorted in memory.
const maxSorted = 100_000

// The ways in which a plan reaches rows.
const (
	AccessNone     = "nothing"   // no row can match
	AccessGetRow   = "get row"   // one row by its primary key
	AccessScanRows = "scan rows" // a range of the rows
	AccessGetEntry = "get entry" // one entry of a unique index
	AccessScan     = "scan"      // a range of an index
)

// Plan says how a query is answered.
type Plan struct {
	Table  string `json:"table"`
	Access string `json:"access"`          // one of the Access constants
	Index  string `json:"index,omitempty"` // "" if the rows themselves are read
	// Bounds is the part of the condition that the range of keys holds: every
	// entry in it fulfils them. "" means the whole table or index.
	Bounds  string `json:"bounds,omitempty"`
	Reverse bool   `json:"reverse,omitempty"` // the range is read downwards
	// Fetch says that each entry's row is read by its primary key.
	Fetch bool `json:"fetch,omitempty"`
	// Distinct says that a row may have several entries in the range, of which
	// the first counts.
	Distinct bool   `json:"distinct,omitempty"`
	Residual string `json:"residual,omitempty"` // the condition that each row is tested with
	// Order is the order of the result; "" if the query asked for none.
	Order string `json:"order,omitempty"`
	// Sort says that Order is made by keeping the first Limit rows of all that
	// match; else the range has it.
	Sort  bool `json:"sort,omitempty"`
	Limit int  `json:"limit,omitempty"`

	path     *path
	fields   []*Field // that the residual condition reads
	residual allOf
	sort     []orderKey // nil unless Sort
	print    uint64     // of the query, for its page tokens
	scan     kv.Range   // what is left of the path's range after a page token; else zero
	after    []byte     // the sort key of a page token
}

// String returns the plan as lines for people to read.
func (p *Plan) String() string {
	var b strings.Builder
	switch p.Access {
	case AccessNone:
		fmt.Fprintf(&b, "%s of %s\n", p.Access, p.Table)
	case AccessGetRow, AccessScanRows:
		fmt.Fprintf(&b, "%s of %s by primary key", p.Access, p.Table)
	default:
		fmt.Fprintf(&b, "%s of %s by index %s", p.Access, p.Table, p.Index)
	}
	if p.Access != AccessNone {
		b.WriteString(map[bool]string{true: ", reverse\n", false: "\n"}[p.Reverse])
	}
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name, text)
		}
	}
	line("bounds", p.Bounds)
	if p.Fetch {
		line("fetch", "rows by primary key"+map[bool]string{true: ", each once"}[p.Distinct])
	}
	line("residual", p.Residual)
	if p.Sort {
		line("order", fmt.Sprintf("%s: in memory, the first %d are kept", p.Order, p.Limit))
	} else if p.Order != "" {
		line("order", p.Order+": as read")
	}
	if p.Limit > 0 && !p.Sort {
		line("limit", fmt.Sprint(p.Limit))
	}
	return b.String()
}

// path is one way to the rows: a range of keys, of the rows or of an index.
type path struct {
	index  *Index   // nil: the rows themselves
	parts  []*Field // what the keys sort by: the index's fields, then the primary key's
	equal  []*test  // fix the first parts, each to one value
	ranged []*test  // bound the part after them
	prefix []byte   // what all keys of the table's rows, or of the index, begin with
	lower  []byte   // the range: lower <= key < upper
	upper  []byte
	point  bool // the range is one key
	many   bool // a row may have several entries in the range

	ordered bool // the range is in the order that the query asks for
	reverse bool // if it is read downwards
}

// planQuery chooses the one path by which a query is answered, and what is left
// to do with the rows it gives. It reads nothing: the plan of a query depends on
// the schema alone.
func planQuery(s *Schema, table uint64, q *Query) (*Plan, error) {
	if q.Limit < 0 {
		return nil, invalidf("limit %d is negative", q.Limit)
	}
	root, fields, err := bindCond(s, q.Where)
	if err != nil {
		return nil, err
	}
	conjuncts, isAnd := root.(allOf)
	if !isAnd {
		conjuncts = allOf{root}
	}
	tests := testsOf(conjuncts)
	want, err := totalOrder(s, q, func(f *Field) bool { return fixesField(tests, f) })
	if err != nil {
		return nil, err
	}
	after, err := parseToken(q)
	if err != nil {
		return nil, err
	}
	paths, err := pathsFor(s, table, q, tests, after)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		p.order(want, tests, len(q.OrderBy) == 0 && q.Reverse)
	}
	best := slices.MinFunc(paths, func(a, b *path) int { return comparePaths(a, b, len(want) > 0, q.Limit > 0) })
	plan := &Plan{Table: s.table, path: best, fields: fields, Limit: q.Limit, Order: orderText(want)}
	if len(want) > 0 && !best.ordered {
		if err := checkSort(s, q, want, tests); err != nil {
			return nil, err
		}
		plan.sort = want
	}
	plan.residual = residual(conjuncts, best)
	plan.print = fingerprint(table, root, q)
	plan.describe()
	return plan, plan.resume(after)
}

// testsOf returns the conjuncts that a range of keys might hold.
func testsOf(conjuncts allOf) []*test {
	var tests []*test
	for _, n := range conjuncts {
		if t, ok := n.(*test); ok && t.field.kind.Comparable() {
			tests = append(tests, t)
		}
	}
	return tests
}

// fixesField reports whether the tests allow a singular field one value only.
func fixesField(tests []*test, f *Field) bool {
	return !f.repeated && slices.ContainsFunc(tests, func(t *test) bool { return t.field == f && t.singleValue() })
}

// pathsFor returns the paths among which the query has a choice, at least one.
func pathsFor(s *Schema, table uint64, q *Query, tests []*test, after *pageToken) ([]*path, error) {
	if after != nil {
		return pathOfToken(s, table, tests, after)
	}
	if q.Using != "" {
		ix := s.Index(q.Using)
		if ix == nil && q.Using == PrimaryKey {
			return []*path{newPath(s, table, nil, tests)}, nil
		}
		p, err := usePath(s, table, q.Using, ix, tests)
		return []*path{p}, err
	}
	paths := []*path{newPath(s, table, nil, tests)}
	for _, ix := range s.indexes {
		if ix.state != IndexReadable {
			continue
		}
		if p := newPath(s, table, ix, tests); p.complete() == nil {
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// usePath returns the path by an index that the caller insists on.
func usePath(s *Schema, table uint64, name string, ix *Index, tests []*test) (*path, error) {
	if ix == nil {
		names := []string{PrimaryKey}
		for _, ix := range s.indexes {
			names = append(names, ix.name)
		}
		return nil, invalidf("%s has no index %q; it has %s", s.table, name, strings.Join(names, ", "))
	}
	if ix.state != IndexReadable {
		return nil, invalidf("index %q of %s cannot be used: it is %s", name, s.table, ix.state)
	}
	p := newPath(s, table, ix, tests)
	if f := p.complete(); f != nil {
		return nil, invalidf("index %q of %s cannot be used: rows without a value in %q have no entry, so the query needs a condition on it that the index can hold", name, s.table, f.name)
	}
	return p, nil
}

// newPath finds the narrowest range of keys of the rows, or of an index, that
// holds every row for which all tests are true.
func newPath(s *Schema, table uint64, ix *Index, tests []*test) *path {
	p := &path{index: ix}
	bounded := s.key // the parts that every key has
	if ix == nil {
		p.prefix, p.parts = rowPrefix(table), s.key
	} else {
		p.prefix = indexPrefix(table, ix.id)
		p.parts = append(slices.Clip(ix.fields), s.key...)
		bounded = p.parts
		if ix.unique {
			bounded = ix.fields
		}
	}
	key := slices.Clip(p.prefix)
	for _, f := range bounded {
		t := equalTest(tests, f)
		if t == nil {
			p.ranged = rangeTests(tests, f)
			p.many = f.repeated
			break
		}
		p.equal = append(p.equal, t)
		key = mustAppend(key, t.value)
	}
	p.lower, p.upper = key, tuple.PrefixEnd(key)
	for _, t := range p.ranged {
		lower, upper := testRange(key, t)
		if bytes.Compare(lower, p.lower) > 0 {
			p.lower = lower
		}
		if upper != nil && bytes.Compare(upper, p.upper) < 0 {
			p.upper = upper
		}
	}
	p.point = len(p.equal) == len(bounded) &&
		(ix == nil || ix.unique && !slices.ContainsFunc(p.equal, func(t *test) bool { return t.value.IsNull() }))
	return p
}

// equalTest returns a test that fixes a part of a key to one value, or nil.
func equalTest(tests []*test, f *Field) *test {
	for _, t := range tests {
		if t.field == f && t.singleValue() && !(f.repeated && t.op == IsNull) {
			return t
		}
	}
	return nil
}

// rangeTests returns the tests that bound a part of a key. Of a repeated field
// it is one only: another may hold for another element.
func rangeTests(tests []*test, f *Field) []*test {
	var out []*test
	for _, t := range tests {
		if t.field == f && t.isRange() {
			out = append(out, t)
		}
	}
	if f.repeated && len(out) > 1 {
		rank := func(t *test) int {
			switch t.op {
			case Eq:
				return 0
			case Prefix:
				return 1
			}
			return 2
		}
		slices.SortStableFunc(out, func(a, b *test) int { return cmp.Compare(rank(a), rank(b)) })
		out = out[:1]
	}
	return out
}

// isRange reports whether the values for which the test holds are a range.
func (t *test) isRange() bool {
	switch t.op {
	case Ne:
		return false
	case IsNull:
		return t.negate && !t.field.repeated
	case Prefix:
		return !t.negate
	}
	return true
}

// testRange returns the keys that begin with key and go on with a value for
// which the test holds. An upper of nil is no bound.
func testRange(key []byte, t *test) (lower, upper []byte) {
	key = slices.Clip(key)
	low, high := mustAppend(key, t.low), tuple.PrefixEnd(mustAppend(key, t.high))
	notNull := tuple.PrefixEnd(mustAppend(key, tuple.Null()))
	switch t.op {
	case Eq:
		return low, high
	case Lt:
		return notNull, low
	case Le:
		return notNull, high
	case Gt:
		return high, nil
	case Ge:
		return low, nil
	case IsNull: // negated
		return notNull, nil
	}
	var p []byte
	if s, ok := t.value.AsString(); ok {
		p = tuple.AppendStringPrefix(key, s, false)
	} else {
		b, _ := t.value.AsBytes()
		p = tuple.AppendBytesPrefix(key, b, false)
	}
	return p, tuple.PrefixEnd(p)
}

// mustAppend appends a value that was encoded before, when it was bound.
func mustAppend(dst []byte, v tuple.Value) []byte {
	dst, _ = tuple.Append(dst, v, false)
	return dst
}

// complete returns nil if every row that the tests allow has an entry on the
// path, else the field without which a row has none.
func (p *path) complete() *Field {
	if p.index == nil {
		return nil
	}
	for i, f := range p.index.fields {
		switch {
		case !f.repeated, i < len(p.equal), i == len(p.equal) && len(p.ranged) > 0:
		default:
			return f
		}
	}
	return nil
}

// order finds out whether the path has the wanted order, and which way it is
// read then.
func (p *path) order(want []orderKey, tests []*test, reverse bool) {
	p.reverse = reverse
	p.ordered = true
	if len(want) == 0 || p.point {
		return
	}
	var got []orderKey
	for i, f := range p.parts {
		if i >= len(p.equal) && !fixesField(tests, f) && !hasField(got, f) {
			got = append(got, orderKey{field: f})
		}
	}
	if len(got) < len(want) {
		p.ordered = false
		return
	}
	for i, k := range want {
		if got[i].field != k.field || k.desc != want[0].desc {
			p.ordered = false
			return
		}
	}
	p.reverse = want[0].desc
}

// comparePaths orders paths from the best to the worst. A single key comes
// first, then the longest run of equal parts, then the order, for which there is
// no other way if there is no limit, then a range; among equals the rows come
// before indexes, which need a fetch, and indexes as they are declared.
func comparePaths(a, b *path, order, limit bool) int {
	steps := []int{0, 0, 0, 0, 0}
	if order && !limit {
		steps[0] = preferTrue(a.ordered, b.ordered)
	}
	steps[1] = preferTrue(a.point, b.point)
	steps[2] = cmp.Compare(len(b.equal), len(a.equal))
	if order {
		steps[3] = preferTrue(a.ordered, b.ordered)
	}
	steps[4] = preferTrue(len(a.ranged) > 0, len(b.ranged) > 0)
	return cmp.Or(steps...)
}

func preferTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// checkSort returns kv.ErrInvalid if the rows must not be sorted in memory.
func checkSort(s *Schema, q *Query, want []orderKey, tests []*test) error {
	if q.Limit > 0 && q.Limit <= maxSorted {
		return nil
	}
	var names []string
	for _, t := range tests {
		if t.singleValue() && !slices.Contains(names, t.field.name) {
			names = append(names, t.field.name)
		}
	}
	oneWay := true
	for _, o := range q.OrderBy {
		if !slices.Contains(names, o.Field) {
			names = append(names, o.Field)
		}
		oneWay = oneWay && o.Desc == q.OrderBy[0].Desc
	}
	hint := fmt.Sprintf("set a limit of at most %d", maxSorted)
	if oneWay {
		hint = fmt.Sprintf("declare an index on (%s), or %s", strings.Join(names, ", "), hint)
	}
	return invalidf("no index of %s has the order %s: %s", s.table, orderText(want), hint)
}

// residual returns the conjuncts that the path's range does not hold.
func residual(conjuncts allOf, p *path) allOf {
	var out allOf
	for _, n := range conjuncts {
		t, ok := n.(*test)
		if !ok || !slices.Contains(p.equal, t) && !slices.Contains(p.ranged, t) {
			out = append(out, n)
		}
	}
	return out
}

// empty reports whether no row can match.
func (p *Plan) empty() bool {
	return bytes.Compare(p.path.lower, p.path.upper) >= 0 || slices.ContainsFunc(p.residual, func(n node) bool {
		f, ok := n.(fixed)
		return ok && truth(f) != yes
	})
}

// describe fills the exported fields from the others.
func (p *Plan) describe() {
	if p.empty() {
		p.Access = AccessNone
		return
	}
	bounds := make(allOf, 0, len(p.path.equal)+len(p.path.ranged))
	for _, t := range slices.Concat(p.path.equal, p.path.ranged) {
		if !slices.Contains(bounds, node(t)) {
			bounds = append(bounds, t)
		}
	}
	p.Bounds, p.Residual = bounds.String(), p.residual.String()
	p.Sort = p.sort != nil
	p.Reverse = p.path.reverse && !p.path.point && !p.Sort
	switch ix := p.path.index; {
	case ix == nil && p.path.point:
		p.Access = AccessGetRow
	case ix == nil:
		p.Access = AccessScanRows
	default:
		p.Index, p.Fetch, p.Distinct = ix.name, true, p.path.many
		p.Access = AccessScan
		if p.path.point {
			p.Access = AccessGetEntry
		}
	}
}

// scanRange returns the keys that the path reads.
func (p *path) scanRange() kv.Range {
	return kv.Range{Lower: p.lower, Upper: p.upper, Reverse: p.reverse}
}
