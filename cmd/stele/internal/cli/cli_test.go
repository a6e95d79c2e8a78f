package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stele-db/stele/cmd/stele/internal/cli"
	"github.com/stele-db/stele/examples/packages/aptindex"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
)

const examples = "../../../../examples/packages/"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stele runs a command line that must succeed, and returns what it printed.
func stele(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := cli.Main(args, stdin, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("stele %s: exit code %d: %s", strings.Join(args, " "), code, stderr.Bytes())
	}
	return stdout.String()
}

// importPackages makes a database of the bundled packages in a new folder.
func importPackages(t *testing.T) (url string, packages []aptindex.Package) {
	t.Helper()
	url = "file://" + filepath.Join(t.TempDir(), "db")
	stele(t, nil, "import", "--db", url, "--schema", examples+"package.proto", examples+"packages.ndjson.gz")
	packages, err := aptindex.ReadFile(examples + "packages.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	return url, packages
}

// TestQueriesAgreeWithAPlainProgram asks the database and a program that looks
// at every record the same questions, and wants the same lines.
func TestQueriesAgreeWithAPlainProgram(t *testing.T) {
	url, packages := importPackages(t)
	size := func(n int64) *int64 { return &n }
	var questions []question
	for _, section := range distinct(packages, func(p aptindex.Package) []string { return []string{p.Section} }) {
		questions = append(questions, question{fmt.Sprintf("section = %q", section), aptindex.Query{Section: section}})
	}
	for _, m := range distinct(packages, func(p aptindex.Package) []string { return []string{p.Maintainer} }) {
		questions = append(questions, question{fmt.Sprintf("maintainer = %q", m), aptindex.Query{Maintainer: m}})
	}
	for _, d := range distinct(packages, func(p aptindex.Package) []string { return p.Depends }) {
		questions = append(questions, question{fmt.Sprintf("depends:%q", d), aptindex.Query{Depends: d}})
	}
	questions = append(questions,
		question{"", aptindex.Query{}},
		question{"", aptindex.Query{BySize: true}},
		question{"", aptindex.Query{BySize: true, Reverse: true}},
		question{"installed_size >= 1000 AND installed_size <= 2000", aptindex.Query{MinSize: size(1000), MaxSize: size(2000), BySize: true}},
		question{"installed_size >= 1000 AND installed_size <= 2000", aptindex.Query{MinSize: size(1000), MaxSize: size(2000), BySize: true, Reverse: true}},
		question{"installed_size > 100000", aptindex.Query{MinSize: size(100001), BySize: true, Reverse: true, Limit: 7}},
		question{"installed_size < 10", aptindex.Query{MaxSize: size(9), BySize: true, Limit: 7}},
		question{`section = "net" AND depends:"libc6" AND installed_size > 500`, aptindex.Query{Section: "net", Depends: "libc6", MinSize: size(501), BySize: true}},
	)
	for i, q := range questions {
		// Every one of some 2,000 would take a while; a part of them will do.
		if len(questions)-i > 20 && i%30 != 0 {
			continue
		}
		var want bytes.Buffer
		if err := aptindex.Write(&want, aptindex.Find(packages, q.plain)); err != nil {
			t.Fatal(err)
		}
		if got := stele(t, nil, q.args(url)...); got != want.String() {
			t.Errorf("%+v:\ngot  %s\nwant %s", q, got, want.Bytes())
		}
	}
}

// question is one in both languages.
type question struct {
	filter string
	plain  aptindex.Query
}

func (q question) args(url string) []string {
	args := []string{"query", "--json", "--db", url, "Package", q.filter, "--order", "name"}
	if q.plain.BySize {
		args[len(args)-1] = "installed_size"
	} else if q.filter != "" {
		args = append(args, "--limit", "100000") // an index has another order
	}
	if q.plain.Reverse {
		args = append(args, "--desc")
	}
	if q.plain.Limit > 0 {
		args = append(args, "--limit", fmt.Sprint(q.plain.Limit))
	}
	return args
}

func distinct(packages []aptindex.Package, values func(aptindex.Package) []string) []string {
	var all []string
	for _, p := range packages {
		all = append(all, values(p)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// readers are the command lines that change no data.
func readers(url string) [][]string {
	return [][]string{
		{"export", "--db", url, "Package"},
		{"get", "--db", url, "Package", "bash"},
		{"query", "--db", url, "Package", `section = "net"`},
		{"query", "--db", url, "Package", `section = "net"`, "--explain"},
		{"tables", "--db", url},
		{"schema", "--db", url},
		{"verify", "--db", url},
		{"slate", "scan", "--db", url, "--limit", "10"},
		{"slate", "get", "--db", url, "__schema__Package"},
		{"slate", "manifest", "--db", url},
		{"slate", "manifest", "--db", url, "--list"},
		{"slate", "wal", "--db", url},
		{"slate", "stats", "--db", url},
	}
}

// TestReadersWriteNothing runs them on a folder, beside a writer that goes on
// writing, and then on one that nobody may write to.
func TestReadersWriteNothing(t *testing.T) {
	url, packages := importPackages(t)
	dir := filepath.Dir(strings.TrimPrefix(url, "file://"))
	ctx := t.Context()
	store, err := slatekv.Open(ctx, url, slate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	table, err := db.Table(ctx, "Package")
	if err != nil {
		t.Fatal(err)
	}
	for i, args := range readers(url) {
		before := fileNames(t, dir)
		stele(t, nil, args...)
		if after := fileNames(t, dir); !slices.Equal(before, after) {
			t.Errorf("stele %s: the files were\n%s\nand are\n%s", args, before, after)
		}
		rec, err := table.Schema().FromJSON(fmt.Appendf(nil, `{"name":"written-%d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(ctx, func(tx *record.Tx) error { return table.Insert(ctx, tx, rec) }); err != nil {
			t.Fatalf("the writer, after stele %s: %v", args, err)
		}
	}
	if got, want := strings.Count(stele(t, nil, "export", "--db", url, "Package"), "\n"), len(packages)+len(readers(url)); got != want {
		t.Errorf("export beside the writer printed %d rows, want %d", got, want)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	readOnly(t, dir)
	for _, args := range readers(url) {
		stele(t, nil, args...)
	}
}

// readOnly takes write permission from everything below dir until the test ends.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	set := func(folder, file os.FileMode) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(path, folder)
			}
			return os.Chmod(path, file)
		})
		if err != nil {
			t.Error(err)
		}
	}
	set(0o555, 0o444)
	t.Cleanup(func() { set(0o755, 0o644) })
}

func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestMemory imports into memory and reads it again in the same process.
func TestMemory(t *testing.T) {
	const url = "mem://cli-test/db"
	t.Chdir(t.TempDir())
	if err := os.WriteFile("dog.proto", []byte("syntax = \"proto3\";\nmessage Dog { string pk = 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	stele(t, strings.NewReader(`{"pk":"DOG#1"}`), "import", "--db", url, "--schema", "dog.proto", "-")
	if got := stele(t, nil, "export", "--db", url, "Dog"); got != "{\"pk\":\"DOG#1\"}\n" {
		t.Errorf("export printed %q", got)
	}
}

// TestLongLines imports lines at the limit, and refuses those above it without
// losing its place.
func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("dog.proto", "syntax = \"proto3\";\nmessage Dog { string pk = 1; string name = 2; }\n")
	long := func(pk string, n int) string { return `{"pk":"` + pk + `","name":"` + strings.Repeat("x", n) + `"}` }
	write("in.ndjson", strings.Join([]string{long("a", 1<<20), long("b", 16<<20), long("c", 3), long("d", 1<<10)}, "\r\n"))
	var stdout, stderr bytes.Buffer
	args := []string{"import", "--db", "file://./db", "--schema", "dog.proto", "in.ndjson"}
	if code := cli.Main(args, nil, &stdout, &stderr); code != 1 {
		t.Fatalf("exit code %d: %s", code, stderr.Bytes())
	}
	rejected, err := os.ReadFile("in.ndjson.rejected.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(rejected); strings.Count(got, "\n") != 1 || len(got) > 2000 ||
		!strings.HasPrefix(got, `{"line":2,"reason":"the line has 16777238 bytes, of at most 16777216","input":"{\"pk\":\"b\",`) {
		t.Errorf("rejected: %.300s", got)
	}
	if got := stele(t, nil, "export", "--db", "file://./db", "Dog"); got != long("a", 1<<20)+"\n"+long("c", 3)+"\n"+long("d", 1<<10)+"\n" {
		t.Errorf("exported %d bytes: %.100s", len(got), got)
	}
}
