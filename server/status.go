package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// fieldError says which field of a request is wrong. It matches kv.ErrInvalid.
type fieldError struct {
	field  string // path in the request, "" for the whole of it
	reason string
}

// invalid returns a *fieldError.
func invalid(field, format string, args ...any) error {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

func (e *fieldError) Error() string {
	if e.field == "" {
		return e.reason
	}
	return e.field + ": " + e.reason
}

func (e *fieldError) Is(target error) bool { return target == kv.ErrInvalid }

// exhaustedError is a request that would go over a limit of the server.
type exhaustedError struct {
	limit  string // what is limited
	amount int64
	hint   string
}

func (e *exhaustedError) Error() string {
	return fmt.Sprintf("%s would exceed the limit of %d: %s", e.limit, e.amount, e.hint)
}

// statusCodes is the one table from what went wrong to what the client sees.
// The first sentinel that an error matches counts.
var statusCodes = []struct {
	err  error
	code codes.Code
	open bool   // the message goes to the client; else it may speak of others' data, and only the log has it
	hint string // what the client can do, if the message stays here
}{
	{kv.ErrInvalid, codes.InvalidArgument, true, ""},
	{kv.ErrExists, codes.AlreadyExists, true, ""},
	{kv.ErrNotFound, codes.NotFound, true, ""},
	{kv.ErrConflict, codes.Aborted, false, "another transaction won: send the request again"},
	{kv.ErrUnavailable, codes.Unavailable, false, "the store cannot be reached now: send the request again later"},
	{kv.ErrFenced, codes.Unavailable, false, "another writer has taken the database over: send the request to its server"},
	{kv.ErrClosed, codes.Unavailable, false, "the database is closed: send the request again when the server is back"},
	{kv.ErrUnknownOutcome, codes.Unknown, false, "the write may have taken effect: read before sending it again"},
	{kv.ErrCorrupt, codes.DataLoss, false, "stored data is damaged: see the server's log"},
	{kv.ErrNewerFormat, codes.FailedPrecondition, false, "a newer version has written the database: run that version"},
	{kv.ErrReadOnly, codes.FailedPrecondition, false, "the database is open for reading only"},
	{kv.ErrDenied, codes.FailedPrecondition, false, "the store refuses the server: see the server's log"},
	{context.Canceled, codes.Canceled, false, "the request was cancelled"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, false, "the request's deadline passed"},
}

// retryDelay is what a client is told to wait after a conflict.
const retryDelay = 20 * time.Millisecond

// toStatus turns what a method returned into the client's status. It is
// codes.Internal only for errors which no part of Stele is known to return.
func toStatus(method string, err error) *status.Status {
	if ex, ok := errors.AsType[*exhaustedError](err); ok {
		return withDetails(status.New(codes.ResourceExhausted, method+": "+ex.Error()), &errdetails.QuotaFailure{
			Violations: []*errdetails.QuotaFailure_Violation{{Subject: method, Description: ex.Error()}},
		})
	}
	for _, c := range statusCodes {
		if !errors.Is(err, c.err) {
			continue
		}
		text := c.hint
		if c.open {
			text = err.Error()
		}
		return withDetails(status.New(c.code, method+": "+text), details(c.code, err)...)
	}
	return status.New(codes.Internal, method+": internal error: see the server's log")
}

// details are the google.rpc messages that let a program act on the status.
func details(code codes.Code, err error) []protoadapt.MessageV1 {
	switch code {
	case codes.InvalidArgument:
		v := &errdetails.BadRequest_FieldViolation{Description: err.Error()}
		if fe, ok := errors.AsType[*fieldError](err); ok {
			v.Field, v.Description = fe.field, fe.reason
		}
		return []protoadapt.MessageV1{&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{v}}}
	case codes.AlreadyExists:
		if ue, ok := errors.AsType[*record.UniqueError](err); ok {
			return []protoadapt.MessageV1{&errdetails.ErrorInfo{
				Reason:   "UNIQUE_INDEX",
				Domain:   "stele",
				Metadata: map[string]string{"table": ue.Table, "index": ue.Index, "value": ue.Value.String()},
			}}
		}
	case codes.Aborted:
		return []protoadapt.MessageV1{&errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)}}
	}
	return nil
}

func withDetails(st *status.Status, details ...protoadapt.MessageV1) *status.Status {
	if len(details) == 0 {
		return st
	}
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}
