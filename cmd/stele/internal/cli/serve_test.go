package cli

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const dogSchema = `// cli/test.proto
syntax = "proto3";
package database;

message Dog {
  string pk = 1;
  string name = 2;
  uint32 age = 3;
  string breed = 4;
}
`

// moduleRoot is the folder with go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// grpcurl finds the client that the test drives. Without it the test is
// skipped, in CI it fails.
func grpcurl(t *testing.T) string {
	t.Helper()
	for _, path := range []string{os.Getenv("STELE_GRPCURL"), filepath.Join(moduleRoot(t), ".tools", "bin", "grpcurl"), "grpcurl"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	const missing = "grpcurl is not installed: GOBIN=$PWD/.tools/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// build makes the program in a folder that the test removes.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stele")
	output(t, "", "go", "build", "-o", path, "github.com/stele-db/stele/cmd/stele")
	return path
}

// environment is that of the test, without the database of whoever runs it.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STELE_DB=") })
}

// output runs a program to its end and returns what it printed.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// process is a running server.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	done bool
}

// launch starts a server in dir and waits for its banner.
func launch(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...)}
	p.cmd.Dir, p.cmd.Env = dir, environment()
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.done {
			_ = p.stop(syscall.SIGKILL)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no banner: %q, %v", line, err)
	}
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "Database server listening at ")
	if !ok {
		t.Fatalf("the banner is %q", line)
	}
	p.addr = addr
	return p
}

// stop sends a signal and waits for the end.
func (p *process) stop(sig os.Signal) error {
	p.done = true
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// createDogs makes out/server and out/database.proto in a new folder.
func createDogs(t *testing.T, stele string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "schema.proto"), []byte(dogSchema), 0o644); err != nil {
		t.Fatal(err)
	}
	got := output(t, dir, stele, "create", "schema.proto")
	want := `wrote out/server and out/database.proto
  GetDogsByPk: read Dog by one range of the primary key
  DeleteDogsByPk: delete Dog in one range of the primary key, in one transaction
  PutDog: put one Dog by its primary key
  BatchPutDogs: put many Dog in one transaction
`
	if got != want {
		t.Errorf("create prints\n%s", got)
	}
	return dir
}

const (
	twoDogs = `{"pk":"DOG#1","name":"Rover","age":3,"breed":"Golden Retriever"}
{"pk":"DOG#2","name":"Buddy","age":2,"breed":"Labrador"}
`
	putDog    = `{"pk":"DOG#1","name":"Rover","age":3,"breed":"Golden Retriever"}`
	batchDogs = `{"dogs":[{"pk":"DOG#2","name":"Buddy","age":2,"breed":"Labrador"},{"pk":"DOG#3","name":"Max","age":4,"breed":"Poodle"}]}`
)

// fourCalls makes a put, a batch, a get and a delete, and checks what is left.
func fourCalls(t *testing.T, client, addr string) {
	t.Helper()
	call := func(data, method string) string {
		t.Helper()
		reply := output(t, "", client, "-plaintext", "-d", data, addr, method)
		return strings.Join(strings.Fields(reply), "")
	}
	const rest = `"dogs":[{"pk":"DOG#1","name":"Rover","age":3,"breed":"GoldenRetriever"},{"pk":"DOG#2","name":"Buddy","age":2,"breed":"Labrador"}`
	for _, c := range []struct{ data, method, want string }{
		{putDog, "PutDog", `{}`},
		{batchDogs, "BatchPutDogs", `{}`},
		{`{"begins_with":"DOG#"}`, "GetDogsByPk", `{` + rest + `,{"pk":"DOG#3","name":"Max","age":4,"breed":"Poodle"}]}`},
		{`{"eq":"DOG#3"}`, "DeleteDogsByPk", `{}`},
		{`{"begins_with":"DOG#"}`, "GetDogsByPk", `{` + rest + `]}`},
	} {
		if got := call(c.data, "database.Database."+c.method); got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.method, c.data, got, c.want)
		}
	}
}

// TestServer drives the real programs: stele, the server that it makes, and
// grpcurl.
func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	stele := build(t)
	t.Run("help", func(t *testing.T) { testServerHelp(t, stele) })
	t.Run("defaults", func(t *testing.T) { testServerOnDefaults(t, stele) })
	t.Run("session", func(t *testing.T) { testServerSession(t, stele) })
}

func testServerOnDefaults(t *testing.T, stele string) {
	client := grpcurl(t)
	l, err := net.Listen("tcp", "localhost:50051")
	if err != nil {
		t.Skipf("the default port is taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := createDogs(t, stele)
	p := launch(t, dir, "out/server")
	fourCalls(t, client, "localhost:50051")
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if got := output(t, dir, stele, "export", "--db", "file://./data", "Dog"); got != twoDogs {
		t.Errorf("left in the default database:\n%s", got)
	}
}

func testServerSession(t *testing.T, stele string) {
	client := grpcurl(t)
	dir := createDogs(t, stele)
	p := launch(t, dir, "out/server", "--db", "file://./dogs", "--listen", "localhost:0")
	fourCalls(t, client, p.addr)

	services := output(t, "", client, "-plaintext", p.addr, "list")
	if want := "database.Database\ngrpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\ngrpc.reflection.v1alpha.ServerReflection\n"; services != want {
		t.Errorf("list prints\n%s", services)
	}
	message := output(t, "", client, "-plaintext", p.addr, "describe", "database.IndexQuery")
	if !strings.Contains(message, "oneof expression") || !strings.Contains(message, "string begins_with = 4;") {
		t.Errorf("describe prints\n%s", message)
	}
	health := output(t, "", client, "-plaintext", p.addr, "grpc.health.v1.Health.Check")
	if !strings.Contains(health, `"SERVING"`) {
		t.Errorf("health is %s", health)
	}
	// database.proto alone is enough for a client.
	reply := output(t, "", client, "-plaintext", "-import-path", filepath.Join(dir, "out"), "-proto", "database.proto",
		"-d", `{"eq":"DOG#2"}`, p.addr, "database.Database.GetDogsByPk")
	if !strings.Contains(reply, "Buddy") {
		t.Errorf("with database.proto: %s", reply)
	}

	// Reading beside the server takes nothing from it.
	got := output(t, dir, stele, "query", "--db", "file://./dogs", "Dog", "age >= 2", "--json")
	if got != twoDogs {
		t.Errorf("query beside the server prints\n%s", got)
	}
	output(t, "", client, "-plaintext", "-d", `{"pk":"DOG#4","name":"Rex"}`, p.addr, "database.Database.PutDog")

	// Nor does a second server on the same port.
	second := exec.Command("out/server", "--db", "file://./dogs", "--listen", p.addr)
	second.Dir = dir
	var ee *exec.ExitError
	if out, err := second.CombinedOutput(); !errors.As(err, &ee) || ee.ExitCode() != 1 || !strings.Contains(string(out), "in use") {
		t.Errorf("a second server: %v\n%s", err, out)
	}
	output(t, "", client, "-plaintext", "-d", `{"pk":"DOG#5","name":"Ace"}`, p.addr, "database.Database.PutDog")

	// What was answered outlives the process.
	if err := p.stop(syscall.SIGKILL); err == nil {
		t.Error("the server survived a kill")
	}
	p = launch(t, dir, stele, "serve", "schema.proto", "--db", "file://./dogs", "--listen", "localhost:0")
	reply = output(t, "", client, "-plaintext", "-d", `{"gte":"DOG#4"}`, p.addr, "database.Database.GetDogsByPk")
	if !strings.Contains(reply, "Rex") || !strings.Contains(reply, "Ace") {
		t.Errorf("after a kill: %s", reply)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

func testServerHelp(t *testing.T, stele string) {
	dir := createDogs(t, stele)
	help := output(t, dir, "out/server", "--help")
	for _, want := range []string{"server", "--db", "--listen", "localhost:50051", "file://./data"} {
		if !strings.Contains(help, want) {
			t.Errorf("--help does not say %s:\n%s", want, help)
		}
	}
	bad := exec.Command("out/server", "--nonsense")
	bad.Dir = dir
	var ee *exec.ExitError
	if out, err := bad.CombinedOutput(); !errors.As(err, &ee) || ee.ExitCode() != 2 {
		t.Errorf("a wrong flag: %v\n%s", err, out)
	}
	// A server whose schema is damaged says so, and does not act as stele.
	path := filepath.Join(dir, "out", "server")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-100] ^= 1
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	broken := exec.Command(path, "--help")
	if out, err := broken.CombinedOutput(); !errors.As(err, &ee) || ee.ExitCode() != 1 || !strings.Contains(string(out), "damaged") {
		t.Errorf("a damaged server: %v\n%s", err, out)
	}
}
