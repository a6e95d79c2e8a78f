package slatekv

import (
	"errors"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// kinds maps the engine's errors to those that the layers above share. The
// first match counts: what tells the caller most stands first.
var kinds = []struct{ engine, shared error }{
	{slate.ErrUnknownOutcome, kv.ErrUnknownOutcome},
	{slate.ErrFenced, kv.ErrFenced},
	{slate.ErrCorrupt, kv.ErrCorrupt},
	{slate.ErrNewerFormat, kv.ErrNewerFormat},
	{slate.ErrConflict, kv.ErrConflict},
	{slate.ErrNotFound, kv.ErrNotFound},
	{slate.ErrNoDatabase, kv.ErrNotFound},
	{slate.ErrDenied, kv.ErrDenied},
	{slate.ErrTransform, kv.ErrDenied}, // the wrong key, as a rule
	{slate.ErrUnavailable, kv.ErrUnavailable},
	{slate.ErrInvalid, kv.ErrInvalid},
	{slate.ErrUnsupported, kv.ErrInvalid}, // another bucket, or another version of the data
	{slate.ErrNoOperator, kv.ErrInvalid},  // rows that this store did not write
	{slate.ErrClosed, kv.ErrClosed},
	{bucket.ErrClosed, kv.ErrClosed},
}

// engineError is an error of the engine that matches a shared error as well.
type engineError struct {
	err  error // the engine's, which has the message
	kind error // the shared one
}

func (e *engineError) Error() string   { return e.err.Error() }
func (e *engineError) Unwrap() []error { return []error{e.err, e.kind} }

// shared makes an engine's error match the errors of package kv.
func shared(err error) error {
	switch {
	case err == nil:
		return nil
	case err == slate.ErrNotFound: //nolint:errorlint // as Get returns it: the one that is no fault, without a chain to walk
		return notFound
	}
	if c, ok := errors.AsType[*slate.CorruptError](err); ok {
		return &engineError{err, &kv.CorruptError{Object: c.Object, Offset: c.Offset, Reason: c.Reason}}
	}
	if c, ok := errors.AsType[*slate.ConflictError](err); ok {
		return &engineError{err, &kv.ConflictError{Key: c.Key}}
	}
	for _, k := range kinds {
		if errors.Is(err, k.engine) {
			return &engineError{err, k.shared}
		}
	}
	return err
}

var notFound error = &engineError{slate.ErrNotFound, kv.ErrNotFound}
