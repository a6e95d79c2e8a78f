package bucket

import (
	"errors"
	"fmt"
)

// Errors are sorted by what the caller does next; find them with errors.Is.
// Drivers wrap them with the verb and the key.
var (
	// ErrNotFound: no object has this key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: PutIfAbsent found an object that is not this call's.
	ErrExists = errors.New("object already exists")
	// ErrChanged: PutIfMatch found another tag, or no object.
	ErrChanged = errors.New("object changed meanwhile")
	// ErrUnavailable: the request failed in a way that may pass; run it again.
	// Nothing is known of what a failed write did.
	ErrUnavailable = errors.New("bucket unavailable")
	// ErrUnknownOutcome: a conditional put got no answer and it cannot be told
	// whether it took effect. Read before doing anything else.
	ErrUnknownOutcome = errors.New("outcome of the put unknown")
	// ErrDenied: credentials or permissions do not allow it; fix them.
	ErrDenied = errors.New("access denied")
	// ErrInvalid: the request can never work as it is; fix the argument.
	ErrInvalid = errors.New("invalid request")
	// ErrUnsupported: this bucket cannot do it; see Capabilities.
	ErrUnsupported = errors.New("not supported by this bucket")
	// ErrClosed: the bucket was closed; open it again.
	ErrClosed = errors.New("bucket closed")
)

// Error is what every driver and wrapper returns: what was asked, of which
// bucket, and why it did not happen. It matches its Kind and its Err with
// errors.Is.
type Error struct {
	Bucket string // the bucket's Capabilities().Name; may be empty
	Verb   string // the method in words: "put if absent", "get", ...
	Key    string // object key, or the prefix of a list; may be empty
	Kind   error  // one of this package's sentinels; nil if none applies
	Err    error  // the cause beneath, if there is more to say
}

// Error says it in one line.
func (e *Error) Error() string {
	s := e.Verb
	if e.Key != "" {
		s += " " + e.Key
	}
	if e.Bucket != "" {
		s += " in " + e.Bucket
	}
	switch {
	case e.Kind != nil && e.Err != nil:
		return fmt.Sprintf("%s: %v: %v", s, e.Kind, e.Err)
	case e.Kind != nil:
		return fmt.Sprintf("%s: %v", s, e.Kind)
	default:
		return fmt.Sprintf("%s: %v", s, e.Err)
	}
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}
