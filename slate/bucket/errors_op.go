package bucket

import "fmt"

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
