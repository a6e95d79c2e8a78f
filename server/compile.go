package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"sync"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"

	stelefiles "github.com/stele-db/stele/proto"
	"github.com/stele-db/stele/record"
)

// Compile makes the API of the .proto file with the given name, whose text and
// whose imports' texts are in src by path; stele/options.proto and the files
// of google/protobuf are built in. It returns kv.ErrInvalid with every fault
// of the schema and where it is ([record.SchemaError]), and if a name of the
// schema is one that the served database needs.
func Compile(ctx context.Context, filename string, src map[string]string) (*API, error) {
	schemas, err := record.CompileProto(ctx, filename, src)
	if err != nil {
		return nil, err
	}
	file, err := compileSource(ctx, filename, protocompile.SourceAccessorFromMap(src))
	if err != nil {
		return nil, err
	}
	models := make([]model, len(schemas))
	for i, s := range schemas {
		models[i] = modelOf(s, file)
	}
	a, err := synthesize(path.Base(filename), models)
	if err != nil {
		return nil, err
	}
	a.schemas, a.skipped = schemas, record.Skipped(file)
	return a, nil
}

// ReadSource returns the text of the .proto file with the given name and of
// the files that it imports from fsys, by path, for [Compile]. Faults inside
// the files are left for Compile to report.
func ReadSource(ctx context.Context, fsys fs.FS, filename string) (map[string]string, error) {
	if _, err := fs.Stat(fsys, filename); err != nil {
		return nil, err
	}
	var mu sync.Mutex // the compiler opens files from several goroutines
	src := map[string]string{}
	_, _ = compileSource(ctx, filename, func(name string) (io.ReadCloser, error) {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		src[name] = string(text)
		return io.NopCloser(bytes.NewReader(text)), nil
	})
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(src), ctx.Err()
}

// compileSource compiles the user's file as it is, comments kept.
func compileSource(ctx context.Context, filename string, open func(path string) (io.ReadCloser, error)) (protoreflect.FileDescriptor, error) {
	c := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: open}),
			&protocompile.SourceResolver{Accessor: func(name string) (io.ReadCloser, error) { return stelefiles.Files.Open(name) }},
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(ctx, filename)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", filename, err)
	}
	return files[0], nil
}

// modelOf takes the message as the user wrote it: the schema's own descriptor
// may hold copies of the messages that it shares with other tables.
func modelOf(s *record.Schema, file protoreflect.FileDescriptor) model {
	m := model{message: s.Message()}
	if md := file.Messages().ByName(m.message.Name()); md != nil {
		m.message = md
	}
	for _, ix := range s.Indexes() {
		if len(ix.Fields()) == 1 {
			m.indexed = append(m.indexed, ix.Fields()[0].Name())
		}
	}
	return m
}
