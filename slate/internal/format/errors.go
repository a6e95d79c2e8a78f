package format

import (
	"errors"
	"fmt"
)

// ErrCorrupt: bytes read from storage contradict the format or their own
// checksum. Errors that match it are *DecodeError or *ObjectError.
var ErrCorrupt = errors.New("corrupt data")

// ErrNewer: the bytes carry a format version that this program does not know.
// Nothing is wrong with them; a newer program can read them.
var ErrNewer = errors.New("newer format version")

// DecodeError says where and why bytes could not be decoded. It matches
// ErrCorrupt.
type DecodeError struct {
	Offset int64  // byte offset in what was handed to the decoder
	Reason string // what contradicts the format there
}

// Error returns the offset and the reason.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *DecodeError) Is(target error) bool { return target == ErrCorrupt }

// ObjectError is a DecodeError that knows which object it was found in. It
// matches ErrCorrupt.
type ObjectError struct {
	Object string // key of the object in its bucket
	Offset int64  // byte offset from the start of the object
	Reason string // what contradicts the format there
}

// Error returns the object, the offset and the reason.
func (e *ObjectError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s", e.Object, e.Offset, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *ObjectError) Is(target error) bool { return target == ErrCorrupt }

// ErrTransform: the block transformer could not encode or decode a block. Errors
// that match it are *TransformError.
var ErrTransform = errors.New("block transformer failed")

// TransformError is an error of a block transformer. It matches ErrTransform,
// and not what Err matches: that may mean something else to the engine.
type TransformError struct {
	Object string // key of the object in its bucket; empty: it was about to be written
	Offset int64  // byte offset of the block from the start of the object
	Err    error  // what the transformer said
}

// Error returns the object, the offset and what the transformer said.
func (e *TransformError) Error() string {
	if e.Object == "" {
		return fmt.Sprintf("block transformer failed to encode: %v", e.Err)
	}
	return fmt.Sprintf("%s: offset %d: block transformer failed to decode, perhaps it is not the one, or has not the key, that the object was written with: %v",
		e.Object, e.Offset, e.Err)
}

// Is reports whether target is ErrTransform.
func (e *TransformError) Is(target error) bool { return target == ErrTransform }

// InObject says of an error of this package's decoders which object it was
// found in, and that the bytes handed to the decoder began at offset base of
// it: a DecodeError becomes an ObjectError, a TransformError gets the place,
// any other error is wrapped with the object's name. A nil error stays nil.
func InObject(object string, base int64, err error) error {
	if err == nil {
		return nil
	}
	if t, ok := errors.AsType[*TransformError](err); ok {
		return &TransformError{Object: object, Offset: base + t.Offset, Err: t.Err}
	}
	if d, ok := errors.AsType[*DecodeError](err); ok {
		return &ObjectError{Object: object, Offset: base + d.Offset, Reason: d.Reason}
	}
	return fmt.Errorf("%s: %w", object, err)
}

func corrupt(offset int, reason string, args ...any) *DecodeError {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	return &DecodeError{Offset: int64(offset), Reason: reason}
}

func newer(what string, got, known uint16) error {
	return fmt.Errorf("%s has format version %d, this program knows up to %d: %w", what, got, known, ErrNewer)
}
