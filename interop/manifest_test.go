package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate"
)

// layered leaves a database with a run, an L0, a log and, if Stele wrote it, a
// checkpoint.
func layered(t *testing.T, w writer) model {
	t.Helper()
	rounds := workload(3, 3)
	m := flushed(t, w, rounds[:2])
	w.compact(t)
	put(t, w, m, rounds[2])
	w.flushMemtable(t)
	put(t, w, m, []batch{{{key: "in the log", value: "x"}}})
	w.flush(t)
	return m
}

// What one engine says in a manifest, the other carries on unchanged when it
// writes the next: each has understood every field.
func TestManifestFieldsSurvive(t *testing.T) {
	n := startSlateDB(t)
	for name, c := range map[string]struct {
		half int
		make func(dir string) writer
		next func(t *testing.T, dir string)
	}{
		"Stele's by SlateDB": {
			theirTurn,
			func(dir string) writer { return newSteleWriter(t, dir, forms[4]) },
			func(t *testing.T, dir string) {
				n.do(t, forms[0].slatedbOpen("next", dir))
				t.Cleanup(func() { n.do(t, command{Op: "close", DB: "next"}) })
			},
		},
		"SlateDB's by Stele": {
			ourTurn,
			func(dir string) writer { return newSlateDBWriter(t, n, dir, forms[4]) },
			func(t *testing.T, dir string) { openOurs(t, dir, forms[0].steleOptions()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			cell(t, "every field of a manifest survives", c.half, "all")
			dir := newDir(t)
			w := c.make(dir)
			layered(t, w)
			w.crash(t)
			before := manifest(t, dir)
			c.next(t, dir)
			after := manifest(t, dir)
			if after.ID <= before.ID || after.WriterEpoch != before.WriterEpoch+1 || after.WALLastSeen < before.WALLastSeen {
				t.Errorf("id %d, writer epoch %d, newest log object %d after %d, %d, %d", after.ID, after.WriterEpoch, after.WALLastSeen,
					before.ID, before.WriterEpoch, before.WALLastSeen)
			}
			same := *after
			same.ID, same.WriterEpoch, same.WALLastSeen = before.ID, before.WriterEpoch, before.WALLastSeen
			same.FormatVersion = before.FormatVersion // 2 by the newest SlateDB
			if !reflect.DeepEqual(&same, before) {
				t.Errorf("the manifest became\n%+v\nand was\n%+v", same, *before)
			}
		})
	}
}

// SlateDB's compactor goes on after Stele's compactions, and Stele's after
// SlateDB's: each takes over the other's compactions file, runs and epoch.
func TestCompactorsTakeTurns(t *testing.T) {
	cell(t, "the compactors take turns", theirTurn, "twice")
	cell(t, "the compactors take turns", ourTurn, "twice")
	dir, m := newDir(t), model{}
	n := startSlateDB(t)
	rounds := workload(5, 12)
	for i := range 4 {
		f := forms[i%len(forms)]
		batches := rounds[3*i : 3*i+3]
		epoch := uint64(0)
		if i > 0 {
			epoch = manifest(t, dir).CompactorEpoch
		}
		var w writer = newSteleWriter(t, dir, f)
		if i%2 == 1 {
			w = newSlateDBWriter(t, n, dir, f)
		}
		for _, r := range batches {
			put(t, w, m, r)
			w.flushMemtable(t)
		}
		w.compact(t)
		check(t, w, m)
		w.close(t)
		if now := manifest(t, dir); now.CompactorEpoch <= epoch || len(now.L0) != 0 || now.LastCompactedL0 == "" {
			t.Fatalf("%v compacted: compactor epoch %d after %d, L0 %v, last compacted %q", w, now.CompactorEpoch, epoch, now.L0, now.LastCompactedL0)
		}
		check(t, ours{readOurs(t, dir)}, m)
		reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
	}
	// Claims, starts and ends of all four are versions of one file.
	if names, _ := filepath.Glob(filepath.Join(dir, "compactions", "*.compactions")); len(names) < 8 {
		t.Errorf("%d versions of the compactions file", len(names))
	}
}

// SlateDB's garbage collector removes what Stele's manifests, log and
// compactions have left behind, and nothing else.
func TestSlateDBCollectsStelesGarbage(t *testing.T) {
	cell(t, "garbage collection beside reader and writer", theirTurn, "in its writer")
	dir := newDir(t)
	n := startSlateDB(t)
	o := forms[0].steleOptions()
	o.ReaderGrace = -1 // no checkpoint keeps the old objects
	db := openOurs(t, dir, o)
	w := &steleWriter{ours: ours{db}, dir: dir, db: db}
	m := layered(t, w)
	put(t, w, m, []batch{{{key: "second", value: "in L0"}}})
	w.flushMemtable(t)
	w.compact(t)
	put(t, w, m, []batch{{{key: "third", value: "in the log"}}})
	w.flush(t)
	w.crash(t)
	before := files(t, dir)

	c := forms[0].slatedbOpen("collector", dir)
	c.GC, c.Compactor = true, true
	n.do(t, c)
	await(t, dir, "garbage collection by SlateDB", func(*slate.ManifestInfo) bool {
		now := files(t, dir)
		gone := func(part string) bool { return count(now, part) < count(before, part) }
		return gone("00001.manifest") && gone("00001.sst") && gone("/compacted/")
	})
	check(t, theirs{n, "collector", dir}, m)
	n.do(t, command{Op: "close", DB: "collector"})
	check(t, ours{readOurs(t, dir)}, m)
	db = openOurs(t, dir, o)
	check(t, ours{db}, m)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(names []string, part string) int {
	n := 0
	for _, name := range names {
		if strings.Contains(filepath.ToSlash(name), part) {
			n++
		}
	}
	return n
}

// A reader of SlateDB keeps its checkpoint in the manifest of a database that
// Stele writes: Stele carries it through flushes and compactions, the view
// behind it stays, and Stele's writer is not disturbed by the reader's writes.
func TestCheckpointOfSlateDBsReader(t *testing.T) {
	cell(t, "a checkpoint, opened by the other", theirTurn, "its reader's")
	n := startSlateDB(t)
	for attempt := 0; !checkpointStays(t, n, attempt == 9); attempt++ {
		t.Log("the reader looked for news after it had been opened")
	}
}

// checkpointStays reports whether its scenario came about. A reader looks for
// news once as it begins, at a moment of its own choice: if that comes after
// what is written below it follows, and shows nothing of what is to be shown.
func checkpointStays(t *testing.T, n *process, last bool) bool {
	dir := newDir(t)
	w := newSteleWriter(t, dir, forms[0])
	m := layered(t, w)
	old := model{}
	for k, v := range m {
		old[k] = v
	}
	had := len(manifest(t, dir).Checkpoints)
	n.do(t, command{Op: "reader", DB: "pinned", URL: url(dir)})
	cs := manifest(t, dir).Checkpoints
	if len(cs) != had+1 {
		t.Fatalf("%d checkpoints beside a reader of SlateDB, %d before", len(cs), had)
	}
	pin := cs[len(cs)-1]
	has := func() bool {
		return slices.ContainsFunc(manifest(t, dir).Checkpoints, func(c slate.CheckpointInfo) bool { return reflect.DeepEqual(c, pin) })
	}

	rounds := workload(9, 2)
	put(t, w, m, rounds[0])
	w.flushMemtable(t)
	put(t, w, m, rounds[1])
	w.compact(t)
	pinned := theirs{n, "pinned", dir}
	now := pinned.scan(t, "", "", false)
	followed := !has() || slices.ContainsFunc(now, func(r row) bool { return r.value != old[r.key].value }) || len(now) != len(old)
	if followed && !last {
		n.do(t, command{Op: "close", DB: "pinned"})
		w.close(t)
		return false
	}
	if !has() {
		t.Fatalf("checkpoint %+v of the reader is not among %+v", pin, manifest(t, dir).Checkpoints)
	}
	check(t, pinned, old)
	delete(old, "in the log") // a manifest knows the log only as far as it was when it was written
	reading(t, n, dir, command{Checkpoint: pin.ID}, func(r engine) { check(t, r, old) })
	check(t, w, m)

	n.do(t, command{Op: "close", DB: "pinned"})
	if cs := manifest(t, dir).Checkpoints; slices.ContainsFunc(cs, func(c slate.CheckpointInfo) bool { return c.ID == pin.ID }) {
		t.Errorf("the reader closed and its checkpoint is there: %+v", cs)
	}
	put(t, w, m, []batch{{{key: "after", value: "the reader"}}})
	w.flushMemtable(t)
	w.compact(t)
	check(t, w, m)
	w.close(t)
	check(t, ours{readOurs(t, dir)}, m)
	return true
}

// SlateDB opens the checkpoint that Stele's compaction leaves for readers: it
// shows what was durable before.
func TestCheckpointOfStelesCompaction(t *testing.T) {
	cell(t, "a checkpoint, opened by the other", theirTurn, "of a compaction")
	dir := newDir(t)
	n := startSlateDB(t)
	w := newSteleWriter(t, dir, forms[0])
	m := flushed(t, w, workload(11, 2))
	w.compact(t)
	cs := manifest(t, dir).Checkpoints
	if len(cs) == 0 || cs[0].Expires == nil { // before it, one of L0 may have run
		t.Fatalf("checkpoints of a compaction: %+v", cs)
	}
	put(t, w, model{}, []batch{{{key: "later", value: "not in the checkpoint"}}})
	w.flushMemtable(t)
	reading(t, n, dir, command{Checkpoint: cs[len(cs)-1].ID}, func(r engine) { check(t, r, m) })
}

// A reader of SlateDB that follows sees what a living writer of Stele flushes
// to the log, to L0 and into runs.
func TestSlateDBFollowsStele(t *testing.T) {
	cell(t, "a reader that follows", theirTurn, "log, L0 and runs")
	dir := newDir(t)
	n := startSlateDB(t)
	w := newSteleWriter(t, dir, forms[0])
	m := model{}
	put(t, w, m, []batch{{{key: "step", value: "0"}}})
	w.flush(t)
	n.do(t, command{Op: "reader", DB: "follower", URL: url(dir), PollMs: 20})
	r := theirs{n, "follower", dir}
	for i, step := range []func(*testing.T){w.flush, w.flushMemtable, w.compact, w.flush} {
		want := fmt.Sprint(i + 1)
		put(t, w, m, []batch{{{key: "step", value: want}}})
		step(t)
		await(t, dir, "step "+want+" at the follower", func(*slate.ManifestInfo) bool {
			v := r.get(t, []string{"step"})[0]
			return v != nil && *v == want
		})
	}
	n.do(t, command{Op: "close", DB: "follower"})
}

// SlateDB's own tool for the log and ours see the same rows in the same
// objects, whoever wrote them.
func TestLogs(t *testing.T) {
	cell(t, "the log, row by row", theirTurn, "with seq, times and fences")
	cell(t, "the log, row by row", ourTurn, "with seq, times and fences")
	dir := newDir(t)
	n := startSlateDB(t)
	rounds := workload(13, 4)
	for i, r := range rounds {
		var w writer = newSteleWriter(t, dir, forms[i])
		if i%2 == 1 {
			w = newSlateDBWriter(t, n, dir, forms[i])
		}
		put(t, w, model{}, r)
		w.flush(t)
		w.crash(t)
	}
	var got []string
	b, path := open(t, dir)
	ids, err := slate.WALObjects(t.Context(), path, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		rows, err := slate.ReadWAL(t.Context(), path, b, id, slate.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			got = append(got, fmt.Sprint(id, " fence"))
		}
		for _, r := range rows {
			got = append(got, logRow(id, r.Kind, r.Key, r.Value, r.Seq, millis(r.Created), millis(r.Expires)))
		}
	}
	var want []string
	_, err = n.try(t, command{Op: "wal", URL: url(dir)}, func(l line) {
		if l.Kind == "" {
			want = append(want, fmt.Sprint(l.WAL, " fence"))
			return
		}
		var v []byte
		if l.Value != nil {
			v = *l.Value
		}
		want = append(want, logRow(l.WAL, strings.ToLower(l.Kind), l.Key, v, l.Seq, l.Created, l.Expires))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("row %d of %d here, %d there:\n%.200s\n%.200s", i, len(got), len(want), at(got, i), at(want, i))
		}
	}
}

func logRow(wal uint64, kind string, key, value []byte, seq uint64, created, expires int64) string {
	return fmt.Sprintf("%d %s seq %d at %d until %d %.60q (%d) = %.60q (%d) %t", wal, kind, seq, created, expires, key, len(key), value, len(value), bytes.Equal(value, nil))
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
