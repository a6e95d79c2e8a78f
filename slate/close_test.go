package slate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// What the modes of closing leave: rows in L0, in the log, or only those that
// were durable.
func TestCloseModes(t *testing.T) {
	for _, c := range []struct {
		mode slate.CloseMode
		l0   int
		want model
	}{
		{slate.CloseFlushed, 1, model{"durable": "1", "volatile": "2"}},
		{slate.CloseDurable, 0, model{"durable": "1", "volatile": "2"}},
		{slate.CloseAtOnce, 0, model{"durable": "1"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := slow(10 * time.Millisecond)
			db := open(t, b, slate.Options{MaxFlushDelay: time.Hour})
			put(t, db, "durable", "1")
			var batch slate.Batch
			batch.Put([]byte("volatile"), []byte("2"))
			h, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.CloseWith(c.mode); err != nil {
				t.Errorf("mode %d: %v", c.mode, err)
			}
			if err := h.AwaitDurable(t.Context()); (err != nil) != (c.mode == slate.CloseAtOnce) || err != nil && !errors.Is(err, slate.ErrClosed) {
				t.Errorf("mode %d: the volatile row: %v", c.mode, err)
			}
			if _, err := db.Get(t.Context(), []byte("durable")); !errors.Is(err, slate.ErrClosed) {
				t.Errorf("mode %d: a get after it: %v", c.mode, err)
			}
			if err := db.Close(); !errors.Is(err, slate.ErrClosed) {
				t.Errorf("mode %d: closed twice: %v", c.mode, err)
			}
			if n := count(t, b, "db/compacted/"); n != c.l0 {
				t.Errorf("mode %d: %d SSTs, want %d", c.mode, n, c.l0)
			}
			next := open(t, b, slate.Options{})
			everything(t, fmt.Sprint("after mode ", c.mode), next, c.want)
			mustClose(t, next)
		})
	}
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	if err := db.CloseWith(7); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("a mode that there is not: %v", err)
	}
}

// A close in a hurry does not wait for flushes and compactions, and loses nothing
// that was durable; the next writer goes on with both.
func TestCloseAmidBackgroundWork(t *testing.T) {
	for _, mode := range []slate.CloseMode{slate.CloseDurable, slate.CloseAtOnce} {
		for moment := range 40 {
			synctest.Test(t, func(t *testing.T) {
				b := slow(20 * time.Millisecond)
				opts := slate.Options{L0Bytes: 2000, MaxUnflushedBytes: 6000, MaxSSTBytes: 1000, ReaderGrace: -1, MinFlushInterval: -1}
				db := open(t, b, opts)
				want := model{}
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(moment)*30*time.Millisecond)
				defer stop()
				for i := range 200 {
					k, v := fmt.Sprint(i%37), fmt.Sprintf("%0300d", i)
					var batch slate.Batch
					batch.Put([]byte(k), []byte(v))
					h, err := db.Write(ctx, &batch, slate.WriteOptions{Volatile: true})
					if err != nil {
						break
					}
					if err := h.AwaitDurable(t.Context()); err != nil {
						t.Fatal(err)
					}
					want[k] = v
				}
				began := time.Now()
				if err := db.CloseWith(mode); err != nil {
					t.Errorf("mode %d at %d: %v", mode, moment, err)
				}
				if took := time.Since(began); took > 100*time.Millisecond {
					t.Errorf("mode %d at %d: it took %s", mode, moment, took)
				}
				nextWriter(t, fmt.Sprintf("after mode %d at %d", mode, moment), b, opts, want)
			})
		}
	}
}

func ExampleDB_CloseWith() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	db, err := slate.Open(ctx, "shop", b, slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = db.Put(ctx, []byte("k"), []byte("v"))
	_ = db.CloseWith(slate.CloseDurable) // no flush to L0: as quick as one put

	db, err = slate.Open(ctx, "shop", b, slate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	v, err := db.Get(ctx, []byte("k"))
	fmt.Printf("%s %v\n", v, err)
	// Output: v <nil>
}
