package record_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

const userProto = `syntax = "proto3";
import "stele/options.proto";

message User {
  int64 id = 1 [(stele.key) = true];
  string city = 2 [(stele.index) = true];
  string email = 3 [(stele.unique) = true];
  repeated string tags = 4 [(stele.index) = true];
  optional int64 age = 5 [(stele.index) = true];
}
`

// user makes a record from Protobuf JSON.
func user(t testing.TB, table *record.Table, json string, args ...any) []byte {
	t.Helper()
	rec, err := table.Schema().FromJSON(fmt.Appendf(nil, json, args...))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// update runs writes in a transaction that must succeed.
func update(t testing.TB, db *record.DB, fn func(*record.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func id(i int64) tuple.Tuple { return tuple.Tuple{tuple.Int(i)} }

func TestWriteErrors(t *testing.T) {
	ctx := context.Background()
	db, tables := newTables(t, userProto+"message Street { string pk = 1; }\n")
	users, streets := tables[0], tables[1]
	rec := func(json string) []byte { return user(t, users, "%s", json) }
	update(t, db, func(tx *record.Tx) error {
		return users.Insert(ctx, tx, rec(`{"id": 41, "email": "a@x"}`))
	})
	deleted := func(err error) error {
		if err == nil {
			return errors.New("no error")
		}
		return err
	}
	tests := []struct {
		name string
		do   func(tx *record.Tx) error
		is   error
		text string
	}{
		{"insert again", func(tx *record.Tx) error { return users.Insert(ctx, tx, rec(`{"id": 41, "email": "b"}`)) },
			kv.ErrExists, "insert User 41: already exists"},
		{"taken", func(tx *record.Tx) error { return users.Put(ctx, tx, rec(`{"id": 42, "email": "a@x"}`)) },
			kv.ErrExists, "put User 42: index email: already exists"},
		{"update nothing", func(tx *record.Tx) error { return users.Update(ctx, tx, rec(`{"id": 42}`)) },
			kv.ErrNotFound, "update User 42: not found"},
		{"get nothing", func(tx *record.Tx) error { _, err := users.Get(ctx, tx, id(42)); return err },
			kv.ErrNotFound, "get User 42: not found"},
		{"bad bytes", func(tx *record.Tx) error { return users.Put(ctx, tx, []byte{0xff}) },
			kv.ErrInvalid, "put User: unexpected EOF"},
		{"key of two parts", func(tx *record.Tx) error {
			_, err := users.Delete(ctx, tx, append(id(1), id(2)...))
			return deleted(err)
		}, kv.ErrInvalid, "delete User"},
		{"key of another type", func(tx *record.Tx) error {
			_, err := users.Get(ctx, tx, tuple.Tuple{tuple.String("1")})
			return err
		}, kv.ErrInvalid, `part "id" of the primary key is of type int, not string`},
		{"value too large for an index", func(tx *record.Tx) error {
			return users.Put(ctx, tx, user(t, users, `{"id": 7, "city": %q}`, strings.Repeat("x", 70000)))
		}, kv.ErrInvalid, "put User 7: index city: its key has 70010 bytes, of at most 65535"},
		{"key too large", func(tx *record.Tx) error {
			_, err := streets.Get(ctx, tx, tuple.Tuple{tuple.String(strings.Repeat("ä", 40000))})
			return err
		}, kv.ErrInvalid, "get Street " + strings.Repeat("ä", 100) + "…: its key has 80007 bytes, of at most 65535"},
		{"raw key of a row", func(tx *record.Tx) error { return tx.Put([]byte{1, 1, 2, 1, 5}, nil) },
			kv.ErrInvalid, "belongs to a table"},
		{"raw key of an entry", func(tx *record.Tx) error { return tx.Delete([]byte{1, 1, 3, 1, 5}) },
			kv.ErrInvalid, "belongs to a table"},
		{"no transaction", func(*record.Tx) error { return users.Put(ctx, nil, rec(`{"id": 1}`)) },
			kv.ErrInvalid, "table User: the transaction is not one of its database"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The refused write is followed by a good one, and both are committed.
			update(t, db, func(tx *record.Tx) error {
				err := test.do(tx)
				if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %v, want %v: %s", err, test.is, test.text)
				}
				return users.Put(ctx, tx, rec(`{"id": 1, "email": "good"}`))
			})
			verify(t, users)
			if keys, _, err := collect(users, db.Store(), record.Query{}); err != nil || len(keys) != 2 {
				t.Errorf("rows %q, %v", keys, err)
			}
		})
	}
}

func TestUniqueError(t *testing.T) {
	ctx := context.Background()
	db, tables := newTables(t, userProto)
	users := tables[0]
	err := db.Update(ctx, func(tx *record.Tx) error {
		return errors.Join(
			users.Insert(ctx, tx, user(t, users, `{"id": 1, "email": "a"}`)),
			users.Insert(ctx, tx, user(t, users, `{"id": 2, "email": "a"}`)))
	})
	unique, ok := errors.AsType[*record.UniqueError](err)
	if !ok {
		t.Fatal(err)
	}
	if unique.Table != "User" || unique.Index != "email" || unique.Key.Compare(id(1)) != 0 ||
		unique.Value.Compare(tuple.Tuple{tuple.String("a")}) != 0 {
		t.Errorf("%+v", unique)
	}
	if keys, _, err := collect(users, db.Store(), record.Query{}); err != nil || len(keys) != 0 {
		t.Errorf("a failed transaction left %q, %v", keys, err)
	}
}

// A value can change hands within one transaction, if it is given up first.
func TestUniqueHandedOver(t *testing.T) {
	ctx := context.Background()
	db, tables := newTables(t, userProto)
	users := tables[0]
	update(t, db, func(tx *record.Tx) error {
		return errors.Join(
			users.Insert(ctx, tx, user(t, users, `{"id": 1, "email": "a"}`)),
			users.Insert(ctx, tx, user(t, users, `{"id": 2, "email": "b"}`)))
	})
	update(t, db, func(tx *record.Tx) error {
		return errors.Join(
			users.Update(ctx, tx, user(t, users, `{"id": 1, "email": "c"}`)),
			users.Update(ctx, tx, user(t, users, `{"id": 2, "email": "a"}`)),
			users.Update(ctx, tx, user(t, users, `{"id": 1, "email": "b"}`)))
	})
	verify(t, users)
	where := record.Compare{Field: "email", Op: record.Eq, Value: tuple.String("a")}
	if keys, _, err := collect(users, db.Store(), record.Query{Where: where}); err != nil || len(keys) != 1 || keys[0] != "(2)" {
		t.Errorf("%q, %v", keys, err)
	}
}

// counting is a store that counts what its transactions write.
type counting struct {
	kv.Store
	puts, deletes int
	conflicts     int // to answer the next commits with
	begun         int
}

type countingTx struct {
	kv.Tx
	c *counting
}

func (c *counting) Begin(ctx context.Context, opts kv.TxOptions) (kv.Tx, error) {
	c.begun++
	tx, err := c.Store.Begin(ctx, opts)
	return &countingTx{tx, c}, err
}

func (tx *countingTx) Put(k, v []byte) error { tx.c.puts++; return tx.Tx.Put(k, v) }
func (tx *countingTx) Delete(k []byte) error { tx.c.deletes++; return tx.Tx.Delete(k) }
func (tx *countingTx) Commit(ctx context.Context) error {
	if tx.c.conflicts > 0 {
		tx.c.conflicts--
		tx.Tx.Rollback()
		return fmt.Errorf("commit: %w", kv.ErrConflict)
	}
	return tx.Tx.Commit(ctx)
}

func TestUnchangedEntriesAreNotWritten(t *testing.T) {
	ctx := context.Background()
	store := &counting{Store: memkv.New()}
	db, tables := openTables(t, store, userProto)
	users := tables[0]
	steps := []struct {
		json          string
		puts, deletes int
	}{
		{`{"id": 1, "city": "a", "email": "e", "tags": ["x", "y", "x"]}`, 6, 0}, // row, city, email, x, y, age
		{`{"id": 1, "city": "a", "email": "e", "tags": ["y", "x"]}`, 1, 0},
		{`{"id": 1, "city": "b", "email": "e", "tags": ["y", "z"]}`, 3, 2},
		{`{"id": 1, "city": "b", "email": "e", "age": 0}`, 2, 3},
	}
	for _, step := range steps {
		store.puts, store.deletes = 0, 0
		update(t, db, func(tx *record.Tx) error { return users.Put(ctx, tx, user(t, users, "%s", step.json)) })
		if store.puts != step.puts || store.deletes != step.deletes {
			t.Errorf("%s: %d puts and %d deletes, want %d and %d", step.json, store.puts, store.deletes, step.puts, step.deletes)
		}
	}
	verify(t, users)
}

func TestUpdateRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store := &counting{Store: memkv.New()}
		db, _ := openTables(t, store, userProto)
		for _, conflicts := range []int{0, 1, 5} {
			store.conflicts, store.begun = conflicts, 0
			if err := db.Update(ctx, func(*record.Tx) error { return nil }); err != nil || store.begun != conflicts+1 {
				t.Errorf("%d conflicts: %d attempts, %v", conflicts, store.begun, err)
			}
		}
		store.conflicts, store.begun = 1000, 0
		err := db.Update(ctx, func(*record.Tx) error { return nil })
		if !errors.Is(err, kv.ErrConflict) || store.begun != 32 {
			t.Errorf("always a conflict: %d attempts, %v", store.begun, err)
		}
		ctx, cancel := context.WithCancel(ctx)
		err = db.Update(ctx, func(*record.Tx) error { cancel(); return kv.ErrConflict })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		store.conflicts = 0
	})
}

// The error of an update that conflicts every time says over which row, or over
// which index.
func TestConflictsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		db, tables := newTables(t, userProto)
		users := tables[0]
		put := func(tx *record.Tx, json string) error { return users.Put(ctx, tx, user(t, users, "%s", json)) }
		n := 100
		for want, c := range map[string]struct {
			read   func(tx *record.Tx) error
			theirs string
		}{
			"User 7: ": {func(tx *record.Tx) error { return put(tx, `{"id": 7, "email": "mine"}`) }, `{"id": 7, "email": "theirs%[1]d"}`},
			"User: index city: ": {func(tx *record.Tx) error {
				where := record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("Oslo")}
				_, _, err := collect(users, tx, record.Query{Where: where})
				return errors.Join(err, put(tx, `{"id": 1, "email": "one"}`))
			}, `{"id": %[1]d, "city": "Oslo", "email": "%[1]d"}`},
		} {
			err := db.Update(ctx, func(tx *record.Tx) error {
				n++
				err := c.read(tx)
				update(t, db, func(tx *record.Tx) error { return put(tx, fmt.Sprintf(c.theirs, n)) })
				return err
			})
			e, ok := errors.AsType[*kv.ConflictError](err)
			if !ok || !errors.Is(err, kv.ErrConflict) || !strings.HasPrefix(err.Error(), want+"gave up after 32 attempts: ") || e.Key == nil {
				t.Errorf("%v; want it to begin with %q", err, want)
			}
		}
		verify(t, users)
	})
}

// slow is a reader whose gets take a while, and which counts them.
type slow struct {
	kv.Reader
	delay   time.Duration
	gets    chan struct{}
	failing error
}

func (s *slow) Get(ctx context.Context, key []byte) ([]byte, error) {
	select {
	case s.gets <- struct{}{}:
	default:
	}
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.failing != nil {
		return nil, s.failing
	}
	return s.Reader.Get(ctx, key)
}

// fill writes n users, user i in the city i%3.
func fill(t testing.TB, db *record.DB, users *record.Table, n int) {
	t.Helper()
	update(t, db, func(tx *record.Tx) error {
		for i := range n {
			rec := user(t, users, `{"id": %d, "city": "c%d", "email": "e%d", "tags": ["t%d", "u"]}`, i, i%3, i, i%5)
			if err := users.Put(context.Background(), tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// On a slow store the fetches of rows overlap, and keep their order.
func TestFetchesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, tables := newTables(t, userProto)
		fill(t, db, tables[0], 300)
		const delay = 150 * time.Millisecond
		r := &slow{Reader: db.Store(), delay: delay}
		start := time.Now()
		keys, _, err := collect(tables[0], r, record.Query{Where: record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("c1")}})
		if err != nil || len(keys) != 100 {
			t.Fatal(len(keys), err)
		}
		for i, key := range keys {
			if want := fmt.Sprintf("(%d)", 3*i+1); key != want {
				t.Fatalf("row %d is %s, want %s", i, key, want)
			}
		}
		if rounds := time.Since(start) / delay; rounds > 10 {
			t.Errorf("100 fetches took the time of %d", rounds)
		}
	})
}

// A limit is no reason to fetch more than it, and a transaction's reader is
// never used by two goroutines.
func TestFetchesAreBounded(t *testing.T) {
	db, tables := newTables(t, userProto)
	fill(t, db, tables[0], 60)
	r := &slow{Reader: db.Store(), gets: make(chan struct{}, 1000)}
	q := record.Query{Where: record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("c1")}, Limit: 3}
	if keys, _, err := collect(tables[0], r, q); err != nil || len(keys) != 3 || len(r.gets) != 3 {
		t.Errorf("%q by %d gets, %v", keys, len(r.gets), err)
	}
}

// Who stops in the middle, or fails, leaves no goroutine and no snapshot behind.
func TestQueryStopped(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		db, tables := newTables(t, userProto)
		fill(t, db, tables[0], 300)
		q := record.Query{Where: record.Compare{Field: "tags", Op: record.Has, Value: tuple.String("u")}}
		r := &slow{Reader: db.Store(), delay: time.Hour}
		r.delay = time.Second
		n := 0
		for _, err := range tables[0].Query(context.Background(), r, q) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 40 {
				break
			}
		}
		r.failing = kv.ErrUnavailable
		if _, _, err := collect(tables[0], r, q); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.failing = nil
		for _, err := range tables[0].Query(ctx, r, q) {
			if cancel(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// A query sees one state, also when what it reads is changed meanwhile.
func TestQueryWhileWriting(t *testing.T) {
	ctx := context.Background()
	db, tables := newTables(t, userProto)
	users := tables[0]
	fill(t, db, users, 90)
	n := 0
	for row, err := range users.Query(ctx, db.Store(), record.Query{Where: record.Compare{Field: "tags", Op: record.Has, Value: tuple.String("u")}}) {
		if err != nil {
			t.Fatal(err)
		}
		key, err := row.Key()
		if err != nil {
			t.Fatal(err)
		}
		update(t, db, func(tx *record.Tx) error {
			i, _ := key[0].AsInt64()
			_, err := users.Delete(ctx, tx, id(89-i))
			return err
		})
		n++
	}
	if n != 90 {
		t.Errorf("%d rows, want 90", n)
	}
	verify(t, users)
}

// Pages may have any size; a token of another query is refused.
func TestPageTokens(t *testing.T) {
	db, tables := newTables(t, userProto)
	users := tables[0]
	fill(t, db, users, 10)
	q := record.Query{OrderBy: []record.Order{{Field: "city"}}, Limit: 4}
	_, token, err := collect(users, db.Store(), q)
	if err != nil {
		t.Fatal(err)
	}
	other := []record.Query{
		{After: token, Limit: 4},
		{After: token, OrderBy: q.OrderBy, Reverse: true, Limit: 4},
		{After: token, OrderBy: q.OrderBy, Where: record.Compare{Field: "city", Op: record.Eq, Value: tuple.String("c1")}, Limit: 4},
		{After: token[:9], OrderBy: q.OrderBy, Limit: 4},
		{After: append([]byte{9}, token[1:]...), OrderBy: q.OrderBy, Limit: 4},
		{After: []byte("x"), OrderBy: q.OrderBy, Limit: 4},
	}
	for i, q := range other {
		if _, _, err := collect(users, db.Store(), q); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%d: %v, want invalid", i, err)
		}
	}
	q.After, q.Limit = token, 100
	if keys, _, err := collect(users, db.Store(), q); err != nil || strings.Join(keys, "") != "(1)(4)(7)(2)(5)(8)" {
		t.Errorf("%q, %v", keys, err)
	}
}

// Damage is found, by verification and by the query that meets it.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	damages := []struct {
		name  string
		do    func(tx kv.Tx, row, entry kv.Pair) error
		fault string
		query bool // the query by city meets it
	}{
		{"entry lost", func(tx kv.Tx, _, e kv.Pair) error { return tx.Delete(e.Key) }, "row 0: index city lacks its entry", false},
		{"row lost", func(tx kv.Tx, r, _ kv.Pair) error { return tx.Delete(r.Key) }, "there is no row 0", true},
		{"entry too many", func(tx kv.Tx, _, e kv.Pair) error {
			k := append([]byte(nil), e.Key...)
			k[len(k)-4]++ // the last byte of the city
			return tx.Put(k, nil)
		}, "the row 0 has other values", false},
		{"entry cut", func(tx kv.Tx, _, e kv.Pair) error { return tx.Put(e.Key[:len(e.Key)-1], nil) }, "corrupt", true},
		{"row at another's key", func(tx kv.Tx, r, _ kv.Pair) error { return tx.Put(append(r.Key, 0x14), r.Value) }, "its record has the key 0", false},
		{"row is no record", func(tx kv.Tx, r, _ kv.Pair) error { return tx.Put(r.Key, []byte{0xff}) }, "row 0: ", false},
	}
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			db, tables := newTables(t, userProto)
			users := tables[0]
			fill(t, db, users, 6)
			verify(t, users)
			tx, err := db.Store().Begin(ctx, kv.TxOptions{})
			if err != nil {
				t.Fatal(err)
			}
			row, entry := first(t, tx, []byte{1, 1, 2}), first(t, tx, []byte{1, 1, 3})
			if err := errors.Join(d.do(tx, row, entry), tx.Commit(ctx)); err != nil {
				t.Fatal(err)
			}
			v, err := record.VerifyTable(ctx, db.Store(), users)
			if err != nil || v.OK() || !strings.Contains(strings.Join(v.First, "\n"), d.fault) {
				t.Errorf("%v\n%q\nwant %q", err, v.First, d.fault)
			}
			q := record.Query{Where: record.Compare{Field: "city", Op: record.Ge, Value: tuple.String("")}, Using: "city"}
			if _, _, err := collect(users, db.Store(), q); d.query && !errors.Is(err, kv.ErrCorrupt) {
				t.Errorf("query: %v, want corrupt", err)
			}
		})
	}
}

// first returns a copy of the first pair whose key begins with p.
func first(t *testing.T, r kv.Reader, p []byte) kv.Pair {
	next, stop := iter.Pull2(r.Scan(context.Background(), kv.Range{Lower: p}))
	defer stop()
	pair, err, ok := next()
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	return kv.Pair{Key: append([]byte(nil), pair.Key...), Value: append([]byte(nil), pair.Value...)}
}
