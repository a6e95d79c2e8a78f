package bucket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/buckettest"
)

func openDir(t testing.TB, root string) bucket.Bucket {
	t.Helper()
	b, err := bucket.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDirContract(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return openDir(t, t.TempDir()) })
}

func TestDirRace(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	buckettest.Race(t, openDir(t, t.TempDir()), rounds, 16)
}

// child does the work of a second process when the test binary runs itself.
func child() bool {
	root := os.Getenv("STELE_TEST_ROOT")
	b, err := bucket.OpenDir(root)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	switch os.Getenv("STELE_TEST_CHILD") {
	case "race":
		childRace(ctx, b)
	case "write":
		childWrite(ctx, b)
	default:
		return false
	}
	return true
}

// childRace creates the object that each line of its input names, and answers
// who it was that made it.
func childRace(ctx context.Context, b bucket.Bucket) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		err := b.PutIfAbsent(ctx, lines.Text(), []byte("same bytes"), "child-"+strconv.Itoa(os.Getpid()))
		switch {
		case err == nil:
			fmt.Println("won")
		case errors.Is(err, bucket.ErrExists):
			fmt.Println("lost")
		default:
			fmt.Println(err)
		}
	}
}

// childWrite writes large objects until it is killed, and prints each key once
// it is acknowledged.
func childWrite(ctx context.Context, b bucket.Bucket) {
	for i := 0; ; i++ {
		body := bytes.Repeat([]byte{byte(i)}, 300_000)
		key := fmt.Sprintf("made/%d/object", i)
		if err := b.PutIfAbsent(ctx, key, body, "t"); err != nil {
			panic(err)
		}
		fmt.Println(key)
		if err := b.Put(ctx, "replaced", body); err != nil {
			panic(err)
		}
	}
}

func childCommand(t *testing.T, mode, root string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "STELE_TEST_CHILD="+mode, "STELE_TEST_ROOT="+root)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestDirRaceOfProcesses(t *testing.T) {
	root := t.TempDir()
	const processes, rounds = 2, 200
	type process struct {
		in  *bufio.Writer
		out *bufio.Scanner
	}
	var all []process
	for range processes {
		cmd := childCommand(t, "race", root)
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
		defer func() {
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}()
		all = append(all, process{bufio.NewWriter(in), bufio.NewScanner(out)})
	}
	for round := range rounds {
		for _, p := range all {
			fmt.Fprintf(p.in, "race/%d\n", round)
			if err := p.in.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		answers := map[string]int{}
		for _, p := range all {
			if !p.out.Scan() {
				t.Fatalf("round %d: a process ended: %v", round, p.out.Err())
			}
			answers[p.out.Text()]++
		}
		if answers["won"] != 1 || answers["lost"] != processes-1 {
			t.Fatalf("round %d: %v", round, answers)
		}
	}
}

// TestDirKill kills a process while it writes: what it acknowledged is there,
// and what is there is whole.
func TestDirKill(t *testing.T) {
	root := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		dir := filepath.Join(root, strconv.Itoa(round))
		acknowledged := killedWriter(t, dir, 3+5*round)
		b := openDir(t, dir)
		for _, key := range acknowledged {
			if _, err := b.Head(t.Context(), key); err != nil {
				t.Errorf("acknowledged and lost: %v", err)
			}
		}
		n := 0
		for o, err := range b.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
			body, err := b.Get(t.Context(), o.Key)
			if err != nil || len(body) != 300_000 || bytes.Count(body, body[:1]) != len(body) {
				t.Errorf("%s: %d bytes, %v: not a whole object", o.Key, len(body), err)
			}
		}
		if n < len(acknowledged) {
			t.Errorf("%d objects, %d acknowledged", n, len(acknowledged))
		}
		if err := b.Put(t.Context(), "after", nil); err != nil {
			t.Errorf("the folder of a killed process cannot be written: %v", err)
		}
	}
}

// killedWriter runs a writer, kills it after so many acknowledged objects, in
// the midst of the next one, and returns what it acknowledged.
func killedWriter(t *testing.T, dir string, after int) []string {
	t.Helper()
	cmd := childCommand(t, "write", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		keys = append(keys, lines.Text())
		if len(keys) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed, as it should be
	return keys
}

func TestDirReadingCreatesNothing(t *testing.T) {
	parent := t.TempDir()
	b := openDir(t, filepath.Join(parent, "a", "b"))
	ctx := t.Context()
	if _, err := b.Get(ctx, "k"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	for o, err := range b.List(ctx, "", "") {
		t.Errorf("listed %v, %v", o, err)
	}
	if err := b.Delete(ctx, "k"); err != nil {
		t.Error(err)
	}
	if got := ls(t, parent); len(got) > 0 {
		t.Errorf("reading created %q", got)
	}
	if err := b.Put(ctx, "x/y", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got := ls(t, parent); strings.Join(got, " ") != "a a/b a/b/.stele-tmp a/b/x a/b/x/y" {
		t.Errorf("a put made %q", got)
	}
}

// ls returns the paths below dir.
func ls(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDirSweep: the remains of a crash are removed once they are old, files
// that may be another process's are not, and none is ever listed.
func TestDirSweep(t *testing.T) {
	root := t.TempDir()
	temp := filepath.Join(root, ".stele-tmp")
	if err := os.Mkdir(temp, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "young": 10 * time.Minute} {
		path := filepath.Join(temp, name)
		if err := os.WriteFile(path, []byte("half an obj"), 0o666); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	b := openDir(t, root)
	if err := b.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if got := ls(t, temp); len(got) != 1 || got[0] != "young" {
		t.Errorf("after the sweep: %q", got)
	}
	for o := range b.List(t.Context(), "", "") {
		if o.Key != "k" {
			t.Errorf("listed %s", o.Key)
		}
	}
}

// TestDirUnwritable needs a root that refuses writes even to the superuser:
// Linux's /proc.
func TestDirUnwritable(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc here")
	}
	b := openDir(t, "/proc/self")
	if _, err := b.Head(t.Context(), "status"); err != nil {
		t.Errorf("reading: %v", err)
	}
	for verb, err := range map[string]error{
		"put":           b.Put(t.Context(), "k", nil),
		"put if absent": b.PutIfAbsent(t.Context(), "k", nil, "t"),
	} {
		if err == nil {
			t.Errorf("%s succeeded in /proc", verb)
		} else if !strings.Contains(err.Error(), "/proc/self") {
			t.Errorf("%s: %v does not name the folder", verb, err)
		}
	}
}

func TestDirWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("the superuser may write everywhere")
	}
	root := t.TempDir()
	b := openDir(t, root)
	if err := b.Put(t.Context(), "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(root, 0o755) }) //nolint:gosec // so that it can be removed
	b = openDir(t, root)
	if err := b.Put(t.Context(), "new/k", nil); !errors.Is(err, bucket.ErrDenied) {
		t.Errorf("put: %v", err)
	}
	if body, err := b.Get(t.Context(), "k"); err != nil || string(body) != "x" {
		t.Errorf("get: %q, %v", body, err)
	}
}

func TestDirRootIsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	b := openDir(t, file)
	if err := b.Put(t.Context(), "k", nil); !errors.Is(err, bucket.ErrInvalid) {
		t.Errorf("put: %v", err)
	}
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}

func TestDirKeyBelowKey(t *testing.T) {
	b := openDir(t, t.TempDir())
	ctx := t.Context()
	if err := b.Put(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx, "a/b", nil); !errors.Is(err, bucket.ErrInvalid) {
		t.Errorf("below an object: %v", err)
	}
	if err := b.Put(ctx, "c/d", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx, "c", nil); !errors.Is(err, bucket.ErrInvalid) {
		t.Errorf("above an object: %v", err)
	}
	if err := b.PutIfAbsent(ctx, "c", nil, "t"); !errors.Is(err, bucket.ErrInvalid) {
		t.Errorf("above an object: %v", err)
	}
}

// TestDirFolderRemoved: the folder that a database was in may be removed and
// used again.
func TestDirFolderRemoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "r")
	b := bucket.WithRetry(openDir(t, root), bucket.RetryOptions{FirstWait: time.Microsecond})
	ctx := t.Context()
	for range 2 {
		if err := b.PutIfAbsent(ctx, "a/b", nil, ""); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(ctx, "a/c", nil); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
}
