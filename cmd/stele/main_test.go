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

// TestScripts runs the scripts of testdata: what a user sees.
func TestScripts(t *testing.T) {
	packages, err := filepath.Abs("../../examples/packages")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit2": exit2,
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
