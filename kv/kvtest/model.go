package kvtest

import (
	"context"
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

// machine is a store, at most one transaction and some snapshots, each with the
// map that it must equal.
type machine struct {
	store     kv.Store
	state     map[string]string
	tx        kv.Tx
	txState   map[string]string
	snapshots []pinned
}

type pinned struct {
	kv.Snapshot
	state map[string]string
}

// genKey makes few and similar keys, so that histories meet.
var genKey = rapid.StringOfN(rapid.SampledFrom([]rune("\x00ab\u00ff")), 1, 3, -1)

func (m *machine) begin(t *rapid.T) {
	if m.tx != nil {
		t.Skip("one transaction at a time")
	}
	opts := kv.TxOptions{Volatile: rapid.Bool().Draw(t, "volatile")}
	m.tx = must(m.store.Begin(context.Background(), opts))(t)
	m.txState = maps.Clone(m.state)
}

func (m *machine) needTx(t *rapid.T) {
	if m.tx == nil {
		t.Skip("no transaction")
	}
}

func (m *machine) put(t *rapid.T) {
	m.needTx(t)
	key, value := genKey.Draw(t, "key"), rapid.StringN(0, 4, -1).Draw(t, "value")
	noError(t, "Put", m.tx.Put([]byte(key), []byte(value)))
	m.txState[key] = value
}

func (m *machine) delete(t *rapid.T) {
	m.needTx(t)
	key := genKey.Draw(t, "key")
	noError(t, "Delete", m.tx.Delete([]byte(key)))
	delete(m.txState, key)
}

func (m *machine) commit(t *rapid.T) {
	m.needTx(t)
	noError(t, "Commit", m.tx.Commit(context.Background()))
	m.tx, m.state = nil, m.txState
}

func (m *machine) rollback(t *rapid.T) {
	m.needTx(t)
	m.tx.Rollback()
	m.tx = nil
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

// reader picks one of the ways to read, with what it must show.
func (m *machine) reader(t *rapid.T) (kv.Reader, map[string]string) {
	i := rapid.IntRange(-2, len(m.snapshots)-1).Draw(t, "reader")
	switch {
	case i >= 0:
		return m.snapshots[i], m.snapshots[i].state
	case i == -1 && m.tx != nil:
		return m.tx, m.txState
	default:
		return m.store, m.state
	}
}

func (m *machine) get(t *rapid.T) {
	r, state := m.reader(t)
	key := genKey.Draw(t, "key")
	if want, ok := state[key]; ok {
		wantGet(t, "model", r, key, want)
	} else {
		wantMissing(t, "model", r, key)
	}
}

func (m *machine) scan(t *rapid.T) {
	r, state := m.reader(t)
	bound := func(name string) []byte {
		if rapid.Bool().Draw(t, name+" unbounded") {
			return nil
		}
		return []byte(genKey.Draw(t, name))
	}
	rg := kv.Range{Lower: bound("lower"), Upper: bound("upper"), Reverse: rapid.Bool().Draw(t, "reverse")}
	wantScan(t, "model", r, rg, scanModel(state, rg))
	limit := rapid.IntRange(1, 3).Draw(t, "limit")
	for _, err := range r.Scan(context.Background(), rg) {
		noError(t, "Scan", err)
		if limit--; limit == 0 {
			break
		}
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
		if m.tx != nil {
			m.check(t, m.tx, m.txState)
		}
		for _, sn := range m.snapshots {
			m.check(t, sn, sn.state)
		}
	}
	if m.tx != nil {
		m.tx.Rollback()
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
