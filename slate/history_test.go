package slate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// A program is a history to be: steps that run on a database and on a plain map
// beside it. It is data, drawn before it runs: the same one can run under other
// settings, and one that fails can be shortened and read.
type program []step

// step is one line of a program.
type step interface {
	fmt.Stringer
	run(w *world)
}

func (p program) String() string {
	var s strings.Builder
	for i, st := range p {
		fmt.Fprintf(&s, "%3d  %s\n", i+1, st)
	}
	return s.String()
}

// execute runs a program under opts, in simulated time and on a bucket in
// memory. It returns the answers of all reads, and the first that was wrong.
// Unless steps are hasty, each waits until nothing is under way in the
// background, which makes a failure one that can be repeated.
func (p program) execute(t *testing.T, opts slate.Options, hasty bool) (answers []string, err error) {
	makeZstdCodecs()
	opts.Random = &seeded{r: rand.NewChaCha8([32]byte{})}
	defer func() {
		if dead := recover(); dead != nil { // all goroutines wait for each other
			err = fmt.Errorf("%v", dead)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		w := &world{b: bucket.NewInMemBucket(), opts: opts, states: []state{{}}}
		defer func() {
			answers = w.answers
			failure := recover()
			w.end()
			switch c, ok := failure.(contradiction); {
			case ok:
				err = fmt.Errorf("step %d: %s", w.at, c)
			case failure != nil:
				panic(failure)
			}
		}()
		w.life = w.newLife()
		w.open()
		for i, s := range p {
			w.at = i + 1
			s.run(w)
			if !hasty {
				synctest.Wait()
			}
		}
		w.at = len(p) + 1
		reopen{}.run(w)
		beside{}.run(w)
		for _, r := range []slate.Range{{}, {Reverse: true}} {
			scan{r: r}.run(w)
		}
	})
	return answers, err
}

// shorten leaves out of a program that failed with err what it can still fail
// without, in one of a few attempts.
func (p program) shorten(t *testing.T, opts slate.Options, err error) (program, error) {
	for n := len(p) / 2; n > 0; n /= 2 {
		for i := 0; i+n <= len(p); {
			less := slices.Delete(slices.Clone(p), i, i+n)
			var again error
			for try := 0; again == nil && try < 10; try++ {
				_, again = less.execute(t, opts, true)
			}
			if again != nil {
				p, err = less, again
			} else {
				i += n
			}
		}
	}
	return p, err
}

// seeded is randomness that is the same every time.
type seeded struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *seeded) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

// makeZstdCodecs lets the process make its zstd encoder and decoder. They have
// channels, which must not belong to one test's simulated time.
var makeZstdCodecs = sync.OnceFunc(func() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	for range 2 {
		db, err := slate.Open(ctx, "db", b, slate.Options{Compression: slate.Zstd})
		if err == nil {
			err = errors.Join(db.Put(ctx, []byte("k"), []byte(strings.Repeat("v", 1000))), db.FlushMemtable(ctx), db.Compact(ctx), db.Close())
		}
		if err != nil {
			panic(err)
		}
	}
})

// contradiction is what ends a program that fails.
type contradiction string

// world is a program under way.
type world struct {
	ctx  context.Context // of what waits for the process; it ends a while after that
	b    bucket.Bucket   // as other processes see it
	opts slate.Options
	at   int // the step that runs, from 1

	life *life
	db   *slate.DB

	// solo ends the standalone compactor, nil if none runs. Each has randomness,
	// and so ids, of its own.
	solo  func()
	solos byte

	// states has what the database was after each write, in their order. A crash
	// may lead back to any that is not older than durable.
	states  []state
	durable uint64

	snaps   []pinned
	readers []*reading
	answers []string
}

// state is what the database holds behind the write with this seq.
type state struct {
	seq   uint64
	rows  rows
	wrote []string // keys

	doubtful []string // keys among them of which perhaps nothing was there to be deleted
}

type pinned struct {
	s    *slate.Snapshot
	rows rows
}

// reading is a reader opened beside the writer.
type reading struct {
	r         *slate.Reader
	seq       uint64 // what it sees
	collected bool   // garbage was collected since
}

// life is the bucket as one process sees it, which may die.
type life struct {
	*faulty.Bucket
	dead atomic.Bool
	end  context.CancelFunc // of the context of all that it waits for
}

var errDead = errors.New("the process is dead")

func (w *world) newLife() *life {
	ctx, cancel := context.WithCancel(context.Background())
	w.ctx = ctx
	l := &life{Bucket: faulty.New(w.b, faulty.Options{}), end: cancel}
	l.Add(faulty.Rule{Before: func(context.Context, faulty.Request) error {
		if l.dead.Load() {
			return errDead
		}
		return nil
	}})
	return l
}

// die ends the process at its write request n from now, before or behind it.
func (l *life) die(n int, behind bool) {
	rule := faulty.Rule{Verbs: faulty.Writes, Skip: n, Times: 1}
	if behind {
		rule.After = func(context.Context, faulty.Request, error) error { return l.kill() }
	} else {
		rule.Before = func(context.Context, faulty.Request) error { return l.kill() }
	}
	l.Add(rule)
}

// kill ends the process. Nobody waits for ever for what it would have done.
func (l *life) kill() error {
	if !l.dead.Swap(true) {
		time.AfterFunc(time.Minute, l.end)
	}
	return errDead
}

func (w *world) failf(format string, args ...any) { panic(contradiction(fmt.Sprintf(format, args...))) }

// ok reports whether a call succeeded. If it failed because the process died,
// another one takes over.
func (w *world) ok(what string, err error) bool {
	switch {
	case err == nil:
		return true
	case !w.life.dead.Load():
		w.failf("%s: %v", what, err)
	}
	w.open()
	return false
}

// open opens the database in place of the one that is open, which may be dead,
// and finds out how much of what was written is there.
func (w *world) open() {
	w.release()
	old := w.db
	for {
		if w.life.dead.Load() {
			if old != nil {
				_ = old.Close()
				old = nil
			}
			w.life = w.newLife()
		}
		var err error
		if w.db, err = slate.Open(w.ctx, "db", w.life, w.opts); err == nil {
			break
		}
		w.db = nil
		if !w.life.dead.Load() {
			w.failf("open: %v", err)
		}
	}
	if old != nil {
		if err := old.Put(w.ctx, []byte("zombie"), nil); !errors.Is(err, slate.ErrFenced) && !w.life.dead.Load() {
			w.failf("put by a fenced writer: %v", err)
		}
		_ = old.Close()
	}
	s, err := w.db.Snapshot()
	if err != nil {
		if w.ok("snapshot", err); err != nil {
			return // another life has settled it
		}
	}
	seq := s.Seq()
	s.Close()
	i, found := slices.BinarySearchFunc(w.states, seq, func(s state, seq uint64) int { return cmp.Compare(s.seq, seq) })
	switch {
	case !found:
		w.failf("opened at seq %d, which no write had", seq)
	case seq < w.durable:
		w.failf("opened at seq %d, but %d was durable", seq, w.durable)
	}
	w.states, w.durable = w.states[:i+1], seq
	scan{}.run(w)
}

func (w *world) release() {
	for _, s := range w.snaps {
		s.s.Close()
	}
	w.snaps = nil
}

// end closes what is open, whatever state it is in.
func (w *world) end() {
	w.dismiss()
	w.release()
	for _, r := range w.readers {
		_ = r.r.Close()
	}
	if w.db != nil {
		_ = w.db.Close()
	}
}

// last is the state behind the last write.
func (w *world) last() state { return w.states[len(w.states)-1] }

// settled notes that everything written so far is durable.
func (w *world) settled() { w.durable = w.last().seq }

// wrote notes a write that is visible.
func (w *world) wrote(h slate.WriteHandle, writes []write) {
	if h.Seq == 0 {
		return
	}
	next := maps.Clone(w.last().rows)
	if next == nil {
		next = rows{}
	}
	var keys []string
	for _, wr := range writes {
		next.apply(wr, h.Created)
		keys = append(keys, wr.key)
	}
	w.states = append(w.states, state{seq: h.Seq, rows: next, wrote: keys})
}

func now() int64 { return time.Now().UnixMilli() }

// checkGet compares a get with what rows say.
func (w *world) checkGet(who string, db reads, m rows, key string, note bool) {
	life := w.life
	v, err := db.Get(context.Background(), []byte(key))
	found := err == nil
	if err != nil && !errors.Is(err, slate.ErrNotFound) {
		if life == w.life {
			w.ok(who+": get", err)
		}
		return
	}
	if !m[key].admit(string(v), found, w.opts.HideExpired, now()) {
		w.failf("%s: get %q: %s, found %v; there is %s", who, key, short(string(v)), found, m[key])
	}
	if note {
		w.answers = append(w.answers, fmt.Sprintf("%d: %s: get %q: %s %v", w.at, who, key, short(string(v)), found))
	}
}

// checkScan compares a scan with what rows say. Before row pause it calls
// between.
func (w *world) checkScan(who string, db scans, m rows, r slate.Range, limit, pause int, between func()) error {
	life, start := w.life, now()
	var got []string
	seen := model{}
	var last string
	cut := false
	for kv, err := range db.Scan(context.Background(), r) {
		if life != w.life {
			return nil // it died during the scan
		}
		if err != nil {
			return err
		}
		if len(got) == pause && between != nil {
			between()
			if life != w.life {
				return nil
			}
		}
		last = string(kv.Key)
		seen[last] = string(kv.Value)
		got = append(got, last+"="+string(kv.Value))
		if len(got) == limit {
			cut = true
			break
		}
	}
	if cut { // what lies behind was not asked for
		r = upTo(r, last)
	}
	if want := seen.scan(r); !slices.Equal(got, want) {
		w.failf("%s: %s: order or bounds are wrong: %s", who, rangeText(r), shorts(got))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v, found := seen[k]
		// What expires on the way may be found rewritten, or not.
		as := func(at int64) bool { return m[k].admit(v, found, w.opts.HideExpired, at) }
		if inside(r, k) && !as(start) && !as(now()) {
			w.failf("%s: %s: %q is %s, found %v; there is %s\nthe scan: %s", who, rangeText(r), k, short(v), found, m[k], shorts(got))
		}
	}
	for k := range seen {
		if m[k] == nil {
			w.failf("%s: %s: %q was never written", who, rangeText(r), k)
		}
	}
	if note := who != "reader"; note {
		w.answers = append(w.answers, fmt.Sprintf("%d: %s: scan %s: %s", w.at, who, rangeText(r), shorts(got)))
	}
	return nil
}

// rows are the writes that make up the value of each key: the last put or
// delete, and the operands behind it.
type rows map[string]versions

type versions []version

// version is one write of a key.
type version struct {
	kind    string
	value   string
	expires int64 // ms, 0: never
}

func (v version) expired(at int64) bool { return v.expires != 0 && v.expires <= at }

func (v versions) String() string {
	if len(v) == 0 {
		return "nothing"
	}
	var parts []string
	for _, e := range v {
		s := e.kind
		if e.kind != "delete" {
			s += " " + short(e.value)
		}
		if e.expires != 0 {
			s += " until " + time.UnixMilli(e.expires).UTC().Format("02T15:04:05")
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ") + "; it is " + time.Now().UTC().Format("02T15:04:05")
}

func (m rows) apply(w write, created time.Time) {
	v := version{kind: w.kind, value: w.value}
	if w.life > 0 && w.kind != "delete" {
		v.expires = created.Add(w.life).UnixMilli()
	}
	if w.kind == "merge" {
		m[w.key] = append(slices.Clip(m[w.key]), v)
		return
	}
	m[w.key] = versions{v}
}

// admit reports whether a read at a time (ms) may answer with value. What has expired must be
// hidden, or, where that is not wanted, may be: it is seen until a flush or
// compaction comes upon it.
func (v versions) admit(value string, found, hide bool, at int64) bool {
	if !found && value != "" {
		return false
	}
	rest := v
	if len(rest) == 0 {
		return !found
	}
	if base := rest[0]; base.kind != "merge" {
		rest = rest[1:]
		gone := base.kind == "delete" || base.expired(at)
		if base.kind != "delete" && (!gone || !hide) {
			if after, ok := strings.CutPrefix(value, base.value); ok && found && rest.operands(after, true, true, hide, at) {
				return true
			}
		}
		if !gone {
			return false
		}
	}
	return rest.operands(value, false, found, hide, at)
}

// operands reports whether value can be what v makes of a value, if any, that
// is empty.
func (v versions) operands(value string, any, found, hide bool, at int64) bool {
	if len(v) == 0 {
		return value == "" && any == found
	}
	gone := v[0].expired(at)
	if gone && v[1:].operands(value, any, found, hide, at) {
		return true
	}
	after, ok := strings.CutPrefix(value, v[0].value)
	return ok && (!gone || !hide) && v[1:].operands(after, true, found, hide, at)
}

// write is one write of a batch.
type write struct {
	kind  string // put, merge or delete
	key   string
	value string
	life  time.Duration // 0: for ever
}

func (w write) String() string {
	s := fmt.Sprintf("%s %q", w.kind, w.key)
	if w.kind != "delete" {
		s += " " + short(w.value)
		if w.life > 0 {
			s += fmt.Sprintf(" for %v", w.life)
		}
	}
	return s
}

func batchOf(writes []write) *slate.Batch {
	b := new(slate.Batch)
	for _, w := range writes {
		var e slate.Expiry
		if w.life > 0 {
			e = slate.ExpireAfter(w.life)
		}
		switch w.kind {
		case "put":
			b.PutExpiring([]byte(w.key), []byte(w.value), e)
		case "merge":
			b.MergeExpiring([]byte(w.key), []byte(w.value), e)
		default:
			b.Delete([]byte(w.key))
		}
	}
	return b
}

// nothing is no step.
type nothing struct{}

func (nothing) String() string { return "nothing" }
func (nothing) run(*world)     {}

// batch writes a few rows at once.
type batch struct {
	writes   []write
	volatile bool
}

func (s batch) String() string {
	out := texts(s.writes)
	if len(s.writes) > 1 {
		out = "batch: " + out
	}
	if s.volatile {
		out += ", not waiting"
	}
	return out
}

func (s batch) run(w *world) {
	h, err := w.db.Write(w.ctx, batchOf(s.writes), slate.WriteOptions{Volatile: s.volatile})
	w.wrote(h, s.writes)
	if w.ok("write", err) && !s.volatile {
		w.settled()
	}
}

// deletion deletes a range.
type deletion struct {
	r        slate.Range
	volatile bool
}

func (s deletion) String() string {
	out := "delete " + rangeText(s.r)
	if s.volatile {
		out += ", not waiting"
	}
	return out
}

func (s deletion) run(w *world) {
	var deletes []write
	var doubtful []string
	for _, k := range slices.Sorted(maps.Keys(w.last().rows)) {
		v := w.last().rows[k]
		if !inside(s.r, k) || len(v) == 1 && v[0].kind == "delete" {
			continue
		}
		deletes = append(deletes, write{kind: "delete", key: k})
		if slices.ContainsFunc(v, func(v version) bool { return v.expired(now()) }) {
			doubtful = append(doubtful, k) // perhaps a compaction has come upon it
		}
	}
	done, err := w.db.DeleteRange(w.ctx, s.r, slate.DeleteRangeOptions{Atomic: true, Volatile: s.volatile})
	if w.wrote(done.Last, deletes); done.Last.Seq > 0 {
		w.states[len(w.states)-1].doubtful = doubtful
	}
	if w.ok("delete range", err) && !s.volatile && done.Last.Seq > 0 {
		w.settled()
	}
}

// parallel writes rows with different keys at the same time.
type parallel struct{ writes []write }

func (s parallel) String() string { return "at the same time: " + texts(s.writes) }

func (s parallel) run(w *world) {
	type done struct {
		slate.WriteHandle
		write
		err error
	}
	all := make([]done, len(s.writes))
	var wg sync.WaitGroup
	for i, wr := range s.writes {
		wg.Go(func() {
			h, err := w.db.Write(w.ctx, batchOf([]write{wr}), slate.WriteOptions{})
			all[i] = done{h, wr, err}
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b done) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, d := range all {
		w.wrote(d.WriteHandle, []write{d.write})
	}
	for _, d := range all {
		if !w.ok("write", d.err) {
			return
		}
	}
	w.settled()
}

// transaction reads and writes within one, while others do what they do.
type transaction struct {
	isolation slate.Isolation
	ops       []op
	rollback  bool
}

// op is a step in a transaction, or beside it.
type op struct {
	step
	beside bool
}

func (o op) String() string {
	if o.beside {
		return "beside: " + o.step.String()
	}
	return o.step.String()
}

func (s transaction) String() string {
	parts := []string{"transaction"}
	if s.isolation == slate.SnapshotIsolation {
		parts[0] += ", snapshot isolation"
	}
	for _, o := range s.ops {
		parts = append(parts, o.String())
	}
	if s.rollback {
		parts = append(parts, "roll back")
	}
	return strings.Join(parts, "; ")
}

func (s transaction) run(w *world) {
	life, began := w.life, w.last()
	tx, err := w.db.Begin(slate.TxOptions{Isolation: s.isolation})
	if !w.ok("begin", err) {
		return
	}
	defer tx.Rollback()
	rows := maps.Clone(began.rows) // as the transaction sees them
	if rows == nil {
		rows = map[string]versions{}
	}
	var writes []write
	var read []slate.Range
	for _, o := range s.ops {
		inner := o.step
		if o.beside {
			inner.run(w)
			inner = nothing{}
		}
		switch st := inner.(type) {
		case batch:
			for _, wr := range st.writes {
				w.writeIn(tx, wr)
				rows.apply(wr, time.Now())
			}
			writes = append(writes, st.writes...)
		case get:
			w.checkGet("transaction", tx, rows, st.key, true)
			read = append(read, slate.Range{Lower: []byte(st.key), Upper: []byte(st.key + "\x00")})
		case scan:
			seen := &scanned{scans: tx, r: st.r}
			if err := w.checkScan("transaction", seen, rows, st.r, st.limit, -1, nil); err != nil && life == w.life {
				w.ok("transaction: scan", err)
			}
			read = append(read, seen.r)
		}
		if life != w.life {
			return // and so is the transaction
		}
	}
	if s.isolation == slate.SnapshotIsolation {
		read = nil
	}
	if s.rollback {
		return
	}
	touched := func(k string) bool {
		return slices.ContainsFunc(read, func(r slate.Range) bool { return inside(r, k) }) ||
			slices.ContainsFunc(writes, func(wr write) bool { return wr.key == k })
	}
	var must, may []string // conflict
	for _, st := range w.states {
		for _, k := range st.wrote {
			switch {
			case st.seq <= began.seq || !touched(k):
			case slices.Contains(st.doubtful, k):
				may = append(may, k)
			default:
				must = append(must, k)
			}
		}
	}
	h, err := tx.Commit(w.ctx)
	c, conflict := errors.AsType[*slate.ConflictError](err)
	w.answers = append(w.answers, fmt.Sprintf("%d: commit: conflict %v", w.at, conflict && len(may) == 0))
	switch {
	case w.life.dead.Load():
	case conflict && !slices.Contains(append(must, may...), string(c.Key)):
		w.failf("commit: %v, but others wrote nothing that was read or written, only perhaps %q", err, append(must, may...))
	case !conflict && len(must) > 0 && len(writes) > 0:
		w.failf("commit: %v, want a conflict with one of %q", err, must)
	}
	if conflict {
		return
	}
	w.wrote(h, writes)
	if w.ok("commit", err) && len(writes) > 0 {
		w.settled()
	}
}

// writeIn writes a row in a transaction.
func (w *world) writeIn(tx *slate.Tx, wr write) {
	var e slate.Expiry
	if wr.life > 0 {
		e = slate.ExpireAfter(wr.life)
	}
	var err error
	switch wr.kind {
	case "put":
		err = tx.PutExpiring([]byte(wr.key), []byte(wr.value), e)
	case "merge":
		err = tx.MergeExpiring([]byte(wr.key), []byte(wr.value), e)
	default:
		err = tx.Delete([]byte(wr.key))
	}
	if err != nil {
		w.failf("transaction: %s: %v", wr, err)
	}
}

// scanned notes in r how far a scan went.
type scanned struct {
	scans
	r slate.Range
}

func (s *scanned) Scan(ctx context.Context, r slate.Range) iter.Seq2[slate.KV, error] {
	return func(yield func(slate.KV, error) bool) {
		for kv, err := range s.scans.Scan(ctx, r) {
			if !yield(kv, err) {
				s.r = upTo(r, string(kv.Key))
				return
			}
		}
	}
}

// get reads one key.
type get struct{ key string }

func (s get) String() string { return fmt.Sprintf("get %q", s.key) }
func (s get) run(w *world)   { w.checkGet("now", w.db, w.last().rows, s.key, true) }

// scan reads a range, of which it may want only the first rows.
type scan struct {
	r     slate.Range
	limit int // 0: all
}

func (s scan) String() string {
	out := "scan " + rangeText(s.r)
	if s.limit > 0 {
		out += fmt.Sprintf(", %d rows", s.limit)
	}
	return out
}

func (s scan) run(w *world) {
	life := w.life
	if err := w.checkScan("now", w.db, w.last().rows, s.r, s.limit, -1, nil); err != nil && life == w.life {
		w.ok("scan", err)
	}
}

// during runs steps while a scan is at a row.
type during struct {
	scan
	row   int
	steps program
}

func (s during) String() string {
	var inner []string
	for _, st := range s.steps {
		inner = append(inner, st.String())
	}
	return fmt.Sprintf("%s; before row %d: %s", s.scan, s.row+1, strings.Join(inner, "; "))
}

func (s during) run(w *world) {
	life := w.life
	between := func() {
		for _, st := range s.steps {
			st.run(w)
		}
	}
	if err := w.checkScan("now", w.db, w.last().rows, s.r, s.limit, s.row, between); err != nil && life == w.life {
		w.ok("scan", err)
	}
}

// snapshot pins the state.
type snapshot struct{}

func (snapshot) String() string { return "snapshot" }

func (snapshot) run(w *world) {
	s, err := w.db.Snapshot()
	if w.ok("snapshot", err) {
		w.snaps = append(w.snaps, pinned{s, w.last().rows})
	}
}

// old reads what is pinned, and what readers beside see.
type old struct {
	r   slate.Range
	key string
}

func (s old) String() string {
	return fmt.Sprintf("snapshots and readers: scan %s, get %q", rangeText(s.r), s.key)
}

func (s old) run(w *world) {
	life := w.life
	for i, p := range w.snaps {
		who := fmt.Sprintf("snapshot %d", i+1)
		err := w.checkScan(who, p.s, p.rows, s.r, 0, -1, nil)
		if life == w.life && err != nil {
			w.ok(who+": scan", err)
		}
		if life == w.life {
			w.checkGet(who, p.s, p.rows, s.key, true)
		}
		if life != w.life {
			return // and so are the snapshots
		}
	}
	for _, r := range w.readers {
		w.checkReader(r, s.r, s.key)
	}
}

// checkReader compares a reader with what it saw first. When that is collected,
// a scan is told, and a get takes the reader to a newer state.
func (w *world) checkReader(r *reading, rng slate.Range, key string) {
	i, _ := slices.BinarySearchFunc(w.states, r.seq, func(s state, seq uint64) int { return cmp.Compare(s.seq, seq) })
	if r.collected {
		v, err := r.r.Get(context.Background(), []byte(key))
		if err != nil && !errors.Is(err, slate.ErrNotFound) {
			w.failf("reader: get: %v", err)
		}
		if !slices.ContainsFunc(w.states[i:], func(s state) bool { return s.rows[key].admit(string(v), err == nil, w.opts.HideExpired, now()) }) {
			w.failf("reader: get %q: %s, found %v, as never since seq %d", key, short(string(v)), err == nil, r.seq)
		}
		for _, err := range r.r.Scan(context.Background(), rng) {
			if err != nil && !errors.Is(err, slate.ErrUnavailable) {
				w.failf("reader: scan: %v", err)
			}
		}
		return
	}
	m := w.states[i].rows
	w.checkGet("reader", r.r, m, key, false)
	if err := w.checkScan("reader", r.r, m, rng, 0, -1, nil); err != nil {
		w.failf("reader: scan: %v", err)
	}
}

// release lets go of snapshots and readers.
type release struct{}

func (release) String() string { return "release snapshots, close readers" }

func (release) run(w *world) {
	w.release()
	for _, r := range w.readers {
		if err := r.r.Close(); err != nil {
			w.failf("close reader: %v", err)
		}
	}
	w.readers = nil
}

// beside opens a reader beside the writer.
type beside struct{ r slate.Range }

func (s beside) String() string { return "flush, open a reader, scan " + rangeText(s.r) }

func (s beside) run(w *world) {
	if !w.ok("flush", w.db.Flush(w.ctx)) {
		return
	}
	w.settled()
	r, err := slate.OpenReader(context.Background(), "db", w.b, slate.ReaderOptions{
		MergeOperator: w.opts.MergeOperator, HideExpired: w.opts.HideExpired, CacheBytes: w.opts.CacheBytes,
		BlockTransformer: w.opts.BlockTransformer})
	if err != nil {
		w.failf("open reader: %v", err)
	}
	read := &reading{r: r, seq: w.durable}
	w.readers = append(w.readers, read)
	w.checkReader(read, s.r, "a")
}

// flush, flushMemtable and compact move rows on.
type flush struct{}

func (flush) String() string { return "flush" }

func (flush) run(w *world) {
	if w.ok("flush", w.db.Flush(w.ctx)) {
		w.settled()
	}
}

type flushMemtable struct{}

func (flushMemtable) String() string { return "flush memtable" }

func (flushMemtable) run(w *world) {
	if w.ok("flush memtable", w.db.FlushMemtable(w.ctx)) {
		w.settled()
	}
}

type compact struct{}

func (compact) String() string { return "compact" }

func (compact) run(w *world) {
	if w.solo != nil { // there is one compactor at a time
		w.dismiss()
		defer w.engage()
	}
	err := w.db.Compact(w.ctx)
	for i := 0; i < 3 && w.solos > 0 && err != nil && strings.Contains(err.Error(), "another compactor"); i++ {
		err = w.db.Compact(w.ctx) // it learned of it only now
	}
	if w.ok("compact", err) {
		w.settled()
	}
}

// compactor lets a standalone compactor run beside from now on, or no more. A
// writer whose compactor was deposed waits for the other one, so that the end of
// that one is the time to open anew.
type compactor struct{ on bool }

func (s compactor) String() string {
	return map[bool]string{true: "a standalone compactor begins", false: "the standalone compactor ends; close, open"}[s.on]
}

func (s compactor) run(w *world) {
	if w.dismiss(); s.on {
		w.engage()
	} else {
		reopen{}.run(w)
	}
}

// engage starts a compactor in a process of its own, which starts again when
// the writer has taken compaction back.
func (w *world) engage() {
	opts := w.opts
	w.solos++
	opts.Random, opts.CompactL0 = &seeded{r: rand.NewChaCha8([32]byte{1, w.solos})}, 2
	opts.Compaction.PollInterval = 10 * time.Second
	ctx, cancel := context.WithCancel(context.Background()) // it outlives the writer
	done := make(chan error)
	go func() {
		var err error
		for errors.Is(err, slate.ErrFenced) || err == nil && ctx.Err() == nil {
			err = slate.RunCompactor(ctx, "db", w.b, opts)
		}
		done <- err
	}()
	w.solo = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, slate.ErrFenced) {
			w.failf("standalone compactor: %v", err)
		}
	}
}

func (w *world) dismiss() {
	if stop := w.solo; stop != nil {
		w.solo = nil
		stop()
	}
}

// collectGarbage collects whatever its age, from another process.
type collectGarbage struct{}

func (collectGarbage) String() string { return "collect garbage" }

func (collectGarbage) run(w *world) {
	if _, err := slate.CollectGarbage(context.Background(), "db", w.b, slate.GCOptions{MinAge: -1, BlockTransformer: w.opts.BlockTransformer}); err != nil {
		w.failf("collect garbage: %v", err)
	}
	w.collected()
}

// collected notes that readers may have lost what they saw.
func (w *world) collected() {
	for _, r := range w.readers {
		r.collected = true
	}
}

// pass lets time pass until so many hours have struck, so that what happened
// within the hour makes no difference.
type pass struct{ hours int }

func (s pass) String() string { return fmt.Sprintf("%d hours pass", s.hours) }

func (s pass) run(w *world) {
	next := time.Now().Truncate(time.Hour).Add(time.Duration(s.hours) * time.Hour)
	time.Sleep(time.Until(next))
	w.collected() // by the writer
}

// reopen closes the database and opens it again.
type reopen struct{}

func (reopen) String() string { return "close, open" }

func (reopen) run(w *world) {
	w.release()
	if w.ok("close", w.db.Close()) {
		w.settled()
		w.db = nil
		w.open()
	}
}

// takeOver opens the database while it is open: the one before is fenced. What
// was not durable is lost, or not.
type takeOver struct{ flush bool }

func (s takeOver) String() string {
	if s.flush {
		return "flush, open again while open"
	}
	return "open again while open"
}

func (s takeOver) run(w *world) {
	if s.flush {
		life := w.life
		if (flush{}).run(w); life != w.life {
			return
		}
	}
	w.open()
}

// withLog lets the database be opened with a log or without one from then on.
type withLog struct{ on bool }

func (s withLog) String() string { return fmt.Sprintf("from the next open on, with a log: %v", s.on) }

func (s withLog) run(w *world) { w.opts.DisableWAL = !s.on }

// crash ends the process at once, or at a request to come.
type crash struct {
	flush  bool // beforehand, so that nothing is lost
	at     int  // at this write request from now on, from 1; 0: now
	behind bool // when the request has been carried out
}

func (s crash) String() string {
	switch {
	case s.flush:
		return "flush, crash, open"
	case s.at == 0:
		return "crash, open"
	case s.behind:
		return fmt.Sprintf("crash when write request %d from now has been carried out", s.at)
	}
	return fmt.Sprintf("crash before write request %d from now", s.at)
}

func (s crash) run(w *world) {
	switch {
	case s.flush:
		life := w.life
		if (flush{}).run(w); life != w.life {
			return
		}
	case s.at > 0:
		w.life.die(s.at-1, s.behind)
		return
	}
	w.life.dead.Store(true)
	w.open()
}

// short is a value as people want to see it: without its padding.
func short(v string) string {
	if body := strings.TrimRight(v, "."); len(v)-len(body) > 3 {
		return fmt.Sprintf("%q+%d", body, len(v)-len(body))
	}
	return fmt.Sprintf("%q", v)
}

func shorts(rows []string) string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = short(r)
	}
	return fmt.Sprint(out)
}

func texts(writes []write) string {
	out := make([]string, len(writes))
	for i, w := range writes {
		out[i] = w.String()
	}
	return strings.Join(out, ", ")
}

func rangeText(r slate.Range) string {
	out := "["
	if r.Lower != nil {
		out += fmt.Sprintf("%q", r.Lower)
	}
	out += ", "
	if r.Upper != nil {
		out += fmt.Sprintf("%q", r.Upper)
	}
	if out += ")"; r.Reverse {
		out += " backwards"
	}
	return out
}

func inside(r slate.Range, k string) bool {
	return !(r.Lower != nil && k < string(r.Lower) || r.Upper != nil && k >= string(r.Upper))
}

// upTo is the part of r that ends with the key last.
func upTo(r slate.Range, last string) slate.Range {
	if r.Reverse {
		r.Lower = []byte(last)
	} else {
		r.Upper = []byte(last + "\x00")
	}
	return r
}
