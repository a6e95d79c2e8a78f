package kv

import (
	"errors"
	"fmt"
)

// Errors that every layer above shares, sorted by what the caller does next.
// Find them with errors.Is; drivers map their own to these.
var (
	// Fix the input.
	ErrInvalid  = errors.New("invalid argument")
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrReadOnly = errors.New("read-only")
	// Run it again; see ConflictError.
	ErrConflict = errors.New("conflict")
	// Wait, then run it again.
	ErrUnavailable = errors.New("unavailable")
	// Read what is there before running it again: it may have taken effect.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// Open the store again.
	ErrFenced = errors.New("fenced by a newer writer")
	ErrClosed = errors.New("closed")
	// Restore from a copy.
	ErrCorrupt = errors.New("corrupt data")
	// Use a newer version of this program.
	ErrNewerFormat = errors.New("written by a newer version")
	// Fix permissions or credentials.
	ErrDenied = errors.New("access denied")
)

// ConflictError says over what a transaction was refused. It matches
// ErrConflict.
type ConflictError struct {
	// Key was written by another transaction since this one began, which read or
	// writes it. It is nil if the store cannot tell it, as of a transaction that
	// was open for so long that it has forgotten what was written since.
	Key []byte
}

// Error names the key, the beginning of a long one.
func (e *ConflictError) Error() string {
	if e.Key == nil {
		return "conflict: too much was written since the transaction began"
	}
	return fmt.Sprintf("conflict: key %.100q was written since the transaction began", e.Key)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// CorruptError says where stored bytes contradict their checksum or format.
// It matches ErrCorrupt.
type CorruptError struct {
	Object string // the object's key in the bucket, or the record's key
	Offset int64  // first byte of the damaged part, -1 if it is not known
	Reason string // what is wrong with it
}

// Error names the object, the offset and the reason.
func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("corrupt data in %s: %s", e.Object, e.Reason)
	}
	return fmt.Sprintf("corrupt data in %s at offset %d: %s", e.Object, e.Offset, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
