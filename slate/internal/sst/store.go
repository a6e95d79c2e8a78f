package sst

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// DefaultReadAhead is StoreOptions.ReadAhead if it is zero.
const DefaultReadAhead = 256 << 10

// boundedReadAhead is how much a scan with an upper bound fetches at first, if
// its range has that much: what it will read is known.
const boundedReadAhead = 64 << 10

// wholeRead is the size up to which the data of an SST comes along with its
// index: one request instead of two, for few bytes.
const wholeRead = 64 << 10

// StoreOptions are the settings of a Store.
type StoreOptions struct {
	// ReadAhead is the most bytes that a scan fetches in one request, default
	// 256 KiB; negative: one block each. More means fewer requests and more
	// bytes in memory per scan, of which a scan that ends early wastes up to all.
	ReadAhead int
	// Reads is how many requests for parts of SSTs are under way at once; more
	// wait. Zero or less: no limit.
	Reads int
	// Prefixer is asked for the prefix that all keys of a scan have, by which
	// filters rule SSTs out; nil: none are.
	Prefixer Prefixer
	// Transformer is the one that the SSTs were written with; nil: none.
	Transformer format.Transformer
}

// Store opens the SSTs of one bucket. Its methods may be called concurrently.
type Store struct {
	bucket  bucket.Bucket
	cache   *Cache
	opts    StoreOptions
	flights flights
	slots   chan struct{} // one for each request under way; nil: no limit

	witnesses *format.Witnesses // of filters that hold prefixes; nil: none wanted
}

// NewStore returns a Store over b, which must outlive it. cache may be nil and
// may be shared between stores: the ids of SSTs are unique.
func NewStore(b bucket.Bucket, cache *Cache, opts StoreOptions) *Store {
	if opts.ReadAhead == 0 {
		opts.ReadAhead = DefaultReadAhead
	}
	s := &Store{bucket: b, cache: cache, opts: opts}
	if opts.Reads > 0 {
		s.slots = make(chan struct{}, opts.Reads)
	}
	if p := opts.Prefixer; p != nil {
		w := format.PrefixWitnesses(p.Name(), p.Version())
		s.witnesses = &w
	}
	return s
}

// Cache returns the cache that the store was made with; it may be nil.
func (s *Store) Cache() *Cache { return s.cache }

// Open returns the table of an SST that is described by sst and lies at the
// key object. It reads nothing.
func (s *Store) Open(object string, sst format.SST) *Table {
	return &Table{store: s, object: object, sst: sst, visible: sst.Range()}
}

// CoveringPrefix returns the prefix that the store's Prefixer takes from every
// key in [lower, upper), nil if there is none.
func (s *Store) CoveringPrefix(lower, upper []byte) []byte {
	if s.opts.Prefixer == nil || upper == nil {
		return nil
	}
	n := s.opts.Prefixer.PrefixLen(lower)
	if n <= 0 || n > len(lower) {
		return nil
	}
	prefix := lower[:n:n]
	if !bytes.HasPrefix(upper, prefix) && !isEnd(prefix, upper) {
		return nil
	}
	return prefix
}

// isEnd reports whether end is the least key above all that begin with prefix.
func isEnd(prefix, end []byte) bool {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	return n > 0 && len(end) == n && bytes.Equal(end[:n-1], prefix[:n-1]) && end[n-1] == prefix[n-1]+1
}

// read returns n bytes of an object, once fewer than StoreOptions.Reads other
// requests are under way. An object that ends before is corrupt.
func (s *Store) read(ctx context.Context, object string, offset, n uint64) ([]byte, error) {
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return readRange(ctx, s.bucket, object, offset, n)
}

func readRange(ctx context.Context, b bucket.Bucket, object string, offset, n uint64) ([]byte, error) {
	if n > maxRead {
		return nil, &format.ObjectError{Object: object, Offset: int64(offset), Reason: fmt.Sprintf("part of %d bytes", n)}
	}
	data, err := b.GetRange(ctx, object, int64(offset), int64(n))
	if errors.Is(err, bucket.ErrInvalid) {
		return nil, &format.ObjectError{Object: object, Offset: int64(offset), Reason: "object ends before this part of it"}
	}
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", n, offset, object, err)
	}
	if uint64(len(data)) != n {
		return nil, &format.ObjectError{Object: object, Offset: int64(offset) + int64(len(data)),
			Reason: fmt.Sprintf("object ends within a part that goes on to %d", offset+n)}
	}
	return data, nil
}

// maxAhead bounds what an Iter fetches at once, whatever its options say.
const maxAhead = format.MaxRaw

// maxRead bounds a request: one part and its checksum.
const maxRead = format.MaxStored + 4

// tailRead is how much of the end of an SST is read to find its info.
const tailRead = 4 << 10

// ReadInfo reads the info and the format version from the end of an SST
// object, in two or three requests. Errors are those of the bucket, or match
// format.ErrCorrupt (*format.ObjectError) or format.ErrNewer.
func ReadInfo(ctx context.Context, b bucket.Bucket, object string) (format.SSTInfo, uint16, error) {
	fail := func(base int64, err error) (format.SSTInfo, uint16, error) {
		return format.SSTInfo{}, 0, format.InObject(object, base, err)
	}
	head, err := b.Head(ctx, object)
	if err != nil {
		return format.SSTInfo{}, 0, fmt.Errorf("read the info of %s: %w", object, err)
	}
	if head.Size < format.FooterLen {
		return fail(0, &format.DecodeError{Reason: fmt.Sprintf("object of %d bytes is too short for an SST", head.Size)})
	}
	from := max(0, head.Size-tailRead)
	tail, err := readRange(ctx, b, object, uint64(from), uint64(head.Size-from))
	if err != nil {
		return format.SSTInfo{}, 0, err
	}
	meta, version, err := format.DecodeFooter(tail[len(tail)-format.FooterLen:], head.Size)
	if err != nil {
		return fail(0, err)
	}
	if meta < from {
		if head.Size-meta > maxInfo {
			return fail(meta, &format.DecodeError{Reason: "info is too long"})
		}
		if tail, err = readRange(ctx, b, object, uint64(meta), uint64(head.Size-meta)); err != nil {
			return format.SSTInfo{}, 0, err
		}
		from = meta
	}
	info, err := decodeInfo(tail[meta-from:len(tail)-format.FooterLen], meta)
	if err != nil {
		return fail(0, err)
	}
	return info, version, nil
}

// maxInfo bounds an info: two keys and some numbers.
const maxInfo = 2*format.MaxStoredKey + 4096
