package slate_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func ExampleRunCompactor() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	// The writer leaves compaction to a process of its own.
	db, err := slate.Open(ctx, "mydb", b, slate.Options{CompactL0: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for i := range 4 {
		_ = db.Put(ctx, fmt.Appendf(nil, "key %d", i), []byte("value"))
		_ = db.FlushMemtable(ctx)
	}

	// That process: it goes on until ctx ends, here after the first compaction.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = slate.RunCompactor(ctx, "mydb", b, slate.Options{Compaction: slate.CompactionOptions{
		Each: func(e slate.CompactionEvent) {
			fmt.Printf("%s: %d of L0 and %d runs into run %d\n", e.State, e.L0, len(e.Runs), e.Destination)
			if e.State == "completed" {
				stop()
			}
		},
	}})
	fmt.Println(err)
	// Output:
	// started: 4 of L0 and 0 runs into run 0
	// completed: 4 of L0 and 0 runs into run 0
	// <nil>
}

func ExampleSubmitCompaction() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	db, err := slate.Open(ctx, "mydb", b, slate.Options{CompactL0: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for i := range 3 {
		_ = db.Put(ctx, []byte("key"), []byte{byte(i)})
		_ = db.FlushMemtable(ctx)
	}

	// Anybody may ask for a compaction, here of everything.
	id, err := slate.SubmitCompaction(ctx, "mydb", b, slate.SubmitOptions{})
	if err != nil {
		log.Fatal(err)
	}
	c, _ := slate.ReadCompaction(ctx, "mydb", b, id)
	fmt.Printf("%s: %d of L0\n", c.State, len(c.L0))

	// The compactor, which is a process of its own, carries it out.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	_ = slate.RunCompactor(ctx, "mydb", b, slate.Options{Compaction: slate.CompactionOptions{
		Each: func(e slate.CompactionEvent) {
			if e.State == "completed" {
				stop()
			}
		},
	}})
	c, _ = slate.ReadCompaction(context.Background(), "mydb", b, id)
	fmt.Println(c.State)
	// Output:
	// submitted: 3 of L0
	// completed
}

func ExampleCompactionOptions() {
	db, err := slate.Open(context.Background(), "mydb", bucket.NewInMemBucket(), slate.Options{
		Compaction: slate.CompactionOptions{
			Scheduler:      slate.SizeTiered{MinSources: 3}, // fewer runs, more rewriting
			Workers:        2,                               // ranges of keys at a time
			BytesPerSecond: 50 << 20,                        // read and written
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	fmt.Printf("%+v\n", db.CompactionWork())
	// Output:
	// {Jobs:0 Moved:0 Read:0 Written:0}
}

// threeAtATime makes a run of three SSTs of L0, and never merges runs.
type threeAtATime struct{}

func (threeAtATime) Propose(t slate.CompactionTree) []slate.CompactionPlan {
	if len(t.L0) < 3 || len(t.Active) > 0 {
		return nil
	}
	return []slate.CompactionPlan{{L0: 3, Destination: t.NextRun()}}
}

func ExampleScheduler() {
	ctx := context.Background()
	done := make(chan slate.CompactionEvent, 8)
	db, err := slate.Open(ctx, "mydb", bucket.NewInMemBucket(), slate.Options{Compaction: slate.CompactionOptions{
		Scheduler: threeAtATime{},
		Each:      func(e slate.CompactionEvent) { done <- e },
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for i := range 3 {
		_ = db.Put(ctx, []byte("key"), []byte{byte(i)})
		_ = db.FlushMemtable(ctx)
	}
	fmt.Println((<-done).State, (<-done).State)
	// Output:
	// started completed
}

func ExampleCompactionFilter() {
	ctx := context.Background()
	forget := func(row slate.FilterRow) (slate.FilterDecision, []byte) {
		if bytes.HasPrefix(row.Key, []byte("log/")) && row.Created.Before(time.Now().Add(-time.Hour)) {
			return slate.FilterDelete, nil
		}
		if bytes.Contains(row.Value, []byte("ada@example.com")) {
			return slate.FilterReplace, bytes.ReplaceAll(row.Value, []byte("ada@example.com"), []byte("(erased)"))
		}
		return slate.FilterKeep, nil
	}
	db, err := slate.Open(ctx, "mydb", bucket.NewInMemBucket(), slate.Options{Compaction: slate.CompactionOptions{Filter: forget}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("user/1"), []byte("Ada, ada@example.com"))
	_ = db.Compact(ctx)
	value, _ := db.Get(ctx, []byte("user/1"))
	fmt.Println(string(value))
	// Output:
	// Ada, (erased)
}
