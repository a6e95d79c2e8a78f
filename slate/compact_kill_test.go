package slate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// manyRanges are options under which a small database is compacted in many
// ranges into many SSTs.
func manyRanges(seen *events) slate.Options {
	return slate.Options{
		CompactL0: -1, MaxSSTBytes: 1 << 10, ReaderGrace: -1, GCMinAge: -1,
		Compaction: slate.CompactionOptions{Workers: 2, Each: seen.each},
	}
}

// grown is a database with a run of an earlier compaction, six L0 SSTs above it
// and tombstones in both.
//
// It is made at the beginning of a bubble's time; sleep before going on.
func grown(t *testing.T) (b bucket.Bucket, m model) {
	b = bucket.NewInMemBucket()
	synctest.Test(t, func(t *testing.T) { m = grow(t, faulty.New(b, faulty.Options{})) })
	return b, m
}

func grow(t *testing.T, b *faulty.Bucket) model {
	b.Add(faulty.Rule{Delay: time.Millisecond})
	rnd := rand.New(rand.NewPCG(5, 6))
	m := model{}
	db, err := slate.Open(t.Context(), "db", b, manyRanges(&events{}))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 7 {
		var batch slate.Batch
		for range 40 {
			k := fmt.Sprintf("%02d", rnd.IntN(60))
			if m[k] = fmt.Sprint(round, strings.Repeat("v", 60)); rnd.IntN(4) == 0 {
				delete(m, k)
				batch.Delete([]byte(k))
				continue
			}
			batch.Put([]byte(k), []byte(m[k]))
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			err = db.Compact(t.Context())
		} else {
			err = db.FlushMemtable(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	return m
}

func clone(t testing.TB, b bucket.Bucket) bucket.Bucket {
	time.Sleep(time.Minute)
	out := bucket.NewInMemBucket()
	for _, k := range keys(t, b) {
		body, err := b.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Put(t.Context(), k, body); err != nil {
			t.Fatal(err)
		}
	}
	f := faulty.New(out, faulty.Options{})
	f.Add(faulty.Rule{Delay: time.Millisecond}) // the time of an id tells what came after what
	return f
}

// kill lets so many requests of a process pass. The next one takes effect or
// does not, and no reply comes to it or to any other.
func kill(f *faulty.Bucket, after int, effect bool) {
	if effect {
		f.Add(faulty.Rule{Skip: after, Times: 1, After: func(context.Context, faulty.Request, error) error { return bucket.ErrDenied }})
		after++
	}
	f.Add(faulty.Rule{Skip: after, Err: bucket.ErrDenied})
}

// compactOnce runs a standalone compactor until its first compaction has ended,
// or for an hour, and reports whether one was completed.
func compactOnce(t testing.TB, b bucket.Bucket, opts slate.Options) bool {
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	each, done := opts.Compaction.Each, false
	opts.CompactL0 = 4
	opts.Compaction.Each = func(e slate.CompactionEvent) {
		each(e)
		if e.State != "started" && e.State != "resumed" {
			done = e.State == "completed"
			stop()
		}
	}
	if err := slate.RunCompactor(ctx, "db", b, opts); err != nil && !errors.Is(err, bucket.ErrDenied) {
		t.Errorf("compactor: %v", err)
	}
	return done
}

// compactAll opens a writer, has everything compacted and closes it.
func compactAll(ctx context.Context, b bucket.Bucket, opts slate.Options) error {
	db, err := slate.Open(ctx, "db", b, opts)
	if err != nil {
		return err
	}
	return errors.Join(db.Compact(ctx), db.Close())
}

// A compaction is killed at every request that it makes, be it carried out or
// not. Nothing is lost, whatever is collected then; the next compactor goes on
// from what is recorded, or starts anew; and once all is compacted the bucket
// holds nothing else than it should.
func TestCompactionKilledAtEveryRequest(t *testing.T) {
	base, m := grown(t)
	for _, alone := range []bool{true, false} {
		resumed, saved, steps := 0, 0, 0
		whole := int64(0) // bytes that a compaction writes which nobody kills
		for step, done := 0, false; !done; step++ {
			for _, effect := range []bool{false, true} {
				what := fmt.Sprintf("alone %v, killed at request %d (%v)", alone, step, effect)
				steps++
				synctest.Test(t, func(t *testing.T) {
					b := clone(t, base)
					dying := faulty.New(b, faulty.Options{})
					if alone {
						kill(dying, step, effect)
						done = compactOnce(t, dying, manyRanges(&events{}))
					} else {
						db, err := slate.Open(t.Context(), "db", dying, manyRanges(&events{}))
						if err != nil {
							t.Fatal(err)
						}
						kill(dying, step, effect)
						done = db.Compact(t.Context()) == nil
						_ = db.Close()
					}
					collect(t, b, anyAge)
					everything(t, what, mustOpen(t, b), m)

					var seen events
					if alone {
						compactOnce(t, b, manyRanges(&seen))
					} else if err := compactAll(t.Context(), b, manyRanges(&seen)); err != nil {
						t.Fatal(err)
					}
					n := seen.states()
					resumed += n["resumed"]
					if n["failed"]+n["stopped"] > 0 {
						t.Errorf("%s: the next compactor: %v", what, n)
					}
					for _, e := range seen.all {
						if e.State == "completed" && step == 0 {
							whole = e.Written
						}
						if e.State == "completed" && n["resumed"] > 0 && e.Written < whole {
							saved++
						}
					}
					if err := compactAll(t.Context(), b, manyRanges(&events{})); err != nil {
						t.Fatal(err)
					}
					collect(t, b, anyAge)
					nothingElse(t, what, b)
					everything(t, what+", at last", mustOpen(t, b), m)
				})
			}
			if step > 500 {
				t.Fatal("the compaction never ends")
			}
		}
		t.Logf("alone %v: %d kills, %d resumed, %d of them with less to do", alone, steps, resumed, saved)
		if resumed < steps/4 || saved == 0 {
			t.Errorf("alone %v: of %d kills %d were resumed, %d with less to do", alone, steps, resumed, saved)
		}
	}
}

func mustOpen(t testing.TB, b bucket.Bucket, opts ...slate.ReaderOptions) *slate.Reader {
	r, err := slate.OpenReader(t.Context(), "db", b, append(opts, slate.ReaderOptions{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// One request of a compactor fails, each in turn, and the compactor lives on: it
// tries again after a while, by itself.
func TestCompactionOutlivesAnyFault(t *testing.T) {
	base, m := grown(t)
	for _, alone := range []bool{true, false} {
		for step, hit := 0, true; hit; step++ {
			synctest.Test(t, func(t *testing.T) {
				what := fmt.Sprintf("alone %v, request %d", alone, step)
				b := clone(t, base)
				f := faulty.New(b, faulty.Options{})
				var seen events
				opts := manyRanges(&seen)
				opts.CompactL0 = 4
				hit = false
				fault := faulty.Rule{Skip: step, Times: 1, Before: func(context.Context, faulty.Request) error {
					hit = true
					return bucket.ErrDenied
				}}
				if alone {
					f.Add(fault)
					for range 2 { // its first requests may end it
						ctx, stop := context.WithTimeout(t.Context(), time.Minute)
						_ = slate.RunCompactor(ctx, "db", f, opts)
						stop()
					}
				} else {
					db := open(t, f, opts)
					heal := f.Add(fault)
					time.Sleep(time.Minute)
					heal()
					everything(t, what, db, m)
					if err := db.Close(); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				if n := seen.states(); n["completed"] == 0 {
					t.Errorf("%s: %v", what, n)
				}
				if err := compactAll(t.Context(), b, manyRanges(&events{})); err != nil {
					t.Fatal(err)
				}
				collect(t, b, anyAge)
				nothingElse(t, what, b)
				everything(t, what, mustOpen(t, b), m)
			})
			if step > 500 {
				t.Fatal("the compaction never ends")
			}
		}
	}
}
