package stele_test

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestDoesNotCompile: what the types forbid, the compiler refuses.
func TestDoesNotCompile(t *testing.T) {
	check := typeChecker(t)
	for _, tc := range []struct{ code, want string }{
		{`_ = UserAge.Gt(30)`, ""},
		{`_ = Users.Insert(ctx, db, &User{})`, ""},
		{`_ = Users.Insert(ctx, tx, &User{})`, ""},
		{`_, _ = Users.Get(ctx, snap, "u1")`, ""},
		{`_, _ = Users.Get(ctx, reader, "u1")`, ""},
		{`_ = UserAge.Gt("x")`, `cannot use "x" (untyped string constant) as int64 value`},
		{`_ = UserAge.Eq(1.5)`, `cannot use 1.5 (untyped float constant) as int64 value`},
		{`_ = Users.Insert(ctx, snap, &User{})`, "*stele.Snapshot does not implement stele.Writer"},
		{`_ = Users.Put(ctx, reader, &User{})`, "*stele.ReadDB does not implement stele.Writer"},
		{`_, _ = Users.Delete(ctx, snap, "u1")`, "*stele.Snapshot does not implement stele.Writer"},
		{`_, _ = Users.Get(ctx, db, 5)`, "cannot use 5 (untyped int constant) as string value"},
		{`_ = Users.Insert(ctx, db, User{})`, "as *User value"},
		{`_ = Users.Where(DogAge.Eq(1))`, "as stele.Cond[User] value"},
		{`_ = Users.All().OrderBy(DogAge)`, "does not implement stele.Ordering[User]"},
		{`_ = Users.All().Using(DogAge)`, "does not implement stele.Index[User]"},
		{`_ = stele.NewIndex2("x", UserAge, DogAge)`, "does not match"},
		{`_ = UserCityAge.Eq(1, "Oslo")`, "cannot use 1 (untyped int constant) as string value"},
		{`_ = stele.Options{Tables: []stele.Model{Dog{}}}`, "does not implement stele.Model"},
	} {
		got := check(tc.code)
		switch {
		case tc.want == "" && got != nil:
			t.Errorf("%s: does not compile: %v", tc.code, got)
		case tc.want != "" && got == nil:
			t.Errorf("%s: compiles", tc.code)
		case tc.want != "" && !strings.Contains(got.Error(), tc.want):
			t.Errorf("%s: got %v, want %s", tc.code, got, tc.want)
		}
	}
}

const program = `package program

import (
	"context"

	"github.com/stele-db/stele"
)

type User struct {
	ID   string ` + "`stele:\"key\"`" + `
	City string
	Age  int64
}

type Dog struct {
	Name string ` + "`stele:\"key\"`" + `
	Age  int64
}

var (
	Users       = stele.NewTable[User, string]("user")
	UserCity    = stele.FieldOf[string](Users, "city")
	UserAge     = stele.FieldOf[int64](Users, "age")
	UserCityAge = stele.NewIndex2("city_age", UserCity, UserAge)
	Dogs        = stele.NewTable[Dog, string]("dog")
	DogAge      = stele.FieldOf[int64](Dogs, "age")
)

func f(ctx context.Context, db *stele.DB, tx *stele.Tx, snap *stele.Snapshot, reader *stele.ReadDB) {
	CODE
}
`

// typeChecker returns a function that checks the program with a line of code in
// it, against the package as the go command builds it.
func typeChecker(t *testing.T) func(code string) error {
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	for line := range bytes.Lines(out) {
		path, file, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		exports[path] = file
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return func(code string) error {
		file, err := parser.ParseFile(fset, "program.go", strings.Replace(program, "CODE", code, 1), 0)
		if err != nil {
			return err
		}
		_, err = (&types.Config{Importer: imports}).Check("program", fset, []*ast.File{file}, nil)
		return err
	}
}
