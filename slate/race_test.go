package slate_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// A flush waits for the compactor to make room in L0 when that learns that
// another has taken over, and with it another writer: the flush ends fenced, and
// does not wait for ever.
func TestFlushThatWaitsForADeposedCompactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := bucket.NewInMemBucket()
		b := faulty.New(inner, faulty.Options{})
		first := open(t, b, slate.Options{CompactL0: 2, MaxL0: 2})
		gate := make(chan struct{})
		b.Add(faulty.Rule{Verbs: faulty.Writes, Keys: "*/compactions/*", Skip: 2, Times: 1,
			Before: func(context.Context, faulty.Request) error { <-gate; return nil }})
		for _, k := range []string{"a", "b"} {
			put(t, first, k, "v")
			if err := first.FlushMemtable(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		put(t, first, "c", "v")
		flushed := make(chan error)
		go func() { flushed <- first.FlushMemtable(t.Context()) }()
		synctest.Wait() // the compaction stands at the gate, the flush before a full L0

		second := open(t, inner, slate.Options{})
		if err := second.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if err := <-flushed; !errors.Is(err, slate.ErrFenced) {
			t.Errorf("flush: %v, want fenced", err)
		}
		_ = first.Close()
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
