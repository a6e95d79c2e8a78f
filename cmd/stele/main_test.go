package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stele-db/stele/cmd/stele/internal/cli"
)

// TestMain makes the program stele, which is this very binary, available to
// the scripts and to tests that start it as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"stele": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// exit2 runs a command that must end with exit code 2 and print nothing on
// stdout.
func exit2(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("exit2 cannot be negated")
	}
	err := ts.Exec(args[0], args[1:]...)
	ee, ok := errors.AsType[*exec.ExitError](err)
	if !ok || ee.ExitCode() != 2 {
		ts.Fatalf("%v: %v, want exit code 2", args, err)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("%v printed %q", args, out)
	}
}

// slatedb makes a command NAME that copies a database of SlateDB's, with all
// its stores, into the folder NAME.
func slatedb(t *testing.T) func(*testscript.TestScript, bool, []string) {
	all, err := filepath.Abs("../../slate/testdata/slatedb-0.12.1")
	if err != nil {
		t.Fatal(err)
	}
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join(all, args[0]))))
	}
}

// edit makes a command FILE [OFFSET] that changes a file in its place. FILE may
// be a pattern that one file matches.
func edit(f func(b []byte, at int) []byte) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(files) != 1 {
			ts.Fatalf("%s names %q, want one file", args[0], files)
		}
		at := 0
		if len(args) > 1 {
			at, err = strconv.Atoi(args[1])
			ts.Check(err)
		}
		b, err := os.ReadFile(files[0])
		ts.Check(err)
		ts.Check(os.WriteFile(files[0], f(b, at), 0o644))
	}
}

// TestScripts runs the scripts of testdata: what a user sees.
func TestScripts(t *testing.T) {
	packages, err := filepath.Abs("../../examples/packages")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit2":    exit2,
			"slatedb":  slatedb(t),
			"flip":     edit(func(b []byte, at int) []byte { b[at] ^= 0x40; return b }),
			"truncate": edit(func(b []byte, at int) []byte { return b[:at] }),
			"newer":    edit(func(b []byte, _ int) []byte { b[0], b[1] = 0x7f, 0xff; return b }),
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PACKAGES", packages)
			env.Setenv("DB", "file://./db")
			return os.WriteFile(filepath.Join(env.WorkDir, "cut.gz"), cutShort(t), 0o644)
		},
	})
}

// cutShort returns the greater part of a gzip file of 2,000 dogs: a file that
// can be read so far, and no further.
func cutShort(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	for i := range 2000 {
		// Hashes do not compress, so the cut falls between lines far apart.
		if _, err := fmt.Fprintf(z, "{\"pk\":\"%05d\",\"name\":\"%x\"}\n", i, sha256.Sum256([]byte{byte(i), byte(i >> 8)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()[:buf.Len()*9/10]
}
