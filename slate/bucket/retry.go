package bucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/stele-db/stele/internal/backoff"
	"github.com/stele-db/stele/internal/clock"
)

// RetryOptions configures WithRetry. The zero value is the default.
type RetryOptions struct {
	// Attempts is how often a request is sent before its error is returned.
	// Default 10, which with the default waits is some 8 seconds. More ride
	// out longer outages; fewer report them sooner.
	Attempts int
	// FirstWait bounds the wait before the second attempt; the bound doubles
	// with each further one up to MaxWait. Each wait is drawn at random between
	// half its bound and the bound, so that clients which failed together do
	// not return together. Defaults 50 ms and 5 s.
	FirstWait, MaxWait time.Duration
	// Clock waits. Default: the machine's.
	Clock clock.Clock
	// Rand is the source of tokens and jitter. It need not be safe for
	// concurrent use. Default: crypto/rand.
	Rand io.Reader
}

// WithRetry returns b with every request that ends in ErrUnavailable sent
// again. It is the one place where requests are repeated; drivers send each
// once. Wrapping a bucket that retries already returns it as it is.
//
// A conditional put whose reply was lost may have taken effect. PutIfAbsent
// sends one token with every attempt of a call, a random one if token is
// empty. ErrExists on the first attempt is a conflict; after an attempt that
// got no answer it is success if Head returns the call's own token, and a
// conflict if the token is another's. Where that cannot be found out, and
// where the attempts or the context end without an answer, the error is
// ErrUnknownOutcome, never a guess. PutIfMatch has no token, so there
// ErrChanged after an unanswered attempt is ErrUnknownOutcome.
//
// Put and Delete are simply sent again: a Put must not race with another Put
// of its key.
func WithRetry(b Bucket, opts RetryOptions) Bucket {
	if r, ok := b.(*retrier); ok {
		return r
	}
	if opts.Attempts <= 0 {
		opts.Attempts = 10
	}
	if opts.FirstWait <= 0 {
		opts.FirstWait = 50 * time.Millisecond
	}
	if opts.MaxWait <= 0 {
		opts.MaxWait = 5 * time.Second
	}
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	return &retrier{b: b, opts: opts}
}

// retrier is a bucket that repeats.
type retrier struct {
	b    Bucket
	opts RetryOptions

	randMu sync.Mutex // guards opts.Rand
}

// random fills p.
func (r *retrier) random(p []byte) error {
	r.randMu.Lock()
	defer r.randMu.Unlock()
	_, err := io.ReadFull(r.opts.Rand, p)
	return err
}

// newToken returns a token that no other call has.
func (r *retrier) newToken() (string, error) {
	var p [16]byte
	if err := r.random(p[:]); err != nil {
		return "", fmt.Errorf("random token: %w", err)
	}
	return hex.EncodeToString(p[:]), nil
}

// policy is how requests are repeated.
func (r *retrier) policy() backoff.Policy {
	return backoff.Policy{
		Attempts: r.opts.Attempts, First: r.opts.FirstWait, Max: r.opts.MaxWait,
		Clock: r.opts.Clock, Random: lockedRandom{r},
	}
}

// lockedRandom is opts.Rand for concurrent use.
type lockedRandom struct{ r *retrier }

func (l lockedRandom) Read(p []byte) (int, error) { return len(p), l.r.random(p) }

// do calls fn until it ends otherwise than in ErrUnavailable.
func (r *retrier) do(ctx context.Context, fn func() error) error {
	return r.policy().Do(ctx, func(err error) bool { return errors.Is(err, ErrUnavailable) }, fn)
}

// answered reports whether a conditional put that ended in err was certainly
// decided: a store that says one of these did nothing.
func answered(err error) bool {
	for _, kind := range []error{ErrExists, ErrChanged, ErrDenied, ErrInvalid, ErrUnsupported, ErrClosed, ErrNotFound} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// conditional sends a conditional put until it is answered. lost tells whether
// an attempt before the last ended without an answer.
func (r *retrier) conditional(ctx context.Context, verb, key string, put func() error) (err error, lost bool) {
	for attempt := 1; ; attempt++ {
		if cerr := ctx.Err(); cerr != nil && !lost {
			return r.fail(verb, key, nil, cerr), false
		}
		err = put()
		if err == nil || answered(err) {
			return err, lost
		}
		if !errors.Is(err, ErrUnavailable) || attempt == r.opts.Attempts {
			return r.unknown(verb, key, attempt, err, ctx.Err()), true
		}
		lost = true
		if werr := r.policy().Wait(ctx, attempt); werr != nil {
			return r.unknown(verb, key, attempt, err, werr), true
		}
	}
}

func (r *retrier) fail(verb, key string, kind, err error) error {
	return &Error{Bucket: r.b.Capabilities().Name, Verb: verb, Key: key, Kind: kind, Err: err}
}

// unknown is ErrUnknownOutcome. It matches the context's error, but not the
// last attempt's: who sees ErrUnavailable would send the put again.
func (r *retrier) unknown(verb, key string, attempts int, last, ctxErr error) error {
	if ctxErr != nil {
		return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("%w after %d attempts (%s)", ctxErr, attempts, last.Error()))
	}
	return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("%d attempts (%s)", attempts, last.Error()))
}

func (r *retrier) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	const verb = "put if absent"
	if token == "" {
		var err error
		if token, err = r.newToken(); err != nil {
			return r.fail(verb, key, nil, err)
		}
	}
	err, lost := r.conditional(ctx, verb, key, func() error { return r.b.PutIfAbsent(ctx, key, body, token) })
	switch {
	case err == nil || !lost || errors.Is(err, ErrUnknownOutcome):
		return err
	case errors.Is(err, ErrExists):
		return r.settle(ctx, verb, key, token, err)
	default: // refused now, but an attempt before may have been accepted
		return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("an attempt got no answer, then: %s", err.Error()))
	}
}

// settle finds out whose object stands where this call's put was not answered
// at least once.
func (r *retrier) settle(ctx context.Context, verb, key, token string, exists error) error {
	if !r.b.Capabilities().Token {
		return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("an attempt got no answer, and this bucket keeps no tokens"))
	}
	o, err := r.Head(ctx, key)
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("%w (%s)", cerr, err.Error()))
		}
		return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("an attempt got no answer, and the token cannot be read (%s)", err.Error()))
	}
	if o.Token == token {
		return nil
	}
	return exists
}

func (r *retrier) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	const verb = "put if match"
	err, lost := r.conditional(ctx, verb, key, func() error { return r.b.PutIfMatch(ctx, key, body, tag) })
	if err == nil || !lost || errors.Is(err, ErrUnknownOutcome) {
		return err
	}
	return r.fail(verb, key, ErrUnknownOutcome, fmt.Errorf("an attempt got no answer, then: %s", err.Error()))
}

func (r *retrier) Put(ctx context.Context, key string, body []byte) error {
	return r.do(ctx, func() error { return r.b.Put(ctx, key, body) })
}

func (r *retrier) Get(ctx context.Context, key string) (body []byte, err error) {
	err = r.do(ctx, func() error { body, err = r.b.Get(ctx, key); return err })
	return body, err
}

func (r *retrier) GetRange(ctx context.Context, key string, offset, length int64) (body []byte, err error) {
	err = r.do(ctx, func() error { body, err = r.b.GetRange(ctx, key, offset, length); return err })
	return body, err
}

func (r *retrier) Head(ctx context.Context, key string) (o Object, err error) {
	err = r.do(ctx, func() error { o, err = r.b.Head(ctx, key); return err })
	return o, err
}

// List goes on behind the last object that it yielded.
func (r *retrier) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		last, stopped, attempt := after, false, 0
		for {
			var failed error
			for o, err := range r.b.List(ctx, prefix, last) {
				if failed = err; err != nil {
					break
				}
				last, attempt = o.Key, 0
				if stopped = !yield(o, nil); stopped {
					return
				}
			}
			attempt++
			switch {
			case failed == nil:
				return
			case !errors.Is(failed, ErrUnavailable):
			case attempt == r.opts.Attempts:
				failed = fmt.Errorf("gave up after %d attempts: %w", attempt, failed)
			default:
				werr := r.policy().Wait(ctx, attempt)
				if werr == nil {
					continue
				}
				failed = fmt.Errorf("%w while the bucket was unavailable (%s)", werr, failed.Error())
			}
			yield(Object{}, failed)
			return
		}
	}
}

func (r *retrier) Delete(ctx context.Context, key string) error {
	return r.do(ctx, func() error { return r.b.Delete(ctx, key) })
}

func (r *retrier) Capabilities() Capabilities { return r.b.Capabilities() }

func (r *retrier) Close() error { return r.b.Close() }
