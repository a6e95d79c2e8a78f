package slate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, b bucket.Bucket, opts slate.Options) *slate.DB {
	t.Helper()
	db, err := slate.Open(t.Context(), "db", b, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func put(t testing.TB, db *slate.DB, key, value string) {
	t.Helper()
	if err := db.Put(t.Context(), []byte(key), []byte(value)); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// mustFlush moves what was written to L0.
func mustFlush(t testing.TB, db *slate.DB) {
	t.Helper()
	if err := db.FlushMemtable(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustCompact(t testing.TB, db *slate.DB) {
	t.Helper()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, db io.Closer) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// everything compares all that who sees with m: by scans in both orders and by
// gets, also of keys that may not be there.
func everything(t testing.TB, who string, db scans, m model) {
	t.Helper()
	for _, r := range []slate.Range{{}, {Reverse: true}} {
		got, want := drain(t, db.Scan(context.Background(), r)), m.scan(r)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("%s (reverse %v): %d rows, want %d; from row %d on %.200q, want %.200q",
					who, r.Reverse, len(got), len(want), i, got[min(i, len(got)):], want[min(i, len(want)):])
			}
		}
	}
	for k := range m {
		checkGet(t, db, m, k)
	}
	for i := range 60 {
		checkGet(t, db, m, fmt.Sprintf("%02d", i))
	}
}

// nextWriter opens the database, compares all in it with m and closes it.
func nextWriter(t testing.TB, when string, b bucket.Bucket, opts slate.Options, m model) {
	t.Helper()
	db := open(t, b, opts)
	everything(t, "the next writer, "+when, db, m)
	mustClose(t, db)
}

func count(t testing.TB, b bucket.Bucket, prefix string) int {
	t.Helper()
	n := 0
	for _, err := range b.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// A second writer fences the first: its next write fails, changes nothing, and
// so does every later one.
func TestSecondWriterFencesTheFirst(t *testing.T) {
	b := bucket.NewInMemBucket()
	first := open(t, b, slate.Options{})
	put(t, first, "a", "1")
	second := open(t, b, slate.Options{})
	put(t, second, "a", "2")
	for range 3 {
		if err := first.Put(t.Context(), []byte("a"), []byte("lost")); !errors.Is(err, slate.ErrFenced) {
			t.Fatalf("put by the fenced writer: %v", err)
		}
	}
	if err := first.Close(); !errors.Is(err, slate.ErrFenced) {
		t.Errorf("close of the fenced writer: %v", err)
	}
	checkGet(t, second, model{"a": "2"}, "a")
}

// Sizes outside the format's limits are refused, as SlateDB refuses them.
func TestSizesOutOfBounds(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{MaxBatchBytes: 200_000})
	for name, key := range map[string][]byte{"empty": {}, "long": make([]byte, 65536)} {
		if err := db.Put(t.Context(), key, nil); !errors.Is(err, slate.ErrInvalid) {
			t.Errorf("put with %s key: %v", name, err)
		}
	}
	if err := db.Put(t.Context(), make([]byte, 65535), []byte("v")); err != nil {
		t.Errorf("put with the longest key: %v", err)
	}
	if _, err := db.Write(t.Context(), &slate.Batch{}, slate.WriteOptions{}); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("empty batch: %v", err)
	}
	if err := db.Put(t.Context(), []byte("k"), make([]byte, 200_000)); !errors.Is(err, slate.ErrInvalid) {
		t.Errorf("batch above the limit: %v", err)
	}
}

// All faults of the options are told at once.
func TestOptionFaultsTogether(t *testing.T) {
	_, err := slate.Open(t.Context(), "db", bucket.NewInMemBucket(), slate.Options{BlockBytes: 7, Compression: 99, L0Bytes: -1, DefaultTTL: -1, MaxBatchBytes: 1<<30 + 1,
		Compaction: slate.CompactionOptions{Scheduler: slate.SizeTiered{MinL0: 16}}})
	if !errors.Is(err, slate.ErrInvalid) {
		t.Fatal(err)
	}
	for _, name := range []string{"BlockBytes", "Compression", "L0Bytes", "DefaultTTL", "MaxBatchBytes", "MinL0"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

type noConditions struct{ bucket.Bucket }

func (noConditions) Capabilities() bucket.Capabilities {
	return bucket.Capabilities{Name: "toy://x", Reason: "the toy driver ignores conditions"}
}

// A bucket that cannot put conditionally is refused by name and reason, and
// left as it was.
func TestBucketWithoutConditionalPut(t *testing.T) {
	b := bucket.NewInMemBucket()
	_, err := slate.Open(t.Context(), "db", noConditions{b}, slate.Options{})
	if !errors.Is(err, slate.ErrUnsupported) || !strings.Contains(err.Error(), "toy://x") || !strings.Contains(err.Error(), "ignores conditions") {
		t.Errorf("open: %v", err)
	}
	if n := count(t, b, ""); n != 0 {
		t.Errorf("%d objects were written", n)
	}
}

// Close leaves at most four L0 SSTs, adds one only if rows are unflushed, and
// a database opened and closed again grows by nothing but the fence and the
// epoch.
func TestCloseLeavesFewL0(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: 6})
	for i := range 5 {
		put(t, db, fmt.Sprint(i), "v")
		mustFlush(t, db)
	}
	mustClose(t, db)
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(m.L0) > 4 {
		t.Fatalf("%d L0 SSTs after close, %v", len(m.L0), err)
	}
	ssts := count(t, b, "db/compacted/")
	if err := open(t, b, slate.Options{CompactL0: 6}).Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, b, "db/compacted/"); n != ssts {
		t.Errorf("an open and close without writes went from %d to %d SSTs", ssts, n)
	}
}

// Tombstones and shadowed versions are gone after a full compaction.
func TestCompactDropsWhatNobodySees(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CompactL0: -1})
	for i := range 100 {
		put(t, db, fmt.Sprintf("k%02d", i), "old")
		put(t, db, fmt.Sprintf("k%02d", i), "new")
	}
	for i := range 99 {
		if err := db.Delete(t.Context(), fmt.Appendf(nil, "k%02d", i)); err != nil {
			t.Fatal(err)
		}
		if i%25 == 0 {
			mustFlush(t, db)
		}
	}
	mustCompact(t, db)
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil || len(m.L0) != 0 || len(m.Runs) != 1 || len(m.Runs[0].SSTs) != 1 {
		t.Fatalf("after compaction: %+v, %v", m, err)
	}
	var rows []string
	_, err = slate.ReadSST(t.Context(), "db", b, m.Runs[0].SSTs[0].ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
		rows = append(rows, string(r.Key)+" "+r.Kind)
		return nil
	})
	if err != nil || len(rows) != 1 || rows[0] != "k99 value" {
		t.Errorf("rows of the run: %v, %v", rows, err)
	}
	if err := db.Delete(t.Context(), []byte("k99")); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context()); err != nil { // a run without SSTs
		t.Fatal(err)
	}
	if got := drain(t, db.Scan(t.Context(), slate.Range{})); len(got) != 0 {
		t.Errorf("left after deleting everything: %v", got)
	}
}

// A flipped byte in a data block is an error that names object and offset.
func TestCorruptBlock(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{CacheBytes: -1})
	put(t, db, "k", strings.Repeat("v", 100))
	mustFlush(t, db)
	for o, err := range b.List(t.Context(), "db/compacted/", "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := b.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.Clone(data)
		data[50] ^= 1
		if err := b.Put(t.Context(), o.Key, data); err != nil {
			t.Fatal(err)
		}
		_, err = db.Get(t.Context(), []byte("k"))
		var c *slate.CorruptError
		if !errors.Is(err, slate.ErrCorrupt) || !errors.As(err, &c) || c.Object != o.Key {
			t.Errorf("get of a damaged block: %v", err)
		}
	}
}

// A reader has one fixed view, sees what is durable, writes nothing.
func TestReaderIsFixedAndWritesNothing(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{})
	put(t, db, "a", "1")
	mustFlush(t, db)
	put(t, db, "b", "2")
	before := count(t, b, "")
	r, err := slate.OpenReader(t.Context(), "db", b, slate.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, b, ""); n != before {
		t.Errorf("opening a reader went from %d to %d objects", before, n)
	}
	put(t, db, "c", "3")
	if got := fmt.Sprint(drain(t, r.Scan(t.Context(), slate.Range{}))); got != "[a=1 b=2]" {
		t.Errorf("reader sees %s", got)
	}
	mustClose(t, r)
	if _, err := r.Get(t.Context(), []byte("a")); !errors.Is(err, slate.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	put(t, db, "d", "4") // not fenced
}

// A closed database says so.
func TestClosed(t *testing.T) {
	db := open(t, bucket.NewInMemBucket(), slate.Options{})
	put(t, db, "k", "v")
	mustClose(t, db)
	_, getErr := db.Get(t.Context(), []byte("k"))
	_, snapErr := db.Snapshot()
	for what, err := range map[string]error{
		"get": getErr, "snapshot": snapErr, "put": db.Put(t.Context(), []byte("k"), nil),
		"flush": db.Flush(t.Context()), "compact": db.Compact(t.Context()), "close": db.Close(),
	} {
		if !errors.Is(err, slate.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
}
