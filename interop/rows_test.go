package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/slate"
)

// model is what a database must hold.
type model map[string]entry

// entry is a key's value with what the engine says of it. A seq of 0: the test
// does not know.
type entry struct {
	value            string
	seq              uint64
	created, expires int64 // Unix ms; expires 0: never
}

// stamp is what an engine answers to a write.
type stamp struct {
	seq     uint64
	created int64
}

// values is a model of which only the values are known.
func values(kvs map[string]string) model {
	m := model{}
	for k, v := range kvs {
		m.set(k, v)
	}
	return m
}

func (m model) set(key, value string) { m[key] = entry{value: value} }

func (m model) sorted() []string { return slices.Sorted(maps.Keys(m)) }

// write is one put, merge or delete.
type write struct {
	key     string
	value   string // or operand
	del     bool
	merge   bool
	expires int64 // Unix ms; 0: never
}

// batch is what is written at once.
type batch []write

// apply is the model after the batch.
func (m model) apply(s stamp, b batch) {
	for _, w := range b {
		e := entry{w.value, s.seq, s.created, w.expires}
		old, there := m[w.key]
		switch {
		case w.del:
			delete(m, w.key)
			continue
		case w.merge && there:
			e.value = merged(old.value, w.value)
			if e.expires == 0 || old.expires != 0 && old.expires < e.expires {
				e.expires = old.expires
			}
		}
		m[w.key] = e
	}
}

// engine is either engine with a database open, for reading or for writing.
type engine interface {
	fmt.Stringer
	// scan returns the rows with from <= key < to, "" being no bound.
	scan(t *testing.T, from, to string, desc bool) []row
	// prefix returns the rows whose keys begin with p.
	prefix(t *testing.T, p string) []row
	// get returns the values of keys, nil where there is none.
	get(t *testing.T, keys []string) []*string
	// descends says whether descending scans of this database can be trusted.
	descends(t *testing.T) bool
}

type row struct {
	key string
	entry
}

// check demands that the engine reads what the model holds: by scans in both
// directions, with bounds and by prefix, and by a get of every key and of keys
// that are not there.
func check(t *testing.T, e engine, m model) {
	t.Helper()
	keys := m.sorted()
	equal(t, e, "scan", e.scan(t, "", "", false), m, keys)
	descends := e.descends(t)
	if descends {
		equal(t, e, "descending scan", e.scan(t, "", "", true), m, reversed(keys))
	}
	if len(keys) > 4 {
		lo, hi := keys[len(keys)/4], keys[len(keys)*3/4]
		mid := keys[len(keys)/4 : len(keys)*3/4]
		equal(t, e, "scan from between two keys", e.scan(t, lo+"\x00", hi, false), m, mid[1:])
		if descends {
			equal(t, e, "bounded descending scan", e.scan(t, lo, hi, true), m, reversed(mid))
		}
	}
	for _, p := range []string{long, "\xff"} {
		var want []string
		for _, k := range keys {
			if len(k) >= len(p) && k[:len(p)] == p {
				want = append(want, k)
			}
		}
		equal(t, e, fmt.Sprintf("scan of prefix %.20q", p), e.prefix(t, p), m, want)
	}
	absent := []string{"\x00\x00\x00\x00\x00\x00", "absent", "k00001x", long, "\xff\xff\xff\xff\xff\xff\xff"}
	absent = append(absent, keySpace...)
	absent = slices.DeleteFunc(absent, func(k string) bool { _, ok := m[k]; return ok })
	asked := append(slices.Clone(keys), absent...)
	for i, v := range e.get(t, asked) {
		want, ok := m[asked[i]]
		switch {
		case ok && v == nil:
			t.Fatalf("%v: get %s: not found, want %s", e, show(asked[i]), show(want.value))
		case !ok && v != nil:
			t.Fatalf("%v: get %s: %s, want not found", e, show(asked[i]), show(*v))
		case ok && *v != want.value:
			t.Fatalf("%v: get %s: %s, want %s", e, show(asked[i]), show(*v), show(want.value))
		}
	}
}

// equal demands that got are the rows of m with these keys.
func equal(t *testing.T, e engine, what string, got []row, m model, keys []string) {
	t.Helper()
	for i, k := range keys {
		switch {
		case i >= len(got):
			t.Fatalf("%v: %s: %d rows of %d, %s is the first that is missing", e, what, len(got), len(keys), show(k))
		case got[i].key != k:
			t.Fatalf("%v: %s: row %d of %d is %s, want %s", e, what, i, len(keys), show(got[i].key), show(k))
		case got[i].value != m[k].value:
			t.Fatalf("%v: %s: %s is %s, want %s", e, what, show(k), show(got[i].value), show(m[k].value))
		case got[i].seq != 0 && m[k].seq != 0 && got[i].entry != m[k]:
			t.Fatalf("%v: %s: %s has seq %d, created %d, expires %d, want %d, %d, %d", e, what, show(k),
				got[i].seq, got[i].created, got[i].expires, m[k].seq, m[k].created, m[k].expires)
		}
	}
	if len(got) > len(keys) {
		t.Fatalf("%v: %s: %d rows, want %d; %s is the first too many", e, what, len(got), len(keys), show(got[len(keys)].key))
	}
}

func reversed(keys []string) []string {
	r := slices.Clone(keys)
	slices.Reverse(r)
	return r
}

func show(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40q… (%d bytes)", s, len(s))
	}
	return fmt.Sprintf("%q", s)
}

// long is a prefix that many keys share.
var long = string(bytes.Repeat([]byte("shared/prefix/that/is/rather/long/"), 4))

// keySpace is the keys that workload writes: every byte at the ends, keys that
// are prefixes of others, long shared prefixes, and the longest key there is.
var keySpace = func() []string {
	var ks []string
	for _, x := range []byte{0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff} {
		for n := 1; n <= 5; n++ {
			ks = append(ks, string(bytes.Repeat([]byte{x}, n)))
		}
	}
	for i := 0; i < 256; i += 9 {
		ks = append(ks, "p\x00"+string([]byte{byte(i)}), string([]byte{0xff, 0xff, byte(i)}), string([]byte{byte(i), 0}))
	}
	for i := range 30 {
		ks = append(ks, fmt.Sprintf("%s%06d", long, i), fmt.Sprintf("%s%06d/child", long, i))
	}
	for i := range 150 {
		ks = append(ks, fmt.Sprintf("k%05d", i))
	}
	ks = append(ks, string(bytes.Repeat([]byte{0x41}, 65535)))
	slices.Sort(ks)
	return slices.Compact(ks)
}()

// workload is rounds of batches over keySpace: new keys, new values, deletes and
// merges of keys that are there and that are not, values from nothing to more
// than any block, some of which expire long after the test. The first round
// writes every key.
func workload(seed int64, rounds int) [][]batch {
	rnd := rand.New(rand.NewSource(seed))
	out := make([][]batch, rounds)
	for r := range out {
		n := len(keySpace)
		if r > 0 {
			n = 120
		}
		perm := rnd.Perm(len(keySpace))[:n]
		for len(perm) > 0 {
			size := min(len(perm), 1+rnd.Intn(80))
			var b batch
			for _, k := range perm[:size] {
				b = append(b, writes(rnd, k, r)...)
			}
			perm = perm[size:]
			out[r] = append(out[r], b)
		}
	}
	return out
}

// writes makes what a batch does to one key. Every third key is a counter or
// grows by operands, by the type in front.
func writes(rnd *rand.Rand, k, round int) batch {
	w := write{key: keySpace[k]}
	if rnd.Intn(4) == 0 {
		w.expires = 4_102_444_800_000 + int64(rnd.Intn(1000))
	}
	typed := func() string {
		if k%6 == 0 {
			return counter(uint64(rnd.Int63()))
		}
		return "c" + value(rnd, round)
	}
	switch {
	case round > 0 && rnd.Intn(4) == 0:
		return batch{{key: w.key, del: true}}
	case k%3 != 0:
		w.value = value(rnd, round)
		return batch{w}
	}
	w.value, w.merge = typed(), rnd.Intn(2) == 0
	b := batch{w}
	for rnd.Intn(3) == 0 { // several writes of one key in one batch
		w.value, w.merge = typed(), true
		b = append(b, w)
	}
	return b
}

// value makes one of sizes around those at which the formats change: text that
// compresses, and random bytes that do not.
func value(rnd *rand.Rand, round int) string {
	sizes := []int{0, 1, 100, 4080, 4096, 5000, 65535, 65536, 70000}
	n := 5 + rnd.Intn(60)
	if rnd.Intn(25) == 0 {
		n = sizes[rnd.Intn(len(sizes))]
	}
	v := make([]byte, n)
	if rnd.Intn(3) == 0 {
		rnd.Read(v)
	} else {
		for i := copy(v, fmt.Sprintf("round %d ", round)); i < n; i++ {
			v[i] = "alpha beta gamma "[i%17]
		}
	}
	return string(v)
}

// slateReader is what *slate.DB, *slate.Reader and *slate.Snapshot have in common.
type slateReader interface {
	Get(context.Context, []byte) ([]byte, error)
	Scan(context.Context, slate.Range) iter.Seq2[slate.KV, error]
}

// ours is Stele with a database open.
type ours struct{ slateReader }

func (ours) String() string { return "Stele" }

func (ours) descends(*testing.T) bool { return true }

func (o ours) scan(t *testing.T, from, to string, desc bool) []row {
	t.Helper()
	return o.rows(t, slate.Range{Lower: bound(from), Upper: bound(to), Reverse: desc})
}

func (o ours) prefix(t *testing.T, p string) []row {
	t.Helper()
	return o.rows(t, slate.Prefix([]byte(p)))
}

func (o ours) rows(t *testing.T, r slate.Range) []row {
	t.Helper()
	var out []row
	for kv, err := range o.Scan(t.Context(), r) {
		if err != nil {
			t.Fatalf("Stele: scan: %v", err)
		}
		e := entry{string(kv.Value), kv.Seq, kv.Created().UnixMilli(), 0}
		if until := kv.Expires(); !until.IsZero() {
			e.expires = until.UnixMilli()
		}
		out = append(out, row{string(kv.Key), e})
	}
	return out
}

func (o ours) get(t *testing.T, keys []string) []*string {
	t.Helper()
	out := make([]*string, len(keys))
	for i, k := range keys {
		switch v, err := o.Get(t.Context(), []byte(k)); {
		case err == nil:
			s := string(v)
			out[i] = &s
		case !errors.Is(err, slate.ErrNotFound):
			t.Fatalf("Stele: get %s: %v", show(k), err)
		}
	}
	return out
}

func bound(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// theirs is SlateDB with the database in a folder open under a name.
type theirs struct {
	*process
	db, dir string
}

func (theirs) String() string { return "SlateDB" }

// descends is false with a run of several SSTs: SlateDB 0.12.1 walks those in
// ascending order even then, in its own databases too
// (https://github.com/slatedb/slatedb/pull/2067 is the cure).
func (o theirs) descends(t *testing.T) bool {
	t.Helper()
	if o.dir == "" { // not in a folder; there it has no runs
		return true
	}
	for _, r := range manifest(t, o.dir).Runs {
		if len(r.SSTs) > 1 {
			return false
		}
	}
	return true
}

func (o theirs) scan(t *testing.T, from, to string, desc bool) []row {
	t.Helper()
	return o.rows(t, command{Op: "scan", From: bound(from), To: bound(to), Desc: desc})
}

func (o theirs) prefix(t *testing.T, p string) []row {
	t.Helper()
	return o.rows(t, command{Op: "scan", Prefix: []byte(p)})
}

func (o theirs) rows(t *testing.T, c command) []row {
	t.Helper()
	c.DB = o.db
	var out []row
	_, err := o.try(t, c, func(l line) {
		out = append(out, row{string(l.Key), entry{string(*l.Value), l.Seq, l.Created, l.Expires}})
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return out
}

func (o theirs) get(t *testing.T, keys []string) []*string {
	t.Helper()
	c := command{Op: "get", DB: o.db}
	for _, k := range keys {
		c.Keys = append(c.Keys, []byte(k))
	}
	var out []*string
	_, err := o.try(t, c, func(l line) {
		if l.Value == nil {
			out = append(out, nil)
			return
		}
		s := string(*l.Value)
		out = append(out, &s)
	})
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return out
}

func millis(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMilli()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
