package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stele-db/stele/cmd/stele/internal/cli"
)

// TestMergeOperator reads a database of SlateDB's with operands on every level:
// with the operator as SlateDB did, without it not at all.
func TestMergeOperator(t *testing.T) {
	db := []string{"--db", "file://../../../../slate/testdata/slatedb-0.12.1/merges/db"}
	scan := append([]string{"slate", "scan"}, db...)
	get := append([]string{"slate", "get", "m0012"}, db...)

	const value = "base12+a12+b12+w12"
	if got := stele(t, nil, append(get, "--merge-operator", "concat")...); got != value {
		t.Errorf("get: %q, want %q", got, value)
	}
	for _, more := range [][]string{{}, {"--reverse"}} {
		out := stele(t, nil, append(append(scan, "--merge-operator", "concat"), more...)...)
		if !strings.Contains(out, "m0012\t"+value+"\n") || strings.Count(out, "\n") != 31 {
			t.Errorf("scan %v:\n%s", more, out)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{get, 1, "stele: key \"m0012\": row has merge operands but no merge operator is configured: name it with --merge-operator\n"},
		{scan, 1, `stele: key "m00`},
		{append(get, "--merge-operator", "sum"), 2, "no merge operator sum; there is: concat"},
	} {
		var stdout, stderr bytes.Buffer
		if code := cli.Main(c.args, nil, &stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, %s; want %d and %s", c.args, code, stderr.Bytes(), c.code, c.want)
		}
	}
}
