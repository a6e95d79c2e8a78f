package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stele-db/stele/cmd/stele/internal/bundle"
	"github.com/stele-db/stele/server"
)

type createCmd struct {
	Schema string `arg:"" help:"The .proto file; each message with a key becomes a model."`
	Out    string `default:"out" help:"The folder to write into."`
}

// Help is shown by --help.
func (*createCmd) Help() string {
	return `Writes two files: server, a program that needs nothing else and serves the schema's database over gRPC, and database.proto, which clients in any language compile. No compiler and no network are needed; equal schemas give equal files. Existing files are replaced if create made them.

Example:
  stele create schema.proto && out/server --db file://./data`
}

// Run writes the files and prints what each method of the server does.
func (c *createCmd) Run(e *env) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return create(e, exe, c.Schema, c.Out)
}

// embedded is the payload of a server made by create: the schema as it was
// written. It is compiled when the server starts, which takes a millisecond.
type embedded struct {
	File   string            `json:"file"`   // the schema's own name
	Source map[string]string `json:"source"` // it and its imports, by path
}

// readSchema compiles a .proto file and what it imports beside it.
func readSchema(ctx context.Context, path string) (embedded, *server.API, error) {
	dir, name := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	src, err := server.ReadSource(ctx, os.DirFS(dir), name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return embedded{}, nil, fmt.Errorf("read schema %s: %w", path, err)
	}
	e := embedded{File: name, Source: src}
	api, err := e.compile(ctx)
	return e, api, err
}

func (e embedded) compile(ctx context.Context) (*server.API, error) {
	return server.Compile(ctx, e.File, e.Source)
}

// create writes the server and the client's file of a schema into the folder
// out. The server is the program exe with the schema behind it.
func create(e *env, exe, schema, out string) error {
	source, api, err := readSchema(e.ctx, schema)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(source)
	if err != nil {
		return err
	}
	binary, client := filepath.Join(out, "server"), filepath.Join(out, server.ProtoFile)
	if err := errors.Join(mayReplace(binary, isOurServer), mayReplace(client, isOurProto)); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := writeServer(binary, exe, payload); err != nil {
		return fmt.Errorf("write %s: %w", binary, err)
	}
	err = writeFile(client, 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, api.Text())
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", client, err)
	}
	noteSkipped(e, api)
	return printPlan(e.stdout, binary, client, api)
}

// noteSkipped says which messages of the schema are not served.
func noteSkipped(e *env, api *server.API) {
	for _, f := range api.Skipped() {
		_, _ = fmt.Fprintf(e.stderr, "stele: not served: %s\n", f) // a note; what was asked is done
	}
}

// printPlan says what was made and what each method does.
func printPlan(w io.Writer, binary, client string, api *server.API) error {
	var b strings.Builder
	fmt.Fprintf(&b, "wrote %s and %s\n", binary, client)
	for _, m := range api.Methods() {
		fmt.Fprintf(&b, "  %s\n", m.Plan())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeServer(path, exe string, payload []byte) (err error) {
	f, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return writeFile(path, 0o755, func(w io.Writer) error {
		return bundle.Write(w, f, info.Size(), payload)
	})
}

// writeFile writes a whole file or leaves what was there: a temporary file
// beside it takes its place when it is complete. A running server keeps the
// file that it was started from.
func writeFile(path string, mode os.FileMode, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// mayReplace returns an error if path is something that create did not make.
func mayReplace(path string, ours func(f *os.File, size int64) (bool, error)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	ok := false
	if info.Mode().IsRegular() {
		if ok, err = ours(f, info.Size()); err != nil {
			return err
		}
	}
	if !ok {
		return fmt.Errorf("%s is there and was not made by `stele create`: remove it, or choose another folder with --out", path)
	}
	return nil
}

func isOurServer(f *os.File, size int64) (bool, error) {
	_, found, err := bundle.Read(f, size)
	if errors.Is(err, bundle.ErrDamaged) {
		err = nil // it is to be replaced anyway
	}
	return found, err
}

func isOurProto(f *os.File, _ int64) (bool, error) {
	head := make([]byte, len(server.Heading))
	if _, err := io.ReadFull(f, head); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, err
	}
	return bytes.Equal(head, []byte(server.Heading)), nil
}
