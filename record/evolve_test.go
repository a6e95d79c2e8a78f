package record_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
)

const evolveHead = `syntax = "proto3";
import "stele/options.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
`

const evolveBase = evolveHead + `message A {
  string pk = 1;
  int32 n = 2 [(stele.index) = true];
  string s = 3;
  repeated string tags = 4 [(stele.index) = true];
  Sub sub = 5;
  E e = 6;
  bytes b = 7;
  oneof o { int32 x = 8; string y = 9; }
  optional uint32 u = 10 [(stele.index) = true];
  google.protobuf.Timestamp at = 11;
  map<string, int32> m = 12;
  reserved 20;
  message Sub { int32 a = 1; string b = 2; }
  enum E { ZERO = 0; ONE = 1; }
}
`

// edit replaces parts of the base: pairs of old and new.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	text := evolveBase
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%q is in the base %d times", pairs[i], strings.Count(text, pairs[i]))
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

func TestEvolve(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name  string
		edits []string
		want  string // faults; "" if the change is allowed
	}{
		{"nothing", nil, ""},
		{"comment", []string{"message A", "// An A.\nmessage A"}, ""},
		{"added field", []string{"int32 n", "string more = 30;\n int32 n"}, ""},
		{"removed and reserved", []string{"string s = 3;", "reserved 3;"}, ""},
		{"removed", []string{"string s = 3;", ""}, "table A: field \"s\" is gone: keep it, or write `reserved 3;` in message A so that its number is not used again"},
		{"renamed", []string{"string s", "string title"}, ""},
		{"renamed indexed", []string{"int32 n", "int32 count"}, ""},
		{"moved", []string{"string s = 3;", "string s = 13; reserved 3;"}, `table A: field "s" had number 3 and would have 13: stored rows know it by its number; give it 3 again`},
		{"swapped", []string{"string s = 3", "bytes b = 3", "bytes b = 7", "string s = 7"}, "table A: field \"s\" had number 3 and would have 7: stored rows know it by its number; give it 3 again\n" +
			"table A: field \"b\" had number 7 and would have 3: stored rows know it by its number; give it 7 again"},
		{"widened", []string{"int32 n", "int64 n", "uint32 u", "uint64 u"}, ""},
		{"other sign", []string{"int32 n", "uint32 n"}, `table A: field "n" was int32 and would be uint32: stored rows hold the former; add a new field instead`},
		{"zigzag", []string{"int32 n", "sint32 n"}, `table A: field "n" was int32 and would be sint32: stored rows hold the former; add a new field instead`},
		{"string to bytes", []string{"string s", "bytes s"}, `table A: field "s" was string and would be bytes: stored rows hold the former; add a new field instead`},
		{"to UUID", []string{"bytes b = 7", "bytes b = 7 [(stele.uuid) = true]"}, `table A: field "b" was bytes and would be a UUID: rows may hold what is none`},
		{"to repeated", []string{"string s", "repeated string s"}, ""},
		{"indexed to repeated", []string{"int32 n", "repeated int32 n"}, `table A: field "n" was int32 and would be repeated int32: that is possible only while it has no index; drop the index first`},
		{"indexed to repeated, index dropped", []string{"int32 n = 2 [(stele.index) = true]", "repeated int32 n = 2"}, ""},
		{"from repeated", []string{"repeated string tags", "string tags"}, `table A: field "tags" was repeated string and would be string: stored rows hold the former; add a new field instead`},
		{"to optional", []string{"string s", "optional string s"}, ""},
		{"indexed to optional", []string{"int32 n", "optional int32 n"}, `table A: field "n" would become optional: that would change what rows without it have in the index; drop the index first`},
		{"into a oneof", []string{"string s = 3;", "", "int32 x = 8;", "int32 x = 8; string s = 3;"}, `table A: field "s" would move in or out of a oneof ("" before, "o" after): rows may hold both it and another member`},
		{"reserved number", []string{"int32 n", "int32 z = 20; int32 n", "reserved 20;", ""}, `table A: field "z" takes number 20, which was reserved; give it another`},
		{"nested", []string{"int32 a = 1; string b = 2;", "int64 a = 1; string c = 2; string d = 3;"}, ""},
		{"nested removed", []string{"int32 a = 1; ", ""}, "table A: field \"sub.a\" is gone: keep it, or write `reserved 1;` in message Sub so that its number is not used again"},
		{"nested type", []string{"int32 a = 1; ", "string a = 1; "}, `table A: field "sub.a" was int32 and would be string: stored rows hold the former; add a new field instead`},
		{"message type", []string{"Timestamp at", "Duration at"}, `table A: field "at" was google.protobuf.Timestamp and would be google.protobuf.Duration: stored rows hold the former; add a new field instead`},
		{"nested type renamed", []string{"Sub sub", "Part sub", "message Sub", "message Part"}, ""},
		{"enum value added and renamed", []string{"ONE = 1;", "UNO = 1; TWO = 2;"}, ""},
		{"enum value removed", []string{" ONE = 1;", ""}, "table A: value ONE of enum E (field \"e\") is gone: keep it, or write `reserved 1;` in the enum"},
		{"enum value moved", []string{"ONE = 1;", "TWO = 1; ONE = 2;"}, "table A: value ONE of enum E (field \"e\") was 1 and would be 2: stored rows hold the number"},
		{"map value", []string{"map<string, int32>", "map<string, string>"}, `table A: field "m.value" was int32 and would be string: stored rows hold the former; add a new field instead`},
		{"key", []string{"string pk = 1", "string pk = 1 [(stele.key) = true]", "string s = 3", "string s = 3 [(stele.key) = true]"}, `table A: the primary key was (pk) and would be (pk, s): a table keeps its key; make a new table instead`},
		{"index added", []string{"string s = 3", "string s = 3 [(stele.index) = true]"}, ""},
		{"index dropped", []string{"int32 n = 2 [(stele.index) = true]", "int32 n = 2"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := memkv.New()
			db := open(t, store)
			define(t, db, evolveBase)
			before := dump(t, store)
			_, err := db.Define(ctx, compileAll(t, edit(t, c.edits...))...)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			got := fmt.Sprint(err)
			if want := "define tables: " + c.want; got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if !errors.Is(err, record.ErrIncompatible) || !errors.Is(err, kv.ErrInvalid) {
				t.Error("the error does not match ErrIncompatible and ErrInvalid")
			}
			if dump(t, store) != before {
				t.Error("a refused change wrote something")
			}
		})
	}
}

// A removed number stays taken, also when a later version forgets to reserve it.
func TestFormerField(t *testing.T) {
	db := open(t, memkv.New())
	define(t, db, evolveBase)
	define(t, db, edit(t, "string s = 3;", "reserved 3;"))
	_, err := db.Define(context.Background(), compileAll(t, evolveBase)...)
	want := "table A: field \"s\" takes number 3, which was reserved; give it another\n" +
		"table A: number 3 was that of field \"s\" until version 2, and numbers are never used again; give field \"s\" another"
	if err == nil || err.Error() != "define tables: "+want {
		t.Errorf("got %v", err)
	}
}

// rows writes rows by their JSON.
func rows(t *testing.T, db *record.DB, table string, lines ...string) {
	t.Helper()
	ctx := context.Background()
	tb, err := db.Table(ctx, table)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(ctx, func(tx *record.Tx) error {
		for _, l := range lines {
			rec, err := tb.Schema().FromJSON([]byte(l))
			if err != nil {
				return err
			}
			if err := tb.Put(ctx, tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestIndexesOfRows(t *testing.T) {
	ctx := context.Background()
	store := memkv.New()
	db := open(t, store)
	tb := define(t, db, evolveBase)[0]
	rows(t, db, "A", `{"pk":"a","n":1,"s":"x","tags":["p","q"]}`, `{"pk":"b","n":2,"s":"y"}`, `{"pk":"c","s":"x"}`)
	ids := func() (out []string) {
		for _, ix := range tb.Schema().Indexes() {
			out = append(out, fmt.Sprintf("%s=%d/%d", ix.Name(), ix.ID(), entriesOf(t, store, ix.ID())))
		}
		return out
	}
	expect := func(step string, want ...string) {
		t.Helper()
		if got := ids(); !slices.Equal(got, want) {
			t.Errorf("%s: indexes %v, want %v", step, got, want)
		}
	}
	expect("base", "n=1/3", "tags=2/2", "u=3/3")

	withS := edit(t, "string s = 3", "string s = 3 [(stele.index) = true]")
	define(t, db, withS)
	expect("added", "n=1/3", "s=4/3", "tags=2/2", "u=3/3")
	if tb.Schema().Version() != 2 {
		t.Errorf("version %d", tb.Schema().Version())
	}

	renamed := edit(t, "string s = 3", "string title = 3 [(stele.index) = true]", "int32 n = 2 [(stele.index) = true]", "int32 n = 2")
	define(t, db, renamed)
	expect("renamed and dropped", "title=4/3", "tags=2/2", "u=3/3")
	if n := entriesOf(t, store, 1); n != 0 {
		t.Errorf("%d entries of the dropped index are left", n)
	}

	back := strings.Replace(renamed, "int32 n = 2", "int64 n = 2 [(stele.index) = true]", 1)
	define(t, db, back)
	expect("back again, widened", "n=5/3", "title=4/3", "tags=2/2", "u=3/3")

	_, err := db.Define(ctx, compileAll(t, strings.Replace(back, "string title = 3 [(stele.index) = true]", "string title = 3 [(stele.unique) = true]", 1))...)
	if !errors.Is(err, kv.ErrExists) || !strings.Contains(err.Error(), "index title cannot be unique: rows a and c of table A have the same values") {
		t.Errorf("unique over equal rows: %v", err)
	}
	expect("refused", "n=5/3", "title=4/3", "tags=2/2", "u=3/3")

	// Rows written by the handle of old have the entries of now.
	rows(t, db, "A", `{"pk":"d","n":"9000000000","title":"z"}`)
	expect("one more", "n=5/4", "title=4/4", "tags=2/2", "u=3/4")

	small, err := record.Open(ctx, store, record.Options{IndexBuildRows: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = small.Define(ctx, compileAll(t, strings.Replace(back, "bytes b = 7", "bytes b = 7 [(stele.index) = true]", 1))...)
	if !errors.Is(err, kv.ErrInvalid) || !strings.Contains(err.Error(), "table A has more than 3 rows, too many to add index b to it in one transaction") {
		t.Errorf("too many rows: %v", err)
	}
}

// entriesOf counts the entries of one index of the only table.
func entriesOf(t *testing.T, store kv.Reader, id uint64) int {
	t.Helper()
	n := 0
	for p, err := range store.Scan(context.Background(), kv.Range{Lower: []byte{1, 1, 3}, Upper: []byte{1, 1, 4}}) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Key[3] == 1 && uint64(p.Key[4]) == id {
			n++
		}
	}
	return n
}

func TestDefineFaultsTogether(t *testing.T) {
	ctx := context.Background()
	db := open(t, memkv.New())
	define(t, db, evolveBase)
	one := compileAll(t, edit(t, "string s = 3;", ""))
	two := compileAll(t, strings.Replace(evolveBase, "message A {", "message A {\n option (stele.table) = \"B\";", 1))
	_, err := db.Define(ctx, append(one, append(two, two...)...)...)
	want := "define tables: table A: field \"s\" is gone: keep it, or write `reserved 3;` in message A so that its number is not used again\n" +
		"table B is defined twice\n" +
		"tables A and B both have the message A; give one of the messages another name or package"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}
