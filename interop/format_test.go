package interop

import (
	"slices"
	"testing"

	"github.com/stele-db/stele/slate"
)

// states are the ways to leave a database behind; each returns what it holds.
var states = []struct {
	name  string
	leave func(t *testing.T, w writer, rounds [][]batch) model
}{
	{"all rows in the log, after a crash", func(t *testing.T, w writer, rounds [][]batch) model {
		m := model{}
		for _, r := range rounds {
			put(t, w, m, r)
			w.flush(t)
		}
		w.crash(t)
		return m
	}},
	{"three L0 SSTs and a log, after a crash", func(t *testing.T, w writer, rounds [][]batch) model {
		m := flushed(t, w, rounds[:3])
		put(t, w, m, rounds[3])
		w.flush(t)
		w.crash(t)
		return m
	}},
	{"everything compacted, closed", func(t *testing.T, w writer, rounds [][]batch) model {
		m := flushed(t, w, rounds)
		w.compact(t)
		w.close(t)
		return m
	}},
	{"a run, an L0 SST and a log, after a crash", func(t *testing.T, w writer, rounds [][]batch) model {
		m := flushed(t, w, rounds[:2])
		w.compact(t)
		put(t, w, m, rounds[2])
		w.flushMemtable(t)
		put(t, w, m, rounds[3])
		w.flush(t)
		w.crash(t)
		return m
	}},
	{"three runs, an L0 SST and a log, after a crash", func(t *testing.T, w writer, rounds [][]batch) model {
		m := model{}
		for _, r := range rounds[:3] {
			put(t, w, m, r[:len(r)/2])
			w.flushMemtable(t)
			put(t, w, m, r[len(r)/2:])
			w.flushMemtable(t)
			w.stack(t)
		}
		put(t, w, m, rounds[3][1:])
		w.flushMemtable(t)
		put(t, w, m, rounds[3][:1])
		w.flush(t)
		w.crash(t)
		return m
	}},
	{"a clean close", func(t *testing.T, w writer, rounds [][]batch) model {
		m := model{}
		for _, r := range rounds {
			put(t, w, m, r)
		}
		w.close(t)
		return m
	}},
	{"every key deleted, a run without SSTs, one row in the log", func(t *testing.T, w writer, rounds [][]batch) model {
		m := flushed(t, w, rounds[:1])
		var all batch
		for _, k := range m.sorted() {
			all = append(all, write{key: k, del: true})
		}
		put(t, w, m, []batch{all})
		w.flushMemtable(t)
		w.compact(t)
		put(t, w, m, []batch{{{key: "survivor", value: "1"}}})
		w.flush(t)
		w.crash(t)
		return m
	}},
}

// put writes the batches, to the model too.
func put(t *testing.T, w writer, m model, batches []batch) {
	t.Helper()
	for _, b := range batches {
		m.apply(w.write(t, b), b)
	}
}

// flushed writes each round into an L0 SST of its own.
func flushed(t *testing.T, w writer, rounds [][]batch) model {
	t.Helper()
	m := model{}
	for _, r := range rounds {
		put(t, w, m, r)
		w.flushMemtable(t)
	}
	return m
}

// after demands that the manifest shows what the state's name says.
func after(t *testing.T, state, dir string, f form) {
	t.Helper()
	m := manifest(t, dir)
	ssts := 0
	for _, r := range m.Runs {
		ssts += len(r.SSTs)
	}
	run := ssts == 1
	if f.maxSST == several {
		run = ssts > 1
	}
	want := map[string]bool{
		"all rows in the log, after a crash":             len(m.L0) == 0 && len(m.Runs) == 0,
		"three L0 SSTs and a log, after a crash":         len(m.L0) == 3 && len(m.Runs) == 0,
		"everything compacted, closed":                   len(m.L0) == 0 && run,
		"a run, an L0 SST and a log, after a crash":      len(m.L0) == 1 && run,
		"three runs, an L0 SST and a log, after a crash": len(m.L0) == 1 && len(m.Runs) == 3,
		"a clean close": len(m.Runs) == 0, // SlateDB leaves the rows in the log
		"every key deleted, a run without SSTs, one row in the log": len(m.L0) == 0 && len(m.Runs) == 1 && ssts == 0,
	}
	if !want[state] {
		t.Fatalf("the database is not in the state %q: %s", state, shape(m))
	}
}

// SlateDB reads every database that Stele wrote, as a reader and as the writer,
// continues it, and Stele reads the result.
func TestSlateDBReadsStele(t *testing.T) {
	for i, f := range forms {
		t.Run(f.codec.String(), func(t *testing.T) {
			t.Parallel()
			n := startSlateDB(t)
			for j, s := range states {
				t.Run(s.name, func(t *testing.T) {
					cell(t, s.name, theirTurn, f.codec.String())
					dir := newDir(t)
					rounds := workload(int64(10*i+j), 5)
					m := s.leave(t, newSteleWriter(t, dir, f), rounds[:4])
					after(t, s.name, dir, f)

					n.do(t, command{Op: "reader", DB: "reader", URL: url(dir)})
					check(t, theirs{n, "reader", dir}, m)
					n.do(t, command{Op: "close", DB: "reader"})

					w := newSlateDBWriter(t, n, dir, forms[(i+1)%len(forms)])
					check(t, w, m)
					put(t, w, m, rounds[4])
					w.flushMemtable(t)
					check(t, w, m)
					w.close(t)
					check(t, ours{readOurs(t, dir)}, m)
				})
			}
		})
	}
}

// Stele reads every database that SlateDB wrote, as a reader that writes
// nothing and as the writer, continues and compacts it, and SlateDB reads the
// result.
func TestSteleReadsSlateDB(t *testing.T) {
	for i, f := range forms {
		t.Run(f.codec.String(), func(t *testing.T) {
			t.Parallel()
			n := startSlateDB(t)
			for j, s := range states {
				t.Run(s.name, func(t *testing.T) {
					cell(t, s.name, ourTurn, f.codec.String())
					dir := newDir(t)
					rounds := workload(int64(100+10*i+j), 5)
					m := s.leave(t, newSlateDBWriter(t, n, dir, f), rounds[:4])
					after(t, s.name, dir, f)

					before := files(t, dir)
					check(t, ours{readOurs(t, dir)}, m)
					if now := files(t, dir); !slices.Equal(now, before) {
						t.Fatalf("Stele's reader changed the database: %q, was %q", now, before)
					}

					w := newSteleWriter(t, dir, forms[(i+1)%len(forms)])
					check(t, w, m)
					put(t, w, m, rounds[4])
					w.flushMemtable(t)
					check(t, w, m)
					w.compact(t)
					check(t, w, m)
					w.close(t)

					n.do(t, command{Op: "reader", DB: "reader", URL: url(dir)})
					check(t, theirs{n, "reader", dir}, m)
					n.do(t, command{Op: "close", DB: "reader"})
				})
			}
		})
	}
}

// Keys and values at the limits are the same limits on both sides.
func TestLimits(t *testing.T) {
	n := startSlateDB(t)
	longest := make([]byte, 65535)
	for i := range longest {
		longest[i] = byte(i * 7)
	}
	big := make([]byte, 2<<20)
	for i := range big {
		big[i] = byte(i >> 8 * 31)
	}
	m := values(map[string]string{string(longest): string(big), "\x00": "", "small": string(big[:1<<20])})
	var all batch
	for _, k := range m.sorted() {
		all = append(all, write{key: k, value: m[k].value})
	}
	for _, name := range []string{"Stele", "SlateDB"} {
		t.Run("written by "+name, func(t *testing.T) {
			dir := newDir(t)
			var w writer
			if name == "Stele" {
				cell(t, "keys and values at the limits", theirTurn, "1 and 65,535 bytes, 0 to 2 MiB")
				w = newSteleWriter(t, dir, forms[0])
			} else {
				cell(t, "keys and values at the limits", ourTurn, "1 and 65,535 bytes, 0 to 2 MiB")
				w = newSlateDBWriter(t, n, dir, forms[0])
			}
			w.write(t, all)
			w.flush(t)
			check(t, ours{readOurs(t, dir)}, m)
			n.do(t, command{Op: "reader", DB: "log", URL: url(dir)})
			check(t, theirs{n, "log", dir}, m)
			w.flushMemtable(t)
			w.close(t)
			check(t, ours{readOurs(t, dir)}, m)
			n.do(t, command{Op: "reader", DB: "L0", URL: url(dir)})
			check(t, theirs{n, "L0", dir}, m)
			n.do(t, command{Op: "close", DB: "log"})
			n.do(t, command{Op: "close", DB: "L0"})
		})
	}
	dir := newDir(t)
	n.do(t, forms[0].slatedbOpen("w", dir))
	for _, key := range [][]byte{nil, make([]byte, 65536)} {
		takes := latest && len(key) > 0 // and Stele reads it: TestLongKeys
		if err := n.put(t, "w", string(key), ""); (err == nil) != takes {
			t.Errorf("SlateDB takes a key of %d bytes: %t, want %t", len(key), !takes, takes)
		}
		db := openOurs(t, newDir(t), slate.Options{})
		if err := db.Put(t.Context(), key, nil); err == nil {
			t.Errorf("Stele takes a key of %d bytes", len(key))
		}
	}
	n.do(t, command{Op: "close", DB: "w"})
}
