package slate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func begin(t testing.TB, db *slate.DB, level slate.Isolation) *slate.Tx {
	t.Helper()
	tx, err := db.Begin(slate.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// do runs verbs in a transaction: "get k", "scan a c", "reverse a c", "first a"
// (a scan from a that is left after one row), "put k v", "merge k v",
// "delete k", "mark k", "unmark k". It returns what the reads returned.
func do(t testing.TB, tx *slate.Tx, script string) string {
	t.Helper()
	ctx := context.Background()
	var out []string
	for verb := range strings.SplitSeq(script, "; ") {
		f := append(strings.Fields(verb), "", "")
		key, arg := []byte(f[1]), []byte(f[2])
		var err error
		switch f[0] {
		case "get":
			var v []byte
			if v, err = tx.Get(ctx, key); errors.Is(err, slate.ErrNotFound) {
				v, err = []byte("-"), nil
			}
			out = append(out, string(v))
		case "scan", "reverse", "first":
			r := slate.Range{Lower: key, Upper: arg, Reverse: f[0] == "reverse"}
			if f[0] == "first" {
				r.Upper = nil
			}
			for kv, scanErr := range tx.Scan(ctx, r) {
				if err = scanErr; err != nil {
					break
				}
				out = append(out, string(kv.Key)+"="+string(kv.Value))
				if f[0] == "first" {
					break
				}
			}
		case "put":
			err = tx.Put(key, arg)
		case "merge":
			err = tx.Merge(key, arg)
		case "delete":
			err = tx.Delete(key)
		case "mark":
			err = tx.MarkRead(key)
		case "unmark":
			err = tx.UnmarkWrite(key)
		default:
			t.Fatalf("no verb %q", verb)
		}
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	return strings.Join(out, " ")
}

// What one transaction does, what others commit meanwhile, and the key over
// which it must conflict under each isolation; none: it commits.
func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		name, mine, theirs             string
		serializable, snapshotIsolated string
	}{
		{"apart", "get a; put a 1", "put b 2", "", ""},
		{"write and write", "put a 1", "put a 2", "a", "a"},
		{"write and delete", "put a 1", "delete a", "a", "a"},
		{"write and merge", "put a 1", "merge a 2", "a", "a"},
		{"merge and merge", "merge a 1", "merge a 2", "a", "a"},
		{"merge and merge, unmarked", "merge a 1; unmark a", "merge a 2", "", ""},
		{"unmarked but read", "get a; put a 1; unmark a", "put a 2", "a", ""},
		{"unmarked, then written again", "put a 1; unmark a; put a 1", "put a 2", "a", "a"},
		{"read and write", "get a; put b 1", "put a 2", "a", ""},
		{"read of nothing", "get nothing; put b 1", "put nothing 2", "nothing", ""},
		{"read of an own write", "put a 1; get a", "put a 2", "a", "a"},
		{"marked", "mark a; put b 1", "put a 2", "a", "a"},
		{"phantom", "scan d f; put b 1", "put e 2", "e", ""},
		{"phantom in reverse", "reverse d f; put b 1", "put e 2", "e", ""},
		{"deleted in a range", "scan a f; put z 1", "delete c", "c", ""},
		{"beyond a range", "scan a c; put z 1", "put c 2; put g 3", "", ""},
		{"before a range", "scan b d; put z 1", "put a 2", "", ""},
		{"behind where a scan was left", "first a; put z 1", "put aa 2; put b 3", "", ""},
		{"where a scan was left", "first a; put z 1", "put a 2", "a", ""},
		{"before where a scan was left", "first aa; put z 1", "put ab 2", "ab", ""},
		{"many, the first counts", "get a; get c; put b 1", "put x 0; put c 2; put a 2", "a", ""},
		{"reads alone", "get a; scan a z", "put a 2; put b 3", "", ""},
		{"marks alone", "mark a", "put a 2", "", ""},
	} {
		for level, want := range map[slate.Isolation]string{slate.Serializable: c.serializable, slate.SnapshotIsolation: c.snapshotIsolated} {
			t.Run(fmt.Sprintf("%s/%d", c.name, level), func(t *testing.T) {
				db := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat})
				for _, k := range []string{"a", "b", "c"} {
					put(t, db, k, "0")
				}
				tx := begin(t, db, level)
				do(t, tx, c.mine)
				other := begin(t, db, slate.Serializable)
				do(t, other, c.theirs)
				theirs, err := other.Commit(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				h, err := tx.Commit(t.Context())
				if want == "" {
					if err != nil || h.Seq != 0 && h.Seq <= theirs.Seq {
						t.Fatalf("commit: seq %d, %v", h.Seq, err)
					}
					return
				}
				e, ok := errors.AsType[*slate.ConflictError](err)
				if !ok || !errors.Is(err, slate.ErrConflict) || string(e.Key) != want || e.Seq != theirs.Seq || e.Start != tx.Seq() || tx.Seq() != 3 {
					t.Fatalf("commit: %v; want a conflict over %q at seq %d", err, want, theirs.Seq)
				}
				if got := drain(t, db.Scan(t.Context(), slate.Range{Lower: []byte("z")})); len(got) > 0 {
					t.Errorf("a refused transaction left %q", got)
				}
			})
		}
	}
}

// A write outside of transactions counts, as do those of a transaction that
// began before and of one that began after; what was refused or rolled back
// does not.
func TestConflictsWithWhom(t *testing.T) {
	ctx := t.Context()
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	for _, c := range []struct {
		name  string
		write func()
		want  bool
	}{
		{"nobody", func() {}, false},
		{"a put", func() { put(t, db, "k", "v") }, true},
		{"a deletion of its range", func() { wipe(t, db, "a", "z", 1) }, true},
		{"a deletion of the empty range", func() { wipe(t, db, "a", "z", 0) }, false},
		{"rolled back", func() {
			other := begin(t, db, slate.Serializable)
			do(t, other, "put k v")
			other.Rollback()
		}, false},
	} {
		tx := begin(t, db, slate.Serializable)
		do(t, tx, "get k; put k mine")
		c.write()
		if _, err := tx.Commit(ctx); errors.Is(err, slate.ErrConflict) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	older, tx := begin(t, db, slate.Serializable), begin(t, db, slate.Serializable)
	do(t, tx, "put k tx")
	do(t, older, "put k older")
	if _, err := older.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx); !errors.Is(err, slate.ErrConflict) {
		t.Errorf("beside an older one: %v", err)
	}
	first, second := begin(t, db, slate.Serializable), begin(t, db, slate.Serializable)
	do(t, first, "put x 1; put refused 1")
	do(t, second, "put refused 2")
	put(t, db, "x", "0")
	if _, err := first.Commit(ctx); !errors.Is(err, slate.ErrConflict) {
		t.Fatal(err)
	}
	if _, err := second.Commit(ctx); err != nil {
		t.Errorf("beside one that was refused: %v", err)
	}
}

func wipe(t *testing.T, db *slate.DB, lower, upper string, keys int) {
	t.Helper()
	done, err := db.DeleteRange(t.Context(), slate.Range{Lower: []byte(lower), Upper: []byte(upper)}, slate.DeleteRangeOptions{})
	if err != nil || done.Keys != keys {
		t.Fatalf("deletion of %q to %q: %d keys, %v; want %d", lower, upper, done.Keys, err, keys)
	}
}

// Two doctors are on call, and each may leave if the other stays: write skew,
// which serializable transactions refuse.
func TestWriteSkew(t *testing.T) {
	for level, refused := range map[slate.Isolation]bool{slate.Serializable: true, slate.SnapshotIsolation: false} {
		db := open(t, bucket.NewInMemBucket(), slate.Options{})
		put(t, db, "alice", "on call")
		put(t, db, "bob", "on call")
		a, b := begin(t, db, level), begin(t, db, level)
		do(t, a, "scan a c; delete alice")
		do(t, b, "scan a c; delete bob")
		if _, err := a.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Commit(t.Context()); errors.Is(err, slate.ErrConflict) != refused {
			t.Errorf("isolation %d: the second commit: %v", level, err)
		}
	}
}

// A transaction reads its own writes on top of its state, merges folded, by get
// and by scan in both orders, wherever the rows below lie, and whatever others
// write meanwhile; a scan sees what was there when it began.
func TestTxReadsItsOwnWrites(t *testing.T) {
	for name, settle := range map[string]func(*slate.DB) error{
		"memtable": func(*slate.DB) error { return nil },
		"frozen":   func(db *slate.DB) error { return db.FlushMemtable(context.Background()) },
		"sorted":   func(db *slate.DB) error { return db.Compact(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { ownWrites(rt, settle) })
		})
	}
}

func ownWrites(t *rapid.T, settle func(*slate.DB) error) {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := slate.Open(ctx, "db", bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat, CompactL0: -1, MinFlushInterval: -1})
	must(err)
	defer func() { _ = db.Close() }()
	key := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 2, -1)
	value := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), 1, 2, -1)
	write := func(w interface {
		Put(key, value []byte) error
		Merge(key, operand []byte) error
		Delete(key []byte) error
	}, m model) {
		k, v := key.Draw(t, "key"), value.Draw(t, "value")
		switch rapid.IntRange(0, 3).Draw(t, "write") {
		case 0:
			must(w.Delete([]byte(k)))
			delete(m, k)
		case 1:
			must(w.Put([]byte(k), []byte(v)))
			m[k] = v
		default:
			must(w.Merge([]byte(k), []byte(v)))
			m[k] += v
		}
	}
	m := model{}
	for range rapid.IntRange(0, 10).Draw(t, "before") {
		write(direct{db}, m)
	}
	tx, err := db.Begin(slate.TxOptions{})
	must(err)
	defer tx.Rollback()
	theirs := maps.Clone(m)
	for range rapid.IntRange(0, 5).Draw(t, "meanwhile") {
		write(direct{db}, theirs)
	}
	must(settle(db))
	for range rapid.IntRange(0, 12).Draw(t, "own") {
		write(tx, m)
		if rapid.Bool().Draw(t, "read") {
			checkGet(t, tx, m, key.Draw(t, "key"))
			r := slate.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
			if rapid.Bool().Draw(t, "bounded") {
				r.Lower, r.Upper = []byte(key.Draw(t, "lower")), []byte(key.Draw(t, "upper"))
			}
			want := m.scan(r)
			var got []string
			for kv, err := range tx.Scan(ctx, r) {
				must(err)
				got = append(got, string(kv.Key)+"="+string(kv.Value))
				if len(got) < 3 {
					write(tx, m)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("scan %q..%q reverse %v\n got %v\nwant %v", r.Lower, r.Upper, r.Reverse, got, want)
			}
		}
	}
	r := slate.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
	if got, want := drain(t, tx.Scan(ctx, r)), m.scan(r); !slices.Equal(got, want) {
		t.Fatalf("at the end, reverse %v\n got %v\nwant %v", r.Reverse, got, want)
	}
	if got, want := drain(t, db.Scan(ctx, r)), theirs.scan(r); !slices.Equal(got, want) {
		t.Fatalf("others see %v, want %v", got, want)
	}
}

// direct writes to the database itself.
type direct struct{ db *slate.DB }

func (d direct) Put(key, value []byte) error { return d.db.Put(context.Background(), key, value) }
func (d direct) Delete(key []byte) error     { return d.db.Delete(context.Background(), key) }
func (d direct) Merge(key, operand []byte) error {
	return d.db.Merge(context.Background(), key, operand)
}

// Expiry counts from the commit; what a transaction reads of its own expires as
// everything does.
func TestTxExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, bucket.NewInMemBucket(), slate.Options{HideExpired: true, MergeOperator: slate.Concat})
		put(t, db, "m", "base")
		tx := begin(t, db, slate.Serializable)
		if err := tx.PutExpiring([]byte("k"), []byte("v"), slate.ExpireAfter(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := tx.MergeExpiring([]byte("m"), []byte("+"), slate.ExpireAt(time.Now().Add(1500*time.Millisecond))); err != nil {
			t.Fatal(err)
		}
		if got := do(t, tx, "get k; scan a z"); got != "v k=v m=base+" {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(time.Second)
		if got := do(t, tx, "get k; scan a z"); got != "- m=base+" {
			t.Errorf("a second later: %q", got)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []model{{"k": "v", "m": "base+"}, {"k": "v", "m": "base"}, {"m": "base"}} {
			everything(t, time.Now().String(), db, want)
			time.Sleep(500 * time.Millisecond)
		}
		mustClose(t, db)
	})
}

// What a transaction cannot take is refused when it is written, and leaves the
// transaction as it was.
func TestTxRefusesWrites(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{MaxBatchBytes: 1000})
	tx := begin(t, db, slate.Serializable)
	for what, c := range map[string]struct{ err, want error }{
		"empty key":   {tx.Put(nil, nil), slate.ErrInvalid},
		"long key":    {tx.Delete(make([]byte, 1<<16)), slate.ErrInvalid},
		"too much":    {tx.Put([]byte("k"), make([]byte, 1000)), slate.ErrInvalid},
		"no operator": {tx.Merge([]byte("k"), nil), slate.ErrNoOperator},
		"isolation":   {func() error { _, err := db.Begin(slate.TxOptions{Isolation: 7}); return err }(), slate.ErrInvalid},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	do(t, tx, "put a 1")
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	everything(t, "after the commit", db, model{"a": "1"})

	expiring := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat})
	tx = begin(t, expiring, slate.Serializable)
	do(t, tx, "put other 1; merge k 1")
	if err := tx.MergeExpiring([]byte("k"), []byte("2"), slate.ExpireAfter(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("merges that expire at different times: %v", err)
	}
	everything(t, "after a refused commit", expiring, model{})
}

// A transaction keeps what it reads through flushes, compactions and garbage
// collections; after its end they need not.
func TestTxPinsItsState(t *testing.T) {
	ctx := t.Context()
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{ReaderGrace: -1})
	put(t, db, "k", "old")
	put(t, db, "gone", "old")
	tx := begin(t, db, slate.Serializable)
	put(t, db, "k", "new")
	if err := db.Delete(ctx, []byte("gone")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Compact(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := slate.CollectGarbage(ctx, "db", b, slate.GCOptions{MinAge: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := do(t, tx, "get k; scan a z; reverse a z"); got != "old gone=old k=old k=old gone=old" {
		t.Errorf("it reads %q", got)
	}
	tx.Rollback()
	put(t, db, "x", "")
	if err := db.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if got := inRuns(t, b); got != "k=new x=" {
		t.Errorf("stored after its end: %q", got)
	}
}

// After its end, and the database's, a transaction says so.
func TestTxEnds(t *testing.T) {
	ctx := t.Context()
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{})
	put(t, db, "a", "1")
	put(t, db, "b", "1")
	check := func(what string, tx *slate.Tx, want error) {
		t.Helper()
		if _, err := tx.Get(ctx, []byte("a")); !errors.Is(err, want) {
			t.Errorf("%s: get: %v", what, err)
		}
		for _, err := range tx.Scan(ctx, slate.Range{}) {
			if !errors.Is(err, want) {
				t.Errorf("%s: scan: %v", what, err)
			}
		}
		if _, err := tx.Commit(ctx); !errors.Is(err, want) {
			t.Errorf("%s: commit: %v", what, err)
		}
		tx.Rollback()
		for verb, err := range map[string]error{
			"put": tx.Put([]byte("a"), nil), "delete": tx.Delete([]byte("a")), "mark": tx.MarkRead([]byte("a")), "unmark": tx.UnmarkWrite([]byte("a")),
		} {
			if !errors.Is(err, slate.ErrClosed) {
				t.Errorf("%s: %s: %v", what, verb, err)
			}
		}
	}
	tx := begin(t, db, slate.Serializable)
	tx.Rollback()
	check("rolled back", tx, slate.ErrClosed)
	tx = begin(t, db, slate.Serializable)
	do(t, tx, "put a 2")
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	check("committed", tx, slate.ErrClosed)

	tx = begin(t, db, slate.Serializable)
	var seen []string
	for kv, err := range tx.Scan(ctx, slate.Range{}) {
		if err != nil {
			seen = append(seen, err.Error())
			break
		}
		seen = append(seen, string(kv.Key))
		tx.Rollback()
	}
	if got := strings.Join(seen, ", "); got != "a, the transaction has ended: database closed" {
		t.Errorf("ended within its scan: %s", got)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	tx = begin(t, db, slate.Serializable)
	do(t, tx, "put a 3")
	if _, err := tx.Commit(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("commit without time: %v", err)
	}

	fenced := begin(t, db, slate.Serializable)
	do(t, fenced, "put a fenced")
	second := open(t, b, slate.Options{})
	if _, err := fenced.Commit(ctx); !errors.Is(err, slate.ErrFenced) {
		t.Errorf("commit of a fenced writer: %v", err)
	}
	_, err := db.Begin(slate.TxOptions{})
	if !errors.Is(err, slate.ErrFenced) {
		t.Errorf("begin on a fenced writer: %v", err)
	}
	everything(t, "the second writer", second, model{"a": "2", "b": "1"})
	left := begin(t, second, slate.Serializable)
	do(t, left, "put a 9")
	mustClose(t, second)
	check("of a closed database", left, slate.ErrClosed)
	if _, err := second.Begin(slate.TxOptions{}); !errors.Is(err, slate.ErrClosed) {
		t.Errorf("begin on a closed database: %v", err)
	}
}

// A commit in the loop over its own scan counts what the loop has seen.
func TestCommitWithinAScan(t *testing.T) {
	for theirs, want := range map[string]bool{"a": true, "b": false} {
		db := open(t, bucket.NewInMemBucket(), slate.Options{})
		put(t, db, "a", "1")
		put(t, db, "b", "1")
		tx := begin(t, db, slate.Serializable)
		do(t, tx, "put z 1")
		for kv, err := range tx.Scan(t.Context(), slate.Range{}) {
			if err != nil || string(kv.Key) != "a" {
				t.Fatal(string(kv.Key), err)
			}
			put(t, db, theirs, "2")
			if _, err := tx.Commit(t.Context()); errors.Is(err, slate.ErrConflict) != want {
				t.Errorf("others wrote %q: %v", theirs, err)
			}
			break
		}
	}
}

// A cursor in a transaction counts as read what it was moved over, and not what
// it skipped, whether it was closed or not; seqs of own writes are not known
// yet.
func TestTxCursor(t *testing.T) {
	ctx := t.Context()
	for _, reverse := range []bool{false, true} {
		for _, closed := range []bool{false, true} {
			for _, theirs := range []string{"a", "b", "b+", "c", "d", "f", "f+", "g", "g+", "h", "i"} {
				db := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat})
				for _, k := range []string{"a", "b", "c", "f", "g", "h", "i"} {
					put(t, db, k, "0")
				}
				tx := begin(t, db, slate.Serializable)
				do(t, tx, "merge b 1; put g 1; put z 1; unmark b; unmark g")
				c, err := tx.Cursor(slate.Range{Lower: []byte("b"), Upper: []byte("i"), Reverse: reverse}, slate.ReadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				var saw []string
				next := func() {
					if !c.Next(ctx) {
						t.Fatal(c.Err())
					}
					kv := c.KV()
					saw = append(saw, fmt.Sprintf("%s=%s@%d", kv.Key, kv.Value, kv.Seq))
				}
				rows, read, skipTo := "b=01@0 c=0@3 g=1@0", []string{"b", "b+", "c", "f+", "g"}, "f+"
				if reverse {
					rows, read, skipTo = "h=0@6 g=1@0 c=0@3", []string{"h", "g+", "g", "c"}, "c"
				}
				next()
				next()
				if err := c.Seek([]byte(skipTo)); err != nil {
					t.Fatal(err)
				}
				next()
				if got := strings.Join(saw, " "); got != rows {
					t.Errorf("reverse %v: saw %q, want %q", reverse, got, rows)
				}
				if closed {
					c.Close()
				}
				put(t, db, theirs, "2")
				_, err = tx.Commit(ctx)
				if errors.Is(err, slate.ErrConflict) != slices.Contains(read, theirs) {
					t.Errorf("reverse %v, closed %v, others wrote %q: %v", reverse, closed, theirs, err)
				}
				if !closed && c.Next(ctx) || !closed && !errors.Is(c.Err(), slate.ErrClosed) {
					t.Errorf("a cursor of a transaction that has ended: %v", c.Err())
				}
				c.Close()
			}
		}
	}
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	put(t, db, "k", "v")
	tx := begin(t, db, slate.Serializable)
	if _, meta, err := tx.GetRow(ctx, []byte("k"), nil, slate.ReadOptions{}); err != nil || meta.Seq != 1 || meta.Created().IsZero() {
		t.Errorf("meta of a row: %+v, %v", meta, err)
	}
	do(t, tx, "put k w")
	if v, meta, err := tx.GetRow(ctx, []byte("k"), []byte("+"), slate.ReadOptions{}); err != nil || string(v) != "+w" || meta.Seq != 0 || meta.Created().IsZero() {
		t.Errorf("own row: %q, %+v, %v", v, meta, err)
	}
	durable := slate.ReadOptions{Durable: true}
	if _, _, err := tx.GetRow(ctx, []byte("k"), nil, durable); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("a durable get: %v", err)
	}
	if _, err := tx.Cursor(slate.Range{}, durable); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("a durable cursor: %v", err)
	}
}

// A transaction that is open while more is written than the history holds
// cannot commit, and the error says why; shorter ones still can, and reading
// goes on.
func TestTxTooOld(t *testing.T) {
	ctx := t.Context()
	db := open(t, bucket.NewInMemBucket(), slate.Options{MaxTxHistoryBytes: 1000, MaxBatchBytes: 1 << 20})
	put(t, db, "k", "v")
	old := begin(t, db, slate.SnapshotIsolation)
	do(t, old, "put k mine")
	for i := range 200 {
		if _, err := db.Write(ctx, writing(fmt.Sprintf("key%03d", i)), slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
	}
	young := begin(t, db, slate.Serializable)
	do(t, young, "get k; put k young; get key001")
	if got := do(t, old, "get k; get key001; scan k kez"); got != "mine - k=mine" {
		t.Errorf("the old one reads %q", got)
	}
	_, err := old.Commit(ctx)
	e, ok := errors.AsType[*slate.ConflictError](err)
	if !ok || e.Key != nil || e.Seq != 0 || e.Start != 1 || !strings.Contains(err.Error(), "MaxTxHistoryBytes") {
		t.Errorf("commit of the old one: %v", err)
	}
	if _, err := young.Commit(ctx); err != nil {
		t.Errorf("commit of the young one: %v", err)
	}
}

func writing(keys ...string) *slate.Batch {
	var b slate.Batch
	for _, k := range keys {
		b.Put([]byte(k), nil)
	}
	return &b
}

// A transaction that reads very much remembers ranges: it may conflict with a
// key between those that it read, never misses one that it read, and never
// meets one beyond.
func TestTxReadsVeryMuch(t *testing.T) {
	ctx := t.Context()
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	const n = 30_000
	read := func() *slate.Tx {
		tx := begin(t, db, slate.Serializable)
		for i := range n {
			if _, err := tx.Get(ctx, fmt.Appendf(nil, "k%06d", 2*i)); !errors.Is(err, slate.ErrNotFound) {
				t.Fatal(err)
			}
		}
		do(t, tx, "put mine 1")
		return tx
	}
	between := read()
	for _, i := range []int{0, n / 3, n - 1} {
		tx := read()
		key := fmt.Sprintf("k%06d", 2*i)
		put(t, db, key, "theirs")
		_, err := tx.Commit(ctx)
		if e, ok := errors.AsType[*slate.ConflictError](err); !ok || string(e.Key) != key {
			t.Errorf("%q was read and written: %v", key, err)
		}
		if err := db.Delete(ctx, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	between.Rollback()
	tx := read()
	put(t, db, "j", "before all")
	put(t, db, "l", "behind all")
	if _, err := tx.Commit(ctx); err != nil {
		t.Errorf("written beyond what was read: %v", err)
	}
}

// Update runs again what conflicts, with waits that grow, gives up after 32
// attempts, and returns everything else at once.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		db := open(t, bucket.NewInMemBucket(), slate.Options{})
		put(t, db, "n", "0")
		var at []time.Time
		fn := func(conflicts int) func(*slate.Tx) error {
			at = nil
			return func(tx *slate.Tx) error {
				at = append(at, time.Now())
				if do(t, tx, "get n"); len(at) <= conflicts {
					put(t, db, "n", "theirs")
				}
				return tx.Put([]byte("n"), []byte("mine"))
			}
		}
		if err := db.Update(ctx, slate.TxOptions{}, fn(3)); err != nil || len(at) != 4 {
			t.Errorf("update: %v after %d attempts", err, len(at))
		}
		everything(t, "after it", db, model{"n": "mine"})
		err := db.Update(ctx, slate.TxOptions{}, fn(1000))
		if e, ok := errors.AsType[*slate.ConflictError](err); !ok || string(e.Key) != "n" || len(at) != 32 || !strings.Contains(err.Error(), "32 attempts") {
			t.Errorf("update that conflicts always: %v after %d attempts", err, len(at))
		}
		for i := range len(at) - 1 {
			bound := min(time.Millisecond<<i, 200*time.Millisecond)
			if i > 20 {
				bound = 200 * time.Millisecond
			}
			if d := at[i+1].Sub(at[i]); d < bound/2 || d > bound {
				t.Errorf("wait %d took %v, not %v to %v", i+1, d, bound/2, bound)
			}
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := db.Update(short, slate.TxOptions{}, fn(1000)); !errors.Is(err, context.DeadlineExceeded) || len(at) >= 32 {
			t.Errorf("update with little time: %v after %d attempts", err, len(at))
		}
		own := errors.New("own")
		if err := db.Update(ctx, slate.TxOptions{}, func(tx *slate.Tx) error { do(t, tx, "put n own"); return own }); err != own { //nolint:errorlint // the very same
			t.Errorf("update whose function fails: %v", err)
		}
		everything(t, "after a failure", db, model{"n": "theirs"})
		mustClose(t, db)
	})
}

// inRuns lists what the sorted runs hold.
func inRuns(t *testing.T, b bucket.Bucket) string {
	t.Helper()
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(m.L0) > 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	var out []string
	for _, run := range m.Runs {
		for _, s := range run.SSTs {
			_, err := slate.ReadSST(t.Context(), "db", b, s.ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
				out = append(out, string(r.Key)+"="+string(r.Value))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return strings.Join(out, " ")
}

// Commit ends a transaction whatever it returns, also where the database has
// ended before it.
func TestCommitEndsTheTransaction(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	tx, err := db.Begin(slate.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.CloseWith(slate.CloseAtOnce); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tx.Commit(t.Context()); !errors.Is(err, slate.ErrClosed) {
			t.Errorf("commit: %v", err)
		}
		if err := tx.Put([]byte("k"), nil); !errors.Is(err, slate.ErrClosed) {
			t.Errorf("put: %v", err)
		}
	}
}
