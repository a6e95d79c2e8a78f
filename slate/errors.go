package slate

import (
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/wal"
)

// Errors are sorted by what the caller does next; find them with errors.Is.
// Those of the bucket are the same values there and here.
var (
	// ErrNotFound: the key has no value. Get returns it as it is.
	ErrNotFound = errors.New("key not found")
	// ErrInvalid: an argument or option can never work; fix it.
	ErrInvalid = bucket.ErrInvalid
	// ErrConflict: another write came between a transaction's reads and its
	// commit, and nothing was written; run the whole transaction again, as
	// DB.Update does. The error is a *ConflictError.
	ErrConflict = errors.New("conflict")
	// ErrBusy: another compaction that has not ended uses the same sources; submit
	// again once it has.
	ErrBusy = errors.New("busy")
	// ErrNoDatabase: no manifest lies at the path.
	ErrNoDatabase = errors.New("no database")
	// ErrNoOperator: a row holds merge operands, or would, and there is no merge
	// operator. Set Options.MergeOperator to the one that wrote them.
	ErrNoOperator = merge.ErrNoOperator
	// ErrUnavailable: the bucket did not answer; wait and run it again.
	ErrUnavailable = bucket.ErrUnavailable
	// ErrUnknownOutcome: the bucket did not say whether a write took effect, so
	// the writer has closed itself. Open the database again and read.
	ErrUnknownOutcome = bucket.ErrUnknownOutcome
	// ErrFenced: a newer writer has taken over. Nothing of this call took effect,
	// unless the error is ErrUnknownOutcome too. Open the database again only if
	// this process should be the writer.
	ErrFenced = wal.ErrFenced
	// ErrClosed: the database, snapshot or reader was closed.
	ErrClosed = errors.New("database closed")
	// ErrCorrupt: stored bytes contradict their checksum or format; restore
	// from a copy. The error is, or wraps, a *CorruptError where object and
	// offset are known.
	ErrCorrupt = format.ErrCorrupt
	// ErrNewerFormat: a file was written in a format that this version does not
	// know; use a newer one. Nothing was changed.
	ErrNewerFormat = format.ErrNewer
	// ErrTransform: Options.BlockTransformer could not encode or decode a block. It
	// may be another than the one that wrote it, or have another key. The error
	// is, or wraps, a *TransformError.
	ErrTransform = format.ErrTransform
	// ErrDenied: credentials or permissions do not allow it.
	ErrDenied = bucket.ErrDenied
	// ErrUnsupported: the bucket or the database needs something that is not
	// there, such as a conditional put or segments.
	ErrUnsupported = bucket.ErrUnsupported
)

// CorruptError names the object and the offset of bytes that contradict their
// checksum or format. It matches ErrCorrupt.
type CorruptError = format.ObjectError

// TransformError names the object and the offset of a block that the block
// transformer could not decode, and what that said. It matches ErrTransform.
type TransformError = format.TransformError

// ConflictError says why a transaction was not committed. It matches
// ErrConflict.
type ConflictError struct {
	// Key was written by others since the transaction began, which read or
	// writes it. It is nil if that cannot be told any more: more keys were
	// written since than Options.MaxTxHistoryBytes keeps.
	Key []byte
	// Seq is that of the write, 0 without a key.
	Seq uint64
	// Start is the seq that the transaction read at.
	Start uint64
}

// Error names the key, the beginning of a long one, and both seqs.
func (e *ConflictError) Error() string {
	if e.Key == nil {
		return fmt.Sprintf("conflict: more was written since the transaction began at seq %d than MaxTxHistoryBytes keeps: make it shorter, or raise that", e.Start)
	}
	return fmt.Sprintf("conflict: key %.100q was written at seq %d, after the transaction began at seq %d: run it again", e.Key, e.Seq, e.Start)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
