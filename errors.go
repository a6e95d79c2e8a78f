package stele

import (
	"fmt"
	"strings"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// Errors of every layer, sorted by what the caller does next. Find them with
// errors.Is: what is returned says more, such as the table and the key.
var (
	// ErrInvalid: fix the input.
	ErrInvalid = kv.ErrInvalid
	// ErrNotFound: there is no such row, or no such table.
	ErrNotFound = kv.ErrNotFound
	// ErrExists: a row with this primary key, or with these values in a unique
	// index, is there already; a *[UniqueError] tells the index.
	ErrExists = kv.ErrExists
	// ErrReadOnly: the database was opened for reading.
	ErrReadOnly = kv.ErrReadOnly
	// ErrConflict: another transaction came first, again and again; run it again.
	ErrConflict = kv.ErrConflict
	// ErrUnavailable: the bucket does not answer; wait, then run it again.
	ErrUnavailable = kv.ErrUnavailable
	// ErrUnknownOutcome: the write may have taken effect; read before repeating.
	ErrUnknownOutcome = kv.ErrUnknownOutcome
	// ErrFenced: another process has opened the database for writing; this one
	// writes no more. Open it again to take it back.
	ErrFenced = kv.ErrFenced
	// ErrClosed: the database or the snapshot was closed.
	ErrClosed = kv.ErrClosed
	// ErrCorrupt: stored bytes are damaged; restore them. A *[CorruptError]
	// tells where.
	ErrCorrupt = kv.ErrCorrupt
	// ErrNewerFormat: use a newer version of this library.
	ErrNewerFormat = kv.ErrNewerFormat
	// ErrDenied: fix permissions or credentials.
	ErrDenied = kv.ErrDenied
	// ErrNoTable: the database has no such table. It matches ErrNotFound too.
	ErrNoTable = record.ErrNoTable
	// ErrIncompatible: the struct is no compatible successor of the stored
	// schema. It matches ErrInvalid too.
	ErrIncompatible = record.ErrIncompatible
)

type (
	// UniqueError names the unique index and the values that are taken. It
	// matches ErrExists.
	UniqueError = record.UniqueError
	// ConflictError names the key over which transactions conflicted. It matches
	// ErrConflict.
	ConflictError = kv.ConflictError
	// CorruptError names the damaged object and place. It matches ErrCorrupt.
	CorruptError = kv.CorruptError
)

// DefinitionError lists everything that is wrong with the tables, fields and
// indexes of a program. [Open] returns it. It matches ErrInvalid.
type DefinitionError struct {
	Faults []error // at least one; each names its table
}

// Error lists the faults, one a line if there are several.
func (e *DefinitionError) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults in definitions:", len(e.Faults))
	for _, err := range e.Faults {
		b.WriteString("\n\t")
		b.WriteString(strings.ReplaceAll(err.Error(), "\n", "\n\t"))
	}
	return b.String()
}

// Is reports whether target is ErrInvalid.
func (e *DefinitionError) Is(target error) bool { return target == kv.ErrInvalid }

// Unwrap returns the faults.
func (e *DefinitionError) Unwrap() []error { return e.Faults }
