package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/slate/bucket"
)

// slowBucket takes its time for every write.
type slowBucket struct {
	bucket.Bucket
	delay time.Duration
}

func (s *slowBucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	time.Sleep(s.delay)
	return s.Bucket.PutIfAbsent(ctx, key, body, token)
}

// TestBatchesShareFlushes imports 200 batches into a bucket that takes 150 ms
// for a write. In simulated time everything else is free, so how many flushes
// there are depends only on how many batches may be under way at once.
func TestBatchesShareFlushes(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("dog.proto", []byte("syntax = \"proto3\";\nmessage Dog { string pk = 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for i := range 200 {
		fmt.Fprintf(&in, "{\"pk\":\"%03d\"}\n", i)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := &env{ctx: t.Context(), stdin: strings.NewReader(in.String()), stdout: &out, stderr: &out}
		c := &importCmd{File: "-", Schema: "dog.proto", BatchRows: 1, Rejects: "rejects"}
		schema, err := c.compile(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		input, err := openInput(e, c.File)
		if err != nil {
			t.Fatal(err)
		}
		b := &slowBucket{bucket.NewInMemBucket(), 150 * time.Millisecond}
		start := time.Now()
		if err := c.into(e, input, schema, b, "db"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("200 batches took %s of simulated time; one flush each would be 30s", took)
		}
		acknowledged := strings.Count(out.String(), "acknowledged 1 row")
		if acknowledged != 200 || !strings.Contains(out.String(), "imported 200 rows into Dog") {
			t.Errorf("%d batches acknowledged: %s", acknowledged, out.String())
		}
		for i := range 200 {
			if want := fmt.Sprintf("acknowledged 1 row, %d in all, to line %d\n", i+1, i+1); !strings.Contains(out.String(), want) {
				t.Errorf("no line %q", want)
			}
		}
	})
}

// silent is an input that says one thing and then nothing, until it is closed.
type silent struct {
	first  *strings.Reader
	closed chan struct{}
}

func (s *silent) Read(p []byte) (int, error) {
	if s.first.Len() > 0 {
		return s.first.Read(p)
	}
	<-s.closed
	return 0, os.ErrClosed
}

// TestInterrupt ends an import that waits for standard input.
func TestInterrupt(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("dog.proto", []byte("syntax = \"proto3\";\nmessage Dog { string pk = 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := &silent{strings.NewReader("{\"pk\":\"a\"}\n{\"pk\":\"b\"}\n"), make(chan struct{})}
	defer close(in.closed)
	ctx, cancel := context.WithCancel(t.Context())
	stdout := &notify{want: "acknowledged 1 row, 2 in all", f: cancel}
	e := &env{ctx: ctx, stdin: in, stdout: stdout, stderr: stdout}
	err := run(e, []string{"import", "--db", "file://./db", "--schema", "dog.proto", "--batch-rows", "1", "-"})
	if err == nil || ctx.Err() == nil {
		t.Errorf("the import ended with %v", err)
	}
	var out bytes.Buffer
	if err := run(&env{ctx: t.Context(), stdout: &out, stderr: &out}, []string{"export", "--db", "file://./db", "Dog"}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "{\"pk\":\"a\"}\n{\"pk\":\"b\"}\n" {
		t.Errorf("the table is %s", out.String())
	}
}

// notify calls f when something is written.
type notify struct {
	want string
	f    func()
}

func (n *notify) Write(p []byte) (int, error) {
	if strings.Contains(string(p), n.want) {
		n.f()
	}
	return len(p), nil
}

// The mark lies in databases whose import was interrupted: its names never
// change.
func TestResumeMarkBytes(t *testing.T) {
	got, err := json.Marshal(resumeMark{Size: 1, SHA256: "ab", Insert: true, Offset: 2, Line: 3, Rows: 4, Rejected: 5, RejectBytes: 6})
	const want = `{"size":1,"sha256":"ab","insert":true,"offset":2,"line":3,"rows":4,"rejected":5,"rejectBytes":6}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}
