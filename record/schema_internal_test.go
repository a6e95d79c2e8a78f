package record

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// The keys are on disk: these bytes never change.
func TestKeyBytes(t *testing.T) {
	row, err := rowKey(300, tuple.Tuple{tuple.String("a\x00b"), tuple.Int(-1)})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := appendIndexKey(indexPrefix(1, 2), tuple.Tuple{tuple.Bool(true)}, tuple.Tuple{tuple.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		key  []byte
		want string
	}{
		{"schema", SchemaKey("Dog"), hex.EncodeToString([]byte("__schema__Dog"))},
		{"options", OptionsKey(), hex.EncodeToString([]byte("__schema__/stele/options.proto"))},
		{"header", headerKey(), "01010100"},
		{"table", tableKey(1), "01010101" + hex.EncodeToString(tuple.AppendUvarint(nil, 1))},
		{"import", ImportKey("x"), "0101010278"},
		{"row", row, "010102" + hex.EncodeToString(tuple.AppendUvarint(nil, 300)) + "246100ff620001" + "13fe"},
		{"index entry", entry, "010103" + "01" + "02" + "03" + "246b0001"},
	} {
		if got := hex.EncodeToString(c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	pk, err := parseRowKey(300, row)
	if err != nil || pk.String() == "" || len(pk) != 2 {
		t.Errorf("row key: %v (%v)", pk, err)
	}
	for _, k := range [][]byte{nil, row[:4], row[:len(row)-1], entry} {
		if _, err := parseRowKey(300, k); len(k) != 4 && !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("parse %x: %v", k, err)
		}
	}
	values, pk, err := parseIndexKey(1, 2, 1, entry)
	if err != nil || len(values) != 1 || len(pk) != 1 {
		t.Errorf("index key: %v %v (%v)", values, pk, err)
	}
	if _, _, err := parseIndexKey(1, 2, 3, entry); !errors.Is(err, kv.ErrCorrupt) {
		t.Errorf("short index key: %v", err)
	}
	if r := catalogRange(); !bytes.HasPrefix(headerKey(), r.Lower) || bytes.Compare(tableKey(1<<63), r.Upper) >= 0 {
		t.Error("the catalog's range does not hold the catalog")
	}
}

// A message made self-contained reads what the original wrote, and the reverse.
func TestNestingKeepsTheWireForm(t *testing.T) {
	messages := []protoreflect.MessageDescriptor{(&catalogpb.Table{}).ProtoReflect().Descriptor()}
	file, faults, err := parse(context.Background(), "a.proto", func(string) (string, error) {
		return `syntax = "proto3";
package a.b;
import "google/protobuf/any.proto";
message A { string pk = 1; B b = 2; C.D d = 3; E e = 4; map<string, B> m = 5; google.protobuf.Any any = 6; message B { bool own = 1; } B in = 7; .a.b.B out = 8; }
message B { A back = 1; C c = 2; oneof o { int32 x = 3; C.D y = 4; } }
message C { message D { C up = 1; E e = 2; enum F { X = 0; } F f = 3; } D d = 1; }
enum E { ZERO = 0; }
`, nil
	})
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	for _, md := range append(messages, file.Messages().ByName("A")) {
		s, err := FromMessage(md, Definition{Key: []string{string(md.Fields().Get(0).Name())}})
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range [][2]protoreflect.MessageDescriptor{{md, s.md}, {s.md, md}} {
			c := &comparison{seen: map[[2]protoreflect.FullName]bool{}}
			if c.messages(dir[0], dir[1], ""); len(c.faults) > 0 {
				t.Errorf("%s: %v\n%s", md.FullName(), c.faults, s.text)
			}
		}
		if n := s.md.ParentFile().Messages().Len() + s.md.ParentFile().Enums().Len(); n != 1 {
			t.Errorf("the file of %s declares %d things", md.FullName(), n)
		}
	}
}
