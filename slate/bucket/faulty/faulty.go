package faulty

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
)

// Options configures New. The zero value is the default.
type Options struct {
	// Clock waits for Rule.Delay. Default: the machine's.
	Clock clock.Clock
}

// Bucket is a bucket with faults. Its methods may be called concurrently;
// rules may be changed while requests are under way.
type Bucket struct {
	b     bucket.Bucket
	clock clock.Clock

	mu     sync.Mutex
	rules  []*active
	lastID int
	stats  Stats
	held   []func(context.Context) error
}

// New wraps b. Closing the wrapper closes b.
func New(b bucket.Bucket, opts Options) *Bucket {
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	return &Bucket{b: b, clock: opts.Clock, stats: Stats{}}
}

// Add puts a rule in force until the returned function is called.
func (f *Bucket) Add(r Rule) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastID++
	id := f.lastID
	f.rules = append(f.rules, &active{Rule: r, id: id})
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rules = slices.DeleteFunc(f.rules, func(a *active) bool { return a.id == id })
	}
}

// Clear removes all rules. Held requests stay held.
func (f *Bucket) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Release sends the requests that rules with Hold kept back, in their order,
// and returns how many those were and their errors.
func (f *Bucket) Release(ctx context.Context) (int, error) {
	f.mu.Lock()
	held := f.held
	f.held = nil
	f.mu.Unlock()
	var errs []error
	for _, send := range held {
		errs = append(errs, send(ctx))
	}
	return len(held), errors.Join(errs...)
}

// Stats returns what has been asked since New or ResetStats.
func (f *Bucket) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.stats)
}

// ResetStats sets all counts to zero.
func (f *Bucket) ResetStats() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats = Stats{}
}

func (f *Bucket) count(v Verb, c Count) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats[v] = f.stats[v].plus(c)
}

// effect is what the rules make of one request.
type effect struct {
	before    []func(context.Context, Request) error
	delay     time.Duration
	err       error
	hold      bool
	duplicate bool
	lose      bool
	after     []func(context.Context, Request, error) error
}

// effectOf asks every rule about a request.
func (f *Bucket) effectOf(q Request) effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	var e effect
	for _, r := range f.rules {
		if !r.takes(q) {
			continue
		}
		if r.Before != nil {
			e.before = append(e.before, r.Before)
		}
		if r.After != nil {
			e.after = append(e.after, r.After)
		}
		if e.err == nil {
			e.err = r.Err
		}
		e.delay += r.Delay
		e.hold = e.hold || r.Hold
		e.duplicate = e.duplicate || r.Duplicate
		e.lose = e.lose || r.Lose
	}
	return e
}

// unanswered is the error of a request whose reply does not come.
func (f *Bucket) unanswered(q Request, why string) error {
	return &bucket.Error{Bucket: f.b.Capabilities().Name, Verb: string(q.Verb), Key: q.Key, Kind: bucket.ErrUnavailable, Err: errors.New(why)}
}

// ahead does what the rules want before a request is sent.
func (f *Bucket) ahead(ctx context.Context, q Request, e effect) error {
	for _, hook := range e.before {
		if err := hook(ctx, q); err != nil {
			return err
		}
	}
	if e.delay > 0 {
		if err := clock.Sleep(ctx, f.clock, e.delay); err != nil {
			return &bucket.Error{Bucket: f.b.Capabilities().Name, Verb: string(q.Verb), Key: q.Key, Err: err}
		}
	}
	return e.err
}

// run carries out a request under the rules. send may be called twice, and
// after run has returned; its body must then be its own.
func (f *Bucket) run(ctx context.Context, q Request, send func(context.Context, Request) error) (err error) {
	defer func() {
		c := Count{Requests: 1, Sent: int64(len(q.Body))}
		if err != nil {
			c.Errors = 1
		}
		f.count(q.Verb, c)
	}()
	e := f.effectOf(q)
	if err := f.ahead(ctx, q, e); err != nil {
		return err
	}
	write := slices.Contains(Writes, q.Verb)
	if e.hold {
		if write {
			late := q
			late.Body = slices.Clone(q.Body)
			f.mu.Lock()
			f.held = append(f.held, func(ctx context.Context) error { return send(ctx, late) })
			f.mu.Unlock()
		}
		return f.unanswered(q, "request held back")
	}
	err = send(ctx, q)
	if e.duplicate && write {
		_ = send(ctx, q) // its reply goes nowhere
	}
	if e.lose {
		err = f.unanswered(q, "reply lost")
	}
	for _, hook := range e.after {
		err = hook(ctx, q, err)
	}
	return err
}

// PutIfAbsent is bucket.Bucket's, under the rules.
func (f *Bucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	return f.run(ctx, Request{PutIfAbsent, key, body}, func(ctx context.Context, q Request) error {
		return f.b.PutIfAbsent(ctx, key, q.Body, token)
	})
}

// PutIfMatch is bucket.Bucket's, under the rules.
func (f *Bucket) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	return f.run(ctx, Request{PutIfMatch, key, body}, func(ctx context.Context, q Request) error {
		return f.b.PutIfMatch(ctx, key, q.Body, tag)
	})
}

// Put is bucket.Bucket's, under the rules.
func (f *Bucket) Put(ctx context.Context, key string, body []byte) error {
	return f.run(ctx, Request{Put, key, body}, func(ctx context.Context, q Request) error {
		return f.b.Put(ctx, key, q.Body)
	})
}

// Get is bucket.Bucket's, under the rules.
func (f *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	return f.read(ctx, Request{Verb: Get, Key: key}, func(ctx context.Context) ([]byte, error) {
		return f.b.Get(ctx, key)
	})
}

// GetRange is bucket.Bucket's, under the rules.
func (f *Bucket) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	return f.read(ctx, Request{Verb: GetRange, Key: key}, func(ctx context.Context) ([]byte, error) {
		return f.b.GetRange(ctx, key, offset, length)
	})
}

// read runs a request that returns bytes.
func (f *Bucket) read(ctx context.Context, q Request, get func(context.Context) ([]byte, error)) (body []byte, err error) {
	err = f.run(ctx, q, func(ctx context.Context, _ Request) (err error) {
		body, err = get(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.count(q.Verb, Count{Received: int64(len(body))})
	return body, nil
}

// Head is bucket.Bucket's, under the rules.
func (f *Bucket) Head(ctx context.Context, key string) (o bucket.Object, err error) {
	err = f.run(ctx, Request{Verb: Head, Key: key}, func(ctx context.Context, _ Request) (err error) {
		o, err = f.b.Head(ctx, key)
		return err
	})
	if err != nil {
		return bucket.Object{}, err
	}
	return o, nil
}

// listPage is how many objects one request of a listing brings.
const listPage = 1000

// List is bucket.Bucket's, under the rules, which see a request for every 1000
// objects.
func (f *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	q := Request{Verb: List, Key: prefix}
	next := func() error { return f.run(ctx, q, func(context.Context, Request) error { return nil }) }
	return func(yield func(bucket.Object, error) bool) {
		n := 0
		if err := next(); err != nil {
			yield(bucket.Object{}, err)
			return
		}
		for o, err := range f.b.List(ctx, prefix, after) {
			if n == listPage {
				n = 0
				if err := next(); err != nil {
					yield(bucket.Object{}, err)
					return
				}
			}
			n++
			if err != nil {
				f.count(List, Count{Errors: 1})
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// Delete is bucket.Bucket's, under the rules.
func (f *Bucket) Delete(ctx context.Context, key string) error {
	return f.run(ctx, Request{Verb: Delete, Key: key}, func(ctx context.Context, _ Request) error {
		return f.b.Delete(ctx, key)
	})
}

// Capabilities is that of the bucket beneath.
func (f *Bucket) Capabilities() bucket.Capabilities { return f.b.Capabilities() }

// Close closes the bucket beneath.
func (f *Bucket) Close() error { return f.b.Close() }
