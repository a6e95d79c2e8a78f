package diskcache

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/layout"
)

// Bucket is a bucket whose SSTs are read through files. Its methods may be
// called concurrently.
type Bucket struct {
	b      bucket.Bucket
	opts   Options
	caches func(key string) bool
	files  *files

	passed atomic.Int64
}

// maxParts bounds a read that is cached.
const maxParts = 1024

// errTaken: the directory belongs to a running process.
var errTaken = errors.New("another process, or another cache of this one, uses the directory; give each its own")

// New returns b with a cache in the directory dir, which is made with its
// parents if there is none. It looks at the name of every file that is
// there, sends no request, and holds the directory until Close. Files in it
// that are not the cache's are left alone.
//
// It returns bucket.ErrInvalid for options that will not do, ErrUnavailable
// if the directory is in use, ErrDenied if it may not be written, and
// ErrUnsupported on systems without flock. b is then still the caller's to
// close; afterwards Close closes it.
func New(b bucket.Bucket, dir string, opts Options) (*Bucket, error) {
	return open(b, dir, opts, isSST)
}

func open(b bucket.Bucket, dir string, opts Options, caches func(key string) bool) (*Bucket, error) {
	fail := func(kind, err error) error {
		return &bucket.Error{Bucket: b.Capabilities().Name, Verb: "open the disk cache", Key: dir, Kind: kind, Err: err}
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fail(bucket.ErrInvalid, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fail(bucket.ErrInvalid, err)
	}
	f, err := openFiles(dir, opts)
	switch {
	case err == nil:
		return &Bucket{b: b, opts: opts, caches: caches, files: f}, nil
	case errors.Is(err, errTaken):
		return nil, fail(bucket.ErrUnavailable, err)
	case errors.Is(err, errors.ErrUnsupported):
		return nil, fail(bucket.ErrUnsupported, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(bucket.ErrDenied, err)
	}
	return nil, fail(bucket.ErrInvalid, err)
}

// isSST reports whether an object is an SST of some database, by its key.
func isSST(key string) bool {
	_, ok := layout.SSTID(key)
	return ok && path.Base(path.Dir(key)) == layout.CompactedDir
}

func (c *Bucket) fail(verb, key string, kind, err error) error {
	return &bucket.Error{Bucket: c.b.Capabilities().Name, Verb: verb, Key: key, Kind: kind, Err: err}
}

func (c *Bucket) id(key string) objectID { return newObjectID(c.b.Capabilities().Name, key) }

// GetRange is bucket.Bucket's; ranges of SSTs come from the cache as far as it
// has them. Ranges that may span more than 1024 parts are not cached.
func (c *Bucket) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	const verb = "get range"
	switch {
	case !c.caches(key) || offset < 0 || length <= 0:
		return c.b.GetRange(ctx, key, offset, length)
	case length > (maxParts-1)*c.opts.PartBytes || offset > math.MaxInt64-length-c.opts.PartBytes:
		c.passed.Add(1)
		return c.b.GetRange(ctx, key, offset, length)
	case c.files.closed.Load():
		return nil, c.fail(verb, key, bucket.ErrClosed, nil)
	case ctx.Err() != nil:
		return nil, c.fail(verb, key, nil, ctx.Err())
	}
	r := reading{c, key, c.id(key), offset + length}
	var out []byte
	for at := offset; ; {
		var ended bool
		var err error
		switch out, ended, err = r.next(ctx, out, at); {
		case errors.Is(err, errBeyond):
			return c.b.GetRange(ctx, key, offset, length) // the bucket says it best
		case err != nil:
			return nil, err
		}
		if at = offset + int64(len(out)); ended || at == r.end {
			return out, nil
		}
	}
}

// reading is a read of an object, up to end.
type reading struct {
	*Bucket
	key string
	id  objectID
	end int64
}

// errBeyond: there is no such part, since the object ends before it.
var errBeyond = errors.New("part lies beyond the end of the object")

// next appends what lies from at on: the rest of a part, or of a run of parts
// that are missing. ended: the object goes no further.
func (r reading) next(ctx context.Context, out []byte, at int64) (_ []byte, ended bool, err error) {
	size := r.opts.PartBytes
	index := at / size
	lo, hi := at-index*size, r.end-index*size
	for {
		kept, other, own := r.files.locate(r.id, index, (r.end-1)/size)
		switch {
		case kept != nil:
			if lo > kept.length {
				return nil, false, errBeyond
			}
			if more, err := r.files.read(kept, out, lo, hi); err == nil {
				return more, kept.length < size, nil
			} // else it is missing now
		case other != nil:
			select {
			case <-other.done:
			case <-ctx.Done():
				return nil, false, r.fail("get range", r.key, nil, ctx.Err())
			}
			if errors.Is(other.err, errGaveUp) {
				continue
			}
			return cut(out, other.data, lo, min(hi, size), size, other.err)
		case own != nil:
			data, err := r.fetch(ctx, index, own)
			return cut(out, data, lo, hi, int64(len(own))*size, err)
		default: // the disk cannot be written
			r.passed.Add(1)
			data, err := r.b.GetRange(ctx, r.key, at, r.end-at)
			return append(out, data...), true, err
		}
	}
}

// cut appends what data has from lo up to hi. ended: it has less than full.
func cut(out, data []byte, lo, hi, full int64, err error) ([]byte, bool, error) {
	n := int64(len(data))
	switch {
	case err != nil:
		return nil, false, err
	case lo > n:
		return nil, false, errBeyond
	}
	return append(out, data[lo:min(hi, n)]...), n < full, nil
}

// fetch requests the parts of a run from index on, whose flights are the
// caller's, and puts them into the cache. Who waits for one gets it before it is
// written.
func (r reading) fetch(ctx context.Context, index int64, own []*flight) ([]byte, error) {
	defer r.files.land(r.id, index, own)
	size := r.opts.PartBytes
	data, err := r.b.GetRange(ctx, r.key, index*size, int64(len(own))*size)
	for i, f := range own {
		f.data, f.err = partOf(data, int64(i), size)
		switch {
		case err != nil && ctx.Err() != nil:
			f.err = errGaveUp
		case err != nil:
			f.err = err
		}
		close(f.done)
	}
	if err != nil {
		return nil, err
	}
	for i, f := range own {
		if f.err == nil {
			r.files.store(part{r.id, size, index + int64(i), int64(len(f.data))}, f.data, f)
		}
	}
	return data, nil
}

// partOf returns part i of the bytes that begin with part 0. Where they end with
// a part, an empty one follows.
func partOf(data []byte, i, size int64) ([]byte, error) {
	n := int64(len(data))
	if i*size > n {
		return nil, errBeyond
	}
	return data[i*size : min((i+1)*size, n)], nil
}

// Put is bucket.Bucket's; an SST enters the cache once it is in the bucket.
func (c *Bucket) Put(ctx context.Context, key string, body []byte) error {
	err := c.b.Put(ctx, key, body)
	if !c.caches(key) {
		return err
	}
	id, size := c.id(key), c.opts.PartBytes
	c.files.drop(id)
	if err != nil || c.opts.SkipPuts {
		return err
	}
	for i := int64(0); i*size < int64(len(body)); i++ {
		data, _ := partOf(body, i, size)
		if !c.files.writable() {
			break
		}
		c.files.store(part{id, size, i, int64(len(data))}, data, nil)
	}
	return nil
}

// PutIfAbsent is bucket.Bucket's. What it writes does not enter the cache.
func (c *Bucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	return c.written(key, c.b.PutIfAbsent(ctx, key, body, token))
}

// PutIfMatch is bucket.Bucket's. What it writes does not enter the cache.
func (c *Bucket) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	return c.written(key, c.b.PutIfMatch(ctx, key, body, tag))
}

// Delete is bucket.Bucket's; the object leaves the cache too.
func (c *Bucket) Delete(ctx context.Context, key string) error {
	return c.written(key, c.b.Delete(ctx, key))
}

// written passes on how an object was changed; whatever came of that, nothing
// of it is cached any longer.
func (c *Bucket) written(key string, err error) error {
	if c.caches(key) {
		c.files.drop(c.id(key))
	}
	return err
}

// Get is bucket.Bucket's, without the cache: SSTs are read in parts.
func (c *Bucket) Get(ctx context.Context, key string) ([]byte, error) { return c.b.Get(ctx, key) }

// Head is bucket.Bucket's, without the cache.
func (c *Bucket) Head(ctx context.Context, key string) (bucket.Object, error) {
	return c.b.Head(ctx, key)
}

// List is bucket.Bucket's, without the cache.
func (c *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return c.b.List(ctx, prefix, after)
}

// Capabilities is that of the bucket beneath.
func (c *Bucket) Capabilities() bucket.Capabilities { return c.b.Capabilities() }

// Close closes the bucket beneath and gives the directory to whoever opens it
// next; the files stay. It waits for files that are being written, not for
// requests.
func (c *Bucket) Close() error {
	err := c.files.close()
	if berr := c.b.Close(); berr != nil {
		return berr
	}
	if err != nil {
		return c.fail("close the disk cache", c.files.dir, nil, err)
	}
	return nil
}

// Stats returns the counters as they are now. The engine counts its requests
// before they come here, those that the cache answers included.
func (c *Bucket) Stats() Stats {
	s := c.files.stats()
	s.Passed = c.passed.Load()
	return s
}

// preloadParts is how many parts a request of Preload brings at most.
const preloadParts = 8

// Preload brings the SSTs of the database at path into the cache, newest first,
// as many as it has room for: a request for every eight parts that are missing,
// one after the other, and a listing. It stops where the disk cannot be
// written. It returns the first error; what was loaded by then stays.
func (c *Bucket) Preload(ctx context.Context, path string) error {
	var ssts []bucket.Object
	for o, err := range c.b.List(ctx, layout.NewRoot(path).Dir(layout.CompactedDir), "") {
		if err != nil {
			return err
		}
		if c.caches(o.Key) {
			ssts = append(ssts, o)
		}
	}
	room, unwritten := c.opts.MaxBytes, c.files.unwritten.Load()
	for _, o := range slices.Backward(ssts) { // in the order of their ULIDs, which begin with the time
		if room -= fileBytes(o.Size); room < 0 || c.files.unwritten.Load() > unwritten {
			return nil
		}
		if err := c.preload(ctx, o); err != nil && !errors.Is(err, bucket.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (c *Bucket) preload(ctx context.Context, o bucket.Object) error {
	id, size := c.id(o.Key), c.opts.PartBytes
	for from := int64(0); from*size < o.Size; {
		to := from
		for to < from+preloadParts && to*size < o.Size && !c.files.has(id, to) {
			to++
		}
		if to > from {
			if _, err := c.GetRange(ctx, o.Key, from*size, min(to*size, o.Size)-from*size); err != nil {
				return err
			}
		}
		from = max(to, from+1)
	}
	return nil
}
