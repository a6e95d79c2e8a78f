package slate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

type recent interface {
	ScanRecent(ctx context.Context, r slate.Range, opts slate.ReadOptions) iter.Seq2[slate.RowInfo, error]
}

// stored is a row as the test wrote it.
type stored struct {
	key, value, kind string
	seq              uint64
}

func (s stored) String() string { return fmt.Sprintf("%s %s@%d=%s", s.kind, s.key, s.seq, s.value) }

func drainRecent(t testing.TB, seq iter.Seq2[slate.RowInfo, error]) []string {
	t.Helper()
	var out []string
	for r, err := range seq {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		out = append(out, stored{string(r.Key), string(r.Value), r.Kind, r.Seq}.String())
	}
	return out
}

// layers is a database of which the test knows what lies where.
type layers struct {
	t       *testing.T
	db      *slate.DB
	rng     *rand.Rand
	seq     uint64
	sources [][]stored // newest first
	keep    bool       // a snapshot at each write keeps all versions
}

// source begins a new source, above all others, with n random rows.
func (l *layers) source(n int, kinds ...string) {
	l.sources = slices.Insert(l.sources, 0, []stored(nil))
	for range n {
		l.write(l.key(), kinds[l.rng.IntN(len(kinds))])
	}
}

func (l *layers) key() string { return fmt.Sprintf("%c%d", 'a'+l.rng.IntN(3), l.rng.IntN(8)) }

func (l *layers) write(key, kind string) {
	l.t.Helper()
	l.seq++
	s := stored{key: key, kind: kind, seq: l.seq}
	var err error
	switch kind {
	case "value":
		s.value = fmt.Sprintf("%0200d", l.seq)
		err = l.db.Put(l.t.Context(), []byte(key), []byte(s.value))
	case "merge":
		s.value = fmt.Sprint("+", l.seq)
		err = l.db.Merge(l.t.Context(), []byte(key), []byte(s.value))
	default:
		err = l.db.Delete(l.t.Context(), []byte(key))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if l.keep {
		snap, err := l.db.Snapshot()
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(snap.Close)
		if snap.Seq() != l.seq {
			l.t.Fatalf("seq %d, want %d", snap.Seq(), l.seq)
		}
	}
	l.sources[0] = append(l.sources[0], s)
}

func (l *layers) flush() {
	l.t.Helper()
	if err := l.db.FlushMemtable(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// run makes one source of the newest three, with the newest version of each key.
func (l *layers) run() {
	newest := map[string]stored{}
	for _, src := range slices.Backward(l.sources[:3]) {
		for _, s := range src {
			newest[s.key] = s
		}
	}
	var all []stored
	for _, s := range newest {
		all = append(all, s)
	}
	l.sources = slices.Insert(l.sources[3:], 0, all)
}

// want is what a scan of r up to seq yields.
func (l *layers) want(r slate.Range, seq uint64) []string {
	var out []string
	for _, src := range l.sources {
		src = slices.Clone(src)
		slices.SortFunc(src, func(a, b stored) int {
			return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(b.seq, a.seq))
		})
		if r.Reverse {
			slices.Reverse(src)
		}
		for _, s := range src {
			if s.seq <= seq && s.key >= string(r.Lower) && (r.Upper == nil || s.key < string(r.Upper)) {
				out = append(out, s.String())
			}
		}
	}
	return out
}

// A scan by recency yields what was written, source by source: two runs, three
// SSTs in L0, memtables that wait for L0 and the one that takes writes. Every
// version is there that a snapshot keeps; snapshots bound it by their seq, and a
// reader has all of the log in one source.
func TestScanRecentEqualsModel(t *testing.T) {
	b := bucket.NewInMemBucket()
	ran := make(chan slate.CompactionEvent, 16)
	l := &layers{t: t, rng: rand.New(rand.NewPCG(1, 2))}
	opts := slate.Options{MergeOperator: slate.Concat, CompactL0: 3, GCMinAge: -1, Compaction: slate.CompactionOptions{
		Scheduler: threeAtATime{}, Each: func(e slate.CompactionEvent) { ran <- e },
	}}
	l.db = open(t, b, opts)
	for run := range 2 {
		for range 3 {
			if run == 0 {
				l.source(10, "value")
				l.write("a", "value") // so that the run above keeps its tombstones
				l.write("d", "value")
			} else {
				l.source(10, "value", "tombstone")
			}
			l.flush()
		}
		l.run()
		for e := range ran {
			if e.State == "completed" {
				break
			}
		}
	}
	mustClose(t, l.db)

	opts = slate.Options{MergeOperator: slate.Concat, CompactL0: -1, GCMinAge: -1, MaxL0: 3, L0Bytes: 4000}
	l.db, l.keep = open(t, b, opts), true
	for range 3 {
		l.source(12, "value", "tombstone", "merge")
		l.flush()
	}
	var snaps []*slate.Snapshot
	for frozen := range 2 { // as L0 has no room
		for l.source(1, "value"); l.db.Stats().Frozen == frozen; {
			l.write(l.key(), "value")
		}
		snap, err := l.db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		snaps = append(snaps, snap)
	}
	l.source(12, "value", "tombstone", "merge")

	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(m.Runs) != 2 || len(m.L0) != 3 || len(l.sources) != 8 {
		t.Fatalf("%d runs, %d SSTs in L0, %d sources, %v", len(m.Runs), len(m.L0), len(l.sources), err)
	}
	ranges := []slate.Range{
		{}, {Reverse: true}, slate.Prefix([]byte("b")), {Lower: []byte("a3"), Upper: []byte("c2")},
		{Lower: []byte("b1"), Upper: []byte("c7"), Reverse: true}, {Lower: []byte("c")}, {Upper: []byte("a4"), Reverse: true},
		{Lower: []byte("x")}, {Lower: []byte("c"), Upper: []byte("b")},
	}
	check := func(what string, from recent, seq uint64) {
		t.Helper()
		for _, r := range ranges {
			for _, opts := range []slate.ReadOptions{{}, {Durable: true, NoFill: true, ReadAhead: -1, Parallel: 1}} {
				if got, want := drainRecent(t, from.ScanRecent(t.Context(), r, opts)), l.want(r, seq); !slices.Equal(got, want) {
					t.Errorf("%s, %+v:\n%s\nwant\n%s", what, r, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
	check("database", l.db, l.seq)
	for _, s := range snaps {
		check(fmt.Sprint("snapshot at ", s.Seq()), s, s.Seq())
	}
	l.sources = slices.Insert(l.sources[3:], 0, slices.Concat(l.sources[:3]...))
	check("reader", reader(t, b, slate.ReaderOptions{}), l.seq)
}

// What is not durable is left out on request; rows that have expired are not.
func TestScanRecentOptions(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := open(t, b, slate.Options{MaxFlushDelay: time.Hour, HideExpired: true})
	var batch slate.Batch
	batch.PutExpiring([]byte("a"), []byte("1"), slate.ExpireAfter(time.Nanosecond))
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	batch.Reset()
	batch.Put([]byte("b"), []byte("2"))
	if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{Volatile: true}); err != nil {
		t.Fatal(err)
	}
	for durable, want := range map[bool][]string{false: {"value a@1=1", "value b@2=2"}, true: {"value a@1=1"}} {
		if got := drainRecent(t, db.ScanRecent(t.Context(), slate.Range{}, slate.ReadOptions{Durable: durable})); !slices.Equal(got, want) {
			t.Errorf("durable %v: %q, want %q", durable, got, want)
		}
	}
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	rd := reader(t, b, slate.ReaderOptions{})
	ends := func(from recent, opts slate.ReadOptions, want error) {
		t.Helper()
		n := 0
		for _, err := range from.ScanRecent(t.Context(), slate.Range{}, opts) {
			if n++; !errors.Is(err, want) {
				t.Errorf("%T: %v, want %v", from, err, want)
			}
		}
		if n != 1 {
			t.Errorf("%T: %d rows and errors, want one", from, n)
		}
	}
	for _, from := range []recent{db, snap, rd} {
		ends(from, slate.ReadOptions{HideExpired: true}, slate.ErrInvalid)
	}
	snap.Close()
	_, _ = rd.Close(), db.Close()
	for _, from := range []recent{db, snap, rd} {
		ends(from, slate.ReadOptions{}, slate.ErrClosed)
	}
}

// Who stops has paid for the sources up to there: for none of the bucket in the
// memtable, then for index and block of one SST after the other.
func TestScanRecentIsLazy(t *testing.T) {
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
	db := open(t, b, slate.Options{CompactL0: -1, MaxL0: 100, GCMinAge: -1, Prefixes: firstBytes(10), CacheNew: slate.CacheNothing})
	const each = 2000
	fill(t, db, 0, 3*each, 1) // larger than what comes along with an index
	mustCompact(t, db)
	fill(t, db, 0, 3*each, 3)
	fill(t, db, 1, 3*each, 3)
	put(t, db, "key0000000", "newest")
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for _, c := range []struct {
		what     string
		r        slate.Range
		rows     int
		requests int64
	}{
		{"the memtable", slate.Range{}, 1, 0},
		{"the first row of the newest SST", slate.Range{}, 2, 2},
		{"all of the newest SST", slate.Range{}, 1 + each, 2 + 4},
		{"the first row of the SST below", slate.Range{}, 1 + each + 1, 2 + 4 + 2},
		{"of the memtable in reverse", slate.Range{Reverse: true}, 1, 0},
		{"of the newest SST in reverse", slate.Range{Reverse: true}, 2, 2},
		// The prefix of a key is all of it but the last bytes here, and no filter
		// but the second SST's and the run's lets it pass.
		{"one key in three SSTs", slate.Prefix([]byte("key0000003")), 1, 3},
	} {
		for _, from := range []recent{db, snap, reader(t, b, slate.ReaderOptions{Prefixes: firstBytes(10)})} {
			if from != recent(db) && c.rows > 2 {
				continue
			}
			before, n := b.Stats(), 0
			for _, err := range from.ScanRecent(t.Context(), c.r, slate.ReadOptions{NoFill: true, Parallel: 1}) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == c.rows {
					break
				}
			}
			if got := b.Stats().Since(before).Total().Requests; got != c.requests || n != c.rows {
				t.Errorf("%T, %s: %d rows for %d requests, want %d for %d", from, c.what, n, got, c.rows, c.requests)
			}
		}
	}
}

// An SST that was compacted away elsewhere, and collected, is no matter before
// the first row, and told after it.
func TestScanRecentWhereObjectsAreGone(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1, GCMinAge: -1, ReaderGrace: -1})
	put(t, db, "a", "1")
	mustFlush(t, db)
	put(t, db, "b", "2")
	mustFlush(t, db)
	old := func() *slate.Reader { return reader(t, b, slate.ReaderOptions{CacheBytes: -1}) }
	early, late := old(), old()
	next, stop := iter.Pull2(late.ScanRecent(t.Context(), slate.Range{}, slate.ReadOptions{}))
	defer stop()
	if r, err, ok := next(); !ok || err != nil || string(r.Key) != "b" {
		t.Fatal(r, err, ok)
	}
	before, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	mustCompact(t, db)
	for _, s := range before.L0 {
		if err := b.Delete(t.Context(), "db/compacted/"+s.ID+".sst"); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"value a@1=1", "value b@2=2"} // one run now
	if got := drainRecent(t, early.ScanRecent(t.Context(), slate.Range{}, slate.ReadOptions{})); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r, err, ok := next(); !ok || !errors.Is(err, slate.ErrUnavailable) {
		t.Errorf("%v %v %v, want %v", r, err, ok, slate.ErrUnavailable)
	}
	if _, _, ok := next(); ok {
		t.Error("something follows an error")
	}
	if got := drainRecent(t, late.ScanRecent(t.Context(), slate.Range{}, slate.ReadOptions{})); !slices.Equal(got, want) {
		t.Errorf("again: %q, want %q", got, want)
	}
}

// What happened last to the orders, without a look at those of years before: the
// scan ends at the first source that knows enough.
func ExampleDB_ScanRecent() {
	ctx := context.Background()
	b := faulty.New(bucket.NewInMemBucket(), faulty.Options{}) // it counts requests
	db, err := slate.Open(ctx, "orders", b, slate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_ = db.Put(ctx, []byte("order/1"), []byte("paid"))
	_ = db.Put(ctx, []byte("order/2"), []byte("paid"))
	_ = db.FlushMemtable(ctx) // into an SST
	_ = db.Put(ctx, []byte("order/3"), []byte("open"))
	_ = db.Put(ctx, []byte("order/1"), []byte("shipped"))
	_ = db.Delete(ctx, []byte("order/2"))

	before, n := b.Stats(), 0
	for row, err := range db.ScanRecent(ctx, slate.Prefix([]byte("order/")), slate.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(row.Key), row.Kind, string(row.Value), row.Seq)
		if n++; n == 3 {
			break
		}
	}
	fmt.Println(b.Stats().Since(before).Total().Requests, "requests")
	// Output:
	// order/1 value shipped 4
	// order/2 tombstone  5
	// order/3 value open 3
	// 0 requests
}
