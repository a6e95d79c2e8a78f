package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stele-db/stele/slate/bucket"
)

const (
	// tokenKey is the user metadata that keeps the token of a put-if-absent.
	tokenKey = "stele-token"
	// maxBody is what one PutObject takes.
	maxBody = 5 << 30
	// maxPrealloc bounds what a reply's announced length can make us allocate
	// before its bytes are there.
	maxPrealloc = 64 << 20
)

// s3Bucket is a bucket in an S3 store.
type s3Bucket struct {
	client    *s3.Client
	bucket    string
	name      string
	closeIdle func() // nil where the client is the caller's
	closed    atomic.Bool
}

// fail sorts an error of the SDK.
func (b *s3Bucket) fail(ctx context.Context, verb, key string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return b.failAs(verb, key, nil, cerr)
	}
	kind, cause := sort(err)
	return b.failAs(verb, key, kind, cause)
}

func (b *s3Bucket) failAs(verb, key string, kind, err error) error {
	return &bucket.Error{Bucket: b.name, Verb: verb, Key: key, Kind: kind, Err: err}
}

// begin makes the checks that all verbs share.
func (b *s3Bucket) begin(ctx context.Context, verb, key string) error {
	if err := bucket.CheckKey(key); err != nil {
		return b.failAs(verb, "", bucket.ErrInvalid, err)
	}
	return b.open(ctx, verb, key)
}

// open fails if the bucket is closed or the context is done.
func (b *s3Bucket) open(ctx context.Context, verb, key string) error {
	if b.closed.Load() {
		return b.failAs(verb, key, bucket.ErrClosed, nil)
	}
	if err := ctx.Err(); err != nil {
		return b.failAs(verb, key, nil, err)
	}
	return nil
}

// put sends a PutObject and leaves its error as it came.
func (b *s3Bucket) put(ctx context.Context, key string, body []byte, adjust func(*s3.PutObjectInput)) error {
	in := &s3.PutObjectInput{
		Bucket:        &b.bucket,
		Key:           &key,
		Body:          bytes.NewReader(body),
		ContentLength: aws.Int64(int64(len(body))),
	}
	adjust(in)
	_, err := b.client.PutObject(ctx, in)
	return err
}

// checkBody refuses what one request cannot carry.
func (b *s3Bucket) checkBody(verb, key string, body []byte) error {
	if int64(len(body)) > maxBody {
		return b.failAs(verb, key, bucket.ErrInvalid, fmt.Errorf("object has %d bytes, more than S3's 5 GiB", len(body)))
	}
	return nil
}

// PutIfAbsent sends If-None-Match. S3 may also answer 409 while another
// conditional put of the key is under way: nothing was written then, and the
// retry finds out who won.
func (b *s3Bucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	const verb = "put if absent"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	if err := bucket.CheckToken(token); err != nil {
		return b.failAs(verb, key, bucket.ErrInvalid, err)
	}
	if err := b.checkBody(verb, key, body); err != nil {
		return err
	}
	err := b.put(ctx, key, body, func(in *s3.PutObjectInput) {
		in.IfNoneMatch = aws.String("*")
		in.Metadata = map[string]string{tokenKey: token}
	})
	switch {
	case err == nil:
		return nil
	case statusOf(err) == http.StatusPreconditionFailed:
		return b.failAs(verb, key, bucket.ErrExists, nil)
	default:
		return b.failPut(ctx, verb, key, err)
	}
}

func (b *s3Bucket) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	const verb = "put if match"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	if tag == "" || tag == "*" {
		return b.failAs(verb, key, bucket.ErrInvalid, fmt.Errorf("tag is %q", tag))
	}
	if err := b.checkBody(verb, key, body); err != nil {
		return err
	}
	err := b.put(ctx, key, body, func(in *s3.PutObjectInput) { in.IfMatch = &tag })
	if err == nil {
		return nil
	}
	kind, cause := sort(err)
	if statusOf(err) == http.StatusPreconditionFailed || errors.Is(kind, bucket.ErrNotFound) {
		return b.failAs(verb, key, bucket.ErrChanged, cause)
	}
	return b.failPut(ctx, verb, key, err)
}

func (b *s3Bucket) Put(ctx context.Context, key string, body []byte) error {
	const verb = "put"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	if err := b.checkBody(verb, key, body); err != nil {
		return err
	}
	if err := b.put(ctx, key, body, func(*s3.PutObjectInput) {}); err != nil {
		return b.failPut(ctx, verb, key, err)
	}
	return nil
}

// failPut is fail for puts, to which 404 can only mean the bucket.
func (b *s3Bucket) failPut(ctx context.Context, verb, key string, err error) error {
	if kind, cause := sort(err); errors.Is(kind, bucket.ErrNotFound) && ctx.Err() == nil {
		return b.failAs(verb, key, bucket.ErrInvalid, cause)
	}
	return b.fail(ctx, verb, key, err)
}

func (b *s3Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	const verb = "get"
	if err := b.begin(ctx, verb, key); err != nil {
		return nil, err
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: &key})
	if err != nil {
		return nil, b.fail(ctx, verb, key, err)
	}
	return b.readBody(ctx, verb, key, out.Body, aws.ToInt64(out.ContentLength), math.MaxInt64)
}

// readBody reads at most limit bytes of a reply that announced size bytes.
func (b *s3Bucket) readBody(ctx context.Context, verb, key string, r io.ReadCloser, size, limit int64) ([]byte, error) {
	defer r.Close()
	var buf bytes.Buffer
	buf.Grow(int(min(max(size, 0), limit, maxPrealloc)) + bytes.MinRead)
	n, err := io.Copy(&buf, io.LimitReader(r, limit))
	if err == nil && n < min(size, limit) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return nil, b.failAs(verb, key, nil, cerr)
		}
		return nil, b.failAs(verb, key, bucket.ErrUnavailable, fmt.Errorf("reply broke off after %d of %d bytes: %w", n, size, err))
	}
	return buf.Bytes(), nil
}

func (b *s3Bucket) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	const verb = "get range"
	if err := b.begin(ctx, verb, key); err != nil {
		return nil, err
	}
	if err := bucket.CheckRange(offset, length); err != nil {
		return nil, b.failAs(verb, key, bucket.ErrInvalid, err)
	}
	if length == 0 {
		return b.emptyRange(ctx, verb, key, offset)
	}
	ask := fmt.Sprintf("bytes=%d-", offset)
	if length <= math.MaxInt64-offset {
		ask = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: &key, Range: &ask})
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
		return b.emptyRange(ctx, verb, key, offset)
	}
	if err != nil {
		return nil, b.fail(ctx, verb, key, err)
	}
	if got := aws.ToString(out.ContentRange); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", offset)) {
		_ = out.Body.Close()
		return nil, b.failAs(verb, key, bucket.ErrUnsupported, fmt.Errorf("asked for %s, the store answered with range %q", ask, got))
	}
	return b.readBody(ctx, verb, key, out.Body, aws.ToInt64(out.ContentLength), length)
}

// emptyRange answers for a range that holds no byte, which HTTP cannot ask
// for: it is in order up to the object's very end.
func (b *s3Bucket) emptyRange(ctx context.Context, verb, key string, offset int64) ([]byte, error) {
	o, err := b.head(ctx, verb, key)
	if err != nil {
		return nil, err
	}
	if offset > o.Size {
		return nil, b.failAs(verb, key, bucket.ErrInvalid, fmt.Errorf("offset %d lies beyond the object's %d bytes", offset, o.Size))
	}
	return []byte{}, nil
}

func (b *s3Bucket) Head(ctx context.Context, key string) (bucket.Object, error) {
	if err := b.begin(ctx, "head", key); err != nil {
		return bucket.Object{}, err
	}
	return b.head(ctx, "head", key)
}

func (b *s3Bucket) head(ctx context.Context, verb, key string) (bucket.Object, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: &key})
	if err != nil {
		return bucket.Object{}, b.fail(ctx, verb, key, err)
	}
	o := bucket.Object{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Tag: aws.ToString(out.ETag)}
	for k, v := range out.Metadata {
		if strings.EqualFold(k, tokenKey) {
			o.Token = v
		}
	}
	return o, nil
}

func (b *s3Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		if err := bucket.CheckPrefix(prefix); err != nil {
			yield(bucket.Object{}, b.failAs("list", "", bucket.ErrInvalid, err))
			return
		}
		in := &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix}
		if after != "" {
			in.StartAfter = &after
		}
		for last := after; ; {
			if err := b.open(ctx, "list", prefix); err != nil {
				yield(bucket.Object{}, err)
				return
			}
			out, err := b.client.ListObjectsV2(ctx, in)
			if err != nil {
				yield(bucket.Object{}, b.failList(ctx, prefix, err))
				return
			}
			for o, err := range b.page(out, prefix, last) {
				if !yield(o, err) || err != nil {
					return
				}
				last = o.Key
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if in.ContinuationToken = out.NextContinuationToken; in.ContinuationToken == nil {
				yield(bucket.Object{}, b.failAs("list", prefix, bucket.ErrUnsupported, errors.New("the store breaks a listing off without saying how to go on")))
				return
			}
		}
	}
}

// failList is fail for listings, to which 404 can only mean the bucket.
func (b *s3Bucket) failList(ctx context.Context, prefix string, err error) error {
	return b.failPut(ctx, "list", prefix, err)
}

// page yields the objects of one reply that sort after last. What no driver
// could have written, such as the folder markers of consoles, is passed over.
func (b *s3Bucket) page(out *s3.ListObjectsV2Output, prefix, last string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		previous := ""
		for _, c := range out.Contents {
			key := aws.ToString(c.Key)
			if key < previous {
				yield(bucket.Object{}, b.failAs("list", prefix, bucket.ErrUnsupported, fmt.Errorf("the store lists %q before %q, not in key order", previous, key)))
				return
			}
			previous = key
			if key <= last || !strings.HasPrefix(key, prefix) || bucket.CheckKey(key) != nil {
				continue
			}
			o := bucket.Object{Key: key, Size: aws.ToInt64(c.Size), Modified: aws.ToTime(c.LastModified), Tag: aws.ToString(c.ETag)}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (b *s3Bucket) Delete(ctx context.Context, key string) error {
	const verb = "delete"
	if err := b.begin(ctx, verb, key); err != nil {
		return err
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.bucket, Key: &key})
	if err == nil {
		return nil
	}
	if kind, _ := sort(err); errors.Is(kind, bucket.ErrNotFound) && ctx.Err() == nil {
		return nil
	}
	return b.fail(ctx, verb, key, err)
}

func (b *s3Bucket) Capabilities() bucket.Capabilities {
	return bucket.Capabilities{ConditionalPut: true, Match: true, Token: true, Remote: true, Name: b.name}
}

func (b *s3Bucket) Close() error {
	if !b.closed.Swap(true) && b.closeIdle != nil {
		b.closeIdle()
	}
	return nil
}
