//go:build unix

package main

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"
)

// A small run goes through every step, checks every row and leaves nothing.
func TestSmallRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the resident memory is read from /proc")
	}
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-rows", "20000", "-gets", "500", "-dir", dir}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	for _, want := range []string{"options ", "\nload ", "\ncompact ", "\nopen for writing ", "\nscan ", "\nget, random ", "\ncold get ", "\nPASS: peak resident memory "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-rows", "0"}, {"-gets", "-1"}, {"-rows", "x"}, {"more"}, {"-empty", "/no/such/program"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, says %q", args, code, errs.String())
		}
	}
}
