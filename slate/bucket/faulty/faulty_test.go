package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/buckettest"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	buckettest.Run(t, func(*testing.T) bucket.Bucket { return faulty.New(bucket.NewInMemBucket(), faulty.Options{}) })
}

// TestWhichRequests: verbs, patterns, Skip and Times choose what a rule befalls.
func TestWhichRequests(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		rule faulty.Rule
		want string // which of the eight requests below fail
	}{
		{faulty.Rule{}, "11111111"},
		{faulty.Rule{Verbs: []faulty.Verb{faulty.Put}}, "11110000"},
		{faulty.Rule{Keys: "db/wal/*"}, "11001100"},
		{faulty.Rule{Keys: "*/wal/*2"}, "01000100"},
		{faulty.Rule{Keys: "db/*/1"}, "10101010"},
		{faulty.Rule{Keys: "db/wal/1"}, "10001000"},
		{faulty.Rule{Keys: "wal"}, "00000000"},
		{faulty.Rule{Keys: "*1*1"}, "00000000"},
		{faulty.Rule{Skip: 3, Times: 2}, "00011000"},
		{faulty.Rule{When: func(q faulty.Request) bool { return q.Key == "db/wal/2" }}, "01000100"},
		{faulty.Rule{Keys: "db/wal/*", When: func(q faulty.Request) bool { return q.Verb == faulty.Head }, Skip: 1}, "00000100"},
		{faulty.Rule{Verbs: []faulty.Verb{faulty.Head}, Skip: 1, Times: 1}, "00000100"},
	} {
		f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		tt.rule.Err = broken
		remove := f.Add(tt.rule)
		got := ""
		note := func(err error) { got += map[bool]string{true: "1", false: "0"}[errors.Is(err, broken)] }
		keys := []string{"db/wal/1", "db/wal/2", "db/compacted/1", "db/compacted/2"}
		for _, k := range keys {
			note(f.Put(t.Context(), k, nil))
		}
		for _, k := range keys {
			_, err := f.Head(t.Context(), k)
			note(err)
		}
		if got != tt.want {
			t.Errorf("%+v befell %s, want %s", tt.rule, got, tt.want)
		}
		remove()
		if err := f.Put(t.Context(), "db/wal/1", nil); err != nil {
			t.Errorf("after removal: %v", err)
		}
	}
}

func TestDelayAndHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
		f.Add(faulty.Rule{Delay: 150 * time.Millisecond})
		var seen []string
		f.Add(faulty.Rule{
			Before: func(_ context.Context, q faulty.Request) error {
				seen = append(seen, fmt.Sprintf("%s %s %d", q.Verb, q.Key, len(q.Body)))
				return nil
			},
			After: func(_ context.Context, _ faulty.Request, err error) error {
				return errors.Join(err, errors.New("after"))
			},
		})
		start := time.Now()
		if err := f.Put(t.Context(), "k", []byte("abc")); err == nil || err.Error() != "after" {
			t.Errorf("put: %v", err)
		}
		if d := time.Since(start); d != 150*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if fmt.Sprint(seen) != "[Put k 3]" {
			t.Errorf("the hook saw %q", seen)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := f.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
	})
}

func TestStats(t *testing.T) {
	f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	ctx := t.Context()
	for i := range 2500 {
		if err := f.Put(ctx, fmt.Sprintf("k%04d", i), []byte("12")); err != nil {
			t.Fatal(err)
		}
	}
	before := f.Stats()
	_, _ = f.Get(ctx, "k0001")
	_, _ = f.GetRange(ctx, "k0001", 1, 1)
	_, _ = f.Get(ctx, "none")
	for range f.List(ctx, "", "") {
		continue
	}
	got := f.Stats().Since(before)
	want := faulty.Stats{
		faulty.Get:      {Requests: 2, Errors: 1, Received: 2},
		faulty.GetRange: {Requests: 1, Received: 1},
		faulty.List:     {Requests: 3},
	}
	if fmt.Sprint(got.Total(), map[faulty.Verb]faulty.Count(got)) != fmt.Sprint(want.Total(), map[faulty.Verb]faulty.Count(want)) {
		t.Errorf("counted %+v", map[faulty.Verb]faulty.Count(got))
	}
	if c := f.Stats().Total(faulty.Writes...); c != (faulty.Count{Requests: 2500, Sent: 5000}) {
		t.Errorf("writes: %+v", c)
	}
	if f.ResetStats(); f.Stats().Total() != (faulty.Count{}) {
		t.Error("reset left something")
	}
}
