package slate_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// An expired row is hidden from the moment on if that is wanted, and gone
// after it was rewritten; SlateDB's readers see it until then.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		opts := slate.Options{HideExpired: true, MergeOperator: slate.Concat, CompactL0: -1}
		db := open(t, b, opts)
		start := time.Now()
		put(t, db, "base", "b")
		put(t, db, "shadowed", "old")
		var batch slate.Batch
		batch.PutExpiring([]byte("after"), []byte("1"), slate.ExpireAfter(time.Second))
		batch.PutExpiring([]byte("at"), []byte("2"), slate.ExpireAt(start.Add(2*time.Second)))
		batch.PutExpiring([]byte("never"), []byte("3"), slate.ExpireAfter(math.MaxInt64))
		batch.PutExpiring([]byte("shadowed"), []byte("4"), slate.ExpireAfter(time.Second))
		batch.MergeExpiring([]byte("base"), []byte("5"), slate.ExpireAfter(time.Second))
		batch.MergeExpiring([]byte("alone"), []byte("6"), slate.ExpireAfter(time.Second))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		mergeInto(t, db, "base", "7")

		reader := func(hide bool) *slate.Reader {
			r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{HideExpired: hide, MergeOperator: slate.Concat})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		all := model{"after": "1", "at": "2", "never": "3", "shadowed": "4", "base": "b57", "alone": "6"}
		check := func(when string, want model) {
			t.Helper()
			everything(t, when, db, want)
			everything(t, when+", reader", reader(true), want)
		}
		check("at once", all)
		time.Sleep(time.Second - time.Millisecond)
		check("just before", all)
		time.Sleep(time.Millisecond)
		one := model{"at": "2", "never": "3", "base": "b7"}
		check("after a second", one)
		everything(t, "a reader that sees the expired", reader(false), all)
		time.Sleep(time.Second)
		two := model{"never": "3", "base": "b7"}
		check("after two seconds", two)

		put(t, db, "tick", "")
		two["tick"] = ""
		mustCompact(t, db)
		check("compacted", two)
		everything(t, "none left to see", reader(false), two)
		mustClose(t, db)
	})
}

// What a write does not say of its expiry, the writer's options say.
func TestDefaultTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{MergeOperator: slate.Concat})
		put(t, db, "before", "")
		put(t, db, "deleted", "")
		mustClose(t, db)
		db = open(t, b, slate.Options{MergeOperator: slate.Concat, DefaultTTL: time.Hour + 1})
		time.Sleep(time.Minute)
		var batch slate.Batch
		batch.Put([]byte("put"), nil)
		batch.PutExpiring([]byte("zero"), nil, slate.Expiry{})
		batch.PutExpiring([]byte("never"), nil, slate.ExpireNever())
		batch.PutExpiring([]byte("soon"), nil, slate.ExpireAfter(time.Second))
		batch.Merge([]byte("merge"), nil)
		batch.MergeExpiring([]byte("merge"), nil, slate.ExpireAfter(time.Hour+time.Millisecond)) // the same
		batch.Delete([]byte("deleted"))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		tx := begin(t, db, slate.Serializable)
		do(t, tx, "put tx 1")
		if _, m, err := tx.GetRow(t.Context(), []byte("tx"), nil, slate.ReadOptions{}); err != nil || m.Expires().IsZero() {
			t.Errorf("the transaction's own row expires at %v, %v", m.Expires(), err)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		batch.Reset()
		batch.Merge([]byte("k"), nil)
		batch.MergeExpiring([]byte("k"), nil, slate.ExpireNever())
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("merges with and without the default in one batch: %v", err)
		}

		// As they lie in the bucket, the tombstone with them.
		var got []string
		for id := uint64(5); id <= 6; id++ { // behind two fences and what was put first
			rows, err := slate.ReadWAL(t.Context(), "db", b, id, slate.InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				s := fmt.Sprintf("%s %s", r.Kind, r.Key)
				if r.Expires != nil {
					s += " " + r.Expires.Format("15:04:05.000")
				}
				got = append(got, s)
			}
		}
		want := []string{
			"tombstone deleted", "merge merge 01:01:00.001", "value never", "value put 01:01:00.001",
			"value soon 00:01:01.000", "value zero 01:01:00.001", "value tx 01:01:00.001",
		}
		if !slices.Equal(got, want) {
			t.Errorf("rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		time.Sleep(2 * time.Hour)
		put(t, db, "tick", "")
		mustCompact(t, db)
		everything(t, "two hours later", db, model{"before": "", "never": "", "tick": ""})
		mustClose(t, db)
	})
}

// Rows have one expiry, so merges of one key in one batch must agree on it.
func TestExpiriesInABatch(t *testing.T) {
	soon, late := slate.ExpireAfter(time.Hour), slate.ExpireAfter(2*time.Hour)
	k := []byte("k")
	for _, c := range []struct {
		name  string
		write func(b *slate.Batch)
		ok    bool
	}{
		{"equal", func(b *slate.Batch) { b.MergeExpiring(k, k, soon); b.MergeExpiring(k, k, soon) }, true},
		{"different", func(b *slate.Batch) { b.MergeExpiring(k, k, soon); b.MergeExpiring(k, k, late) }, false},
		{"with and without", func(b *slate.Batch) { b.MergeExpiring(k, k, soon); b.Merge(k, k) }, false},
		{"on a put that expires", func(b *slate.Batch) { b.PutExpiring(k, k, soon); b.MergeExpiring(k, k, soon) }, true},
		{"on a put that does not", func(b *slate.Batch) { b.Put(k, k); b.MergeExpiring(k, k, soon) }, false},
		{"on a delete", func(b *slate.Batch) { b.Delete(k); b.MergeExpiring(k, k, soon) }, true},
		{"before a put", func(b *slate.Batch) { b.MergeExpiring(k, k, soon); b.Merge(k, k); b.Put(k, k) }, true},
	} {
		db := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat})
		var batch slate.Batch
		c.write(&batch)
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What is written is what SlateDB writes: kind, value and times of each row, as
// they lie in the log and, folded, in L0.
func TestRowsOfMergesAndExpiries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		db := open(t, b, slate.Options{MergeOperator: slate.Concat, CompactL0: -1})
		time.Sleep(time.Hour) // 2000-01-01 01:00
		var batch slate.Batch
		batch.Put([]byte("a"), []byte("1"))
		batch.Merge([]byte("a"), []byte("2"))
		batch.Merge([]byte("b"), []byte("3"))
		batch.Merge([]byte("b"), []byte("4"))
		batch.PutExpiring([]byte("c"), []byte("5"), slate.ExpireAfter(1500*time.Microsecond))
		batch.MergeExpiring([]byte("d"), []byte("6"), slate.ExpireAt(time.Unix(4e9, 0)))
		batch.Delete([]byte("e"))
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		mergeInto(t, db, "b", "7")

		text := func(r slate.RowInfo) string {
			s := fmt.Sprintf("%s@%d %s %q %s", r.Key, r.Seq, r.Kind, r.Value, r.Created.Format("15:04:05"))
			if r.Expires != nil {
				s += " until " + r.Expires.Format(time.RFC3339Nano)
			}
			return s
		}
		var got []string
		for id := uint64(2); id <= 3; id++ {
			rows, err := slate.ReadWAL(t.Context(), "db", b, id, slate.InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				got = append(got, text(r))
			}
		}
		mustFlush(t, db)
		got = append(got, "L0")
		for o, err := range b.List(t.Context(), "db/compacted/", "") {
			if err != nil {
				t.Fatal(err)
			}
			id := strings.TrimSuffix(strings.TrimPrefix(o.Key, "db/compacted/"), ".sst")
			if _, err := slate.ReadSST(t.Context(), "db", b, id, slate.InspectOptions{}, func(r slate.RowInfo) error {
				got = append(got, text(r))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			`a@1 value "12" 01:00:00`,
			`b@1 merge "34" 01:00:00`,
			`c@1 value "5" 01:00:00 until 2000-01-01T01:00:00.002Z`,
			`d@1 merge "6" 01:00:00 until 2096-10-02T07:06:40Z`,
			`e@1 tombstone "" 01:00:00`,
			`b@2 merge "7" 01:00:01`,
			"L0",
			`a@1 value "12" 01:00:00`,
			`b@2 merge "347" 01:00:01`,
			`c@1 tombstone "" 01:00:00`,
			`d@1 merge "6" 01:00:00 until 2096-10-02T07:06:40Z`,
			`e@1 tombstone "" 01:00:00`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		mustClose(t, db)
	})
}
