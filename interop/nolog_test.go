package interop

import (
	"fmt"
	"testing"
)

// Stele writes without a log, and SlateDB with one: each reads what was there,
// replays what the other left in a log, and goes on, every one left as by a crash.
func TestWithoutLog(t *testing.T) {
	n := startSlateDB(t)
	rounds := workload(71, 4)
	cell(t, "Stele writes without a log", theirTurn, "read, continued")
	cell(t, "Stele writes without a log", ourTurn, "replayed, continued")
	dir, m := newDir(t), model{}
	for i, round := range rounds {
		noLog := i%2 == 0
		f := forms[i]
		var w writer
		if noLog {
			o := f.steleOptions()
			o.DisableWAL = true
			db := openOurs(t, dir, o)
			w = &steleWriter{ours{db}, f, dir, db}
		} else {
			c := f.slatedbOpen(fmt.Sprint("turn ", i), dir)
			n.do(t, c)
			w = &slatedbWriter{theirs{n, c.DB, dir}, f}
		}
		check(t, w, m)
		put(t, w, m, round[:len(round)/2])
		w.flushMemtable(t)
		put(t, w, m, append(round[len(round)/2:], batch{{key: "turn", value: fmt.Sprint(i)}}))
		w.flush(t)
		w.crash(t)
		check(t, ours{readOurs(t, dir)}, m)
		if state := manifest(t, dir); noLog != (state.LastL0Seq == m["turn"].seq) {
			t.Errorf("turn %d: L0 goes up to seq %d, the rows to %d", i, state.LastL0Seq, m["turn"].seq)
		}
	}
}
