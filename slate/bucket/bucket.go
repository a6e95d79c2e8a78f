package bucket

import (
	"context"
	"iter"
	"time"
)

// Bucket is a flat namespace of objects: the few verbs an LSM tree needs of
// an object store. Keys are slash-separated paths without a leading slash;
// every key handed in is relative to the bucket's root.
//
// Every driver provides an atomic PutIfAbsent; the rest of the engine's safety
// (manifest commits, WAL ids, fencing) is built on it. Methods may be called
// concurrently. Byte slices handed in must not be changed until the call
// returns; slices handed out belong to the caller.
type Bucket interface {
	// PutIfAbsent creates the object key with body, atomically: of any number
	// of concurrent calls for one key, in any number of processes, exactly one
	// succeeds and the others get ErrExists. The object is durable before the
	// call returns nil. token is a random, non-empty string of at most 64
	// characters that the driver keeps with the object, so that Head can tell
	// this call's object from another's with equal bytes; see WithRetry.
	PutIfAbsent(ctx context.Context, key string, body []byte, token string) error

	// PutIfMatch replaces the object key if its tag still is tag, atomically.
	// It returns ErrChanged if the object has another tag or is missing, and
	// ErrUnsupported where Capabilities says so.
	PutIfMatch(ctx context.Context, key string, body []byte, tag string) error

	// Put creates or replaces the object key. Readers see the old object or
	// the new one, never a part. The object is durable before it returns nil.
	Put(ctx context.Context, key string, body []byte) error

	// Get returns the whole object. It returns ErrNotFound if there is none.
	Get(ctx context.Context, key string) ([]byte, error)

	// GetRange returns length bytes from offset on, fewer only where the object
	// ends before. It returns ErrNotFound if there is no such object, and
	// ErrInvalid if offset lies beyond its end.
	GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error)

	// Head describes the object. It returns ErrNotFound if there is none.
	Head(ctx context.Context, key string) (Object, error)

	// List yields the objects whose keys begin with prefix and sort after the
	// key after (from the first if after is empty), in key order, bytewise.
	// The listing is strongly consistent with completed puts and deletes. The
	// Token of a listed object is always empty. After an error nothing follows.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Delete removes the object key. Deleting what is not there succeeds.
	Delete(ctx context.Context, key string) error

	// Capabilities tells what the bucket can do beyond the verbs all can.
	Capabilities() Capabilities

	// Close releases connections and locks. Calls after it return ErrClosed.
	Close() error
}

// Object describes one object.
type Object struct {
	Key      string    // the object's key, relative to the bucket's root
	Size     int64     // bytes
	Modified time.Time // when it was last written, by the bucket's own clock
	Tag      string    // opaque version for PutIfMatch; empty where unsupported
	Token    string    // PutIfAbsent's token, if the driver still knows it
}

// Capabilities says what a bucket can do. Its zero value is the least.
type Capabilities struct {
	// ConditionalPut: PutIfAbsent is atomic. A database refuses to open a
	// bucket for writing without it.
	ConditionalPut bool
	// Reason says, where ConditionalPut is false, why not.
	Reason string
	// Match: PutIfMatch works.
	Match bool
	// Token: Head returns the token of a PutIfAbsent, so that a call whose
	// reply was lost can be settled.
	Token bool
	// Remote: every request crosses a network and is billed; writers then
	// leave a minimum interval between WAL objects.
	Remote bool
	// Name describes the bucket in errors and logs: its driver and root.
	Name string
}
