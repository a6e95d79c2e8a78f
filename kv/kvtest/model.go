package kvtest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/kv"
)

// testModel runs random histories on a store and on plain maps side by side.
func testModel(t *testing.T, open func(t *testing.T) kv.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{store: open(t), state: map[string]string{}}
		defer m.close(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"begin":         m.begin,
			"put":           m.put,
			"delete":        m.delete,
			"commit":        m.commit,
			"rollback":      m.rollback,
			"snapshot":      m.snapshot,
			"drop snapshot": m.dropSnapshot,
			"get":           m.get,
			"scan":          m.scan,
			"flush":         m.flush,
			"":              func(t *rapid.T) { m.check(t, m.store, m.state) },
		})
	})
}

// machine is a store, some transactions and some snapshots, each with the map
// that it must equal.
type machine struct {
	store     kv.Store
	state     map[string]string
	commits   int
	txs       []*running
	snapshots []pinned
}

// running is an open transaction with what it did so far.
type running struct {
	kv.Tx
	isolation kv.Isolation
	state     map[string]string // with its own writes
	began     int               // commits before
	steps     []step
}

// step is a write, or a read with what it saw.
type step struct {
	put, delete bool
	key, value  string // of a write, or of a get
	scan        *kv.Range
	saw         string
}

type pinned struct {
	kv.Snapshot
	state map[string]string
}

// genKey makes few and similar keys, so that histories meet.
var genKey = rapid.StringOfN(rapid.SampledFrom([]rune("\x00ab\u00ff")), 1, 3, -1)

func (m *machine) begin(t *rapid.T) {
	if len(m.txs) == 3 {
		t.Skip("enough transactions")
	}
	opts := kv.TxOptions{Volatile: rapid.Bool().Draw(t, "volatile")}
	if rapid.IntRange(0, 2).Draw(t, "isolation") == 0 {
		opts.Isolation = kv.SnapshotIsolation
	}
	m.txs = append(m.txs, &running{
		Tx: must(m.store.Begin(context.Background(), opts))(t), isolation: opts.Isolation,
		state: maps.Clone(m.state), began: m.commits,
	})
}

func (m *machine) drawTx(t *rapid.T) (int, *running) {
	if len(m.txs) == 0 {
		t.Skip("no transaction")
	}
	i := rapid.IntRange(0, len(m.txs)-1).Draw(t, "transaction")
	return i, m.txs[i]
}

func (m *machine) put(t *rapid.T) {
	_, tx := m.drawTx(t)
	key, value := genKey.Draw(t, "key"), rapid.StringN(0, 4, -1).Draw(t, "value")
	noError(t, "Put", tx.Put([]byte(key), []byte(value)))
	tx.do(step{put: true, key: key, value: value})
}

func (m *machine) delete(t *rapid.T) {
	_, tx := m.drawTx(t)
	key := genKey.Draw(t, "key")
	noError(t, "Delete", tx.Delete([]byte(key)))
	tx.do(step{delete: true, key: key})
}

func (tx *running) do(s step) {
	s.saw = s.play(tx.state)
	tx.steps = append(tx.steps, s)
}

// play does a step on a map and returns what a read sees.
func (s step) play(state map[string]string) string {
	switch {
	case s.put:
		state[s.key] = s.value
	case s.delete:
		delete(state, s.key)
	case s.scan != nil:
		return scanModel(state, *s.scan)
	default:
		if v, ok := state[s.key]; ok {
			return "=" + v
		}
	}
	return ""
}

// commit ends a transaction. If the store accepts it, it must have missed
// nothing that its isolation forbids to miss; if not, there was something to
// miss.
func (m *machine) commit(t *rapid.T) {
	i, tx := m.drawTx(t)
	m.txs = slices.Delete(m.txs, i, i+1)
	err := tx.Commit(context.Background())
	alone := m.commits == tx.began
	switch {
	case errors.Is(err, kv.ErrConflict) && !alone && tx.wrote():
		return
	case err != nil:
		t.Fatalf("Commit: %v; %d commits since its begin", err, m.commits-tx.began)
	case !tx.wrote():
		return
	}
	state := maps.Clone(m.state)
	for _, s := range tx.steps {
		if saw := s.play(state); saw != s.saw && tx.isolation == kv.Serializable {
			t.Fatalf("a serializable transaction saw %q where it would have seen %q at its commit: %+v", s.saw, saw, s)
		}
	}
	m.state = state
	m.commits++
}

func (tx *running) wrote() bool {
	return slices.ContainsFunc(tx.steps, func(s step) bool { return s.put || s.delete })
}

func (m *machine) rollback(t *rapid.T) {
	i, tx := m.drawTx(t)
	tx.Rollback()
	m.txs = slices.Delete(m.txs, i, i+1)
}

func (m *machine) snapshot(t *rapid.T) {
	sn := must(m.store.Snapshot(context.Background()))(t)
	m.snapshots = append(m.snapshots, pinned{sn, maps.Clone(m.state)})
}

func (m *machine) dropSnapshot(t *rapid.T) {
	if len(m.snapshots) == 0 {
		t.Skip("no snapshot")
	}
	i := rapid.IntRange(0, len(m.snapshots)-1).Draw(t, "snapshot")
	m.snapshots[i].Close()
	m.snapshots = slices.Delete(m.snapshots, i, i+1)
}

// reader picks one of the ways to read, with what it must show, and the
// transaction if it is one.
func (m *machine) reader(t *rapid.T) (kv.Reader, map[string]string, *running) {
	i := rapid.IntRange(-1-len(m.txs), len(m.snapshots)-1).Draw(t, "reader")
	switch {
	case i >= 0:
		return m.snapshots[i], m.snapshots[i].state, nil
	case i < -1:
		tx := m.txs[-2-i]
		return tx, tx.state, tx
	default:
		return m.store, m.state, nil
	}
}

func (m *machine) get(t *rapid.T) {
	r, state, tx := m.reader(t)
	key := genKey.Draw(t, "key")
	if want, ok := state[key]; ok {
		wantGet(t, "model", r, key, want)
	} else {
		wantMissing(t, "model", r, key)
	}
	if tx != nil {
		tx.do(step{key: key})
	}
}

func (m *machine) scan(t *rapid.T) {
	r, state, tx := m.reader(t)
	bound := func(name string) []byte {
		if rapid.Bool().Draw(t, name+" unbounded") {
			return nil
		}
		return []byte(genKey.Draw(t, name))
	}
	rg := kv.Range{Lower: bound("lower"), Upper: bound("upper"), Reverse: rapid.Bool().Draw(t, "reverse")}
	if limit := rapid.IntRange(0, 3).Draw(t, "limit"); limit > 0 { // left early
		for p, err := range r.Scan(context.Background(), rg) {
			noError(t, "Scan", err)
			if limit--; limit == 0 {
				seen := rg
				if rg.Reverse {
					seen.Lower = bytes.Clone(p.Key)
				} else {
					seen.Upper = append(bytes.Clone(p.Key), 0)
				}
				if tx != nil {
					tx.do(step{scan: &seen})
				}
				return
			}
		}
	} else {
		wantScan(t, "model", r, rg, scanModel(state, rg))
	}
	if tx != nil {
		tx.do(step{scan: &rg})
	}
}

func (m *machine) flush(t *rapid.T) { noError(t, "Flush", m.store.Flush(context.Background())) }

func (m *machine) check(t *rapid.T, r kv.Reader, state map[string]string) {
	wantScan(t, "model", r, kv.Range{}, scanModel(state, kv.Range{}))
}

// close compares everything once more.
func (m *machine) close(t *rapid.T) {
	if !t.Failed() {
		m.check(t, m.store, m.state)
		for _, tx := range m.txs {
			m.check(t, tx, tx.state)
		}
		for _, sn := range m.snapshots {
			m.check(t, sn, sn.state)
		}
	}
	for _, tx := range m.txs {
		tx.Rollback()
	}
	for _, sn := range m.snapshots {
		sn.Close()
	}
	noError(t, "Close", m.store.Close())
}

// scanModel is the plain answer to a scan: filter, sort, print.
func scanModel(state map[string]string, r kv.Range) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if key >= string(r.Lower) && (r.Upper == nil || key < string(r.Upper)) {
			out = append(out, key+"="+state[key])
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return strings.Join(out, " ")
}
