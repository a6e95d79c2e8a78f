package kvtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stele-db/stele/kv"
)

// Run tests the stores that open returns: each call opens a new and empty one,
// which the suite closes. Every test also checks that closing the store leaves
// no goroutine behind, so tests must not run in parallel with others.
func Run(t *testing.T, open func(t *testing.T) kv.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s kv.Store)
	}{
		{"get and put", testGetPut},
		{"keys and values", testKeysAndValues},
		{"scan", testScan},
		{"scan sees one view", testScanView},
		{"snapshot", testSnapshot},
		{"own writes", testOwnWrites},
		{"scan while writing", testScanWhileWriting},
		{"rollback", testRollback},
		{"ended transaction", testEndedTx},
		{"volatile", testVolatile},
		{"context", testContext},
		{"closed", testClosed},
		{"atomic", testAtomic},
		{"conflicts", testConflicts},
		{"write skew", testWriteSkew},
		{"conflict with whom", testConflictWithWhom},
		{"commit within a scan", testCommitWithinScan},
		{"many reads", testManyReads},
		{"run again", testRunAgain},
		{"serializable", testSerializable},
	} {
		t.Run(c.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			s := open(t)
			c.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			goleak.VerifyNone(t, ignore)
		})
	}
	t.Run("model", func(t *testing.T) {
		ignore := goleak.IgnoreCurrent()
		testModel(t, open)
		goleak.VerifyNone(t, ignore)
	})
}

// RunReadOnly tests stores that were opened for reading. Each call of open
// returns one that holds exactly the given pairs, which the suite closes.
func RunReadOnly(t *testing.T, open func(t *testing.T, pairs map[string]string) kv.Store) {
	ignore := goleak.IgnoreCurrent()
	ctx := t.Context()
	s := open(t, map[string]string{"a": "1", "b": "2"})
	if tx, err := s.Begin(ctx, kv.TxOptions{}); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("Begin = %v, %v; want ErrReadOnly", tx, err)
	}
	if err := s.Flush(ctx); err != nil {
		t.Errorf("Flush: %v", err)
	}
	sn := must(s.Snapshot(ctx))(t)
	for name, r := range map[string]kv.Reader{"store": s, "snapshot": sn} {
		wantGet(t, name, r, "a", "1")
		wantMissing(t, name, r, "c")
		wantScan(t, name, r, kv.Range{}, "a=1 b=2")
		wantScan(t, name, r, kv.Range{Reverse: true}, "b=2 a=1")
	}
	sn.Close()
	testClosed(t, s)
	empty := open(t, nil)
	wantMissing(t, "empty store", empty, "a")
	wantScan(t, "empty store", empty, kv.Range{}, "")
	if err := empty.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	goleak.VerifyNone(t, ignore)
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// must(f())(t) is the value that f returned, or the test's end.
func must[T any](v T, err error) func(t fataler) T {
	return func(t fataler) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noError(t fataler, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want %v", what, err, want)
	}
}

// write commits one transaction: "key=value" puts, "key" deletes.
func write(t fataler, s kv.Store, ops ...string) {
	t.Helper()
	ctx := context.Background()
	tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
	defer tx.Rollback()
	apply(t, tx, ops...)
	noError(t, "Commit", tx.Commit(ctx))
}

func apply(t fataler, tx kv.Tx, ops ...string) {
	t.Helper()
	for _, op := range ops {
		key, value, isPut := strings.Cut(op, "=")
		if isPut {
			noError(t, "Put", tx.Put([]byte(key), []byte(value)))
		} else {
			noError(t, "Delete", tx.Delete([]byte(key)))
		}
	}
}

func wantGet(t fataler, what string, r kv.Reader, key, want string) {
	t.Helper()
	got, err := r.Get(context.Background(), []byte(key))
	if err != nil || string(got) != want {
		t.Fatalf("%s: Get(%q) = %q, %v; want %q", what, key, got, err, want)
	}
}

func wantMissing(t fataler, what string, r kv.Reader, key string) {
	t.Helper()
	if got, err := r.Get(context.Background(), []byte(key)); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("%s: Get(%q) = %q, %v; want ErrNotFound", what, key, got, err)
	}
}

// wantScan compares a scan with "key=value key=value".
func wantScan(t fataler, what string, r kv.Reader, rg kv.Range, want string) {
	t.Helper()
	got, err := collect(r.Scan(context.Background(), rg))
	if err != nil || got != want {
		t.Fatalf("%s: Scan(%s) = %q, %v; want %q", what, show(rg), got, err, want)
	}
}

// collect returns the pairs of a scan as "key=value key=value", and its error,
// after which nothing may follow.
func collect(seq iter.Seq2[kv.Pair, error]) (string, error) {
	var out []string
	var failed error
	for p, err := range seq {
		switch {
		case failed != nil:
			return "", fmt.Errorf("a scan went on after its error: %w", failed)
		case err != nil:
			failed = err
		default:
			out = append(out, string(p.Key)+"="+string(p.Value))
		}
	}
	return strings.Join(out, " "), failed
}

func show(r kv.Range) string {
	bound := func(b []byte) string {
		if b == nil {
			return "none"
		}
		return fmt.Sprintf("%q", b)
	}
	s := bound(r.Lower) + ".." + bound(r.Upper)
	if r.Reverse {
		s += " reverse"
	}
	return s
}

// readers are all ways to read a store, each with what ends it.
func readers(t *testing.T, s kv.Store) iter.Seq2[string, kv.Reader] {
	return func(yield func(string, kv.Reader) bool) {
		if !yield("store", s) {
			return
		}
		sn := must(s.Snapshot(t.Context()))(t)
		defer sn.Close()
		if !yield("snapshot", sn) {
			return
		}
		tx := must(s.Begin(t.Context(), kv.TxOptions{}))(t)
		defer tx.Rollback()
		yield("transaction", tx)
	}
}

// cut returns the pairs of "key=value key=value" that lie in r, in its order.
func cut(pairs string, r kv.Range) string {
	var out []string
	for _, p := range strings.Fields(pairs) {
		key, _, _ := strings.Cut(p, "=")
		if r.Contains([]byte(key)) && !r.Empty() {
			out = append(out, p)
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return strings.Join(out, " ")
}
