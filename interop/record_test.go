package interop

import (
	"bufio"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
)

// SlateDB sees a database of records as Stele's engine does: every row and
// index entry, and the schema as text under its own key. After it has compacted
// them, the rows and their entries still agree.
func TestRecords(t *testing.T) {
	cell(t, "tables and their indexes", theirTurn, "3,000 packages with four")
	n := startSlateDB(t)
	dir := newDir(t)
	text := importPackages(t, dir)

	m := model{}
	for _, r := range (ours{readOurs(t, dir)}).scan(t, "", "", false) {
		m[r.key] = r.entry
	}
	if len(m) < 3000*4 {
		t.Fatalf("%d rows for 3000 packages with 4 indexes", len(m))
	}
	if !strings.Contains(text, "message Package {") {
		t.Fatalf("the schema is\n%s", text)
	}
	schemaOf := func(e engine) {
		t.Helper()
		equal(t, e, "scan", e.scan(t, "", "", false), m, m.sorted())
		var some []string
		for i, k := range m.sorted() {
			if i%20 == 0 {
				some = append(some, k)
			}
		}
		for i, v := range e.get(t, some) {
			if v == nil || *v != m[some[i]].value {
				t.Fatalf("%v: get %s differs from the scan", e, show(some[i]))
			}
		}
		v := e.get(t, []string{"__schema__Package"})[0]
		if v == nil {
			t.Fatalf("%v has no __schema__Package", e)
		}
		if *v != text {
			t.Fatalf("%v: __schema__Package is\n%s\nwant\n%s", e, *v, text)
		}
	}
	reading(t, n, dir, command{}, schemaOf)
	w := newSlateDBWriter(t, n, dir, form{name: "Zstd", block: 4 << 10, maxSST: 200_000})
	w.compact(t)
	schemaOf(w)
	w.close(t)
	schemaOf(ours{readOurs(t, dir)})
	verifyPackages(t, dir)
}

// importPackages puts the packages that the repository brings into the
// database at dir, and returns their schema as stored.
func importPackages(t *testing.T, dir string) string {
	t.Helper()
	proto, err := os.ReadFile("../examples/packages/package.proto")
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := record.CompileProto(t.Context(), "package.proto", map[string]string{"package.proto": string(proto)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := slatekv.Open(t.Context(), url(dir), slate.Options{CompactL0: -1})
	if err != nil {
		t.Fatal(err)
	}
	db, err := record.Open(t.Context(), store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := db.Define(t.Context(), schemas...)
	if err != nil {
		t.Fatal(err)
	}
	lines := packages(t)
	for len(lines) > 0 {
		some := lines[:min(1000, len(lines))]
		lines = lines[len(some):]
		err := db.Update(t.Context(), func(tx *record.Tx) error {
			for _, l := range some {
				rec, err := tables[0].Schema().FromJSON([]byte(l))
				if err != nil {
					return err
				}
				if err := tables[0].Put(t.Context(), tx, rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.DB().FlushMemtable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text, err := db.SchemaText(t.Context(), "Package")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return text
}

// packages returns the lines of the data set that the repository brings.
func packages(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("../examples/packages/packages.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for s := bufio.NewScanner(z); ; {
		if !s.Scan() {
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			return out
		}
		out = append(out, s.Text())
	}
}

// verifyPackages demands that every row has its index entries and the reverse.
func verifyPackages(t *testing.T, dir string) {
	t.Helper()
	store, err := slatekv.OpenReader(t.Context(), url(dir), slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := record.Open(t.Context(), store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(t.Context(), func(r kv.Reader) error {
		table, err := db.Table(t.Context(), "Package")
		if err != nil {
			return err
		}
		v, err := record.VerifyTable(t.Context(), r, table)
		if err != nil {
			return err
		}
		if v.Rows != 3000 || !v.OK() {
			t.Errorf("%d rows, faults %v", v.Rows, v.First)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
