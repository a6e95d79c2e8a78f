package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// createHere runs create in process on the schema, with a small file in the
// place of the program.
func createHere(t *testing.T, dir, schema string) error {
	t.Helper()
	exe := filepath.Join(dir, "stele")
	path := filepath.Join(dir, "schema.proto")
	for name, text := range map[string]string{exe: "program", path: schema} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return create(&env{ctx: t.Context(), stdout: io.Discard, stderr: io.Discard}, exe, path, filepath.Join(dir, "out"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCreateIsDeterministic(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two, two} {
		if err := createHere(t, dir, dogSchema); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"server", "database.proto"} {
		if read(t, filepath.Join(one, "out", name)) != read(t, filepath.Join(two, "out", name)) {
			t.Errorf("%s differs from folder to folder", name)
		}
	}
	info, err := os.Stat(filepath.Join(one, "out", "server"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the server's mode is %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Join(two, "out"))
	if err != nil || len(entries) != 2 {
		t.Errorf("out holds %v, %v", entries, err)
	}
}

func TestCreateTakesImports(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "parts"), 0o755); err != nil {
		t.Fatal(err)
	}
	part := "syntax = \"proto3\";\npackage database;\n\n// Where it lives.\nmessage Place { string street = 1; }\n"
	if err := os.WriteFile(filepath.Join(dir, "parts", "place.proto"), []byte(part), 0o644); err != nil {
		t.Fatal(err)
	}
	schema := strings.Replace(dogSchema, "message Dog {", "import \"parts/place.proto\";\nimport \"stele/options.proto\";\n\nmessage Dog {\n  Place home = 9;\n  string city = 8 [(stele.index) = true];", 1)
	if err := createHere(t, dir, schema); err != nil {
		t.Fatal(err)
	}
	text := read(t, filepath.Join(dir, "out", "database.proto"))
	for _, want := range []string{"// Where it lives.\nmessage Place {", "rpc GetDogsByCity(IndexQuery) returns (Dogs) {}"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "stele/options.proto") {
		t.Errorf("a client would need stele/options.proto:\n%s", text)
	}
	if server := read(t, filepath.Join(dir, "out", "server")); !strings.Contains(server, "parts/place.proto") || strings.Contains(server, dir) {
		t.Error("the server must hold the import, and nothing of the folder it was made in")
	}
}

func TestCreateReplacesOnlyItsOwn(t *testing.T) {
	for _, name := range []string{"server", "database.proto"} {
		dir := t.TempDir()
		if err := createHere(t, dir, dogSchema); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "out", name)
		if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := createHere(t, dir, dogSchema); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if read(t, path) != "mine" {
			t.Errorf("%s was overwritten", name)
		}
	}
}

func TestCreateRefusesBadSchemas(t *testing.T) {
	for name, c := range map[string]struct{ schema, want string }{
		"no key":  {"syntax = \"proto3\";\npackage database;\nmessage Dog {\n  string name = 1;\n}\n", "model does not include `string pk = 1;`"},
		"syntax":  {"syntax = \"proto3\";\nmessage Dog {", "schema.proto:2"},
		"missing": {"syntax = \"proto3\";\nimport \"gone.proto\";\nmessage Dog { string pk = 1; }\n", "gone.proto"},
	} {
		dir := t.TempDir()
		err := createHere(t, dir, c.schema)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "out")); !os.IsNotExist(err) {
			t.Errorf("%s: something was written", name)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"create", "none.proto"}, nil, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "none.proto") || stdout.Len() > 0 {
		t.Errorf("a missing schema: exit code %d\n%s%s", code, stdout.String(), stderr.String())
	}
	if _, err := os.Stat("out"); err == nil {
		t.Error("a missing schema made a folder")
	}
}
