package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
)

// TestKillDuringImport kills an import of the bundled packages with SIGKILL at
// 50 random moments (STELE_KILLS says how many, STELE_SEED from which seed).
// After each, the database opens, every row that was acknowledged is there,
// rows and index entries agree, and the import goes on where it was; when it
// has finished, the table is the file.
//
// Where the process is when the signal comes is not reproducible; the seed only
// chooses how far it gets. No result depends on the moment.
func TestKillDuringImport(t *testing.T) {
	kills := setting(t, "STELE_KILLS", 50)
	if testing.Short() {
		kills = 5
	}
	seed := setting(t, "STELE_SEED", 1)
	c := &crash{
		rng:     rand.New(rand.NewPCG(uint64(seed), 0)),
		input:   absolute(t, "../../examples/packages/packages.ndjson.gz"),
		schema:  absolute(t, "../../examples/packages/package.proto"),
		program: lookPath(t, "stele"),
	}
	c.lines = unzipLines(t, c.input)
	resumed := 0
	for n := 0; c.kills < kills; n++ {
		c.url = "file://" + filepath.Join(t.TempDir(), "db")
		resumed += c.importWithKills(t, kills)
	}
	t.Logf("seed %d: %d kills, %d of them before anything was acknowledged; %d runs resumed; %d imports finished",
		seed, c.kills, c.early, resumed, c.finished)
	if resumed == 0 {
		t.Error("no import was ever resumed: the kills come too early or too late")
	}
}

// crash is a series of imports that are killed.
type crash struct {
	rng                    *rand.Rand
	program, input, schema string
	lines                  [][]byte // of the input, in the order of the key
	url                    string   // of the database that is imported into
	kills, early, finished int
}

// output is a line of import --json: a batch that is durable, or the summary.
type output struct {
	Acknowledged *int   `json:"acknowledged"`
	Rows         int    `json:"rows"`
	Resumed      int    `json:"resumed"`
	Table        string `json:"table"`
}

// importWithKills imports into a new database until it is complete, with kills
// on the way, and returns how many runs went on where another had come to.
func (c *crash) importWithKills(t *testing.T, kills int) (resumed int) {
	acknowledged := 0
	for {
		before := acknowledged
		run := c.start(t)
		if c.kills < kills {
			batches := max(0, c.rng.IntN(70)-10) // every seventh dies while it begins
			run.killAfter(t, batches, time.Duration(c.rng.IntN(4000))*time.Microsecond)
		}
		outputs, err := run.wait(t)
		for _, o := range outputs {
			if o.Acknowledged != nil {
				acknowledged = o.Rows
			}
		}
		if before > 0 && len(outputs) > 0 && outputs[0].Acknowledged != nil {
			if first := outputs[0].Rows - *outputs[0].Acknowledged; first < before {
				t.Fatalf("the import goes on after row %d, but %d were acknowledged", first, before)
			}
			resumed++
		}
		if err == nil {
			c.check(t, len(c.lines))
			c.finished++
			if last := outputs[len(outputs)-1]; last.Table != "Package" || last.Rows+last.Resumed != len(c.lines) {
				t.Fatalf("the import ended with %+v", last)
			}
			return resumed
		}
		ee, ok := errors.AsType[*exec.ExitError](err)
		if !ok || ee.ExitCode() != -1 {
			t.Fatalf("import: %v: %s", err, run.stderr.Bytes())
		}
		c.kills++
		if acknowledged == 0 {
			c.early++
		}
		c.check(t, acknowledged)
		if acknowledged == len(c.lines) {
			return resumed // the mark may be gone already: a next run starts anew
		}
	}
}

// check opens the database and compares what it holds with the input: exactly
// its first rows, at least as many as were acknowledged.
func (c *crash) check(t *testing.T, acknowledged int) {
	t.Helper()
	ctx := t.Context()
	store, err := slatekv.OpenReader(ctx, c.url, slate.ReaderOptions{})
	if errors.Is(err, slate.ErrNoDatabase) && acknowledged == 0 {
		return // killed before the database was there
	}
	if err != nil {
		t.Fatalf("kill %d: %v", c.kills, err)
	}
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		t.Fatalf("kill %d: %v", c.kills, err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	table, err := db.Table(ctx, "Package")
	if errors.Is(err, record.ErrNoTable) && acknowledged == 0 {
		return // killed before the table was there
	}
	if err != nil {
		t.Fatalf("kill %d: %v", c.kills, err)
	}
	v, err := record.VerifyTable(ctx, store, table)
	if err != nil {
		t.Fatalf("kill %d: %v", c.kills, err)
	}
	if !v.OK() {
		t.Fatalf("kill %d: %d faults: %q", c.kills, v.Faults, v.First)
	}
	rows := 0
	for row, err := range table.Query(ctx, store, record.Query{}) {
		if err != nil {
			t.Fatalf("kill %d: row %d: %v", c.kills, rows, err)
		}
		line, err := table.Schema().ToJSON(row.Record)
		if err != nil {
			t.Fatalf("kill %d: row %d: %v", c.kills, rows, err)
		}
		if !bytes.Equal(line, c.lines[rows]) {
			t.Fatalf("kill %d: row %d is %s\nwant %s", c.kills, rows, line, c.lines[rows])
		}
		rows++
	}
	if rows < acknowledged {
		t.Fatalf("kill %d: %d rows, but %d were acknowledged", c.kills, rows, acknowledged)
	}
}

// run is a running import.
type run struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	read   []output
	stderr bytes.Buffer
}

// start starts an import in small batches, so that there is much to interrupt.
func (c *crash) start(t *testing.T) *run {
	t.Helper()
	r := &run{cmd: exec.Command(c.program, "import", "--json", "--batch-rows", "20",
		"--db", c.url, "--schema", c.schema, c.input)}
	r.cmd.Dir, r.cmd.Stderr = t.TempDir(), &r.stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.lines = bufio.NewScanner(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// killAfter reads some batches, waits and kills the process, if it still runs.
// Without batches it waits longer, so that it also dies while it begins.
func (r *run) killAfter(t *testing.T, batches int, delay time.Duration) {
	t.Helper()
	if batches == 0 {
		delay *= 20
	}
	for len(r.read) < batches && r.next(t) {
	}
	time.Sleep(delay)
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// next reads a line of output. Every line that was written counts, whether or
// not it was read before the kill.
func (r *run) next(t *testing.T) bool {
	t.Helper()
	if !r.lines.Scan() {
		return false
	}
	var o output
	if err := json.Unmarshal(r.lines.Bytes(), &o); err != nil {
		t.Fatalf("output %q: %v", r.lines.Bytes(), err)
	}
	r.read = append(r.read, o)
	return true
}

func (r *run) wait(t *testing.T) ([]output, error) {
	t.Helper()
	for r.next(t) {
	}
	return r.read, r.cmd.Wait()
}

func unzipLines(t *testing.T, path string) [][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(all, []byte("\n")), []byte("\n"))
}

func setting(t *testing.T, name string, value int) int {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		return n
	}
	return value
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
