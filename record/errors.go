package record

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stele-db/stele/kv"
)

// Errors of this package that are not those of kv.
var (
	// ErrNoTable is matched by the error for a table that the database does not
	// have. It matches kv.ErrNotFound too.
	ErrNoTable = errors.New("no such table")
	// ErrIncompatible is matched by the error for a schema that is not a
	// compatible successor of the stored one. It matches kv.ErrInvalid too.
	ErrIncompatible = errors.New("incompatible schema")
)

// noTable is the error for a table that is not there.
type noTable struct{ name string }

func (e *noTable) Error() string { return "no table " + e.name }

func (e *noTable) Is(target error) bool { return target == ErrNoTable || target == kv.ErrNotFound }

// Fault is one thing that is wrong with a schema, and what to do about it.
type Fault struct {
	File   string // the .proto file; "" for a schema that has none
	Line   int    // from 1; 0 if it is not known
	Column int    // from 1
	Reason string
}

// String returns "file:line:column: reason", as far as the place is known.
func (f Fault) String() string {
	switch {
	case f.File == "":
		return f.Reason
	case f.Line == 0:
		return fmt.Sprintf("%s: %s", f.File, f.Reason)
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Reason)
}

// SchemaError holds everything that is wrong with a schema. It matches
// kv.ErrInvalid.
type SchemaError struct {
	Faults []Fault // at least one
	kind   error   // ErrIncompatible or nil
}

// Error returns the faults, one a line.
func (e *SchemaError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is kv.ErrInvalid, or ErrIncompatible for a schema
// that does not follow the stored one.
func (e *SchemaError) Is(target error) bool {
	return target == kv.ErrInvalid || (e.kind != nil && target == e.kind)
}

// invalidf returns an error that matches kv.ErrInvalid and reads as formatted.
func invalidf(format string, args ...any) error {
	return &invalidError{fmt.Errorf(format, args...)}
}

// invalidError makes any error match kv.ErrInvalid.
type invalidError struct{ err error }

func (e *invalidError) Error() string        { return e.err.Error() }
func (e *invalidError) Unwrap() error        { return e.err }
func (e *invalidError) Is(target error) bool { return target == kv.ErrInvalid }
