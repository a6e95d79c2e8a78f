package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

var rewrite = flag.Bool("rewrite", false, "write what is seen into the golden files")

const packageProto = `syntax = "proto3";
import "stele/options.proto";
import "google/protobuf/timestamp.proto";

message Package {
  option (stele.composite_index) = {name: "section_size", fields: ["section", "installed_size"]};
  option (stele.composite_index) = {name: "depends_size", fields: ["depends", "installed_size"]};

  string name = 1 [(stele.key) = true];
  string section = 2 [(stele.index) = true];
  string maintainer = 3 [(stele.index) = true];
  int64 installed_size = 4 [(stele.index) = true];
  repeated string depends = 5 [(stele.index) = true];
  optional string sha256 = 6 [(stele.unique) = true];
  double score = 7 [(stele.index) = true];
  bool essential = 8;
  google.protobuf.Timestamp built = 9;
  int64 size = 10;
}

message Event {
  option (stele.composite_index) = {name: "by_host", fields: ["host", "level"]};

  string tenant = 1 [(stele.key) = true];
  int64 seq = 2 [(stele.key) = true];
  string host = 3;
  int32 level = 4;
}
`

// TestPlans compares the plans of queries with testdata/plans.txt. A query is a
// line "> TABLE FILTER", with "; order ...", "; limit N", "; reverse" and
// "; using INDEX" after it.
func TestPlans(t *testing.T) {
	const file = "testdata/plans.txt"
	db, _ := newTables(t, packageProto)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "#"):
			out.WriteString(line)
		case strings.HasPrefix(line, "> "):
			if out.Len() > 0 && !strings.HasSuffix(out.String(), "\n\n") {
				out.WriteByte('\n')
			}
			out.WriteString(line + explain(t, db, strings.TrimSpace(line[2:])))
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != string(text) {
		t.Errorf("%s differs; what is seen now (-rewrite keeps it):\n%s", file, out.String())
	}
}

// explain returns the plan of a query of the script, or its error.
func explain(t *testing.T, db *record.DB, line string) string {
	name, rest, _ := strings.Cut(line, " ")
	table, err := db.Table(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(rest, ";")
	var q record.Query
	if q.Where, err = record.ParseFilter(table.Schema(), parts[0]); err != nil {
		return "error: " + err.Error() + "\n"
	}
	for _, part := range parts[1:] {
		verb, arg, _ := strings.Cut(strings.TrimSpace(part), " ")
		switch verb {
		case "order":
			if q.OrderBy, err = record.ParseOrder(table.Schema(), arg); err != nil {
				return "error: " + err.Error() + "\n"
			}
		case "limit":
			if q.Limit, err = strconv.Atoi(arg); err != nil {
				t.Fatal(err)
			}
		case "reverse":
			q.Reverse = true
		case "using":
			q.Using = arg
		default:
			t.Fatalf("unknown word %q", verb)
		}
	}
	plan, err := table.Explain(q)
	if err != nil {
		if !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%s: %v, want kv.ErrInvalid", line, err)
		}
		return "error: " + err.Error() + "\n"
	}
	return plan.String()
}

func TestPlanJSON(t *testing.T) {
	_, tables := newTables(t, packageProto)
	where, err := record.ParseFilter(tables[0].Schema(), `section = "net" AND size > 7`)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := tables[0].Explain(record.Query{Where: where, OrderBy: []record.Order{{Field: "installed_size", Desc: true}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(plan)
	const want = `{"table":"Package","access":"scan","index":"section_size","bounds":"section = \"net\"","reverse":true,` +
		`"fetch":true,"residual":"size \u003e 7","order":"installed_size desc, name desc"}`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}
