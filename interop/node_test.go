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

// node is a process that runs SlateDB; see slatedb.mjs. Its methods are called
// by one goroutine at a time.
type node struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// command is one line to slatedb.mjs, which says what the fields mean there.
type command struct {
	Op         string         `json:"op"`
	DB         string         `json:"db,omitempty"`
	URL        string         `json:"url,omitempty"`
	Settings   map[string]any `json:"settings,omitempty"`
	Compactor  bool           `json:"compactor,omitempty"`
	GC         bool           `json:"gc,omitempty"`
	MaxSST     int            `json:"maxSST,omitempty"`
	Block      string         `json:"block,omitempty"`
	Checkpoint string         `json:"checkpoint,omitempty"`
	PollMs     int            `json:"pollMs,omitempty"`
	Keys       [][]byte       `json:"keys,omitempty"`
	Key        []byte         `json:"key,omitempty"`
	Value      []byte         `json:"value,omitempty"`
	Ops        []writeOp      `json:"ops,omitempty"`
	Volatile   bool           `json:"volatile,omitempty"`
	Memtable   bool           `json:"memtable,omitempty"`
	From       []byte         `json:"from,omitempty"`
	To         []byte         `json:"to,omitempty"`
	Prefix     []byte         `json:"prefix,omitempty"`
	Desc       bool           `json:"desc,omitempty"`
}

// writeOp is a put, or without a value a delete.
type writeOp struct {
	Key   []byte  `json:"key"`
	Value *[]byte `json:"value,omitempty"`
}

// line is any line of an answer.
type line struct {
	OK        bool          `json:"ok"`
	Error     *slatedbError `json:"error"`
	Key       []byte        `json:"key"`
	Value     *[]byte       `json:"value"`
	Closed    string        `json:"closed"`
	Durable   uint64        `json:"durableSeq"`
	WAL       uint64        `json:"wal"`
	Kind      string        `json:"kind"`
	Seq       uint64        `json:"seq"`
	CreatedMs int64         `json:"created"`
}

// slatedbError is an error of SlateDB: its tag, and the reason if the database
// was closed.
type slatedbError struct{ Tag, Reason, Message string }

func (e *slatedbError) Error() string {
	return fmt.Sprintf("SlateDB: %s %s: %s", e.Tag, e.Reason, e.Message)
}

// missing says what the tests need and do not find, "" if all is there.
var missing = sync.OnceValue(func() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "Node is not installed: install Node 20 or newer with npm, then `make interop`"
	}
	if _, err := os.Stat("node_modules/@slatedb/uniffi/package.json"); err != nil {
		return "SlateDB is not installed: `make interop` installs it into interop/node_modules and runs these tests"
	}
	return ""
})

// startNode returns a process of SlateDB's own that ends with the test. Without
// Node or the package it skips the test, or with CI set lets it fail.
func startNode(t *testing.T, env ...string) *node {
	t.Helper()
	if why := missing(); why != "" {
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip("skipped: " + why)
	}
	cmd := exec.Command("node", "slatedb.mjs")
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
	n := &node{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
	t.Cleanup(n.kill)
	return n
}

// kill ends the process as a crash does: nothing is flushed or closed.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// try runs a command, gives its rows to each, and returns the last line, or
// SlateDB's error.
func (n *node) try(t *testing.T, c command, each func(line)) (line, error) {
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
func (n *node) do(t *testing.T, c command) line {
	t.Helper()
	l, err := n.try(t, c, nil)
	if err != nil {
		t.Fatalf("%s of %q: %v", c.Op, c.DB, err)
	}
	return l
}
