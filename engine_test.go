package stele_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var runs atomic.Int64

// memURL names a database in memory that nobody has used.
func memURL() string { return fmt.Sprintf("mem://test%d/app", runs.Add(1)) }

// openURL opens a database on the engine.
func openURL(t testing.TB, url string, opts stele.Options) *stele.DB {
	t.Helper()
	db, err := stele.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestFolder(t *testing.T) {
	ctx, url := t.Context(), "file://"+t.TempDir()+"/data/app"
	opts := stele.Options{Tables: []stele.Model{Users}}
	if _, err := stele.OpenReader(ctx, url, opts); !errors.Is(err, stele.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	db := openURL(t, url, opts)
	fill(t, db)
	// A reader beside the writer sees what was acknowledged, and stays there.
	r, err := stele.OpenReader(ctx, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Users.Delete(ctx, db, "u3"); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, r, Users.Where(UserCityAge.Prefix("Oslo")).Using(UserCityAge)); got != "u5 u3 u1" {
		t.Errorf("reader: %q", got)
	}
	if err := r.View(ctx, func(s *stele.Snapshot) error {
		_, err := Users.Get(ctx, s, "u3")
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	checkAndClose(t, db)
	if _, err := Users.Get(ctx, db, "u1"); !errors.Is(err, stele.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	db = openURL(t, url, opts)
	if got := ids(t, db, Users.Where(UserTags.Has("go")).Reverse()); got != "u2 u1" {
		t.Errorf("opened again: %q", got)
	}
	checkAndClose(t, db)

	type Other struct {
		ID int `stele:"key"`
	}
	_, err = stele.OpenReader(ctx, url, stele.Options{Tables: []stele.Model{stele.NewTable[Other, int]("other")}})
	if !errors.Is(err, stele.ErrNoTable) || !errors.Is(err, stele.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// A reader opens the database with the writer's settings: here it finds a log
// that lies elsewhere.
func TestReaderHasTheEnginesSettings(t *testing.T) {
	ctx, url := t.Context(), memURL()
	opts := stele.Options{Tables: []stele.Model{Users}, Engine: slate.Options{WALBucket: bucket.NewInMemBucket(), WALPath: "/"}}
	db := openURL(t, url, opts)
	if err := Users.Put(ctx, db, &User{ID: "u1", City: "Oslo"}); err != nil {
		t.Fatal(err)
	}
	r, err := stele.OpenReader(ctx, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Users.Get(ctx, r, "u1"); err != nil {
		t.Errorf("a row that is in the log only: %v", err)
	}
	if err := errors.Join(r.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}

func TestDeposedWriter(t *testing.T) {
	ctx, url := t.Context(), memURL()
	opts := stele.Options{Tables: []stele.Model{Users}}
	first := openURL(t, url, opts)
	if err := Users.Put(ctx, first, &User{ID: "u1", City: "Oslo"}); err != nil {
		t.Fatal(err)
	}
	second := openURL(t, url, opts)
	if err := Users.Put(ctx, first, &User{ID: "u1", City: "Rome"}); !errors.Is(err, stele.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if u, err := Users.Get(ctx, second, "u1"); err != nil || u.City != "Oslo" {
		t.Errorf("got %+v, %v", u, err)
	}
	_ = first.Close() // it says that it was fenced
	checkAndClose(t, second)
}

// TestReadOnlyStore: a writer's database on a store that is for reading opens
// when there is nothing to define, and refuses to write.
func TestReadOnlyStore(t *testing.T) {
	ctx, store := t.Context(), memkv.New()
	opts := stele.Options{Tables: []stele.Model{Users}}
	if _, err := stele.OpenStore(ctx, store.ReadOnly(), opts); !errors.Is(err, stele.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	db, err := stele.OpenStore(ctx, keepOpen{store}, opts)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db)
	ro, err := stele.OpenStore(ctx, store.ReadOnly(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := Users.Put(ctx, ro, &User{ID: "x"}); !errors.Is(err, stele.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if err := ro.Close(); err != nil {
		t.Error(err)
	}
	checkAndClose(t, db)
}

// TestForeignSchema: a table made from a .proto, opened with a struct of some
// of its fields, keeps all that the struct does not know.
func TestForeignSchema(t *testing.T) {
	ctx, store := t.Context(), memkv.New()
	const source = `syntax = "proto3";
package shop;
import "stele/options.proto";
import "google/protobuf/timestamp.proto";
message Item {
  bytes id = 3 [(stele.key) = true, (stele.uuid) = true];
  sint64 price = 9 [(stele.index) = true];
  string name = 1;
  fixed32 stock = 2;
  Size size = 4;
  repeated string labels = 5 [(stele.index) = true];
  google.protobuf.Timestamp seen = 7;
  Unit unit = 8;
  bytes batch = 11 [(stele.uuid) = true];
}
message Size { double width = 2; double height = 1; }
enum Unit { PIECE = 0; METRE = 1; }
`
	schemas, err := record.CompileProto(ctx, "shop.proto", map[string]string{"shop.proto": source})
	if err != nil {
		t.Fatal(err)
	}
	rdb, err := record.Open(ctx, keepOpen{store}, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := rdb.Define(ctx, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	text := tables[0].Schema().Text()
	rec, err := tables[0].Schema().FromJSON([]byte(`{"id":"AAECAwQFBgcICQoLDA0ODw==","price":"-5","name":"nut","stock":7,"size":{"width":1.5},"labels":["a"],"unit":"METRE"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.Update(ctx, func(tx *record.Tx) error { return tables[0].Insert(ctx, tx, rec) }); err != nil {
		t.Fatal(err)
	}

	type Size struct{ Height, Width float64 }
	type Item struct {
		ID    UUID  `stele:"key"`
		Price int64 `stele:"index"`
		Stock uint32
		Size  Size
	}
	items := stele.NewTable[Item, UUID](schemas[0].Table())
	price := stele.FieldOf[int64](items, "price")
	open := func(m stele.Model) *stele.DB {
		db, err := stele.OpenStore(ctx, keepOpen{store}, stele.Options{Tables: []stele.Model{m}})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open(items)
	got, err := items.Where(price.Lt(0)).Using(price).First(ctx, db)
	want := Item{ID: UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Price: -5, Stock: 7, Size: Size{Width: 1.5}}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := items.Put(ctx, db, &Item{ID: UUID{9}, Price: 5}); err != nil {
		t.Error(err)
	}
	table, err := db.Records().Table(ctx, items.Name())
	if err != nil {
		t.Fatal(err)
	}
	if table.Schema().Text() != text || table.Schema().Version() != 1 {
		t.Errorf("the schema changed:\n%s", table.Schema().Text())
	}
	checkAndClose(t, db)

	// A field more: everything else stays as it is.
	type More struct {
		ID    UUID  `stele:"key"`
		Price int64 `stele:"index"`
		Extra struct{ Note string }
	}
	db = open(stele.NewTable[More, UUID](items.Name()))
	if table, err = db.Records().Table(ctx, items.Name()); err != nil {
		t.Fatal(err)
	}
	s := table.Schema()
	for name, n := range map[string]int{"id": 3, "price": 9, "name": 1, "labels": 5, "seen": 7, "unit": 8, "batch": 11, "extra": 12} {
		if f := s.Field(name); f == nil || f.Number() != n {
			t.Errorf("field %s: %v", name, f)
		}
	}
	if s.Field("batch").Kind() != record.UUID || s.Index("labels") == nil || s.Version() != 2 {
		t.Errorf("lost something:\n%s", s.Text())
	}
	checkAndClose(t, db)
}

// TestEveryType: what a condition compares with is what the record layer reads
// from a field, for each type; and the stored text describes the same message.
func TestEveryType(t *testing.T) {
	rows := stele.NewTable[everyType, string]("every")
	now := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	n, s := int16(-3), "opt"
	full := everyType{"full", true, -1, -8, 16, -32, 64, 1, 255, 16, 32, 1 << 63, 0.1, -0.1, "naïve", []byte{0}, UUID{7}, now, -time.Second, &n, &s, []uint8{1}, []time.Time{now}}
	db := open(t, rows)
	ctx := t.Context()
	for _, r := range []everyType{{ID: "zero"}, full} {
		if err := rows.Insert(ctx, db, &r); err != nil {
			t.Fatal(err)
		}
	}
	find := func(name string, c stele.Cond[everyType], want string) {
		t.Helper()
		got := ""
		for r, err := range rows.Where(c).Rows(ctx, db) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got += r.ID
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	checkType(find, rows, "bool", full.Bool)
	checkType(find, rows, "int", full.Int)
	checkType(find, rows, "int8", full.Int8)
	checkType(find, rows, "int16", full.Int16)
	checkType(find, rows, "int32", full.Int32)
	checkType(find, rows, "int64", full.Int64)
	checkType(find, rows, "uint", full.Uint)
	checkType(find, rows, "uint8", full.Uint8)
	checkType(find, rows, "uint16", full.Uint16)
	checkType(find, rows, "uint32", full.Uint32)
	checkType(find, rows, "uint64", full.Uint64)
	checkType(find, rows, "float32", full.Float32)
	checkType(find, rows, "float64", full.Float64)
	checkType(find, rows, "text", full.Text)
	checkType(find, rows, "blob", full.Blob)
	checkType(find, rows, "tag", full.Tag)
	checkType(find, rows, "time", full.Time)
	checkType(find, rows, "took", full.Took)
	find("opt_int", stele.FieldOf[int16](rows, "opt_int").Eq(n), "full")
	find("opt_int", stele.FieldOf[int16](rows, "opt_int").IsNull(), "zero")
	find("opt_text", stele.FieldOf[string](rows, "opt_text").Ge("a"), "full")
	find("times", stele.FieldOf[time.Time](rows, "times").Has(now), "full")

	text, err := db.Records().SchemaText(ctx, "every")
	if err != nil {
		t.Fatal(err)
	}
	again, err := record.CompileProto(ctx, "every.proto", map[string]string{"every.proto": text})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	table, err := db.Records().Table(ctx, "every")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(described(again[0])), fmt.Sprint(described(table.Schema())); got != want {
		t.Errorf("the text says\n%s\nthe schema\n%s", got, want)
	}
}

type everyType struct {
	ID      string        `stele:"key"`
	Bool    bool          `stele:"index"`
	Int     int           `stele:"index"`
	Int8    int8          `stele:"index"`
	Int16   int16         `stele:"index"`
	Int32   int32         `stele:"index"`
	Int64   int64         `stele:"index"`
	Uint    uint          `stele:"index"`
	Uint8   uint8         `stele:"index"`
	Uint16  uint16        `stele:"index"`
	Uint32  uint32        `stele:"index"`
	Uint64  uint64        `stele:"index"`
	Float32 float32       `stele:"index"`
	Float64 float64       `stele:"index"`
	Text    string        `stele:"index"`
	Blob    []byte        `stele:"index"`
	Tag     UUID          `stele:"index"`
	Time    time.Time     `stele:"index"`
	Took    time.Duration `stele:"index"`
	OptInt  *int16        `stele:"index"`
	OptText *string       `stele:"unique"`
	Bytes   []uint8
	Times   []time.Time `stele:"index"`
}

// checkType finds the full row by its value and the zero row by the zero value.
func checkType[V any](find func(string, stele.Cond[everyType], string), rows *stele.Table[everyType, string], name string, v V) {
	var zero V
	f := stele.FieldOf[V](rows, name)
	find(name, f.Eq(v), "full")
	find(name+" of zero", f.Eq(zero), "zero")
	find(name+" not zero", f.Ne(zero), "full")
}

func described(s *record.Schema) []string {
	var out []string
	for _, f := range s.Fields() {
		out = append(out, fmt.Sprint(f.Name(), f.Number(), f.Kind(), f.Optional(), f.Repeated(), "\n"))
	}
	for _, ix := range s.Indexes() {
		out = append(out, fmt.Sprint(ix.Name(), ix.Unique(), ix.Multi(), "\n"))
	}
	return out
}

// TestModel: a table does what a map does, on the engine with memtables so
// small that rows are in every part of it.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, url := context.Background(), memURL()
		opts := stele.Options{Tables: []stele.Model{Users}, Engine: slate.Options{L0Bytes: 2048}}
		db, err := stele.Open(ctx, url, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { checkAndClose(t, db) }()
		model := map[string]User{}
		id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		draw := func(t *rapid.T) User {
			return User{
				ID: id.Draw(t, "id"), City: rapid.SampledFrom([]string{"", "Oslo", "Rome"}).Draw(t, "city"),
				Age: rapid.Int64Range(-2, 2).Draw(t, "age"), Tags: rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y"}), 0, 3).Draw(t, "tags"),
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				u := draw(t)
				if err := Users.Put(ctx, db, &u); err != nil {
					t.Fatal(err)
				}
				model[u.ID] = u
			},
			"insert": func(t *rapid.T) {
				u := draw(t)
				_, there := model[u.ID]
				if err := Users.Insert(ctx, db, &u); there != errors.Is(err, stele.ErrExists) || !there && err != nil {
					t.Fatal(err)
				}
				if !there {
					model[u.ID] = u
				}
			},
			"delete": func(t *rapid.T) {
				key := id.Draw(t, "id")
				_, there := model[key]
				if existed, err := Users.Delete(ctx, db, key); err != nil || existed != there {
					t.Fatal(existed, err)
				}
				delete(model, key)
			},
			"reopen": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
					t.Skip("not now")
				}
				checkAndClose(t, db)
				if db, err = stele.Open(ctx, url, opts); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) { agree(t, db, model) },
		})
	})
}

// agree compares queries with loops over the model.
func agree(t *rapid.T, db *stele.DB, model map[string]User) {
	for name, tc := range map[string]struct {
		q    stele.Query[User]
		want func(User) bool
	}{
		"city":      {Users.Where(UserCity.Eq("Oslo")), func(u User) bool { return u.City == "Oslo" }},
		"age":       {Users.Where(UserAge.Gt(-1)), func(u User) bool { return u.Age > -1 }},
		"composite": {Users.Where(UserCityAge.Prefix(""), UserAge.Le(0)).Using(UserCityAge), func(u User) bool { return u.City == "" && u.Age <= 0 }},
		"tags": {Users.Where(UserTags.Has("x")), func(u User) bool {
			return len(u.Tags) > 0 && (u.Tags[0] == "x" || len(u.Tags) > 1 && (u.Tags[1] == "x" || len(u.Tags) > 2 && u.Tags[2] == "x"))
		}},
	} {
		n := 0
		for u, err := range tc.q.Rows(context.Background(), db) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if fmt.Sprint(u) != fmt.Sprint(model[u.ID]) || !tc.want(u) {
				t.Fatalf("%s: got %v, the model has %v", name, u, model[u.ID])
			}
			n++
		}
		for _, u := range model {
			if tc.want(u) {
				n--
			}
		}
		if n != 0 {
			t.Fatalf("%s: %d rows too many", name, n)
		}
	}
}

// TestConcurrentWriters: read-modify-write transactions of many goroutines lose
// nothing.
func TestConcurrentWriters(t *testing.T) {
	ctx := t.Context()
	db := openURL(t, memURL(), stele.Options{Tables: []stele.Model{Users}})
	if err := Users.Insert(ctx, db, &User{ID: "sum"}); err != nil {
		t.Fatal(err)
	}
	const goroutines, each = 8, 10
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				err := db.Update(ctx, func(tx *stele.Tx) error {
					sum, err := Users.Get(ctx, tx, "sum")
					if err != nil {
						return err
					}
					sum.Age++
					sum.Tags = append(sum.Tags, fmt.Sprint(g))
					if err := Users.Update(ctx, tx, &sum); err != nil {
						return err
					}
					return Users.Insert(ctx, tx, &User{ID: fmt.Sprint(g, "-", i), City: "Oslo", Age: int64(i)})
				})
				if err != nil {
					t.Error(err)
				}
				for _, err := range Users.Where(UserCity.Eq("Oslo")).Rows(ctx, db) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	sum, err := Users.Get(ctx, db, "sum")
	if err != nil || sum.Age != goroutines*each || len(sum.Tags) != goroutines*each {
		t.Errorf("got %d, %d tags, %v", sum.Age, len(sum.Tags), err)
	}
	checkAndClose(t, db)
}
