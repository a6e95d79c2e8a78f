package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stele-db/stele/kv"
)

var isolations = map[string]kv.Isolation{"serializable": kv.Serializable, "snapshot isolation": kv.SnapshotIsolation}

// do runs verbs in a transaction, besides the writes of apply: "get k",
// "mark k", "scan from to" and "reverse from to"; "first from" is a scan that
// is left after one pair.
func do(t fataler, tx kv.Tx, verbs ...string) {
	t.Helper()
	ctx := context.Background()
	for _, verb := range verbs {
		f := strings.Fields(verb)
		switch f[0] {
		case "get":
			if _, err := tx.Get(ctx, []byte(f[1])); err != nil && !errors.Is(err, kv.ErrNotFound) {
				t.Fatalf("%s: %v", verb, err)
			}
		case "mark":
			noError(t, verb, tx.MarkRead([]byte(f[1])))
		case "scan", "reverse":
			_, err := collect(tx.Scan(ctx, kv.Range{Lower: []byte(f[1]), Upper: []byte(f[2]), Reverse: f[0] == "reverse"}))
			noError(t, verb, err)
		case "first":
			for _, err := range tx.Scan(ctx, kv.Range{Lower: []byte(f[1])}) {
				noError(t, verb, err)
				break
			}
		default:
			apply(t, tx, verb)
		}
	}
}

func wantConflict(t *testing.T, what string, err error, key string) {
	t.Helper()
	c, ok := errors.AsType[*kv.ConflictError](err)
	if !ok || !errors.Is(err, kv.ErrConflict) || string(c.Key) != key {
		t.Errorf("%s: %v; want a ConflictError over %q", what, err, key)
	}
}

// testConflicts lets another transaction commit between the steps of one and its
// commit. What counts as missed depends on the isolation.
func testConflicts(t *testing.T, s kv.Store) {
	ctx := t.Context()
	for _, c := range []struct {
		name                   string
		mine, theirs           []string
		serializable, snapshot string // the key; "": it commits
	}{
		{"apart", []string{"get a", "a=1"}, []string{"b=2"}, "", ""},
		{"write and write", []string{"a=1"}, []string{"a=2"}, "a", "a"},
		{"write and delete", []string{"a=1"}, []string{"a"}, "a", "a"},
		{"delete and write", []string{"a"}, []string{"a=2"}, "a", "a"},
		{"delete of nothing, twice", []string{"nothing"}, []string{"nothing"}, "nothing", "nothing"},
		{"read and write", []string{"get a", "z=1"}, []string{"a=2"}, "a", ""},
		{"read of nothing", []string{"get nothing", "z=1"}, []string{"nothing=2"}, "nothing", ""},
		{"marked", []string{"mark a", "z=1"}, []string{"a=2"}, "a", "a"},
		{"marked nothing", []string{"mark nothing", "z=1"}, []string{"nothing=2"}, "nothing", "nothing"},
		{"phantom", []string{"scan d f", "z=1"}, []string{"e=2"}, "e", ""},
		{"phantom in reverse", []string{"reverse d f", "z=1"}, []string{"e=2"}, "e", ""},
		{"deleted in a range", []string{"scan a f", "z=1"}, []string{"c"}, "c", ""},
		{"changed in a range", []string{"scan a f", "z=1"}, []string{"c=2"}, "c", ""},
		{"behind a range", []string{"scan a c", "z=1"}, []string{"c=2"}, "", ""},
		{"before a range", []string{"scan b d", "z=1"}, []string{"a=2"}, "", ""},
		{"before where a scan was left", []string{"first aa", "z=1"}, []string{"ab=2"}, "ab", ""},
		{"where a scan was left", []string{"first aa", "z=1"}, []string{"b=2"}, "b", ""},
		{"reads alone", []string{"get a", "scan a z", "mark b"}, []string{"a=2", "b=2"}, "", ""},
	} {
		for level, isolation := range isolations {
			what := c.name + ", " + level
			write(t, s, "a=0", "b=0", "c=0", "ab", "e", "nothing", "z")
			tx := must(s.Begin(ctx, kv.TxOptions{Isolation: isolation}))(t)
			do(t, tx, c.mine...)
			write(t, s, c.theirs...)
			after := must(collect(s.Scan(ctx, kv.Range{})))(t)
			err := tx.Commit(ctx)
			want := c.serializable
			if isolation == kv.SnapshotIsolation {
				want = c.snapshot
			}
			if want == "" {
				noError(t, what, err)
				continue
			}
			wantConflict(t, what, err, want)
			wantScan(t, what+": after the refusal", s, kv.Range{}, after)
		}
	}
	_, err := s.Begin(ctx, kv.TxOptions{Isolation: 9})
	wantError(t, "Begin with isolation 9", err, kv.ErrInvalid)
}

// testWriteSkew: two doctors are on call, and each may leave if the other stays.
func testWriteSkew(t *testing.T, s kv.Store) {
	ctx := t.Context()
	for level, isolation := range isolations {
		write(t, s, "alice=on call", "bob=on call")
		alice := must(s.Begin(ctx, kv.TxOptions{Isolation: isolation}))(t)
		bob := must(s.Begin(ctx, kv.TxOptions{Isolation: isolation}))(t)
		do(t, alice, "get bob", "alice")
		do(t, bob, "get alice", "bob")
		noError(t, level, alice.Commit(ctx))
		err := bob.Commit(ctx)
		if isolation == kv.Serializable {
			wantConflict(t, level, err, "alice")
			wantScan(t, level, s, kv.Range{}, "bob=on call")
		} else {
			noError(t, level, err)
			wantScan(t, level, s, kv.Range{}, "")
		}
	}
}

// testConflictWithWhom: what others left undone does not count, and what a
// transaction that began before did does.
func testConflictWithWhom(t *testing.T, s kv.Store) {
	ctx := t.Context()
	older := must(s.Begin(ctx, kv.TxOptions{}))(t)
	write(t, s, "a=0")
	tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
	do(t, tx, "get a", "get b", "get c", "z=1")
	undone := must(s.Begin(ctx, kv.TxOptions{}))(t)
	do(t, undone, "a=undone")
	undone.Rollback()
	refused := must(s.Begin(ctx, kv.TxOptions{}))(t)
	do(t, refused, "get x", "b=refused")
	write(t, s, "x=1")
	wantConflict(t, "refused", refused.Commit(ctx), "x")
	noError(t, "Commit beside what was undone", tx.Commit(ctx))

	tx = must(s.Begin(ctx, kv.TxOptions{}))(t)
	do(t, tx, "get c", "z=2")
	do(t, older, "c=older")
	noError(t, "Commit of the older", older.Commit(ctx))
	wantConflict(t, "beside the older", tx.Commit(ctx), "c")
	wantScan(t, "store", s, kv.Range{}, "a=0 c=older x=1 z=1")
}

// testCommitWithinScan: what a loop has seen of its scan counts when it commits.
func testCommitWithinScan(t *testing.T, s kv.Store) {
	ctx := t.Context()
	write(t, s, "a=1", "b=1")
	for _, reverse := range []bool{false, true} {
		tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
		do(t, tx, "z=1")
		n := 0
		for p, err := range tx.Scan(ctx, kv.Range{Upper: []byte("c"), Reverse: reverse}) {
			if n++; n == 1 {
				key := string(bytes.Clone(p.Key))
				noError(t, "Scan", err)
				write(t, s, key+"=2")
				wantConflict(t, "commit", tx.Commit(ctx), key)
			} else if !errors.Is(err, kv.ErrClosed) {
				t.Errorf("the scan of a transaction that has ended goes on with %q, %v", p.Key, err)
			}
		}
		if n != 2 {
			t.Errorf("%d steps, want a pair and an error", n)
		}
	}
}

// testManyReads reads so much that no store can be asked to remember all of it;
// what was read must count, and what lies beyond all of it must not.
func testManyReads(t *testing.T, s kv.Store) {
	ctx := t.Context()
	key := func(i int) string { return fmt.Sprintf("k%07d", i) }
	for _, theirs := range []string{"j", key(0), key(5000), key(19_998), "l"} {
		tx := must(s.Begin(ctx, kv.TxOptions{}))(t)
		for i := range 10_000 {
			if _, err := tx.Get(ctx, []byte(key(2*i))); !errors.Is(err, kv.ErrNotFound) {
				t.Fatal(err)
			}
		}
		do(t, tx, "z=1")
		write(t, s, theirs+"=1")
		if err := tx.Commit(ctx); theirs == "j" || theirs == "l" {
			noError(t, "Commit beside "+theirs, err)
		} else {
			wantConflict(t, "Commit", err, theirs)
		}
		write(t, s, theirs)
	}
}

// testRunAgain shows that a transaction that is run again after a conflict sees
// what it had missed.
func testRunAgain(t *testing.T, s kv.Store) {
	ctx := t.Context()
	write(t, s, "n=1")
	runs := 0
	err := update(ctx, s, func(tx kv.Tx) error {
		if runs++; runs <= 3 {
			defer write(t, s, fmt.Sprintf("n=%d", 10*runs))
		}
		return add(ctx, tx, []byte("n"), 1)
	})
	noError(t, "update", err)
	wantGet(t, "store", s, "n", "31")
	if runs != 4 {
		t.Errorf("%d runs, want 4", runs)
	}
}
