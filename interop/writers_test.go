package interop

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stele-db/stele/slate"
)

// The engines take turns as the writer of one database. Each turn ends in
// another way: closed, crashed, or left open for the next to fence.
func TestTurns(t *testing.T) {
	turns := []struct {
		name string
		stay func(t *testing.T, w writer, m model, round []batch) // what the writer does
	}{
		{"log", func(t *testing.T, w writer, m model, round []batch) {
			put(t, w, m, round)
			w.flush(t)
			w.crash(t)
		}},
		{"L0, left open", func(t *testing.T, w writer, m model, round []batch) {
			put(t, w, m, round)
			w.flushMemtable(t)
		}},
		{"compacted", func(t *testing.T, w writer, m model, round []batch) {
			put(t, w, m, round[:1])
			w.flushMemtable(t)
			put(t, w, m, round[1:])
			w.flushMemtable(t)
			w.compact(t)
			w.close(t)
		}},
		{"run and log, left open", func(t *testing.T, w writer, m model, round []batch) {
			put(t, w, m, round)
			w.flush(t)
		}},
		{"closed", func(t *testing.T, w writer, m model, round []batch) {
			put(t, w, m, round)
			w.close(t)
		}},
	}
	dir, m := newDir(t), model{}
	n := startSlateDB(t)
	rounds := workload(7, 2*len(turns))
	for i := range rounds {
		turn := turns[i%len(turns)]
		f := forms[i%len(forms)]
		var w writer
		by := "SlateDB"
		if i%2 == 0 {
			by = "Stele"
			w = newSteleWriter(t, dir, f)
		} else {
			w = newSlateDBWriter(t, n, dir, f)
		}
		t.Run(fmt.Sprintf("%d %s, %s", i, by, turn.name), func(t *testing.T) {
			half := theirTurn
			if by == "Stele" {
				half = ourTurn
			}
			cell(t, "taking turns as the writer", half, turn.name)
			check(t, w, m)
			turn.stay(t, w, m, rounds[i])
			check(t, ours{readOurs(t, dir)}, m)
			reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
		})
	}
}

// reading opens the database with a reader of SlateDB for the time of a call.
func reading(t *testing.T, n *process, dir string, c command, use func(engine)) {
	t.Helper()
	c.Op, c.DB, c.URL = "reader", "reading", url(dir)
	n.do(t, c)
	use(theirs{n, c.DB, dir})
	n.do(t, command{Op: "close", DB: c.DB})
}

// Stele opened beside SlateDB fences it: its next durable write fails, and is
// not there.
func TestSteleFencesSlateDB(t *testing.T) {
	cell(t, "fencing", ourTurn, "put")
	dir, m := newDir(t), model{}
	n := startSlateDB(t)
	n.do(t, forms[0].slatedbOpen("old", dir))
	for i := range 10 {
		k, v := fmt.Sprintf("old%02d", i), "acknowledged"
		must(t, n.put(t, "old", k, v))
		m.set(k, v)
	}
	db := openOurs(t, dir, forms[0].steleOptions())
	check(t, ours{db}, m)
	err := n.put(t, "old", "late", "refused")
	var e *slatedbError
	if !errors.As(err, &e) || e.Tag != "Closed" || e.Reason != "Fenced" {
		t.Fatalf("SlateDB's put after Stele opened: %v, want Closed, Fenced", err)
	}
	if s := n.do(t, command{Op: "status", DB: "old"}); s.Closed != "Fenced" {
		t.Errorf("SlateDB says it is closed because %q, want Fenced", s.Closed)
	}
	if err := db.Put(t.Context(), []byte("new"), []byte("by Stele")); err != nil {
		t.Fatal(err)
	}
	m.set("new", "by Stele")
	check(t, ours{db}, m)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reading(t, n, dir, command{}, func(r engine) { check(t, r, m) })
}

// SlateDB opened beside Stele fences it: whatever it does next is ErrFenced,
// nothing of that is there, and nothing acknowledged is lost.
func TestSlateDBFencesStele(t *testing.T) {
	next := map[string]func(t *testing.T, db *slate.DB) error{
		"put":   func(t *testing.T, db *slate.DB) error { return db.Put(t.Context(), []byte("late"), []byte("refused")) },
		"flush": func(t *testing.T, db *slate.DB) error { return db.FlushMemtable(t.Context()) },
		"compact": func(t *testing.T, db *slate.DB) error {
			return db.Compact(t.Context())
		},
		"close": func(_ *testing.T, db *slate.DB) error { return db.Close() },
	}
	n := startSlateDB(t)
	for name, late := range next {
		t.Run(name, func(t *testing.T) {
			cell(t, "fencing", theirTurn, name)
			dir, m := newDir(t), model{}
			db := openOurs(t, dir, forms[0].steleOptions())
			for i := range 10 {
				k, v := fmt.Sprintf("old%02d", i), "acknowledged"
				if err := db.Put(t.Context(), []byte(k), []byte(v)); err != nil {
					t.Fatal(err)
				}
				m.set(k, v)
			}
			w := newSlateDBWriter(t, n, dir, forms[0])
			check(t, w, m)
			if err := late(t, db); !errors.Is(err, slate.ErrFenced) {
				t.Fatalf("Stele's %s after SlateDB opened: %v, want ErrFenced", name, err)
			}
			if err := db.Put(t.Context(), []byte("later"), nil); name != "close" && !errors.Is(err, slate.ErrFenced) {
				t.Errorf("Stele's put after that: %v, want ErrFenced", err)
			}
			put(t, w, m, []batch{{{key: "new", value: "by SlateDB"}}})
			w.flush(t)
			check(t, w, m)
			w.close(t)
			check(t, ours{readOurs(t, dir)}, m)
		})
	}
}

// The engines take the database from each other while the other writes as fast
// as it can. Every acknowledged write is there afterwards, and none that Stele
// refused as fenced.
func TestTakeovers(t *testing.T) {
	cell(t, "takeovers under load", theirTurn, "four")
	cell(t, "takeovers under load", ourTurn, "four")
	dir, m := newDir(t), model{}
	procs := []*process{startSlateDB(t), startSlateDB(t)}
	o := forms[0].steleOptions()
	o.L0Bytes = 16 << 10 // memtables are flushed meanwhile, too
	db := openOurs(t, dir, o)
	for round := range 4 {
		old, n := db, procs[round%2]
		acked := make(chan model)
		enough := make(chan struct{})
		var refused string
		go func() {
			done := model{}
			for i := 0; ; i++ {
				k, v := fmt.Sprintf("stele %d %04d", round, i), fmt.Sprintf("%0100d", i)
				if err := old.Put(t.Context(), []byte(k), []byte(v)); err != nil {
					refused = k
					if !errors.Is(err, slate.ErrFenced) {
						t.Errorf("Stele's put during a takeover: %v, want ErrFenced", err)
					}
					break
				}
				done.set(k, v)
				if i == 20 {
					close(enough)
				}
			}
			acked <- done
		}()
		<-enough
		w := newSlateDBWriter(t, n, dir, forms[0])
		// What Stele acknowledged until its next put failed is in.
		for k, v := range <-acked {
			m[k] = v
		}
		check(t, w, m)
		if v := w.get(t, []string{refused})[0]; v != nil {
			t.Fatalf("%q was refused as fenced and is there", refused)
		}

		theirsAcked := make(chan model)
		enough = make(chan struct{})
		go func() {
			done := model{}
			for i := 0; ; i++ {
				k, v := fmt.Sprintf("slatedb %d %04d", round, i), fmt.Sprintf("%0100d", i)
				if err := n.put(t, w.db, k, v); err != nil {
					break
				}
				done.set(k, v)
				if i == 20 {
					close(enough)
				}
			}
			theirsAcked <- done
		}()
		<-enough
		db = openOurs(t, dir, o)
		for k, v := range <-theirsAcked {
			m[k] = v
		}
		check(t, ours{db}, m)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reading(t, procs[0], dir, command{}, func(r engine) { check(t, r, m) })
}

// A process of SlateDB that is killed leaves what it acknowledged to Stele.
func TestSlateDBKilled(t *testing.T) {
	cell(t, "a killed writer", ourTurn, "three times")
	dir, m := newDir(t), model{}
	for round := range 3 {
		n := startSlateDB(t)
		n.do(t, forms[0].slatedbOpen("w", dir))
		for i := range 20 {
			k := fmt.Sprintf("%d %d", round, i)
			must(t, n.put(t, "w", k, k))
			m.set(k, k)
		}
		n.do(t, command{Op: "write", DB: "w", Volatile: true, Ops: ops(batch{{key: "volatile", value: ""}})})
		n.kill()
		db := openOurs(t, dir, slate.Options{})
		delete(m, "volatile")
		if _, err := db.Get(t.Context(), []byte("volatile")); err == nil {
			m.set("volatile", "") // it was on its way
		}
		check(t, ours{db}, m)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
