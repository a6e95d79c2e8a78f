package record_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/tuple"
)

// TestModel runs random writes and queries against a table and a slice of rows,
// and demands equal answers by every path there is.
func TestModel(t *testing.T) {
	testModel(t, memkv.New())
}

// TestModelOnEngine is TestModel on the engine over a memory bucket, with
// memtables and blocks so small that every row soon lies in SSTs.
func TestModelOnEngine(t *testing.T) {
	store, err := slatekv.OpenBucket(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{
		L0Bytes: 4096, MaxUnflushedBytes: 16384, MaxSSTBytes: 4096, BlockBytes: 1024, MinFilterKeys: 1, MaxBatchBytes: 8 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	testModel(t, store)
}

func testModel(t *testing.T, store kv.Store) {
	db, tables := openTables(t, store, thingProto)
	table := tables[0]
	rapid.Check(t, func(t *rapid.T) {
		m := &model{db: db, table: table, rows: map[string]thing{}}
		m.clear(t)
		for range rapid.IntRange(1, 4).Draw(t, "transactions") {
			m.transaction(t)
			verify(t, table)
		}
		for range rapid.IntRange(1, 8).Draw(t, "queries") {
			m.query(t)
		}
	})
}

// model is a table beside the rows that it should hold.
type model struct {
	db    *record.DB
	table *record.Table
	rows  map[string]thing // by key
}

// clear empties the table through the rows that it has.
func (m *model) clear(t *rapid.T) {
	ctx := context.Background()
	err := m.db.Update(ctx, func(tx *record.Tx) error {
		for row, err := range m.table.Query(ctx, tx, record.Query{}) {
			if err != nil {
				return err
			}
			key, err := row.Key()
			if err != nil {
				return err
			}
			if existed, err := m.table.Delete(ctx, tx, key); err != nil || !existed {
				return fmt.Errorf("delete %v: %v, %w", key, existed, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, m.table)
}

var errRollback = errors.New("roll back")

// transaction runs some writes and commits them, or not.
func (m *model) transaction(t *rapid.T) {
	ctx := context.Background()
	commit := rapid.Float64Range(0, 1).Draw(t, "commit") < 0.8
	next := map[string]thing{}
	for k, r := range m.rows {
		next[k] = r
	}
	err := m.db.Update(ctx, func(tx *record.Tx) error {
		for range rapid.IntRange(1, 12).Draw(t, "writes") {
			m.write(ctx, t, tx, next)
		}
		if !commit {
			return errRollback
		}
		return nil
	})
	switch {
	case commit && err == nil:
		m.rows = next
	case !commit && errors.Is(err, errRollback):
	default:
		t.Fatalf("update: %v", err)
	}
}

// write runs one write, which may be refused.
func (m *model) write(ctx context.Context, t *rapid.T, tx *record.Tx, rows map[string]thing) {
	r := drawThing(t)
	key := r.key().String()
	old, existed := rows[key]
	verb := rapid.SampledFrom([]string{"insert", "put", "put", "put", "update", "delete"}).Draw(t, "verb")
	want := m.refusal(verb, rows, r, existed)
	var err error
	rec := r.encode(m.table.Schema())
	switch verb {
	case "insert":
		err = m.table.Insert(ctx, tx, rec)
	case "put":
		err = m.table.Put(ctx, tx, rec)
	case "update":
		err = m.table.Update(ctx, tx, rec)
	case "delete":
		var was bool
		if was, err = m.table.Delete(ctx, tx, r.key()); was != existed {
			t.Fatalf("delete %s: existed %v, want %v", key, was, existed)
		}
		delete(rows, key)
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("%s %s over %v: %v, want %v", verb, key, old, err, want)
	}
	if verb != "delete" && want == nil {
		rows[key] = r
	}
	got, err := m.table.Get(ctx, tx, r.key())
	if now, ok := rows[key]; ok {
		if err != nil || string(got) != string(now.encode(m.table.Schema())) {
			t.Fatalf("get %s: %x, %v", key, got, err)
		}
	} else if !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("get %s: %v, want not found", key, err)
	}
}

// refusal returns the error that a write deserves.
func (m *model) refusal(verb string, rows map[string]thing, r thing, existed bool) error {
	switch {
	case verb == "delete":
		return nil
	case verb == "insert" && existed:
		return kv.ErrExists
	case verb == "update" && !existed:
		return kv.ErrNotFound
	}
	for key, other := range rows {
		if mail := r["mail"][0]; key != r.key().String() && !mail.IsNull() && tuple.Compare(mail, other["mail"][0]) == 0 {
			return kv.ErrExists
		}
	}
	return nil
}

// drawThing draws a row.
func drawThing(t *rapid.T) thing {
	r := thing{}
	for name, values := range sorted(thingRange) {
		n := 1
		if thingLists[name] {
			n = rapid.IntRange(0, 3).Draw(t, name+"s")
		}
		r[name] = []tuple.Value{}
		for range n {
			r[name] = append(r[name], rapid.SampledFrom(values).Draw(t, name))
		}
	}
	return r
}

// sorted yields a map in the order of its keys, so that draws repeat.
func sorted(m map[string][]tuple.Value) func(yield func(string, []tuple.Value) bool) {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return func(yield func(string, []tuple.Value) bool) {
		for _, name := range names {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

// drawCond draws a condition.
func drawCond(t *rapid.T, depth int) record.Cond {
	kinds := []string{"compare", "compare", "compare"}
	if depth > 0 {
		kinds = append(kinds, "and", "and", "or", "not")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "and", "or":
		var list []record.Cond
		for range rapid.IntRange(1, 3).Draw(t, "operands") {
			list = append(list, drawCond(t, depth-1))
		}
		if kind == "or" {
			return record.Or(list)
		}
		return record.And(list)
	case "not":
		return record.Not{Cond: drawCond(t, depth-1)}
	}
	return drawCompare(t)
}

var thingNames = func() (names []string) {
	for name := range sorted(thingRange) {
		names = append(names, name)
	}
	return names
}()

func drawCompare(t *rapid.T) record.Cond {
	name := rapid.SampledFrom(thingNames).Draw(t, "field")
	ops := []record.Op{record.Eq, record.Eq, record.Lt, record.Le, record.Gt, record.Ge, record.Has, record.IsNull}
	switch {
	case name == "sub" || name == "labels":
		ops = []record.Op{record.IsNull}
	case !thingLists[name]:
		ops = append(ops, record.Ne)
	}
	switch name {
	case "group", "name", "mail", "data", "tags":
		ops = append(ops, record.Prefix, record.Prefix)
	}
	c := record.Compare{Field: name, Op: rapid.SampledFrom(ops).Draw(t, "op")}
	if c.Op != record.IsNull {
		c.Value = rapid.SampledFrom(thingRange[name]).Draw(t, "value")
	}
	if c.Op == record.Prefix && c.Value.IsNull() {
		c.Op = record.Eq
	}
	return c
}

// query runs one query by every path, in one piece and in pages, as a tree and
// as text.
func (m *model) query(t *rapid.T) {
	q := record.Query{Where: drawCond(t, 2), Reverse: rapid.Bool().Draw(t, "reverse")}
	for range rapid.IntRange(0, 2).Draw(t, "orders") {
		name := rapid.SampledFrom(thingNames).Draw(t, "order")
		if !thingLists[name] && name != "sub" {
			q.OrderBy = append(q.OrderBy, record.Order{Field: name, Desc: rapid.Bool().Draw(t, "desc")})
		}
	}
	q.Limit = rapid.SampledFrom([]int{0, 0, 1, 2, 5, 100}).Draw(t, "limit")
	want := m.answer(q)
	choices := []string{"", record.PrimaryKey}
	for _, ix := range m.table.Schema().Indexes() {
		choices = append(choices, ix.Name())
	}
	answered := 0
	for _, q.Using = range choices {
		got, _, err := collect(m.table, m.db.Store(), q)
		if errors.Is(err, kv.ErrInvalid) {
			continue // the index cannot answer, or the order needs a limit
		}
		if err != nil {
			t.Fatalf("using %q: %v", q.Using, err)
		}
		answered++
		m.compare(t, q, got, want)
		m.compare(t, q, m.pages(t, q), want)
	}
	if answered == 0 && (len(q.OrderBy) == 0 || q.Limit > 0) {
		t.Fatalf("no path answers %v", q)
	}
	m.inTransaction(t, q, want)
	m.asText(t, q)
}

// answer returns the keys of the rows that a query selects, in order, without
// regard to its limit.
func (m *model) answer(q record.Query) []string {
	var rows []thing
	for _, r := range m.rows {
		if holds(q.Where, r) == isTrue {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b thing) int { return compareRows(q, a, b) })
	keys := make([]string, len(rows))
	for i, r := range rows {
		keys[i] = r.key().String()
	}
	return keys
}

// compare fails unless got answers the query. Without an order any rows will
// do, and in any order.
func (m *model) compare(t *rapid.T, q record.Query, got, want []string) {
	plan, _ := m.table.Explain(q)
	n := len(want)
	if q.Limit > 0 {
		n = min(n, q.Limit)
	}
	if len(q.OrderBy) > 0 {
		if !slices.Equal(got, want[:n]) {
			t.Fatalf("query %v\n%sgot  %q\nwant %q", q, plan, got, want[:n])
		}
		return
	}
	sort.Strings(got)
	if len(got) != n || len(slices.Compact(got)) != n {
		t.Fatalf("query %v\n%sgot %q\nwant %d of %q", q, plan, got, n, want)
	}
	for _, key := range got {
		if !slices.Contains(want, key) {
			t.Fatalf("query %v\n%sgot  %q\nwhich is not in %q", q, plan, key, want)
		}
	}
}

// pages collects the answer in pages of random sizes.
func (m *model) pages(t *rapid.T, q record.Query) []string {
	limit, all := q.Limit, []string(nil)
	for {
		q.Limit = rapid.IntRange(1, 4).Draw(t, "page")
		page, last, err := collect(m.table, m.db.Store(), q)
		if err != nil {
			t.Fatalf("page after %x: %v", q.After, err)
		}
		all, q.After = append(all, page...), last
		if len(page) < q.Limit || limit > 0 && len(all) >= limit {
			break
		}
		q.Using = "" // the token knows
	}
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return all
}

// inTransaction runs the query in a transaction, where nothing is fetched ahead.
func (m *model) inTransaction(t *rapid.T, q record.Query, want []string) {
	q.Using, q.Limit = "", max(q.Limit, 1)
	err := m.db.Update(context.Background(), func(tx *record.Tx) error {
		got, _, err := collect(m.table, tx, q)
		if err == nil {
			m.compare(t, q, got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asText reads the condition's text back and demands the same plan.
func (m *model) asText(t *rapid.T, q record.Query) {
	q.Using, q.Limit = "", 3
	want, err := m.table.Explain(q)
	if err != nil {
		t.Fatal(err)
	}
	if textless(q.Where) {
		return // without a text: comparisons with null, and durations, whose text needs the schema
	}
	text := q.Where.String()
	if q.Where, err = record.ParseFilter(m.table.Schema(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	got, err := m.table.Explain(q)
	if err != nil || got.String() != want.String() {
		t.Fatalf("%s\n%v\n%s\n%s", text, err, got, want)
	}
}

func textless(c record.Cond) bool {
	switch c := c.(type) {
	case record.And:
		return slices.ContainsFunc(c, textless)
	case record.Or:
		return slices.ContainsFunc(c, textless)
	case record.Not:
		return textless(c.Cond)
	case record.Compare:
		return c.Op != record.IsNull && (c.Value.IsNull() || c.Field == "took")
	}
	return false
}
