package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// process is a process that runs SlateDB: slatedb.mjs, or latest.py for the
// newest, with the same commands. Its methods are called by one goroutine at a
// time.
type process struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// command is one line to slatedb.mjs or latest.py, which say what the fields
// mean there.
type command struct {
	Op         string    `json:"op"`
	DB         string    `json:"db,omitempty"`
	URL        string    `json:"url,omitempty"`
	WAL        string    `json:"wal,omitempty"`
	Codec      string    `json:"codec,omitempty"`
	Block      int       `json:"block,omitempty"`
	FilterKeys int       `json:"filterKeys,omitempty"`
	L0Bytes    int       `json:"l0Bytes,omitempty"`
	MaxSST     int       `json:"maxSST,omitempty"`
	Compactor  bool      `json:"compactor,omitempty"`
	Stack      bool      `json:"stack,omitempty"`
	GC         bool      `json:"gc,omitempty"`
	Checkpoint string    `json:"checkpoint,omitempty"`
	PollMs     int       `json:"pollMs,omitempty"`
	Keys       [][]byte  `json:"keys,omitempty"`
	Ops        []writeOp `json:"ops,omitempty"`
	Volatile   bool      `json:"volatile,omitempty"`
	Memtable   bool      `json:"memtable,omitempty"`
	From       []byte    `json:"from,omitempty"`
	To         []byte    `json:"to,omitempty"`
	Prefix     []byte    `json:"prefix,omitempty"`
	Desc       bool      `json:"desc,omitempty"`
	Segment    int       `json:"segment,omitempty"` // here and below: the newest only
	FilterOf   int       `json:"filterOf,omitempty"`
	Parent     string    `json:"parent,omitempty"`
	Mask       byte      `json:"mask,omitempty"`
}

// writeOp is a put, a merge, or with neither value a delete.
type writeOp struct {
	Key     []byte  `json:"key"`
	Value   *[]byte `json:"value,omitempty"`
	Merge   *[]byte `json:"merge,omitempty"`
	Expires *int64  `json:"expires,omitempty"`
}

// line is any line of an answer.
type line struct {
	OK      bool          `json:"ok"`
	Error   *slatedbError `json:"error"`
	Version string        `json:"version"`
	Key     []byte        `json:"key"`
	Value   *[]byte       `json:"value"`
	Closed  string        `json:"closed"`
	Durable uint64        `json:"durableSeq"`
	WAL     uint64        `json:"wal"`
	Kind    string        `json:"kind"`
	Seq     uint64        `json:"seq"`
	Created int64         `json:"created"`
	Expires int64         `json:"expires"`
	ID      string        `json:"id"`
	IDs     []string      `json:"ids"`
	Epochs  []uint64      `json:"epochs"`
}

// slatedbError is an error of SlateDB: its tag, and the reason if the database
// was closed.
type slatedbError struct{ Tag, Reason, Message string }

func (e *slatedbError) Error() string {
	return fmt.Sprintf("SlateDB: %s %s: %s", e.Tag, e.Reason, e.Message)
}

// latest says that the newest SlateDB is tested, not the pinned old one.
var latest = os.Getenv("STELE_INTEROP") == "latest"

// driver is the command that runs SlateDB, and what is missing for it, "" if
// all is there.
var driver = sync.OnceValues(func() (args []string, missing string) {
	if latest {
		if _, err := os.Stat(".venv/bin/python"); err != nil {
			return nil, "the newest SlateDB is not installed: `make interop-latest` installs it into interop/.venv and runs these tests"
		}
		return []string{".venv/bin/python", "latest.py"}, ""
	}
	if _, err := exec.LookPath("node"); err != nil {
		return nil, "Node is not installed: install Node 20 or newer with npm, then `make interop`"
	}
	if _, err := os.Stat("node_modules/@slatedb/uniffi/package.json"); err != nil {
		return nil, "SlateDB is not installed: `make interop` installs it into interop/node_modules and runs these tests"
	}
	return []string{"node", "slatedb.mjs"}, ""
})

// version is that of the SlateDB that was started.
var (
	version = "(not started)"
	asked   sync.Once
)

// startSlateDB returns a process of SlateDB's own that ends with the test.
// Where SlateDB is not installed it skips the test, or with CI set lets it fail.
func startSlateDB(t *testing.T, env ...string) *process {
	t.Helper()
	args, missing := driver()
	if missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip("skipped: " + missing)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &process{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
	t.Cleanup(n.kill)
	asked.Do(func() { version = n.do(t, command{Op: "version"}).Version })
	return n
}

// kill ends the process as a crash does: nothing is flushed or closed.
func (n *process) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// try runs a command, gives its rows to each, and returns the last line, or
// SlateDB's error.
func (n *process) try(t *testing.T, c command, each func(line)) (line, error) {
	t.Helper()
	if err := n.in.Encode(c); err != nil {
		t.Fatalf("%s to the process of SlateDB: %v", c.Op, err)
	}
	for {
		var l line
		switch err := n.out.Decode(&l); {
		case err == io.EOF:
			t.Fatalf("the process of SlateDB ended during %s", c.Op)
		case err != nil:
			t.Fatalf("answer to %s: %v", c.Op, err)
		case l.Error != nil:
			return l, l.Error
		case l.OK:
			return l, nil
		case each != nil:
			each(l)
		}
	}
}

// do is try for a command that must succeed and has no rows.
func (n *process) do(t *testing.T, c command) line {
	t.Helper()
	l, err := n.try(t, c, nil)
	if err != nil {
		t.Fatalf("%s of %q: %v", c.Op, c.DB, err)
	}
	return l
}

// put makes one durable write.
func (n *process) put(t *testing.T, db, key, value string) error {
	t.Helper()
	_, err := n.try(t, command{Op: "write", DB: db, Ops: ops(batch{{key: key, value: value}})}, nil)
	return err
}
