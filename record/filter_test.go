package record_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

func TestParseFilter(t *testing.T) {
	_, tables := newTables(t, thingProto)
	s := tables[0].Schema()
	tests := []struct{ text, want string }{
		{``, ``},
		{"  \n ", ``},
		{`name = "a"`, `name = "a"`},
		{`  name="a"  `, `name = "a"`},
		{`name = 'a'`, `name = "a"`},
		{`name = net`, `name = "net"`},
		{`name = a.b`, `name = "a.b"`},
		{`name:"a"`, `name = "a"`},
		{`name:a`, `name = "a"`},
		{`tags:"libc6"`, `tags:"libc6"`},
		{`tags:libc6`, `tags:"libc6"`},
		{`tags = "libc6"`, `tags = "libc6"`},
		{`tags:"lib*"`, `tags = "lib*"`},
		{`nums > 3`, `nums > 3`},
		{`name = "lib*"`, `name = "lib*"`},
		{`name = lib*`, `name = "lib*"`},
		{`name = "*"`, `name = "*"`},
		{`name = "lib\x2a"`, `name = "lib\x2a"`},
		{`name = "a*b"`, `name = "a*b"`},
		{`name != "lib*"`, `NOT (name = "lib*")`},
		{`name > "lib*"`, `name > "lib\x2a"`},
		{`name = "quote\"'\\"`, `name = "quote\"'\\"`},
		{`data = "AP8="`, `data = "AP8="`},
		{`data = "AP8=*"`, `data = "AP8=*"`},
		{`size > 1000`, `size > 1000`},
		{`size > -1000`, `size > -1000`},
		{`size = 0x10`, `size = 16`},
		{`size = "10"`, `size = 10`},
		{`size = 3.0`, `size = 3`},
		{`big = "18446744073709551615"`, `big = "18446744073709551615"`},
		{`score >= 1.5`, `score >= 1.5`},
		{`score = 2`, `score = 2`},
		{`score = "1e300"`, `score = ` + "1" + strings.Repeat("0", 300)},
		{`score = "NaN"`, `score = "NaN"`},
		{`score = -0.0`, `score = 0`},
		{`small = 0.1`, `small = 0.10000000149011612`},
		{`flag`, `flag = true`},
		{`-flag`, `NOT (flag = true)`},
		{`flag = false`, `flag = false`},
		{`color = GREEN`, `color = 1`},
		{`color = "BLUE"`, `color = 2`},
		{`color = 7`, `color = 7`},
		{`made > "2024-01-01T00:00:00+01:00"`, `made > "2023-12-31T23:00:00Z"`},
		{`made > timestamp("2024-01-01T00:00:00Z")`, `made > "2024-01-01T00:00:00Z"`},
		{`uid = "01020300-0000-0000-0000-000000000000"`, `uid = "01020300-0000-0000-0000-000000000000"`},
		{`maybe:*`, `NOT (NOT maybe:*)`},
		{`NOT maybe:*`, `NOT (NOT (NOT maybe:*))`},
		{`sub:*`, `NOT (NOT sub:*)`},
		{`labels:*`, `NOT (NOT labels:*)`},
		{`name:"*"`, `name = "*"`},
		{`size > 1 AND size < 5 AND flag`, `size > 1 AND size < 5 AND flag = true`},
		{`size > 1 size < 5`, `size > 1 AND size < 5`},
		{`size = 1 OR size = 2 OR size = 3`, `size = 1 OR size = 2 OR size = 3`},
		{`flag AND size = 1 OR size = 2`, `flag = true AND (size = 1 OR size = 2)`},
		{`(flag AND size = 1) OR size = 2`, `(flag = true AND size = 1) OR size = 2`},
		{`NOT (flag AND size = 1)`, `NOT (flag = true AND size = 1)`},
		{strings.Repeat("(", 100) + "flag" + strings.Repeat(")", 100), `flag = true`},
	}
	for _, test := range tests {
		c, err := record.ParseFilter(s, test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := c.String(); got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.text, got, test.want)
		}
	}
}

func TestParseFilterErrors(t *testing.T) {
	_, tables := newTables(t, thingProto)
	s := tables[0].Schema()
	tests := []struct{ text, want string }{
		{`nope = 1`, `filter, column 1: Thing has no field "nope"; its fields are group, number, flag, size,`},
		{`flag AND nope = 1`, `filter, column 10: Thing has no field "nope"`},
		{"flag AND\n  nope.x = 1", `filter, line 2, column 3: Thing has no field "nope.x"`},
		{`  size = "é" OR size = "x"`, `filter, column 10: field "size" is of type int; "é" is not`},
		{`name = "é" AND size = "x"`, `filter, column 23: field "size" is of type int; "x" is not`},
		{`size = 1.5`, `filter, column 8: field "size" is of type int; 1.5 is not`},
		{`name = 5`, `filter, column 8: field "name" is of type string; 5 is not`},
		{`flag = 1`, `filter, column 8: field "flag" is of type bool; 1 is not`},
		{`flag = yes`, `filter, column 8: field "flag" is of type bool; "yes" is not`},
		{`color = PINK`, `filter, column 9: field "color" is of type enum; "PINK" is not`},
		{`made = "yesterday"`, `filter, column 8: field "made" is of type time; "yesterday" is not`},
		{`uid = "12"`, `filter, column 7: field "uid" is of type uuid; "12" is not`},
		{`data = "?"`, `filter, column 8: field "data" is of type bytes; "?" is not`},
		{`took = 5`, `filter, column 8: field "took" is of type duration; 5 is not`},
		{`sub = 5`, `filter, column 1: field "sub" is of type message, which cannot be compared; only sub:* can be asked`},
		{`tags != "a"`, `filter, column 1: field "tags" is repeated: != is not defined for it; write NOT tags:VALUE`},
		{`size`, `filter, column 1: field "size" alone is not a condition: write size = VALUE`},
		{`"text"`, `filter, column 1: a value alone is not a condition`},
		{`5`, `filter, column 1: a value alone is not a condition`},
		{`5 = size`, `filter, column 1: a comparison begins with the name of a field`},
		{`f(size)`, `filter, column 1: f(...) is not a condition`},
		{`NOT()`, `filter, column 1: NOT() is not a condition`},
		{`size = f(5)`, `filter, column 8: not a value`},
		{`size = (5 AND 6)`, `not a value`},
		{`size = 99999999999999999999`, `stand in quotes`},
		{`big = 18446744073709551615`, `stand in quotes`},
		{`size =`, `filter, column 7: it ends within a condition`},
		{`size = 1 AND`, `filter, column `},
		{`(size = 1`, `filter, column `},
		{`size = 1)`, `filter, column `},
		{`name = "open`, `filter, column 8: unterminated string`},
		{`size = = 1`, `filter, column 8: unexpected token =`},
		{"name = \"\xff\"", `filter, column `},
		{strings.Repeat("(", 101) + "flag" + strings.Repeat(")", 101), `filter, column 101: more than 100 parentheses`},
		{strings.Repeat("f(", 60000), `bytes, of at most 32768`},
		{strings.Repeat("-", 30000), `filter, column `},
	}
	for _, test := range tests {
		_, err := record.ParseFilter(s, test.text)
		if !errors.Is(err, kv.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s\ngot  %v\nwant %s", test.text, err, test.want)
		}
		if _, ok := errors.AsType[*record.FilterError](err); !ok {
			t.Errorf("%.80s: a %T", test.text, err)
		}
	}
}

func TestParseOrder(t *testing.T) {
	_, tables := newTables(t, thingProto)
	s := tables[0].Schema()
	got, err := record.ParseOrder(s, " size desc,name , maybe ASC")
	if err != nil || len(got) != 3 || got[0] != (record.Order{Field: "size", Desc: true}) ||
		got[1] != (record.Order{Field: "name"}) || got[2] != (record.Order{Field: "maybe"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := record.ParseOrder(s, " "); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"nope":            `Thing has no field "nope"`,
		"size,":           "with commas between",
		"size up":         `after a field comes asc or desc, not "up"`,
		"size desc nulls": "with commas between",
		"tags":            `cannot order by field "tags": it is repeated`,
		"sub":             `cannot order by field "sub": it is of type message`,
	} {
		if _, err := record.ParseOrder(s, text); !errors.Is(err, kv.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseFilter: a filter is refused with its place, or is a condition whose
// text means the same.
func FuzzParseFilter(f *testing.F) {
	for _, text := range []string{
		``, `name = "lib*" AND size > 1000`, `tags:"a" OR -flag`, `NOT (maybe:* AND score < -0.5)`, `color = GREEN took > "1h"`,
		`made >= "2024-01-01T00:00:00Z"`, `uid = "01020300-0000-0000-0000-000000000000"`, `data = "AP8=*"`, `NOT()`, `a.b.c = d.e`,
		`name = "\x2a"`, `name = '\u00e9'`, `timestamp("x") = duration()`, `size = 0x`, `size = -`, "name = \"\r\n\"",
	} {
		f.Add(text)
	}
	_, tables := newTables(f, thingProto)
	table := tables[0]
	f.Fuzz(func(t *testing.T, text string) {
		c, err := record.ParseFilter(table.Schema(), text)
		if err != nil {
			if !errors.Is(err, kv.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		plan, err := table.Explain(record.Query{Where: c})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.Contains(text, "took") || len(plan.Residual) > 1000 {
			return // the text of a duration needs the schema
		}
		again, err := record.ParseFilter(table.Schema(), c.String())
		if err != nil {
			t.Fatalf("%q: %q: %v", text, c.String(), err)
		}
		plan2, err := table.Explain(record.Query{Where: again})
		if err != nil || plan2.String() != plan.String() {
			t.Fatalf("%q: %q: %v\n%s\n%s", text, c.String(), err, plan, plan2)
		}
	})
}
