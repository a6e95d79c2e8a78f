package s3

import (
	"errors"
	"fmt"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/stele-db/stele/slate/bucket"
)

// sort gives an error of the SDK its kind, and its cause without the SDK's
// preamble. What a 404 and a 412 mean depends on the verb.
func sort(err error) (kind, cause error) {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return bucket.ErrDenied, err
	}
	status := 0
	if re, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = re.HTTPStatusCode()
	}
	code := ""
	if ae, ok := errors.AsType[smithy.APIError](err); ok {
		code = ae.ErrorCode()
		cause = fmt.Errorf("%s (status %d) %s", code, status, ae.ErrorMessage())
	} else {
		cause = err
	}
	return kindOf(status, code), cause
}

// kindOf tells what the caller can do about a reply; status 0 is none.
func kindOf(status int, code string) error {
	switch code {
	case "NoSuchBucket", "PermanentRedirect", "InvalidBucketName":
		return bucket.ErrInvalid
	case "RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError", "ConditionalRequestConflict", "OperationAborted":
		return bucket.ErrUnavailable
	case "ExpiredToken", "InvalidToken":
		return bucket.ErrDenied
	case "NotImplemented":
		return bucket.ErrUnsupported
	}
	switch {
	case status == http.StatusNotFound:
		return bucket.ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return bucket.ErrDenied
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooManyRequests:
		return bucket.ErrUnavailable
	case status == http.StatusNotImplemented:
		return bucket.ErrUnsupported
	case status >= 300 && status < 500:
		return bucket.ErrInvalid
	}
	return bucket.ErrUnavailable
}

// statusOf returns the status of the reply that err came with, 0 if none.
func statusOf(err error) int {
	if re, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return re.HTTPStatusCode()
	}
	return 0
}
