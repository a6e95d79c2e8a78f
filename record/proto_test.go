package record_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// compile1 compiles one text with one table.
func compile1(t testing.TB, text string) *record.Schema {
	t.Helper()
	all := compileAll(t, text)
	if len(all) != 1 {
		t.Fatalf("%d schemas, want one", len(all))
	}
	return all[0]
}

func compileAll(t testing.TB, text string) []*record.Schema {
	t.Helper()
	all, err := record.CompileProto(context.Background(), "in.proto", map[string]string{"in.proto": text})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const dogs = `// Dogs of the town.
syntax = "proto3";

package database;

import "stele/options.proto";
import "google/protobuf/timestamp.proto";

// A Dog has a chip.
message Dog {
  // the name
  string pk = 1;
  string name = 2 [(stele.index) = true]; // its own
  uint32 age = 3 [(stele.index) = true];
  repeated string tags = 4 [(stele.index) = true];
  string chip = 5 [(stele.unique) = true];
  bytes id = 6 [(stele.uuid) = true];
  google.protobuf.Timestamp born = 7;
  option (stele.composite_index) = {fields: ["name", "age"]};
}
`

func TestCompile(t *testing.T) {
	s := compile1(t, dogs)
	if s.Table() != "Dog" || len(s.Key()) != 1 || s.Key()[0].Name() != "pk" {
		t.Fatalf("table %s, key %v", s.Table(), s.Key())
	}
	var names []string
	for _, ix := range s.Indexes() {
		name := ix.Name()
		if ix.Unique() {
			name += "!"
		}
		if ix.Multi() {
			name += "*"
		}
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "name age tags* chip! name_age"; got != want {
		t.Errorf("indexes %s, want %s", got, want)
	}
	if s.Text() != dogs {
		t.Errorf("the text is not as it was written:\n%s", s.Text())
	}
	if k := s.Field("id").Kind(); k != record.UUID {
		t.Errorf("id is %s", k)
	}
	if s.Field("nope") != nil {
		t.Error("there is a field nope")
	}
}

// Of several tables in a file, each has all that it refers to in its own text,
// and the texts compile together.
const shop = `// Licence of the shop.
syntax = "proto3";

// The shop's package.
package shop;

import "stele/options.proto";
import "google/protobuf/duration.proto";
import "other.proto";

option go_package = "example.com/shop";

// Where things go.
message Address {
  // Its street.
  string street = 1; // and number
  Country country = 2;
  Order.Kind kind = 3;
  other.Deep deep = 4;
}

enum Country {
  option allow_alias = true;
  COUNTRY_UNSPECIFIED = 0; // not known
  // Up north.
  NORWAY = 1;
  NORGE = 1;
  reserved 5 to 7, 100 to max;
  reserved "SWEDEN";
}

/* An order.
   Of two lines. */
message Order {
  option (stele.table) = "orders";
  option (stele.composite_index) = {name: "where", fields: ["day", "customer"], unique: true};
  reserved 9, 12 to 14;
  reserved "old";

  enum Kind { NONE = 0; GIFT = 1; }

  // First part.
  int64 customer = 1 [(stele.key) = true];
  sint32 number = 2 [(stele.key) = true];
  Address to = 3;
  string Country = 4; // a name that is taken
  map<string, Address> others = 5;
  optional int32 day = 6 [(stele.index) = true, json_name = "theDay", deprecated = true];

  // How it was paid.
  oneof payment {
    // By card.
    string card = 7;
    Customer by = 8; // on account
  }
  google.protobuf.Duration wait = 10;
  repeated fixed32 sizes = 11 [packed = false];
  Order parent = 15;
}

message Customer {
  string pk = 1;
  Address home = 2;
  repeated Country been = 3 [(stele.index) = true];
}
`

const other = `syntax = "proto3";
package other;
message Deep { Deep more = 1; Inner inner = 2; message Inner { string NORWAY = 1; } }
`

func TestSelfContained(t *testing.T) {
	all, err := record.CompileProto(context.Background(), "a/shop.proto", map[string]string{"a/shop.proto": shop, "other.proto": other})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d schemas", len(all))
	}
	golden(t, "testdata/orders.proto", all[0].Text())
	golden(t, "testdata/Customer.proto", all[1].Text())
	texts := map[string]string{"orders.proto": all[0].Text(), "Customer.proto": all[1].Text()}
	compileTogether(t, texts)

	// A text is its own text.
	for name, text := range texts {
		again, err := record.CompileProto(context.Background(), name, texts)
		if err != nil {
			t.Fatal(err)
		}
		if again[0].Text() != text {
			t.Errorf("%s compiled again has another text:\n%s", name, again[0].Text())
		}
	}
}

// compileTogether compiles texts as protoc does a folder of them, with nothing
// built in but google/protobuf.
func compileTogether(t *testing.T, texts map[string]string) {
	t.Helper()
	options, err := os.ReadFile("../proto/stele/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	src := map[string]string{"stele/options.proto": string(options)}
	var names []string
	for name, text := range texts {
		src[name] = text
		names = append(names, name)
	}
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(src),
	})}
	if _, err := c.Compile(context.Background(), names...); err != nil {
		t.Fatal(err)
	}
}

// golden compares text with a file, or writes it if REWRITE is set.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if os.Getenv("REWRITE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s differs (REWRITE=1 writes it anew); got:\n%s", path, text)
	}
}

func TestCompileFaults(t *testing.T) {
	head := "syntax = \"proto3\";\nimport \"stele/options.proto\";\nimport \"google/protobuf/struct.proto\";\n"
	for _, c := range []struct{ name, text, want string }{
		{"syntax", "syntax = \"proto3\";\nmessage A {\n  string pk = 1\n}\n", "in.proto:4:1: syntax error: expecting ';'"},
		{"unknown types", head + "message A {\n  strin pk = 1;\n  Foo b = 2;\n}\n",
			"in.proto:5:3: field A.pk: unknown type strin\nin.proto:6:3: field A.b: unknown type Foo"},
		{"no key", head + "message House {\n  string color = 2;\n}\n",
			"in.proto:4:1: model does not include `string pk = 1;`: add that field to message House, or mark the fields of its primary key with [(stele.key) = true]"},
		{"pk of another type", head + "message House {\n  int32 pk = 1;\n}\n",
			"in.proto:5:3: model does not include `string pk = 1;`: the field pk of message House is another; make it so, or mark it with [(stele.key) = true]"},
		{"one of two", head + "message Dog {\n  string pk = 1;\n}\nmessage House {\n  string pk = 2;\n}\n",
			"in.proto:8:3: model does not include `string pk = 1;`: the field pk of message House is another; make it so, or mark it with [(stele.key) = true]"},
		{"an index without a key", head + "message Dog {\n  string pk = 1;\n}\nmessage House {\n  string color = 2 [(stele.index) = true];\n}\n",
			"in.proto:7:1: model does not include `string pk = 1;`: add that field to message House, or mark the fields of its primary key with [(stele.key) = true]"},
		{"nothing", head, "in.proto: there is no message in it; a table is a message with a primary key, such as `string pk = 1;`"},
		{"all together", head + "message A {\n  repeated string k = 1 [(stele.key) = true];\n  map<string, string> m = 2 [(stele.index) = true];\n  google.protobuf.Struct s = 3 [(stele.unique) = true];\n  string u = 4 [(stele.uuid) = true];\n}\n",
			"in.proto:6:3: field \"m\" cannot be indexed: it is a map, which has no order; keep what shall be found in a field of its own, or in a repeated one\n" +
				"in.proto:7:3: field \"s\" cannot be indexed: it is a message (google.protobuf.Struct), which has no order; of messages only google.protobuf.Timestamp and Duration have one. Index a field of the table's own message instead\n" +
				"in.proto:8:3: field \"u\" has (stele.uuid) but is string: a UUID is bytes\n" +
				"in.proto:5:3: field \"k\" cannot be a part of the primary key: it is repeated string, and a row has one key"},
		{"float key", head + "message A {\n  double k = 1 [(stele.key) = true];\n}\n",
			"in.proto:5:3: field \"k\" cannot be a part of the primary key: it is double, whose values may differ and yet print alike; use an integer or a string"},
		{"oneof key", head + "message A {\n  oneof o {\n    string k = 1 [(stele.key) = true];\n  }\n}\n",
			"in.proto:6:5: field \"k\" cannot be a part of the primary key: it is in a oneof, and a key is always set"},
		{"composite", head + "message A {\n  option (stele.composite_index) = {fields: [\"Pk\", \"x\"]};\n  string pk = 1;\n}\n",
			"in.proto:4:1: an index names field \"Pk\", which message A does not have (it has \"pk\")\nin.proto:4:1: an index names field \"x\", which message A does not have"},
		{"same name", head + "message A {\n  option (stele.composite_index) = {name: \"b\", fields: [\"pk\"]};\n  string pk = 1;\n  string b = 2 [(stele.index) = true];\n}\n",
			"in.proto:4:1: two indexes are called \"b\"; give one of them another name"},
		{"same table", head + "message A {\n  string pk = 1;\n}\nmessage B {\n  option (stele.table) = \"A\";\n  string pk = 1;\n}\n",
			"in.proto:7:1: message B is table \"A\", as message A is; give one of them another (stele.table)"},
		{"table name", head + "message A {\n  option (stele.table) = \"a/b\";\n  string pk = 1;\n}\n",
			"in.proto:4:1: \"a/b\" cannot be the name of a table: it must consist of letters, digits, '_', '-' and '.', and begin with a letter"},
		{"reserved number", head + "message A {\n  string pk = 1;\n  string x = 536870911;\n}\n",
			"in.proto:6:3: field \"x\" has the number 536870911, which Stele keeps for itself; give it another"},
		{"missing import", "syntax = \"proto3\";\nimport \"foo.proto\";\nmessage A { string pk = 1; }\n",
			"in.proto:2:8: could not resolve path \"foo.proto\": file does not exist; imports are looked for beside the file that is compiled"},
		{"no option import", "syntax = \"proto3\";\nmessage A { string pk = 1 [(stele.key) = true]; }\n", `write import "stele/options.proto";`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := record.CompileProto(context.Background(), "in.proto", map[string]string{"in.proto": c.text})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got:\n%v\nwant:\n%s", err, c.want)
			}
			var se *record.SchemaError
			if !errors.As(err, &se) || !errors.Is(err, kv.ErrInvalid) {
				t.Errorf("%T is no SchemaError", err)
			}
		})
	}
}

// A message without a key that nothing else needs is passed over, and noted.
func TestSkipped(t *testing.T) {
	text := "syntax = \"proto3\";\nmessage Dog {\n  string pk = 1;\n  Home home = 2;\n}\nmessage Home {\n  string color = 1;\n}\n" +
		"message Dogs {\n  repeated Dog dogs = 1;\n}\nmessage Cat {\n  string name = 1;\n}\n"
	schemas, err := record.CompileProto(t.Context(), "in.proto", map[string]string{"in.proto": text})
	if err != nil || len(schemas) != 1 || schemas[0].Table() != "Dog" {
		t.Fatalf("%d schemas, %v", len(schemas), err)
	}
	c := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"in.proto": text})},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(t.Context(), "in.proto")
	if err != nil {
		t.Fatal(err)
	}
	notes := record.Skipped(files[0])
	if len(notes) != 1 || !strings.HasPrefix(notes[0].String(), "in.proto:12:1: model does not include `string pk = 1;`: add that field to message Cat") {
		t.Errorf("%v", notes)
	}
}

func TestFromMessage(t *testing.T) {
	md := (&catalogpb.Table{}).ProtoReflect().Descriptor()
	s, err := record.FromMessage(md, record.Definition{
		Table: "table", Key: []string{"id", "name"},
		Indexes: []record.IndexDef{{Fields: []string{"next_index_id"}}, {Name: "both", Fields: []string{"name", "id"}, Unique: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/table.proto", s.Text())
	compileTogether(t, map[string]string{"table.proto": s.Text()})

	_, err = record.FromMessage(md, record.Definition{Key: []string{"name", "id"}, Indexes: []record.IndexDef{{Fields: []string{"x"}}}, UUIDs: []string{"y"}})
	want := "the primary key of Table lists its fields as name, id; they must be named once each, in the order of the message\n" +
		"an index names field \"x\", which message Table does not have\n" +
		"the list of UUIDs names field \"y\", which message Table does not have"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}

	_, err = record.FromMessage((&descriptorpb.FieldDescriptorProto{}).ProtoReflect().Descriptor(), record.Definition{Key: []string{"name"}})
	if !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("one of Protobuf's own messages: %v", err)
	}
}

// What proto2 and editions can say comes through printing.
func TestSyntaxes(t *testing.T) {
	for name, text := range map[string]string{
		"proto2.proto": `syntax = "proto2";
package old;
import "stele/options.proto";
message Old {
  required string name = 1 [(stele.key) = true];
  optional string s = 2 [default = "a\"b\\c\nd"];
  optional bytes b = 3 [default = "\001\"x"];
  optional double d = 4 [default = inf];
  optional E e = 5 [default = ONE];
  optional group Part = 6 { optional int32 x = 1; }
  repeated int64 packed = 7 [packed = true];
  oneof o { int32 i = 8; string t = 9; }
  extensions 100 to max;
  extensions 50, 60 to 70;
}
enum E { ZERO = 0; ONE = 1; }
`,
		"editions.proto": `edition = "2023";
package now;
import "stele/options.proto";
option features.field_presence = IMPLICIT;
message Now {
  string name = 1 [(stele.key) = true];
  string s = 2 [features.field_presence = EXPLICIT];
  reserved gone;
  E e = 3;
  repeated int32 p = 4 [features.repeated_field_encoding = EXPANDED];
}
enum E { ZERO = 0; ONE = 1; }
`,
	} {
		t.Run(name, func(t *testing.T) {
			all, err := record.CompileProto(context.Background(), name, map[string]string{name: text})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name, all[0].Text())
			compileTogether(t, map[string]string{name: all[0].Text()})
		})
	}
}

func TestTwoSyntaxes(t *testing.T) {
	_, err := record.CompileProto(context.Background(), "a.proto", map[string]string{
		"a.proto": "syntax = \"proto3\";\nimport \"b.proto\";\nmessage A {\n  string pk = 1;\n  B b = 2;\n}\n",
		"b.proto": "syntax = \"proto2\";\nmessage B {\n  optional int32 x = 1;\n}\n",
	})
	want := "a.proto:5:3: field \"b\": B comes from b.proto, which is written in another syntax (proto2) than the table's file; use one syntax for both"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
