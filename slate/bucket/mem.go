package bucket

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-db/stele/internal/clock"
)

// InMemOptions configures NewInMem. The zero value is the default.
type InMemOptions struct {
	// Name stands in errors and logs. Default: empty.
	Name string
	// Clock dates objects. Default: the machine's.
	Clock clock.Clock
}

// NewInMemBucket returns an empty bucket in memory, with every capability. It
// lives as long as the process refers to it. Several databases, and one
// database opened again after Close, may share it.
func NewInMemBucket() Bucket { return NewInMem(InMemOptions{}) }

// NewInMem is NewInMemBucket with options.
func NewInMem(opts InMemOptions) Bucket {
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	return &memBucket{objects: &memObjects{clock: opts.Clock, byKey: map[string]memObject{}}, name: "mem://" + opts.Name}
}

// memBucket is one handle on a set of objects: closing it leaves them be.
type memBucket struct {
	objects *memObjects
	name    string
	closed  atomic.Bool
}

// memObjects is the content that the handles on one bucket share.
type memObjects struct {
	clock clock.Clock

	mu      sync.RWMutex
	byKey   map[string]memObject
	keys    []string // of byKey, sorted
	lastTag uint64
}

// memObject's body is never changed once stored.
type memObject struct {
	body     []byte
	modified time.Time
	tag      uint64
	token    string
}

func (o memObject) describe(key string) Object {
	return Object{Key: key, Size: int64(len(o.body)), Modified: o.modified, Tag: strconv.FormatUint(o.tag, 10), Token: o.token}
}

func (b *memBucket) fail(verb, key string, kind, err error) error {
	return &Error{Bucket: b.name, Verb: verb, Key: key, Kind: kind, Err: err}
}

// begin makes the checks that all verbs share.
func (b *memBucket) begin(ctx context.Context, verb, key string) error {
	if err := CheckKey(key); err != nil {
		return b.fail(verb, "", ErrInvalid, err)
	}
	return b.open(ctx, verb, key)
}

// open fails if the handle is closed or the context is done.
func (b *memBucket) open(ctx context.Context, verb, key string) error {
	if b.closed.Load() {
		return b.fail(verb, key, ErrClosed, nil)
	}
	if err := ctx.Err(); err != nil {
		return b.fail(verb, key, nil, err)
	}
	return nil
}

func (b *memBucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	const verb = "put if absent"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	if err := CheckToken(token); err != nil {
		return b.fail(verb, key, ErrInvalid, err)
	}
	s := b.objects
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byKey[key]; ok {
		return b.fail(verb, key, ErrExists, nil)
	}
	s.storeLocked(key, body, token)
	return nil
}

func (b *memBucket) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	const verb = "put if match"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	s := b.objects
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.byKey[key]
	if !ok {
		return b.fail(verb, key, ErrChanged, fmt.Errorf("no such object"))
	}
	if have := strconv.FormatUint(old.tag, 10); have != tag {
		return b.fail(verb, key, ErrChanged, fmt.Errorf("tag is %q, not %q", have, tag))
	}
	s.storeLocked(key, body, "")
	return nil
}

func (b *memBucket) Put(ctx context.Context, key string, body []byte) error {
	if err := b.begin(ctx, "put", key); err != nil {
		return err
	}
	s := b.objects
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storeLocked(key, body, "")
	return nil
}

// storeLocked creates or replaces an object with a copy of body.
func (s *memObjects) storeLocked(key string, body []byte, token string) {
	if _, ok := s.byKey[key]; !ok {
		i, _ := slices.BinarySearch(s.keys, key)
		s.keys = slices.Insert(s.keys, i, key)
	}
	s.lastTag++
	s.byKey[key] = memObject{body: slices.Clone(body), modified: s.clock.Now(), tag: s.lastTag, token: token}
}

// load returns an object; its body is the stored one.
func (b *memBucket) load(ctx context.Context, verb, key string) (memObject, error) {
	if err := b.begin(ctx, verb, key); err != nil {
		return memObject{}, err
	}
	b.objects.mu.RLock()
	defer b.objects.mu.RUnlock()
	o, ok := b.objects.byKey[key]
	if !ok {
		return memObject{}, b.fail(verb, key, ErrNotFound, nil)
	}
	return o, nil
}

func (b *memBucket) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := b.load(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, o.body...), nil
}

func (b *memBucket) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	const verb = "get range"
	if err := CheckRange(offset, length); err != nil {
		return nil, b.fail(verb, key, ErrInvalid, err)
	}
	o, err := b.load(ctx, verb, key)
	if err != nil {
		return nil, err
	}
	size := int64(len(o.body))
	if offset > size {
		return nil, b.fail(verb, key, ErrInvalid, fmt.Errorf("offset %d lies beyond the object's %d bytes", offset, size))
	}
	return append([]byte{}, o.body[offset:offset+min(length, size-offset)]...), nil
}

func (b *memBucket) Head(ctx context.Context, key string) (Object, error) {
	o, err := b.load(ctx, "head", key)
	if err != nil {
		return Object{}, err
	}
	return o.describe(key), nil
}

// memPage is how many objects a listing takes under one hold of the lock.
const memPage = 1000

func (b *memBucket) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	const verb = "list"
	return func(yield func(Object, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Object{}, b.fail(verb, "", ErrInvalid, err))
			return
		}
		for last := after; ; {
			if err := b.open(ctx, verb, prefix); err != nil {
				yield(Object{}, err)
				return
			}
			page := b.objects.page(prefix, last)
			for _, o := range page {
				if !yield(o, nil) {
					return
				}
				last = o.Key
			}
			if len(page) < memPage {
				return
			}
		}
	}
}

// page returns the first objects under prefix whose keys sort after last.
func (s *memObjects) page(prefix, last string) []Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, found := slices.BinarySearch(s.keys, max(prefix, last))
	if found && s.keys[i] == last {
		i++
	}
	var page []Object
	for ; i < len(s.keys) && len(page) < memPage && strings.HasPrefix(s.keys[i], prefix); i++ {
		o := s.byKey[s.keys[i]].describe(s.keys[i])
		o.Token = ""
		page = append(page, o)
	}
	return page
}

func (b *memBucket) Delete(ctx context.Context, key string) error {
	if err := b.begin(ctx, "delete", key); err != nil {
		return err
	}
	s := b.objects
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byKey[key]; ok {
		delete(s.byKey, key)
		i, _ := slices.BinarySearch(s.keys, key)
		s.keys = slices.Delete(s.keys, i, i+1)
	}
	return nil
}

func (b *memBucket) Capabilities() Capabilities {
	return Capabilities{ConditionalPut: true, Match: true, Token: true, Name: b.name}
}

func (b *memBucket) Close() error {
	b.closed.Store(true)
	return nil
}
