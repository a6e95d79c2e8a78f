package interop

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate"
)

// past and future are expiries (Unix ms) that lie before and after any test.
const (
	past   = 1_000_000_000_000
	future = 4_102_444_800_000
)

// both runs a test with either engine as the writer of a new database, a
// subtest each that is a cell of row.
func both(t *testing.T, row, variant string, test func(t *testing.T, n *process, w writer, dir string)) {
	t.Helper()
	for half, name := range []string{"written by Stele", "written by SlateDB"} {
		t.Run(row+", "+name, func(t *testing.T) {
			cell(t, row, half, variant)
			n, dir := startSlateDB(t), newDir(t)
			if half == theirTurn {
				test(t, n, newSteleWriter(t, dir, forms[1]), dir)
			} else {
				test(t, n, newSlateDBWriter(t, n, dir, forms[1]), dir)
			}
		})
	}
}

// Operands lie above values, above nothing and above tombstones, in three
// levels and several in a batch. Both engines see one value, before the one and
// the other has folded them on disk.
func TestMerges(t *testing.T) {
	both(t, "merges over log, L0 and run", "counters, appends, batches", func(t *testing.T, n *process, w writer, dir string) {
		m := model{}
		level := func(i int) batch {
			var b batch
			for _, k := range []string{"base", "none", "deleted", "base+ttl"} {
				for _, operand := range []string{fmt.Sprintf("c<%d>", i), counter(uint64(1000 + i))} {
					x := write{key: operand[:1] + k, value: operand, merge: i > 0 || k == "none"}
					if k == "base+ttl" {
						x.expires = future - int64(i)
					}
					if k == "deleted" && i == 0 {
						x = write{key: x.key, del: true}
					}
					b = append(b, x)
				}
			}
			// One batch that begins with a put or with an operand.
			b = append(b, write{key: "cbatch", value: "c[", merge: i%2 == 0}, write{key: "cbatch", value: "cx", merge: true}, write{key: "cbatch", value: "c]", merge: true})
			return b
		}
		for i := range 2 { // a run
			put(t, w, m, []batch{level(i)})
			w.flushMemtable(t)
		}
		w.compact(t)
		put(t, w, m, []batch{level(2)}) // L0
		w.flushMemtable(t)
		put(t, w, m, []batch{level(3), level(4)}) // the log
		w.flush(t)
		check(t, w, m)
		w.crash(t)

		check(t, ours{readOurs(t, dir)}, m)
		reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
		for i, next := range []func() writer{
			func() writer { return newSteleWriter(t, dir, forms[2]) },
			func() writer { return newSlateDBWriter(t, n, dir, forms[3]) },
		} {
			w := next()
			for j := range 2 {
				put(t, w, m, []batch{level(5 + 2*i + j)})
				w.flushMemtable(t)
			}
			check(t, w, m)
			w.compact(t)
			check(t, w, m)
			w.close(t)
			check(t, ours{readOurs(t, dir)}, m)
			reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
		}
	})
}

// expiring is a history in which rows expire: what becomes of them depends on
// what lies above and below.
func expiring() []batch {
	b := []batch{
		{
			{key: "alone", value: "1", expires: past}, {key: "above", value: "1"}, {key: "below", value: "1", expires: past},
			{key: "stays", value: "1", expires: future}, {key: "plain", value: "1"}, {key: "deleted", value: "1", expires: past},
			{key: "cbase", value: "c1"}, {key: "cexpired base", value: "c1", expires: past}, {key: "coperand", value: "c1", merge: true, expires: past},
			{key: "clater", value: "c1", merge: true, expires: future}, {key: "csame", value: "c1", merge: true, expires: past},
		},
		{
			{key: "above", value: "2", expires: past}, {key: "below", value: "2"}, {key: "deleted", del: true}, {key: "stays", value: "2", expires: future + 1},
			{key: "cbase", value: "c2", merge: true, expires: past}, {key: "cexpired base", value: "c2", merge: true},
			{key: "coperand", value: "c2", merge: true}, {key: "clater", value: "c2", merge: true, expires: future + 5}, {key: "csame", value: "c2", merge: true, expires: past},
		},
		{
			{key: "cbase", value: "c3", merge: true, expires: future}, {key: "cexpired base", value: "c3", merge: true, expires: future},
			{key: "coperand", value: "c3", merge: true, expires: past}, {key: "clater", value: "c3", merge: true, expires: future}, {key: "deleted", value: "c3", merge: true},
		},
	}
	return b
}

// A row that has expired is seen, by both, until a flush rewrites it; Stele
// hides it on request.
func TestExpiredRows(t *testing.T) {
	both(t, "expired rows are seen until a flush", "and hidden by Stele on request", func(t *testing.T, n *process, w writer, dir string) {
		m := model{}
		put(t, w, m, []batch{{
			{key: "gone", value: "1", expires: past}, {key: "stays", value: "1", expires: future}, {key: "plain", value: "1"},
			{key: "shadow", value: "1"},
		}, {{key: "shadow", value: "2", expires: past}}})
		w.flush(t)
		check(t, w, m)
		w.crash(t)
		check(t, ours{readOurs(t, dir)}, m)
		reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })

		hidden := model{"stays": m["stays"], "plain": m["plain"]}
		b, path := open(t, dir)
		r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{HideExpired: true})
		must(t, err)
		check(t, ours{r}, hidden)
		must(t, r.Close())

		again := reopen(t, n, w, dir)
		again.flushMemtable(t)
		check(t, again, hidden)
		again.close(t)
		check(t, ours{readOurs(t, dir)}, hidden)
		reading(t, n, dir, command{}, func(r engine) { check(t, r, hidden) })
	})
}

// reopen opens a database with the engine that had it.
func reopen(t *testing.T, n *process, w writer, dir string) writer {
	t.Helper()
	if _, ok := w.(*steleWriter); ok {
		return newSteleWriter(t, dir, forms[1])
	}
	return newSlateDBWriter(t, n, dir, forms[1])
}

// Both engines make the same rows of one log by a flush, and of the same L0
// SSTs by a compaction: the same versions, sequence numbers, times and
// tombstones, merges folded alike, expired rows dropped alike.
func TestSameRows(t *testing.T) {
	rounds := workload(23, 3)
	for i, b := range expiring() {
		rounds[i] = append(rounds[i], b)
	}
	both(t, "a flush writes the same rows", "puts, deletes, merges, expiry", func(t *testing.T, n *process, w writer, dir string) {
		m := model{}
		for _, r := range rounds {
			put(t, w, m, r)
		}
		w.flush(t)
		w.crash(t)
		sameRows(t, n, dir, writer.flushMemtable)
	})
	both(t, "a compaction writes the same rows", "puts, deletes, merges, expiry", func(t *testing.T, n *process, w writer, dir string) {
		for _, r := range rounds {
			put(t, w, model{}, r)
			w.flushMemtable(t)
		}
		w.close(t)
		sameRows(t, n, dir, writer.compact)
	})
}

// sameRows lets each engine do step on a copy of the database and compares the
// rows of all SSTs.
func sameRows(t *testing.T, n *process, dir string, step func(writer, *testing.T)) {
	t.Helper()
	var made [2][]string
	for i, next := range []func(dir string) writer{
		func(dir string) writer { return newSteleWriter(t, dir, forms[1]) },
		func(dir string) writer { return newSlateDBWriter(t, n, dir, forms[1]) },
	} {
		its := newDir(t)
		must(t, os.CopyFS(its, os.DirFS(dir)))
		w := next(its)
		step(w, t)
		w.close(t)
		made[i] = sstRows(t, its)
	}
	if len(made[0]) == 0 {
		t.Fatal("no SST has rows")
	}
	differ := 0
	for i := range max(len(made[0]), len(made[1])) {
		if a, b := at(made[0], i), at(made[1], i); a != b {
			if differ++; differ < 5 {
				t.Errorf("row %d of %d by Stele, %d by SlateDB:\n%.200s\n%.200s", i, len(made[0]), len(made[1]), a, b)
			}
		}
	}
}

// sstRows is every row of every SST of the newest manifest, level by level.
func sstRows(t *testing.T, dir string) []string {
	t.Helper()
	b, path := open(t, dir)
	var out []string
	read := func(level string, ssts []slate.SSTInfo) {
		for _, s := range ssts {
			_, err := slate.ReadSST(t.Context(), path, b, s.ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
				out = append(out, level+" "+logRow(0, r.Kind, r.Key, r.Value, r.Seq, millis(r.Created), millis(r.Expires)))
				return nil
			})
			must(t, err)
		}
	}
	m := manifest(t, dir)
	for i, s := range m.L0 {
		read(fmt.Sprint("L0 ", i), []slate.SSTInfo{s})
	}
	for _, r := range m.Runs {
		read(fmt.Sprint("run ", r.ID), r.SSTs)
	}
	return out
}

// An operand whose operator is missing is an error that says so, not a wrong
// value.
func TestMergeWithoutOperator(t *testing.T) {
	n, dir := startSlateDB(t), newDir(t)
	w := newSlateDBWriter(t, n, dir, forms[0])
	put(t, w, model{}, []batch{{{key: "counter", value: counter(1), merge: true}}})
	w.flush(t)
	w.crash(t)
	b, path := open(t, dir)
	r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{})
	must(t, err)
	defer r.Close()
	if _, err := r.Get(t.Context(), []byte("counter")); !errors.Is(err, slate.ErrNoOperator) || !strings.Contains(err.Error(), "counter") {
		t.Errorf("get without an operator: %v", err)
	}
}
