package interop

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/slate"
)

// Stele's collector runs all the time beside a writer of SlateDB, its
// compactor, a reader that is pinned and one that follows: none of them misses
// anything, and what is garbage goes. (No SST is: SlateDB 0.12.1's reader leaves
// a checkpoint behind wherever it has followed to.)
func TestSteleCollectsBesideSlateDB(t *testing.T) {
	const row = "garbage collection beside reader and writer"
	cell(t, row, ourTurn, "writer, compactor, readers")
	dir, m := newDir(t), model{}
	writing, readers := startSlateDB(t), startSlateDB(t)
	c := forms[0].slatedbOpen("writer", dir)
	c.Compactor, c.L0Bytes = true, 64<<10
	writing.do(t, c)
	w := &slatedbWriter{theirs{writing, "writer", dir}, forms[0]}
	rounds := workload(29, 8)
	put(t, w, m, rounds[0])
	w.flushMemtable(t)
	readers.do(t, command{Op: "reader", DB: "pinned", URL: url(dir)})
	readers.do(t, command{Op: "reader", DB: "follower", URL: url(dir), PollMs: 50})
	old := maps.Clone(m)

	// An age that SlateDB's list-then-get of a manifest outlasts by far.
	o := slate.GCOptions{MinAge: 2 * time.Second}
	ctx, stop := context.WithCancel(t.Context())
	var logs, manifests, compactions atomic.Int64
	var collector sync.WaitGroup
	collector.Go(func() {
		b, path := open(t, dir)
		for ctx.Err() == nil {
			r, err := slate.CollectGarbage(context.WithoutCancel(ctx), path, b, o)
			if err != nil {
				t.Errorf("Stele collects: %v", err)
				return
			}
			logs.Add(int64(r.WAL.Deleted.Objects))
			manifests.Add(int64(r.Manifests.Deleted.Objects))
			compactions.Add(int64(r.Compactions.Deleted.Objects))
			time.Sleep(50 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); collector.Wait() })
	for i := 1; i < len(rounds) || min(logs.Load(), manifests.Load(), compactions.Load()) == 0; i++ {
		if t.Failed() || i == 300 {
			t.Fatalf("collected %d WAL objects, %d manifests, %d compactions files", logs.Load(), manifests.Load(), compactions.Load())
		}
		put(t, w, m, rounds[i%len(rounds)])
		put(t, w, m, []batch{{{key: "step", value: fmt.Sprint(i)}}})
		w.flushMemtable(t)
		await(t, dir, "the step at the follower", func(*slate.ManifestInfo) bool {
			v := theirs{readers, "follower", dir}.get(t, []string{"step"})[0]
			return v != nil && *v == fmt.Sprint(i)
		})
	}
	check(t, w, m)
	check(t, theirs{readers, "follower", dir}, m)
	check(t, theirs{readers, "pinned", dir}, old)
	readers.do(t, command{Op: "close", DB: "pinned"})
	readers.do(t, command{Op: "close", DB: "follower"})
	w.close(t)
	stop()
	collector.Wait()
	t.Logf("collected %d WAL objects, %d manifests, %d compactions files", logs.Load(), manifests.Load(), compactions.Load())
	check(t, ours{readOurs(t, dir)}, m)
	reading(t, readers, dir, command{}, func(r engine) { check(t, r, m) })
}

// SlateDB's collector runs after every step of a writer of Stele that flushes
// and compacts, beside a reader of Stele that was opened at the start: the
// reader is protected by the checkpoint that each compaction leaves.
func TestSlateDBCollectsBesideStele(t *testing.T) {
	onlyLatest(t) // 0.12.1 collects only in a writer, which would fence Stele's
	const row = "garbage collection beside reader and writer"
	cell(t, row, theirTurn, "beside Stele's writer and reader")
	n, dir := startSlateDB(t), newDir(t)
	w := newSteleWriter(t, dir, forms[1])
	rounds := workload(31, 6)
	m := flushed(t, w, rounds[:2])
	reader, old := ours{readOurs(t, dir)}, maps.Clone(m)
	before := len(files(t, dir))
	for _, r := range rounds[2:] {
		put(t, w, m, r)
		w.flushMemtable(t)
		n.do(t, command{Op: "gc", URL: url(dir)})
		w.compact(t)
		n.do(t, command{Op: "gc", URL: url(dir)})
		check(t, w, m)
		check(t, reader, old)
	}
	t.Logf("%d objects at first, %d now", before, len(files(t, dir)))

	if m := manifest(t, dir); count(files(t, dir), "/manifest/") > len(m.Checkpoints)+2 {
		t.Errorf("SlateDB left %d manifests for %d checkpoints", count(files(t, dir), "/manifest/"), len(m.Checkpoints))
	}
	w.crash(t)
	check(t, ours{readOurs(t, dir)}, m)
	reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
	again := newSteleWriter(t, dir, forms[0])
	check(t, again, m)
	again.close(t)
}
