package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
)

// countingStore counts the reads that reach a store.
type countingStore struct {
	kv.Store
	reads, begins int
}

func (s *countingStore) Get(ctx context.Context, key []byte) ([]byte, error) {
	s.reads++
	return s.Store.Get(ctx, key)
}

func (s *countingStore) Scan(ctx context.Context, r kv.Range) iter.Seq2[kv.Pair, error] {
	s.reads++
	return s.Store.Scan(ctx, r)
}

func (s *countingStore) Snapshot(ctx context.Context) (kv.Snapshot, error) {
	s.reads++
	return s.Store.Snapshot(ctx)
}

func (s *countingStore) Begin(ctx context.Context, o kv.TxOptions) (kv.Tx, error) {
	s.begins++
	return s.Store.Begin(ctx, o)
}

func open(t testing.TB, store kv.Store) *record.DB {
	t.Helper()
	db, err := record.Open(context.Background(), store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func define(t testing.TB, db *record.DB, text string) []*record.Table {
	t.Helper()
	tables, err := db.Define(context.Background(), compileAll(t, text)...)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// dump prints keys and values of a store: what is text as text, the catalog as
// JSON without its schemas.
func dump(t testing.TB, store kv.Reader) string {
	t.Helper()
	var b strings.Builder
	for p, err := range store.Scan(context.Background(), kv.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Key[0] == '_':
			first, _, _ := strings.Cut(string(p.Value), "\n")
			fmt.Fprintf(&b, "%s = %d bytes: %s\n", p.Key, len(p.Value), first)
		case slices.Equal(p.Key[:4], []byte{1, 1, 1, 0}):
			m := &catalogpb.Database{}
			fmt.Fprintf(&b, "%x = %s\n", p.Key, plain(t, p.Value, m))
		case slices.Equal(p.Key[:4], []byte{1, 1, 1, 1}):
			m := &catalogpb.Table{}
			fmt.Fprintf(&b, "%x = %s\n", p.Key, plain(t, p.Value, m))
		default:
			fmt.Fprintf(&b, "%x = %x\n", p.Key, p.Value)
		}
	}
	return b.String()
}

// plain prints a catalog message without the schemas in it.
func plain(t testing.TB, b []byte, m proto.Message) string {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	if table, ok := m.(*catalogpb.Table); ok {
		for _, v := range table.Versions {
			v.Files, v.Text = nil, ""
		}
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const twoTables = `syntax = "proto3";
package p;
import "stele/options.proto";
message Dog { string pk = 1; string name = 2 [(stele.index) = true]; House home = 3; }
message House { string pk = 1; string color = 2 [(stele.unique) = true]; }
`

func TestDefine(t *testing.T) {
	store := memkv.New()
	db := open(t, store)
	tables := define(t, db, twoTables)
	if len(tables) != 2 || tables[0].Name() != "Dog" || tables[1].ID() != 2 {
		t.Fatalf("tables %v", tables)
	}
	golden(t, "testdata/catalog.txt", dump(t, store))

	// Another process sees the same, with no schema given.
	again := open(t, store)
	list, err := again.Tables(context.Background())
	if err != nil || len(list) != 2 || list[0].Name() != "Dog" || list[1].Name() != "House" {
		t.Fatalf("tables %v (%v)", list, err)
	}
	for i, tb := range list {
		if tb.Schema().Text() != tables[i].Schema().Text() || !proto.Equal(fileOf(tb), fileOf(tables[i])) {
			t.Errorf("table %s has another schema", tb.Name())
		}
		for j, ix := range tb.Schema().Indexes() {
			if w := tables[i].Schema().Indexes()[j]; ix.ID() != w.ID() || ix.Name() != w.Name() || ix.State() != record.IndexReadable || ix.ID() == 0 {
				t.Errorf("index %s: id %d, state %s; was %d", ix.Name(), ix.ID(), ix.State(), w.ID())
			}
		}
		text, err := again.SchemaText(context.Background(), tb.Name())
		if err != nil || text != tb.Schema().Text() {
			t.Errorf("stored text of %s differs (%v)", tb.Name(), err)
		}
	}
}

func fileOf(t *record.Table) proto.Message {
	return protodesc.ToFileDescriptorProto(t.Schema().Message().ParentFile())
}

// The first use of a schema reads the store once; later ones never do.
func TestSchemaCache(t *testing.T) {
	ctx := context.Background()
	store := &countingStore{Store: memkv.New()}
	define(t, open(t, store), twoTables)
	store.reads, store.begins = 0, 0
	db := open(t, store)
	for range 100 {
		if _, err := db.Table(ctx, "Dog"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Tables(ctx); err != nil {
			t.Fatal(err)
		}
		define(t, db, twoTables)
	}
	if store.reads != 1 || store.begins != 0 {
		t.Errorf("%d reads and %d transactions, want 1 and 0", store.reads, store.begins)
	}
}

func TestNoTable(t *testing.T) {
	ctx := context.Background()
	store := memkv.New()
	reader := open(t, store.ReadOnly())
	list, err := reader.Tables(ctx)
	if err != nil || len(list) != 0 {
		t.Errorf("tables of an empty store: %v (%v)", list, err)
	}
	_, err = reader.Table(ctx, "Dog")
	if err == nil || err.Error() != "no table Dog" || !errors.Is(err, record.ErrNoTable) || !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := reader.SchemaText(ctx, "Dog"); !errors.Is(err, record.ErrNoTable) {
		t.Errorf("got %v", err)
	}
	if _, err := reader.Define(ctx, compileAll(t, twoTables)...); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("define on a reader: %v", err)
	}
	// The writer makes it: the reader finds it.
	define(t, open(t, store), twoTables)
	if _, err := reader.Table(ctx, "Dog"); err != nil {
		t.Error(err)
	}
	// What is there already, a reader may define, comments aside.
	commented := strings.Replace(twoTables, "message House", "// Home.\nmessage House", 1)
	for _, text := range []string{twoTables, commented} {
		if _, err := reader.Define(ctx, compileAll(t, text)...); err != nil {
			t.Errorf("define on a reader what is there: %v", err)
		}
	}
}

func put(t testing.TB, store kv.Store, key, value []byte) {
	t.Helper()
	tx, err := store.Begin(context.Background(), kv.TxOptions{})
	if err == nil {
		err = tx.Put(key, value)
	}
	if err == nil {
		err = tx.Commit(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormat(t *testing.T) {
	store := memkv.New()
	b, _ := proto.Marshal(&catalogpb.Database{Format: 2})
	put(t, store, []byte{1, 1, 1, 0}, b)
	before := dump(t, store)
	_, err := record.Open(context.Background(), store, record.Options{})
	if !errors.Is(err, kv.ErrNewerFormat) || !strings.Contains(err.Error(), "use a newer version of Stele") {
		t.Errorf("got %v", err)
	}
	if dump(t, store) != before {
		t.Error("the store was changed")
	}
}

func TestCorruptCatalog(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct{ key, value []byte }{
		"header":       {[]byte{1, 1, 1, 0}, []byte{0xff}},
		"table":        {[]byte{1, 1, 1, 1, 0x15, 9}, []byte{0xff}},
		"other id":     {[]byte{1, 1, 1, 1, 0x15, 9}, mustMarshal(&catalogpb.Table{Id: 3, Name: "x", Versions: []*catalogpb.Version{{}}})},
		"without file": {nil, mustMarshal(&catalogpb.Table{Id: 1, Name: "Dog", Versions: []*catalogpb.Version{{Number: 1, Message: "p.Dog"}}})},
	} {
		store := memkv.New()
		tables := define(t, open(t, store), twoTables)
		if c.key == nil {
			c.key = firstKey(t, store, []byte{1, 1, 1, 1})
		}
		put(t, store, c.key, c.value)
		db, err := record.Open(ctx, store, record.Options{})
		if err == nil {
			_, err = db.Table(ctx, tables[0].Name())
		}
		if !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func firstKey(t testing.TB, store kv.Reader, from []byte) []byte {
	t.Helper()
	for p, err := range store.Scan(context.Background(), kv.Range{Lower: from}) {
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(p.Key)
	}
	t.Fatal("no key")
	return nil
}

func mustMarshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func TestForeignStore(t *testing.T) {
	store := memkv.New()
	put(t, store, []byte("zebra"), []byte("1"))
	db := open(t, store)
	_, err := db.Define(context.Background(), compileAll(t, twoTables)...)
	if !errors.Is(err, kv.ErrInvalid) || !strings.Contains(err.Error(), `such as "zebra"`) {
		t.Errorf("got %v", err)
	}
}

// What WriteSchemas writes compiles as it is.
func TestWriteSchemas(t *testing.T) {
	ctx := context.Background()
	db := open(t, memkv.New())
	all, err := record.CompileProto(ctx, "shop.proto", map[string]string{"shop.proto": shop, "other.proto": other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Define(ctx, append(all, compileAll(t, dogs)...)...); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	paths, err := db.WriteSchemas(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"Customer.proto", "Dog.proto", "orders.proto", "stele/options.proto"}; !slices.Equal(paths, want) {
		t.Errorf("wrote %v, want %v", paths, want)
	}
	texts := map[string]string{}
	for _, p := range paths {
		b, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		texts[p] = string(b)
	}
	if texts["Dog.proto"] != dogs {
		t.Error("Dog.proto is not as it was written")
	}
	compileTogether(t, texts)
	if paths, err := db.WriteSchemas(ctx, t.TempDir(), "Dog"); err != nil || len(paths) != 2 {
		t.Errorf("one table: %v (%v)", paths, err)
	}
	if _, err := db.WriteSchemas(ctx, t.TempDir(), "Cat"); !errors.Is(err, record.ErrNoTable) {
		t.Errorf("got %v", err)
	}
}
