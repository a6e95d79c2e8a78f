package record_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/tuple"
)

// stores are where transactions meet, and the isolation that they have there.
var stores = []struct {
	name  string
	open  func(t *testing.T) kv.Store
	level kv.Isolation
}{
	{"memory", func(*testing.T) kv.Store { return memkv.New() }, kv.Serializable},
	{"engine", openEngine, kv.Serializable},
	{"engine, snapshot isolation", openEngine, kv.SnapshotIsolation},
}

func openEngine(t *testing.T) kv.Store {
	s, err := slatekv.OpenBucket(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{
		L0Bytes: 16 << 10, MaxUnflushedBytes: 1 << 20, MinFilterKeys: 1, MinFlushInterval: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Transactions on rows and values of their own do not meet: each runs once.
func TestDisjointUpdates(t *testing.T) {
	for _, c := range stores {
		t.Run(c.name, func(t *testing.T) {
			db, tables := openTables(t, c.open(t), userProto)
			const workers, each = 8, 20
			var runs atomic.Int64
			together(workers, func(w int) {
				for i := range each {
					err := db.UpdateWith(t.Context(), kv.TxOptions{Isolation: c.level}, func(tx *record.Tx) error {
						runs.Add(1)
						return tables[0].Put(t.Context(), tx, user(t, tables[0], `{"id": %d, "city": "c%d", "email": "e%[1]d", "age": %[2]d}`, w, i))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
			if runs.Load() != workers*each {
				t.Errorf("%d runs of %d transactions", runs.Load(), workers*each)
			}
			verify(t, tables[0])
		})
	}
}

// Of those who want the same unique value at once, one gets it, and the others
// are told who has it.
func TestConcurrentClaims(t *testing.T) {
	for _, c := range stores {
		t.Run(c.name, func(t *testing.T) {
			db, tables := openTables(t, c.open(t), userProto)
			for round := range 20 {
				const workers = 8
				errs := make([]error, workers)
				together(workers, func(w int) {
					rec := user(t, tables[0], `{"id": %d, "email": "e%d"}`, round*workers+w, round)
					errs[w] = db.UpdateWith(t.Context(), kv.TxOptions{Isolation: c.level}, func(tx *record.Tx) error {
						return tables[0].Insert(t.Context(), tx, rec)
					})
				})
				winner := int64(slices.Index(errs, nil))
				for w, err := range errs {
					if int64(w) == winner {
						continue
					}
					e, ok := errors.AsType[*record.UniqueError](err)
					if !ok || e.Key.String() != id(int64(round*workers)+winner).String() {
						t.Errorf("round %d: %v for %d, where %d won", round, err, w, winner)
					}
				}
			}
			verify(t, tables[0])
		})
	}
}

// together runs fn for 0 to n-1 at the same time.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

// Many transactions at once change few rows with many index entries and few
// unique values: no change is lost, no unique value is there twice, and rows and
// entries agree, in every snapshot on the way and at the end.
func TestConcurrentUpdates(t *testing.T) {
	for _, c := range stores {
		t.Run(c.name, func(t *testing.T) {
			db, tables := openTables(t, c.open(t), userProto)
			f := &fray{db: db, users: tables[0], level: c.level}
			f.run(t)
			t.Logf("%d committed, %d runs again, %d refused as taken", f.committed, f.runs-f.committed-f.taken, f.taken)
		})
	}
}

// ledger is the row that takes over the age of those that are deleted: all ages
// together are the number of birthdays.
const ledger = 100

type fray struct {
	db    *record.DB
	users *record.Table
	level kv.Isolation

	mu                                sync.Mutex // guards what follows
	runs, committed, taken, birthdays int64
}

func (f *fray) run(t *testing.T) {
	const workers, each = 8, 60
	ctx := t.Context()
	update(t, f.db, func(tx *record.Tx) error { return f.put(ctx, tx, ledger, "", "ledger", 0) })
	var working, watching sync.WaitGroup
	for w := range uint64(workers) {
		working.Go(func() {
			rng := rand.New(rand.NewPCG(1, w))
			for range each {
				if err := f.change(ctx, rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	watching.Go(func() {
		for {
			f.check(t)
			select {
			case <-done:
				return
			default:
			}
		}
	})
	working.Wait()
	close(done)
	watching.Wait()
	if sum := f.check(t); sum != f.birthdays {
		t.Errorf("the ages are %d together after %d birthdays", sum, f.birthdays)
	}
}

// change has a random row's birthday, moves it to another city and address, or
// deletes it.
func (f *fray) change(ctx context.Context, rng *rand.Rand) error {
	what, row, city, email := rng.IntN(10), rng.Int64N(6), rng.IntN(3), rng.IntN(15)
	err := f.db.UpdateWith(ctx, kv.TxOptions{Isolation: f.level, Volatile: rng.IntN(10) > 0}, func(tx *record.Tx) error {
		f.count(&f.runs)
		age, err := f.age(ctx, tx, row)
		if err != nil {
			return err
		}
		runtime.Gosched() // let others in
		if what > 0 {
			return f.put(ctx, tx, row, fmt.Sprint("c", city), fmt.Sprint("e", email), age+1)
		}
		if existed, err := f.users.Delete(ctx, tx, id(row)); !existed || err != nil {
			return err
		}
		total, err := f.age(ctx, tx, ledger)
		if err != nil {
			return err
		}
		return f.put(ctx, tx, ledger, "", "ledger", total+age)
	})
	if _, ok := errors.AsType[*record.UniqueError](err); ok {
		f.count(&f.taken)
		return nil
	}
	if err == nil {
		f.count(&f.committed)
		if what != 0 {
			f.count(&f.birthdays)
		}
	}
	return err
}

func (f *fray) count(n *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

func (f *fray) put(ctx context.Context, tx *record.Tx, row int64, city, email string, age int64) error {
	rec, err := f.users.Schema().FromJSON(fmt.Appendf(nil, `{"id": %d, "city": %q, "email": %q, "tags": [%q, %q], "age": %d}`,
		row, city, email, city, email, age))
	if err != nil {
		return err
	}
	return f.users.Put(ctx, tx, rec)
}

// age is that of the row, 0 if there is none.
func (f *fray) age(ctx context.Context, r kv.Reader, row int64) (int64, error) {
	rec, err := f.users.Get(ctx, r, id(row))
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	age, err := f.value(rec, "age")
	n, _ := age.AsInt64()
	return n, err
}

func (f *fray) value(rec []byte, field string) (tuple.Value, error) {
	v, err := f.users.Schema().Field(field).Values(rec, nil)
	if err != nil || len(v) != 1 {
		return tuple.Value{}, fmt.Errorf("field %s: %v, %w", field, v, err)
	}
	return v[0], nil
}

// check verifies a snapshot and returns the sum of the ages in it.
func (f *fray) check(t *testing.T) (sum int64) {
	ctx := t.Context()
	snap, err := f.db.Snapshot(ctx)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer snap.Close()
	v, err := record.VerifyTable(ctx, snap, f.users)
	if err != nil || !v.OK() {
		t.Errorf("verify: %v, %q", err, v.First)
	}
	owners := map[string]string{}
	for row, err := range f.users.Query(ctx, snap, record.Query{}) {
		if err != nil {
			t.Error(err)
			return 0
		}
		age, ageErr := f.value(row.Record, "age")
		email, emailErr := f.value(row.Record, "email")
		key, keyErr := row.Key()
		if err := errors.Join(ageErr, emailErr, keyErr); err != nil {
			t.Error(err)
		}
		n, _ := age.AsInt64()
		sum += n
		if other := owners[email.String()]; other != "" {
			t.Errorf("rows %s and %s both have the email %s", other, key, email)
		}
		owners[email.String()] = key.String()
	}
	return sum
}
