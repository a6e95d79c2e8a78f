package bucket

import "errors"

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
