package record_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// The database that docs/FORMAT.md takes apart.
const formatDogs = `syntax = "proto3";

import "stele/options.proto";

message Dog {
  string name = 1 [(stele.key) = true];
  string breed = 2 [(stele.index) = true];
  uint32 age = 3;
  optional string chip = 4 [(stele.unique) = true];
  repeated string tags = 5 [(stele.index) = true];
}
`

// Each byte of a small database stands explained in testdata/bytes.txt. They are
// on disk: they never change.
func TestBytes(t *testing.T) {
	ctx := context.Background()
	store := memkv.New()
	db := open(t, store)
	define(t, db, formatDogs)
	rows(t, db, "Dog", `{"name":"Rex","breed":"Lab","age":3,"chip":"c1","tags":["b","a","b"]}`, `{"name":"Bo"}`)

	var out strings.Builder
	for p, err := range store.Scan(ctx, kv.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		explainPair(t, &out, p)
	}
	golden := filepath.Join("testdata", "bytes.txt")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(out.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("bytes moved; -rewrite writes %s anew. They are:\n%s", golden, &out)
	}
	if text, err := store.Get(ctx, record.SchemaKey("Dog")); err != nil || string(text) != formatDogs {
		t.Errorf("the stored schema is not as it was written: %q, %v", text, err)
	}
}

// explainPair prints one key and its value, byte by byte where they are not
// text.
func explainPair(t *testing.T, out *strings.Builder, p kv.Pair) {
	t.Helper()
	if p.Key[0] == '_' {
		fmt.Fprintf(out, "%s\n    -> .proto text\n", p.Key)
		return
	}
	var parts, says []string
	part := func(n int, rest []byte, format string, args ...any) []byte {
		parts, says = append(parts, spaced(rest[:n])), append(says, fmt.Sprintf(format, args...))
		return rest[n:]
	}
	id := func(rest []byte, name string) []byte {
		v, after, err := tuple.Uvarint(rest)
		if err != nil {
			t.Fatal(err)
		}
		return part(len(rest)-len(after), rest, "%s %d", name, v)
	}
	values := func(rest []byte) {
		for len(rest) > 0 {
			v, after, err := tuple.Decode(rest, false)
			if err != nil {
				t.Fatal(err)
			}
			rest = part(len(rest)-len(after), rest, "%s", v)
		}
	}
	fields := func(rest []byte) {
		for len(rest) > 0 {
			num, _, n := protowire.ConsumeField(rest)
			if n < 0 {
				t.Fatal(protowire.ParseError(n))
			}
			if n > 32 { // the schema's versions
				parts, says = append(parts, spaced(rest[:1])+" .."), append(says, fmt.Sprintf("field %d", num))
				rest = rest[n:]
				continue
			}
			rest = part(n, rest, "field %d", num)
		}
	}
	isValue := func() { // what follows is the value
		fmt.Fprintf(out, "%s\n    %s\n", strings.Join(parts, " | "), strings.Join(says, ", "))
		parts, says = nil, nil
	}

	rest := p.Key[3:]
	switch {
	case bytes.HasPrefix(p.Key, []byte{1, 1, 1}):
		part(3, p.Key, "tables, format 1, metadata")
		if rest = part(1, rest, "%s", map[byte]string{0: "header", 1: "table"}[rest[0]]); len(rest) > 0 {
			id(rest, "table")
		}
		isValue()
		fields(p.Value)
	case bytes.HasPrefix(p.Key, []byte{1, 1, 2}):
		part(3, p.Key, "tables, format 1, rows")
		values(id(rest, "table"))
		isValue()
		fields(p.Value)
	case bytes.HasPrefix(p.Key, []byte{1, 1, 3}):
		part(3, p.Key, "tables, format 1, index entries")
		values(id(id(rest, "table"), "index"))
		isValue()
		values(p.Value)
	default:
		t.Fatalf("key %x has no place", p.Key)
	}
	if len(parts) == 0 {
		out.WriteString("    -> empty\n")
		return
	}
	fmt.Fprintf(out, "    -> %s\n       %s\n", strings.Join(parts, " | "), strings.Join(says, ", "))
}

// spaced returns bytes in hexadecimal with a space between.
func spaced(b []byte) string {
	var s []string
	for _, c := range b {
		s = append(s, hex.EncodeToString([]byte{c}))
	}
	return strings.Join(s, " ")
}
