package server

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// sentinels returns the names of the exported errors that a package's folder
// declares at its top.
func sentinels(t *testing.T, dir string) []string {
	t.Helper()
	pkgs, err := parser.ParseDir(token.NewFileSet(), dir, nil, 0) //nolint:staticcheck // one folder, no build tags
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range pkgs {
		for name, f := range p.Files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, s := range g.Specs {
					for _, n := range s.(*ast.ValueSpec).Names {
						if n.IsExported() && strings.HasPrefix(n.Name, "Err") {
							out = append(out, n.Name)
						}
					}
				}
			}
		}
	}
	return out
}

func TestEverySentinelHasAStatus(t *testing.T) {
	want := map[string]struct {
		err  error
		code codes.Code
	}{
		"ErrInvalid":        {kv.ErrInvalid, codes.InvalidArgument},
		"ErrNotFound":       {kv.ErrNotFound, codes.NotFound},
		"ErrExists":         {kv.ErrExists, codes.AlreadyExists},
		"ErrReadOnly":       {kv.ErrReadOnly, codes.FailedPrecondition},
		"ErrConflict":       {kv.ErrConflict, codes.Aborted},
		"ErrUnavailable":    {kv.ErrUnavailable, codes.Unavailable},
		"ErrUnknownOutcome": {kv.ErrUnknownOutcome, codes.Unknown},
		"ErrFenced":         {kv.ErrFenced, codes.Unavailable},
		"ErrClosed":         {kv.ErrClosed, codes.Unavailable},
		"ErrCorrupt":        {kv.ErrCorrupt, codes.DataLoss},
		"ErrNewerFormat":    {kv.ErrNewerFormat, codes.FailedPrecondition},
		"ErrDenied":         {kv.ErrDenied, codes.FailedPrecondition},
	}
	names := sentinels(t, "../kv")
	if len(names) < len(want) {
		t.Fatalf("package kv declares only %v", names)
	}
	for _, name := range names {
		w, ok := want[name]
		if !ok {
			t.Errorf("kv.%s has no status code: add it to statusCodes and to this test", name)
			continue
		}
		st := toStatus("GetDogsByPk", fmt.Errorf("get Dog x: %w", w.err))
		if st.Code() != w.code {
			t.Errorf("kv.%s is %s, want %s", name, st.Code(), w.code)
		}
		if !strings.HasPrefix(st.Message(), "GetDogsByPk: ") || len(st.Message()) < 20 {
			t.Errorf("kv.%s says %q", name, st.Message())
		}
	}
}

func TestOtherStatuses(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
	}{
		{context.Canceled, codes.Canceled},
		{fmt.Errorf("scan: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{&exhaustedError{"the reply in bytes", 64, "ask for less"}, codes.ResourceExhausted},
		{&kv.CorruptError{Object: "wal/7.sst", Offset: 12, Reason: "checksum"}, codes.DataLoss},
		{errors.New("anything"), codes.Internal},
	} {
		if got := toStatus("M", c.err).Code(); got != c.code {
			t.Errorf("%v is %s, want %s", c.err, got, c.code)
		}
	}
}

// What only the operator may see stays in the log.
func TestStatusKeepsTheStoreToItself(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("secret-bucket/wal: %w", kv.ErrUnavailable),
		&kv.CorruptError{Object: "secret-key", Offset: 1, Reason: "checksum"},
		fmt.Errorf("secret role: %w", kv.ErrDenied),
		fmt.Errorf("Dog secret: %w", &kv.ConflictError{Key: []byte("secret")}),
		errors.New("secret"),
	} {
		if msg := toStatus("M", err).Message(); strings.Contains(msg, "secret") {
			t.Errorf("the client is told %q", msg)
		}
	}
}

func TestStatusDetails(t *testing.T) {
	st := toStatus("PutDog", invalid("dogs[2]", "age is too large"))
	br, ok := st.Details()[0].(*errdetails.BadRequest)
	if !ok || br.FieldViolations[0].Field != "dogs[2]" || br.FieldViolations[0].Description != "age is too large" {
		t.Errorf("details are %v", st.Details())
	}
	st = toStatus("PutDog", fmt.Errorf("put Dog a: %w", &record.UniqueError{Table: "Dog", Index: "chip", Value: tuple.Tuple{tuple.String("c1")}, Key: tuple.Tuple{tuple.String("other's")}}))
	info, ok := st.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.Reason != "UNIQUE_INDEX" || info.Metadata["index"] != "chip" || !strings.Contains(info.Metadata["value"], "c1") {
		t.Errorf("details are %v", st.Details())
	}
	if strings.Contains(st.String(), "other's") {
		t.Errorf("the client is told another row's key: %v", st)
	}
	if _, ok := toStatus("PutDog", kv.ErrConflict).Details()[0].(*errdetails.RetryInfo); !ok {
		t.Error("a conflict has no retry info")
	}
	st = toStatus("GetDogsByPk", &exhaustedError{"the reply in bytes", 64, "ask for a narrower range"})
	if !strings.Contains(st.Message(), "64") {
		t.Errorf("the limit is not named: %s", st.Message())
	}
}
