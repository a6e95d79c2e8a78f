package interop

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// onlyLatest skips what SlateDB 0.12.1 does not have.
func onlyLatest(t *testing.T) {
	t.Helper()
	if !latest {
		t.Skip("only the newest SlateDB has it: make interop-latest")
	}
}

// Keys beyond the 65,535 bytes that earlier versions take, and Stele writes,
// are read, compacted and carried on.
func TestLongKeys(t *testing.T) {
	onlyLatest(t)
	cell(t, "keys beyond 65,535 bytes", ourTurn, "up to 200,001")
	n := startSlateDB(t)
	dir, m := newDir(t), model{}
	w := newSlateDBWriter(t, n, dir, forms[0])
	x := strings.Repeat("x", 200_000)
	first := batch{{key: x[:70_000], value: "1"}, {key: x + "a", value: "2"}, {key: x + "b", value: "3"}}
	put(t, w, m, []batch{first})
	w.flush(t)
	check(t, ours{readOurs(t, dir)}, m)
	w.flushMemtable(t)
	put(t, w, m, []batch{{{key: x[:65_536], value: "4"}, {key: x + "b", value: "5"}, {key: x + "a", del: true}}})
	w.flush(t)
	w.crash(t)
	s := newSteleWriter(t, dir, forms[1])
	check(t, s, m)
	s.compact(t)
	check(t, s, m)
	s.close(t)
	reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
}

// Segments, which only a database with an extractor has, are refused by name,
// for reading, writing and collecting.
func TestSegments(t *testing.T) {
	onlyLatest(t)
	cell(t, "segments", ourTurn, "refused by name (ErrUnsupported)")
	n, dir := startSlateDB(t), newDir(t)
	c := forms[0].slatedbOpen("w", dir)
	c.Segment = 2
	n.do(t, c)
	must(t, n.put(t, "w", "k", "v"))
	n.do(t, command{Op: "flush", DB: "w", Memtable: true})
	n.do(t, command{Op: "close", DB: "w"})
	before := files(t, dir)
	b, path := open(t, dir)
	_, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{})
	if !errors.Is(err, slate.ErrUnsupported) || !strings.Contains(err.Error(), "segments") {
		t.Errorf("a reader: %v", err)
	}
	if _, err := slate.Open(t.Context(), path, b, slate.Options{}); !errors.Is(err, slate.ErrUnsupported) {
		t.Errorf("a writer: %v", err)
	}
	if _, err := slate.CollectGarbage(t.Context(), path, b, slate.GCOptions{MinAge: -1}); !errors.Is(err, slate.ErrUnsupported) {
		t.Errorf("a collector: %v", err)
	}
	if now := files(t, dir); !slices.Equal(now, before) {
		t.Errorf("the database changed: %q, was %q", now, before)
	}
}

// Composite filters of two policies: Stele uses the one over whole keys and
// finds every key; and after Stele has compacted, SlateDB does, prefixes too.
func TestCompositeFilters(t *testing.T) {
	onlyLatest(t)
	cell(t, "composite filters", ourTurn, "prefixes and whole keys")
	n, dir, m := startSlateDB(t), newDir(t), model{}
	c := forms[1].slatedbOpen("writer", dir)
	c.FilterOf = 3
	n.do(t, c)
	w := &slatedbWriter{theirs{n, "writer", dir}, forms[1]}
	rounds := workload(37, 3)
	for _, r := range rounds[:2] {
		put(t, w, m, r)
		w.flushMemtable(t)
	}
	if l0 := manifest(t, dir).L0; l0[1].FilterBytes < 2*200 {
		t.Fatalf("filter of %d bytes for every key", l0[1].FilterBytes)
	}
	w.close(t)
	check(t, ours{readOurs(t, dir)}, m)
	s := newSteleWriter(t, dir, forms[2])
	check(t, s, m)
	put(t, s, m, rounds[2])
	s.flushMemtable(t)
	reading(t, n, dir, command{FilterOf: 3}, func(r engine) { check(t, r, m) })
	s.compact(t)
	s.close(t)
	reading(t, n, dir, command{FilterOf: 3}, func(r engine) { check(t, r, m) })
}

// A clone reads its parent's SSTs: Stele reads it, writes it, compacts it, and
// leaves the parent as it is.
func TestClone(t *testing.T) {
	onlyLatest(t)
	cell(t, "a clone", ourTurn, "read, written, compacted")
	n, parent := startSlateDB(t), newDir(t)
	rounds := workload(41, 4)
	w := newSlateDBWriter(t, n, parent, forms[0])
	m := flushed(t, w, rounds[:2])
	put(t, w, m, rounds[2])
	w.flush(t)
	w.close(t)
	dir := parent + "-clone"
	n.do(t, command{Op: "clone", URL: url(dir), Parent: url(parent)})
	before, old := files(t, parent), maps.Clone(m)
	// SlateDB notes the parent by its path in the store, which is the whole file system.
	root, err := bucket.OpenDir("/")
	must(t, err)
	defer root.Close()
	r, err := slate.OpenReader(t.Context(), dir[1:], root, slate.ReaderOptions{MergeOperator: operator})
	must(t, err)
	check(t, ours{r}, m)
	must(t, r.Close())
	db, err := slate.Open(t.Context(), dir[1:], root, forms[1].steleOptions())
	must(t, err)
	s := &steleWriter{ours: ours{db}, dir: dir, db: db}
	put(t, s, m, rounds[3])
	s.flushMemtable(t)
	check(t, s, m)
	s.compact(t)
	check(t, s, m)
	s.close(t)
	reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
	if now := files(t, parent); !slices.Equal(now, before) {
		t.Errorf("the parent became %q, was %q", now, before)
	}
	check(t, ours{readOurs(t, parent)}, old)
}

// SlateDB's administration sees in Stele's manifest what Stele sees, and makes
// a checkpoint there, which Stele keeps and SlateDB opens.
func TestAdministration(t *testing.T) {
	onlyLatest(t)
	cell(t, "the other's own tools", theirTurn, "manifest, checkpoint, collection")
	n, dir := startSlateDB(t), newDir(t)
	w := newSteleWriter(t, dir, forms[1])
	m := layered(t, w)
	id := n.do(t, command{Op: "checkpoint", URL: url(dir)}).ID
	old := maps.Clone(m)
	delete(old, "in the log") // a manifest knows the log only as far as it was when it was written
	info := manifest(t, dir)
	var ids []string
	for _, s := range info.L0 {
		ids = append(ids, s.ID)
	}
	for _, r := range info.Runs {
		for _, s := range r.SSTs {
			ids = append(ids, s.ID)
		}
	}
	for _, c := range info.Checkpoints {
		ids = append(ids, c.ID)
	}
	l := n.do(t, command{Op: "manifest", URL: url(dir)})
	if !slices.Equal(l.IDs, ids) || !slices.Equal(l.Epochs, []uint64{info.WriterEpoch, info.CompactorEpoch}) {
		t.Errorf("SlateDB sees %q, epochs %d, want %q, %s", l.IDs, l.Epochs, ids, shape(info))
	}
	put(t, w, m, workload(43, 1)[0])
	w.flushMemtable(t)
	w.compact(t)
	n.do(t, command{Op: "gc", URL: url(dir)})
	check(t, w, m)
	reading(t, n, dir, command{Checkpoint: id}, func(r engine) { check(t, r, old) })
	w.close(t)
}

// A compaction that was asked for with SlateDB's tools and that nobody began is
// settled by Stele's next one; one that Stele began and did not live to finish,
// by SlateDB's.
func TestUnfinishedCompactions(t *testing.T) {
	const row = "a compaction that the other left is settled"
	n := startSlateDB(t)
	rounds := workload(47, 4)
	t.Run("Stele's", func(t *testing.T) {
		cell(t, row, theirTurn, "begun")
		dir := newDir(t)
		m := flushed(t, newSteleWriter(t, dir, forms[1]), rounds[:3])
		inner, path := open(t, dir)
		b := faulty.New(inner, faulty.Options{})
		o := forms[1].steleOptions()
		db, err := slate.Open(t.Context(), path, b, o)
		must(t, err)
		left := dir + "-left"
		b.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.Put, faulty.PutIfAbsent}, Keys: path + "/compacted/*", Times: 1,
			After: func(_ context.Context, _ faulty.Request, err error) error {
				return errors.Join(err, os.CopyFS(left, os.DirFS(dir)))
			}})
		must(t, db.Compact(t.Context()))
		must(t, db.Close())
		if m := manifest(t, left); len(m.L0) != 3 || m.CompactorEpoch == 0 {
			t.Fatalf("left unfinished: %s", shape(m))
		}
		w := newSlateDBWriter(t, n, left, forms[2])
		check(t, w, m)
		w.compact(t)
		check(t, w, m)
		w.close(t)
		check(t, ours{readOurs(t, left)}, m)
	})
	t.Run("submitted by Stele", func(t *testing.T) {
		cell(t, row, theirTurn, "asked for")
		dir := newDir(t)
		w := newSteleWriter(t, dir, forms[1])
		m := flushed(t, w, rounds[:2])
		w.compact(t)
		put(t, w, m, rounds[2]) // one SST of L0: SlateDB's compactor would leave it
		w.flushMemtable(t)
		w.close(t)
		b, path := open(t, dir)
		id, err := slate.SubmitCompaction(t.Context(), path, b, slate.SubmitOptions{})
		must(t, err)
		s := newSlateDBWriter(t, n, dir, forms[2])
		s.compact(t)
		check(t, s, m)
		s.close(t)
		info, err := slate.ReadCompaction(t.Context(), path, b, id)
		must(t, err)
		if info.State != "completed" || len(info.L0) != 1 || len(info.Runs) != 1 {
			t.Errorf("submitted: %+v", info)
		}
		if now := manifest(t, dir); len(now.Runs) != 1 {
			t.Errorf("submitted everything: %s", shape(now))
		}
		check(t, ours{readOurs(t, dir)}, m)
	})
	t.Run("SlateDB's", func(t *testing.T) {
		onlyLatest(t) // nobody can ask 0.12.1 for a compaction
		cell(t, row, ourTurn, "asked for")
		dir := newDir(t)
		w := newSlateDBWriter(t, n, dir, forms[3])
		m := flushed(t, w, rounds[:2])
		w.compact(t) // there is no compactions file before
		put(t, w, m, rounds[2])
		w.flushMemtable(t)
		w.close(t)
		n.do(t, command{Op: "compact", URL: url(dir)})
		s := newSteleWriter(t, dir, forms[1])
		put(t, s, m, rounds[3])
		s.compact(t)
		check(t, s, m)
		s.close(t)
		again := newSlateDBWriter(t, n, dir, forms[2])
		for range 2 {
			put(t, again, m, rounds[3])
			again.flushMemtable(t)
		}
		again.compact(t)
		check(t, again, m)
		again.close(t)
		check(t, ours{readOurs(t, dir)}, m)
	})
}
