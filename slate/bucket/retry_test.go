package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// retried returns a memory bucket with faults below a retrying one.
func retried(attempts int) (*faulty.Bucket, bucket.Bucket) {
	f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	return f, bucket.WithRetry(f, bucket.RetryOptions{
		Attempts: attempts, FirstWait: 100 * time.Millisecond, MaxWait: time.Second, Rand: rand.NewChaCha8([32]byte{1}),
	})
}

var absent = []faulty.Verb{faulty.PutIfAbsent}

func TestRetryPutIfAbsent(t *testing.T) {
	down := fmt.Errorf("down: %w", bucket.ErrUnavailable)
	denied := fmt.Errorf("no: %w", bucket.ErrDenied)
	for _, tt := range []struct {
		name   string
		rules  []faulty.Rule
		before bool // another's object stands there already
		want   error
		sent   int64
		ours   bool // the object is there and this call's
	}{
		{"answered at once", nil, false, nil, 1, true},
		{"conflict at once", nil, true, bucket.ErrExists, 1, false},
		{"not sent twice, then done", []faulty.Rule{{Verbs: absent, Times: 2, Err: down}}, false, nil, 3, true},
		{"reply lost, ours", []faulty.Rule{{Verbs: absent, Times: 1, Lose: true}}, false, nil, 2, true},
		{"all but the last reply lost, ours", []faulty.Rule{{Verbs: absent, Times: 3, Lose: true}}, false, nil, 4, true},
		{"reply lost, another's", []faulty.Rule{{Verbs: absent, Times: 1, Lose: true}}, true, bucket.ErrExists, 2, false},
		{"every reply lost", []faulty.Rule{{Verbs: absent, Lose: true}}, false, bucket.ErrUnknownOutcome, 4, true},
		{"never sent", []faulty.Rule{{Verbs: absent, Err: down}}, false, bucket.ErrUnknownOutcome, 4, false},
		{"duplicated", []faulty.Rule{{Verbs: absent, Duplicate: true}}, false, nil, 1, true},
		{"duplicated and lost", []faulty.Rule{{Verbs: absent, Times: 1, Duplicate: true, Lose: true}}, false, nil, 2, true},
		{"denied", []faulty.Rule{{Verbs: absent, Err: denied}}, false, bucket.ErrDenied, 1, false},
		{"lost, then denied", []faulty.Rule{{Verbs: absent, Times: 1, Lose: true}, {Verbs: absent, Skip: 1, Err: denied}}, false, bucket.ErrUnknownOutcome, 2, true},
		{"lost, and head denied", []faulty.Rule{{Verbs: absent, Times: 1, Lose: true}, {Verbs: []faulty.Verb{faulty.Head}, Err: denied}}, false, bucket.ErrUnknownOutcome, 2, true},
		{"lost, and head down for a while", []faulty.Rule{{Verbs: absent, Times: 1, Lose: true}, {Verbs: []faulty.Verb{faulty.Head}, Times: 2, Err: down}}, false, nil, 2, true},
		{"an error of no kind", []faulty.Rule{{Verbs: absent, Times: 1, Err: errors.New("strange")}}, false, bucket.ErrUnknownOutcome, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := retried(4)
				if tt.before {
					if err := b.PutIfAbsent(t.Context(), "k", []byte("x"), "another's"); err != nil {
						t.Fatal(err)
					}
					f.ResetStats()
				}
				for _, r := range tt.rules {
					f.Add(r)
				}
				err := b.PutIfAbsent(t.Context(), "k", []byte("x"), "")
				if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if errors.Is(err, bucket.ErrUnknownOutcome) && errors.Is(err, bucket.ErrUnavailable) {
					t.Errorf("%v matches ErrUnavailable: the caller would send it again", err)
				}
				if n := f.Stats()[faulty.PutIfAbsent].Requests; n != tt.sent {
					t.Errorf("sent %d times, want %d", n, tt.sent)
				}
				f.Clear()
				o, herr := f.Head(t.Context(), "k")
				if ours := herr == nil && o.Token != "another's"; ours != tt.ours {
					t.Errorf("object is ours: %v, want %v", ours, tt.ours)
				}
			})
		})
	}
}

// TestRetryCancelled: a context that ends never turns an unknown outcome into
// a known one.
func TestRetryCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := retried(10)
		f.Add(faulty.Rule{Verbs: absent, Lose: true})
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		err := b.PutIfAbsent(ctx, "k", nil, "")
		if !errors.Is(err, bucket.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended while waiting: %v", err)
		}
		f.Clear()
		err = b.PutIfAbsent(ctx, "other", nil, "")
		if errors.Is(err, bucket.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended before the first attempt: %v", err)
		}
		f.Add(faulty.Rule{Delay: time.Hour})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err = b.PutIfAbsent(ctx, "k2", nil, ""); !errors.Is(err, bucket.ErrUnknownOutcome) {
			t.Errorf("ended on its way: %v", err)
		}
		if _, err = b.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
	})
}

// noTokens is a bucket that keeps none.
type noTokens struct{ bucket.Bucket }

func (b noTokens) Capabilities() bucket.Capabilities {
	c := b.Bucket.Capabilities()
	c.Token = false
	return c
}

func TestRetryWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faulty.New(noTokens{bucket.NewInMemBucket()}, faulty.Options{})
		b := bucket.WithRetry(f, bucket.RetryOptions{})
		f.Add(faulty.Rule{Verbs: absent, Times: 1, Lose: true})
		if err := b.PutIfAbsent(t.Context(), "k", nil, ""); !errors.Is(err, bucket.ErrUnknownOutcome) {
			t.Errorf("a lost reply without tokens: %v", err)
		}
		if err := b.PutIfAbsent(t.Context(), "k", nil, ""); !errors.Is(err, bucket.ErrExists) {
			t.Errorf("an answered conflict: %v", err)
		}
	})
}

func TestRetryPutIfMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := retried(3)
		ctx := t.Context()
		if err := b.Put(ctx, "k", nil); err != nil {
			t.Fatal(err)
		}
		o, err := b.Head(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfMatch}, Times: 1, Lose: true})
		if err := b.PutIfMatch(ctx, "k", []byte("1"), o.Tag); !errors.Is(err, bucket.ErrUnknownOutcome) {
			t.Errorf("after a lost reply: %v", err)
		}
		if err := b.PutIfMatch(ctx, "k", []byte("1"), o.Tag); !errors.Is(err, bucket.ErrChanged) {
			t.Errorf("answered: %v", err)
		}
	})
}

// TestRetryLateArrival: a put that the network delivers after all, when its
// caller has long been told of its success, changes nothing.
func TestRetryLateArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := retried(3)
		f.Add(faulty.Rule{Verbs: absent, Times: 1, Hold: true})
		if err := b.PutIfAbsent(t.Context(), "k", []byte("x"), ""); err != nil {
			t.Fatal(err)
		}
		if n, err := f.Release(t.Context()); n != 1 || !errors.Is(err, bucket.ErrExists) {
			t.Errorf("released %d: %v", n, err)
		}
	})
}

func TestRetryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := retried(7)
		var at []time.Time
		f.Add(faulty.Rule{Before: func(context.Context, faulty.Request) error {
			at = append(at, time.Now())
			return bucket.ErrUnavailable
		}})
		if _, err := b.Get(t.Context(), "k"); !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "7 attempts") {
			t.Errorf("get: %v", err)
		}
		for i, bound := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			bound *= time.Millisecond
			if d := at[i+1].Sub(at[i]); d < bound/2 || d > bound {
				t.Errorf("wait %d is %v, not between %v and %v", i+1, d, bound/2, bound)
			}
		}
	})
}

// flakyList is a bucket whose listings break off after so many objects.
type flakyList struct {
	bucket.Bucket
	every int
}

func (b flakyList) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		n := 0
		for o, err := range b.Bucket.List(ctx, prefix, after) {
			if n++; n > b.every {
				yield(bucket.Object{}, bucket.ErrUnavailable)
				return
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func TestRetryList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bucket.NewInMemBucket()
		var want []string
		for i := range 25 {
			want = append(want, fmt.Sprintf("k%02d", i))
			if err := mem.Put(t.Context(), want[i], nil); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for o, err := range bucket.WithRetry(flakyList{mem, 4}, bucket.RetryOptions{Attempts: 2}).List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q", got)
		}
		errs := 0
		for _, err := range bucket.WithRetry(flakyList{mem, 0}, bucket.RetryOptions{Attempts: 2}).List(t.Context(), "", "") {
			if errs++; !errors.Is(err, bucket.ErrUnavailable) {
				t.Error(err)
			}
		}
		if errs != 1 {
			t.Errorf("%d errors", errs)
		}
	})
}

// TestRetryNeverLies: whatever is lost, delayed or duplicated, a caller that is
// told of success owns the object and one that is told of a conflict does not.
func TestRetryNeverLies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mem := bucket.NewInMemBucket()
		owners := 0
		for caller := range rapid.IntRange(1, 4).Draw(rt, "callers") {
			f := faulty.New(mem, faulty.Options{})
			for range rapid.IntRange(0, 5).Draw(rt, "faults") {
				f.Add(faulty.Rule{
					Verbs: []faulty.Verb{rapid.SampledFrom([]faulty.Verb{faulty.PutIfAbsent, faulty.Head}).Draw(rt, "verb")},
					Skip:  rapid.IntRange(0, 3).Draw(rt, "skip"), Times: 1,
					Lose: rapid.Bool().Draw(rt, "lose"), Duplicate: rapid.Bool().Draw(rt, "duplicate"), Hold: rapid.Bool().Draw(rt, "hold"),
				})
			}
			token := fmt.Sprintf("caller-%d", caller)
			err := bucket.WithRetry(f, bucket.RetryOptions{Attempts: 4, FirstWait: 1, MaxWait: 1}).PutIfAbsent(t.Context(), "k", []byte("x"), token)
			if rapid.Bool().Draw(rt, "late") {
				_, _ = f.Release(t.Context()) // ErrExists mostly
			}
			o, herr := mem.Head(t.Context(), "k")
			ours := herr == nil && o.Token == token
			switch {
			case err == nil && !ours:
				rt.Fatalf("%s was told of success, the object is of %q", token, o.Token)
			case errors.Is(err, bucket.ErrExists) && ours:
				rt.Fatalf("%s was told of a conflict with itself", token)
			case err == nil:
				owners++
			}
		}
		if owners > 1 {
			rt.Fatalf("%d owners", owners)
		}
	})
}
