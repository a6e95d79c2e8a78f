package interop

import (
	"strings"
	"testing"
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
