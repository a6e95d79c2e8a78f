package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// TestCompactorBesideAWriter runs "stele slate compactor" as a process of its
// own, three times, beside a writer that never compacts and never pauses. Each
// is ended by a signal once it has done some compactions, and ends well. The
// writer is never fenced, and what it holds in the end is what it wrote.
func TestCompactorBesideAWriter(t *testing.T) {
	url := "file://" + filepath.Join(t.TempDir(), "db")
	b, path, err := bucket.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	opts := slate.Options{CompactL0: -1, L0Bytes: 32 << 10, MergeOperator: slate.Concat}
	db, err := slate.Open(t.Context(), path, b, opts)
	if err != nil {
		t.Fatal(err)
	}
	w := &busyWriter{db: db, want: map[string]string{}, rng: rand.New(rand.NewPCG(1, 2))}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- w.run(t, stop) }()

	for i, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGTERM} {
		c := startCompactor(t, url)
		for c.ended < 3 {
			if !c.next(t) {
				t.Fatalf("compactor %d ended early: %v: %s", i, c.cmd.Wait(), c.stderr.Bytes())
			}
		}
		if i == 2 { // without a compactor it would wait for room in L0
			close(stop)
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
		}
		if err := c.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		for c.next(t) {
		}
		if err := c.cmd.Wait(); err != nil || c.stderr.Len() > 0 {
			t.Fatalf("compactor %d after %s: %v: %s", i, sig, err, c.stderr.Bytes())
		}
		if c.summary.Compactions < 3 || c.summary.Read == 0 || c.summary.Written == 0 {
			t.Errorf("compactor %d says of itself %+v", i, c.summary)
		}
	}
	if err := db.Put(t.Context(), []byte("last"), []byte("word")); err != nil {
		t.Fatalf("the writer, after all: %v", err)
	}
	w.want["last"] = "word"
	if work := db.CompactionWork(); work.Jobs != 0 {
		t.Errorf("the writer compacted as well: %+v", work)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d batches, %d keys", w.batches, len(w.want))
	w.check(t, path, b)
}

// busyWriter writes puts, deletes and merges, and knows what they come to.
type busyWriter struct {
	db      *slate.DB
	rng     *rand.Rand
	want    map[string]string
	batches int
}

// run writes until it is told to stop; each batch is durable before the next.
func (w *busyWriter) run(t *testing.T, stop chan struct{}) error {
	for ; ; w.batches++ {
		select {
		case <-stop:
			return nil
		default:
		}
		var batch slate.Batch
		for range 40 {
			key := fmt.Sprintf("key-%04d", w.rng.IntN(3000))
			switch w.rng.IntN(10) {
			case 0:
				batch.Delete([]byte(key))
				delete(w.want, key)
			case 1:
				key = fmt.Sprintf("sum-%02d", w.rng.IntN(50))
				batch.Merge([]byte(key), []byte{byte('a' + w.batches%26)})
				w.want[key] += string(rune('a' + w.batches%26))
			default:
				value := fmt.Sprintf("%d %0100d", w.batches, w.rng.Uint64())
				batch.Put([]byte(key), []byte(value))
				w.want[key] = value
			}
		}
		if _, err := w.db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			return fmt.Errorf("batch %d: %w", w.batches, err)
		}
	}
}

// check compares the database with what was written.
func (w *busyWriter) check(t *testing.T, path string, b bucket.Bucket) {
	t.Helper()
	r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{MergeOperator: slate.Concat})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for kv, err := range r.Scan(t.Context(), slate.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if want, ok := w.want[string(kv.Key)]; !ok || want != string(kv.Value) {
			t.Fatalf("%s is %q, want %q", kv.Key, kv.Value, want)
		}
	}
	if n != len(w.want) {
		t.Errorf("%d keys, want %d", n, len(w.want))
	}
}

// compactorProcess is a running "stele slate compactor --json".
type compactorProcess struct {
	cmd     *exec.Cmd
	lines   *bufio.Scanner
	stderr  bytes.Buffer
	ended   int // compactions that ended well
	summary compactorLine
}

// compactorLine is a line of its output: a compaction, or the summary.
type compactorLine struct {
	State       string `json:"state"`
	Compactions int    `json:"compactions"`
	Read        int64  `json:"bytesRead"`
	Written     int64  `json:"bytesWritten"`
}

func startCompactor(t *testing.T, url string) *compactorProcess {
	t.Helper()
	c := &compactorProcess{cmd: exec.Command(lookPath(t, "stele"), "slate", "compactor", "--json", "--db", url,
		"--poll", "20ms", "--l0", "2", "--merge-operator", "concat", "--reader-grace", "0s", "--compression", "lz4")}
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// next reads a line, and reports whether there was one.
func (c *compactorProcess) next(t *testing.T) bool {
	t.Helper()
	if !c.lines.Scan() {
		return false
	}
	c.summary = compactorLine{}
	if err := json.Unmarshal(c.lines.Bytes(), &c.summary); err != nil {
		t.Fatalf("output %q: %v", c.lines.Bytes(), err)
	}
	switch c.summary.State {
	case "completed", "moved":
		c.ended++
	case "failed":
		t.Fatalf("a compaction failed: %s", c.lines.Bytes())
	}
	return true
}

// TestSubmitToACompactor has "stele slate compact --submit --wait" hand a full
// compaction to a compactor at work beside a writer, which goes on.
func TestSubmitToACompactor(t *testing.T) {
	url := "file://" + filepath.Join(t.TempDir(), "db")
	b, path, err := bucket.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	db, err := slate.Open(t.Context(), path, b, slate.Options{CompactL0: -1})
	if err != nil {
		t.Fatal(err)
	}
	write := func(value string) {
		t.Helper()
		if err := db.Put(t.Context(), []byte("key"), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if err := db.FlushMemtable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c := startCompactor(t, url)
	submit := exec.Command(lookPath(t, "stele"), "slate", "compact", "--submit", "--wait", "--json", "--db", url)
	out, err := submit.Output()
	if err != nil {
		t.Fatal(err)
	}
	var info slate.CompactionInfo
	for line := range bytes.Lines(out) {
		if err := json.Unmarshal(line, &info); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if info.State != "completed" || len(info.L0) != 1 || len(info.Runs) != 0 {
		t.Errorf("%s", out)
	}
	write("second")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for c.next(t) {
	}
	if err := c.cmd.Wait(); err != nil || c.stderr.Len() > 0 || c.summary.Compactions != 1 {
		t.Errorf("compactor: %v: %s, %+v", err, c.stderr.Bytes(), c.summary)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	m, err := slate.ReadManifest(t.Context(), path, b, 0)
	if err != nil || len(m.Runs) != 1 || len(m.L0) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}
