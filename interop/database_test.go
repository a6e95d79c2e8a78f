package interop

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// form is how a writer encodes what it writes.
type form struct {
	codec slate.Codec
	name  string // SlateDB's name of the codec
	block int    // bytes
	// maxSST is the size at which a compaction starts its next SST; 0: never.
	maxSST int
	// mask is the key of the block transformer; 0: there is none. Only the newest
	// SlateDB's bindings have one.
	mask byte
}

const (
	several = 1_500 // runs of several SSTs
	single  = 0     // runs of one
)

var forms = []form{
	{slate.NoCompression, "", 4 << 10, single, 0},
	{slate.Snappy, "Snappy", 1 << 10, several, 0},
	{slate.Zlib, "Zlib", 64 << 10, single, 0},
	{slate.LZ4, "Lz4", 2 << 10, several, 0},
	{slate.Zstd, "Zstd", 16 << 10, several, 0},
}

// steleOptions never compact unasked, write Bloom filters early.
func (f form) steleOptions() slate.Options {
	return slate.Options{
		Compression: f.codec, BlockBytes: f.block, MinFilterKeys: 100, MaxSSTBytes: int64(cmp.Or(f.maxSST, 1<<30)),
		CompactL0: -1, MaxL0: 64, MergeOperator: operator, BlockTransformer: f.transformer(),
	}
}

// slatedbOpen is the same for SlateDB.
func (f form) slatedbOpen(db, dir string) command {
	return command{Op: "open", DB: db, URL: url(dir), Codec: f.name, Block: f.block >> 10, FilterKeys: 100, MaxSST: f.maxSST, Mask: f.mask}
}

// root is the folder of all databases. TestMain removes it when every process
// of SlateDB has ended: one that is alive makes a folder that it writes to
// again, so that a test's own, removed at its end, would come back.
var root string

// newDir returns the folder of a database that is not there yet.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(root, "")
	must(t, err)
	return filepath.Join(dir, "db")
}

func url(dir string) string { return "file://" + filepath.ToSlash(dir) }

// open returns the bucket and the path of the database in folder dir.
func open(t *testing.T, dir string) (bucket.Bucket, string) {
	t.Helper()
	b, err := bucket.OpenDir(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, filepath.Base(dir)
}

// openOurs opens the database in dir with Stele for writing; it is closed at
// the end of the test if nobody did.
func openOurs(t *testing.T, dir string, o slate.Options) *slate.DB {
	t.Helper()
	b, path := open(t, dir)
	db, err := slate.Open(t.Context(), path, b, o)
	if err != nil {
		t.Fatalf("Stele opens as the writer: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// readOurs opens it with Stele for reading.
func readOurs(t *testing.T, dir string) *slate.Reader {
	t.Helper()
	b, path := open(t, dir)
	r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{MergeOperator: operator})
	if err != nil {
		t.Fatalf("Stele opens as a reader: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// manifest is the newest manifest in dir, as Stele reads it.
func manifest(t *testing.T, dir string) *slate.ManifestInfo {
	t.Helper()
	b, path := open(t, dir)
	m, err := slate.ReadManifest(t.Context(), path, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// await waits until the newest manifest is as wanted.
func await(t *testing.T, dir, what string, ok func(*slate.ManifestInfo) bool) *slate.ManifestInfo {
	t.Helper()
	for range 2000 {
		m := manifest(t, dir)
		if ok(m) {
			return m
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not happen: %s", what, shape(manifest(t, dir)))
	return nil
}

// shape says what a manifest holds, in a line.
func shape(m *slate.ManifestInfo) string {
	s := fmt.Sprintf("manifest %d, epochs %d and %d, replay after %d, %d L0 SSTs, %d checkpoints", m.ID, m.WriterEpoch, m.CompactorEpoch,
		m.ReplayAfterWAL, len(m.L0), len(m.Checkpoints))
	for _, r := range m.Runs {
		s += fmt.Sprintf(", run %d of %d SSTs", r.ID, len(r.SSTs))
	}
	return s
}

// files lists the objects below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// writer is either engine with a database open for writing.
type writer interface {
	engine
	write(t *testing.T, b batch) stamp
	flush(t *testing.T)         // makes the log durable
	flushMemtable(t *testing.T) // and moves the memtable to L0
	compact(t *testing.T)       // merges what is in L0 and runs of its size
	stack(t *testing.T)         // makes a run of what is in L0
	close(t *testing.T)
	crash(t *testing.T) // leaves what was durable, closes nothing
}

// steleWriter is Stele as the writer of the database in dir.
type steleWriter struct {
	ours
	form form
	dir  string
	db   *slate.DB
}

func newSteleWriter(t *testing.T, dir string, f form) *steleWriter {
	t.Helper()
	db := openOurs(t, dir, f.steleOptions())
	return &steleWriter{ours{db}, f, dir, db}
}

func (w *steleWriter) write(t *testing.T, b batch) stamp {
	t.Helper()
	var wb slate.Batch
	for _, x := range b {
		var until slate.Expiry
		if x.expires != 0 {
			until = slate.ExpireAt(time.UnixMilli(x.expires))
		}
		switch {
		case x.del:
			wb.Delete([]byte(x.key))
		case x.merge:
			wb.MergeExpiring([]byte(x.key), []byte(x.value), until)
		default:
			wb.PutExpiring([]byte(x.key), []byte(x.value), until)
		}
	}
	h, err := w.db.Write(t.Context(), &wb, slate.WriteOptions{Volatile: true})
	if err != nil {
		t.Fatalf("Stele writes: %v", err)
	}
	return stamp{h.Seq, h.Created.UnixMilli()}
}

func (w *steleWriter) flush(t *testing.T) {
	t.Helper()
	if err := w.db.Flush(t.Context()); err != nil {
		t.Fatalf("Stele flushes: %v", err)
	}
}

func (w *steleWriter) flushMemtable(t *testing.T) {
	t.Helper()
	if err := w.db.FlushMemtable(t.Context()); err != nil {
		t.Fatalf("Stele flushes the memtable: %v", err)
	}
}

func (w *steleWriter) compact(t *testing.T) {
	t.Helper()
	if err := w.db.Compact(t.Context()); err != nil {
		t.Fatalf("Stele compacts: %v", err)
	}
}

// stack opens the database with a scheduler that never merges runs, and as it
// was again.
func (w *steleWriter) stack(t *testing.T) {
	t.Helper()
	w.close(t)
	o := w.form.steleOptions()
	o.CompactL0, o.Compaction.Scheduler = 2, slate.SizeTiered{MinL0: 2, MinSources: 100}
	db := openOurs(t, w.dir, o)
	await(t, w.dir, "compaction by Stele", func(m *slate.ManifestInfo) bool { return len(m.L0) == 0 })
	must(t, db.Close())
	*w = *newSteleWriter(t, w.dir, w.form)
}

func (w *steleWriter) close(t *testing.T) {
	t.Helper()
	if err := w.db.Close(); err != nil {
		t.Fatalf("Stele closes: %v", err)
	}
}

func (w *steleWriter) crash(t *testing.T) {
	t.Helper()
	crash(t, w, w.dir)
}

// crash leaves the objects of this moment in dir and nothing of the close, as
// if the process had ended here. Nothing may be under way.
func crash(t *testing.T, w writer, dir string) {
	t.Helper()
	now := dir + ".now"
	if err := os.CopyFS(now, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w.close(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(now, dir); err != nil {
		t.Fatal(err)
	}
}

// slatedbWriter is SlateDB as the writer of the database in dir.
type slatedbWriter struct {
	theirs
	form form
}

func newSlateDBWriter(t *testing.T, n *process, dir string, f form) *slatedbWriter {
	t.Helper()
	n.do(t, f.slatedbOpen("writer", dir))
	return &slatedbWriter{theirs{n, "writer", dir}, f}
}

func (w *slatedbWriter) write(t *testing.T, b batch) stamp {
	t.Helper()
	l := w.do(t, command{Op: "write", DB: w.db, Ops: ops(b), Volatile: true})
	return stamp{l.Seq, l.Created}
}

func ops(b batch) []writeOp {
	out := make([]writeOp, len(b))
	for i, x := range b {
		out[i].Key = []byte(x.key)
		v := []byte(x.value)
		switch {
		case x.merge:
			out[i].Merge = &v
		case !x.del:
			out[i].Value = &v
		}
		if x.expires != 0 {
			out[i].Expires = &x.expires
		}
	}
	return out
}

func (w *slatedbWriter) flush(t *testing.T) {
	t.Helper()
	w.do(t, command{Op: "flush", DB: w.db})
}

func (w *slatedbWriter) flushMemtable(t *testing.T) {
	t.Helper()
	w.do(t, command{Op: "flush", DB: w.db, Memtable: true})
}

func (w *slatedbWriter) compact(t *testing.T) {
	t.Helper()
	w.compacting(t, command{Compactor: true})
}

func (w *slatedbWriter) stack(t *testing.T) {
	t.Helper()
	w.compacting(t, command{Compactor: true, Stack: true})
}

// compacting opens the database with a compactor, which takes up what there is
// in L0 once there are two, and without one again.
func (w *slatedbWriter) compacting(t *testing.T, how command) {
	t.Helper()
	w.close(t)
	c := w.form.slatedbOpen(w.db, w.dir)
	c.Compactor, c.Stack = how.Compactor, how.Stack
	w.do(t, c)
	await(t, w.dir, "compaction by SlateDB", func(m *slate.ManifestInfo) bool { return len(m.L0) == 0 && len(m.Runs) > 0 })
	w.close(t)
	w.do(t, w.form.slatedbOpen(w.db, w.dir))
}

func (w *slatedbWriter) close(t *testing.T) {
	t.Helper()
	w.do(t, command{Op: "close", DB: w.db})
}

func (w *slatedbWriter) crash(t *testing.T) {
	t.Helper()
	crash(t, w, w.dir)
}
