package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
)

// Fresh is how long a confirmation counts: half of the 300 s that SlateDB's
// garbage collector waits before it deletes an object.
const Fresh = 150 * time.Second

// Stale reports whether a confirmation that began at at counts no more. While a
// machine is suspended its monotonic clock may stand still, and its wall clock
// may be set back: what the one that went further says counts.
func Stale(at, now time.Time) bool {
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0))) > Fresh
}

// ErrInDoubt: a version was put, and it is not known whether in time to count.
var ErrInDoubt = errors.New("a version was put, perhaps in time")

// Codec turns one kind of versioned object into bytes and back, and knows its
// names.
type Codec[T any] struct {
	Key    func(layout.Root, uint64) string
	ID     func(key string) (uint64, bool)
	Dir    string
	Encode func(*T) []byte
	Decode func([]byte) (*T, error)
	// Check tells whether a value can be the version with this id; nil: any can.
	Check func(*T, uint64) error
}

// Manifests is the codec of manifests.
var Manifests = Codec[format.Manifest]{
	Key: layout.Root.Manifest, ID: layout.ManifestID, Dir: layout.ManifestDir,
	Encode: format.EncodeManifest, Decode: format.DecodeManifest, Check: (*format.Manifest).CheckID,
}

// Compactions is the codec of compactions files.
var Compactions = Codec[format.Compactions]{
	Key: layout.Root.Compactions, ID: layout.CompactionsID, Dir: layout.CompactionsDir,
	Encode: format.EncodeCompactions, Decode: format.DecodeCompactions,
}

// Store reads and publishes the versions of one object. Its methods may be
// called concurrently.
type Store[T any] struct {
	bucket bucket.Bucket
	root   layout.Root
	clock  clock.Clock
	random io.Reader
	codec  Codec[T]
}

// NewStore returns the store of the objects that codec describes.
func NewStore[T any](b bucket.Bucket, root layout.Root, clk clock.Clock, random io.Reader, codec Codec[T]) *Store[T] {
	return &Store[T]{bucket: b, root: root, clock: clk, random: random, codec: codec}
}

// Version is one version of the object. What it points to must not be changed.
type Version[T any] struct {
	ID    uint64
	Value *T
	// ConfirmedAt is when the request began that proved this version to be the
	// latest.
	ConfirmedAt time.Time
}

// Latest reads the latest version. It returns bucket.ErrNotFound if there is
// none.
func (s *Store[T]) Latest(ctx context.Context) (Version[T], error) {
	for {
		at := s.clock.Now()
		ids, err := s.List(ctx, 0)
		if err != nil {
			return Version[T]{}, err
		}
		if len(ids) == 0 {
			return Version[T]{}, fmt.Errorf("%s: %w", s.root.Dir(s.codec.Dir), bucket.ErrNotFound)
		}
		v, err := s.Read(ctx, ids[len(ids)-1])
		if errors.Is(err, bucket.ErrNotFound) {
			continue // collected since: a newer one is there
		}
		v.ConfirmedAt = at
		return v, err
	}
}

// Read reads the version with this id.
func (s *Store[T]) Read(ctx context.Context, id uint64) (Version[T], error) {
	key := s.codec.Key(s.root, id)
	data, err := s.bucket.Get(ctx, key)
	if err != nil {
		return Version[T]{}, err
	}
	value, err := s.codec.Decode(data)
	if err == nil && s.codec.Check != nil {
		err = s.codec.Check(value, id)
	}
	if err != nil {
		return Version[T]{}, format.InObject(key, 0, err)
	}
	return Version[T]{ID: id, Value: value}, nil
}

// List returns the ids of the versions above after, in ascending order.
func (s *Store[T]) List(ctx context.Context, after uint64) ([]uint64, error) {
	from := ""
	if after > 0 {
		from = s.codec.Key(s.root, after)
	}
	var ids []uint64
	for obj, err := range s.bucket.List(ctx, s.root.Dir(s.codec.Dir), from) {
		if err != nil {
			return nil, err
		}
		if id, ok := s.codec.ID(obj.Key); ok && id > after {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Create publishes value as version base.ID+1. It returns bucket.ErrExists if
// another publisher was first, or so fast behind that it looks the same (then
// ErrInDoubt too): an edit that Update repeats must stand finding itself done.
func (s *Store[T]) Create(ctx context.Context, base Version[T], value *T) (Version[T], error) {
	id := base.ID + 1
	token, err := layout.Token(s.random)
	if err != nil {
		return Version[T]{}, err
	}
	began := s.clock.Now()
	key := s.codec.Key(s.root, id)
	if err := s.bucket.PutIfAbsent(ctx, key, s.codec.Encode(value), token); err != nil {
		return Version[T]{}, err
	}
	if base.ID > 0 {
		newer, err := s.List(ctx, id)
		if err != nil {
			return Version[T]{}, fmt.Errorf("%w; %w", err, ErrInDoubt)
		}
		if len(newer) > 0 {
			return Version[T]{}, fmt.Errorf("%s: version %d is there already: %w; %w", key, newer[len(newer)-1], bucket.ErrExists, ErrInDoubt)
		}
	}
	return Version[T]{ID: id, Value: value, ConfirmedAt: began}, nil
}

// Update publishes edit(base) and, for as long as another publisher is first,
// edit(latest) instead. edit gets the current value, which it must not change,
// and the id that the next one will have. It returns the next value; the same
// one back means that there is nothing to publish. An error after a version has
// been put matches ErrInDoubt too, until an edit has seen what came of it.
func (s *Store[T]) Update(ctx context.Context, base Version[T], edit func(current *T, id uint64) (*T, error)) (Version[T], error) {
	inDoubt := false
	fail := func(err error) (Version[T], error) {
		if inDoubt && err != nil {
			err = fmt.Errorf("%w; %w", err, ErrInDoubt)
		}
		return base, err
	}
	for {
		next, err := edit(base.Value, base.ID+1)
		if err != nil || next == base.Value {
			return fail(err)
		}
		v, err := s.Create(ctx, base, next)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, bucket.ErrExists) {
			return base, err
		}
		inDoubt = errors.Is(err, ErrInDoubt)
		latest, err := s.Latest(ctx)
		if err != nil {
			return fail(err)
		}
		base = latest
	}
}
