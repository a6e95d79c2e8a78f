package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	pathpkg "path"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/gen/stelepb"
)

// CompileProto compiles the .proto file with the given name, whose text and
// whose imports' texts are in src by path; "stele/options.proto" and the files
// of google/protobuf are built in. Every message of the file with a primary key
// is a schema, in the order of the file; a message without one serves as a part
// of others, or is passed over (see [Skipped]). If something is wrong, also if
// there is no schema in the file, it returns a *SchemaError with all faults,
// which matches kv.ErrInvalid.
func CompileProto(ctx context.Context, filename string, src map[string]string) ([]*Schema, error) {
	return compile(ctx, filename, func(name string) (string, error) {
		if text, ok := src[name]; ok {
			return text, nil
		}
		return "", fs.ErrNotExist
	})
}

// CompileFS is CompileProto for a file and its imports in a file system.
func CompileFS(ctx context.Context, fsys fs.FS, filename string) ([]*Schema, error) {
	filename = pathpkg.Clean(filename)
	return compile(ctx, filename, func(name string) (string, error) {
		b, err := fs.ReadFile(fsys, name)
		return string(b), err
	})
}

// compile compiles the file that read returns for filename, makes schemas of
// its messages, and reports everything that is wrong at once.
func compile(ctx context.Context, filename string, read func(string) (string, error)) ([]*Schema, error) {
	text, err := read(filename)
	if err != nil {
		return nil, invalidf("%s: %w", filename, err)
	}
	file, faults, err := parse(ctx, filename, read)
	if err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		return nil, &SchemaError{Faults: faults}
	}
	tables, faults := tablesOf(file)
	for _, md := range tables {
		_, f := analyse(md)
		faults = append(faults, f...)
	}
	if faults = append(faults, sameTable(tables)...); len(faults) > 0 {
		return nil, &SchemaError{Faults: faults}
	}
	schemas := make([]*Schema, len(tables))
	for i, md := range tables {
		if schemas[i], err = store(ctx, md, text); err != nil {
			return nil, err
		}
	}
	return schemas, nil
}

// parse links one file with its imports. What the compiler has to say about it
// comes back as faults; err is for everything else.
func parse(ctx context.Context, filename string, read func(string) (string, error)) (file linker.File, faults []Fault, err error) {
	rep := reporter.NewReporter(func(e reporter.ErrorWithPos) error {
		pos := e.GetPosition()
		faults = append(faults, Fault{File: pos.Filename, Line: pos.Line, Column: pos.Col, Reason: advise(e.Unwrap())})
		return nil
	}, nil)
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(protocompile.ResolverFunc(resolver(read))),
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter:       rep,
		MaxParallelism: 1, // the reporter's faults come in one order
	}
	files, err := c.Compile(ctx, filename)
	if len(faults) > 0 {
		return nil, faults, nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, err
		}
		var at reporter.ErrorWithPos
		if errors.As(err, &at) {
			pos := at.GetPosition()
			return nil, []Fault{{File: pos.Filename, Line: pos.Line, Column: pos.Col, Reason: advise(at.Unwrap())}}, nil
		}
		return nil, []Fault{{File: filename, Reason: advise(err)}}, nil
	}
	return files[0], nil, nil
}

// resolver finds imports. The options and the files of google/protobuf are built
// in, whatever lies at their paths.
func resolver(read func(string) (string, error)) func(string) (protocompile.SearchResult, error) {
	return func(name string) (protocompile.SearchResult, error) {
		if name == optionsPath {
			return protocompile.SearchResult{Desc: stelepb.File_stele_options_proto}, nil
		}
		if builtIn(name) {
			return protocompile.SearchResult{}, fs.ErrNotExist // the standard imports come next
		}
		text, err := read(name)
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		return protocompile.SearchResult{Source: io.Reader(strings.NewReader(text))}, nil
	}
}

// advise adds to a compiler's message what to do about it.
func advise(err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return text + "; imports are looked for beside the file that is compiled"
	case strings.Contains(text, "(stele.") && strings.Contains(text, "unknown"),
		strings.Contains(text, "unknown extension stele."):
		return text + `; write import "stele/options.proto"; and see there for what there is`
	}
	return text
}

// tablesOf returns the messages of a file that are tables, and what is wrong
// with those that look as if they should be.
func tablesOf(file protoreflect.FileDescriptor) (tables []protoreflect.MessageDescriptor, faults []Fault) {
	used := usedMessages(file)
	var without []protoreflect.MessageDescriptor
	for i := range file.Messages().Len() {
		md := file.Messages().Get(i)
		switch {
		case len(keyFields(md)) > 0:
			tables = append(tables, md)
		case hasOptions(md) || stray(md, used) && md.Fields().ByName("pk") != nil:
			faults = append(faults, noKey(md))
		default:
			without = append(without, md)
		}
	}
	if len(tables) > 0 || len(faults) > 0 {
		return tables, faults
	}
	for _, md := range without {
		faults = append(faults, noKey(md))
	}
	if len(faults) == 0 {
		faults = []Fault{{File: file.Path(), Reason: "there is no message in it; a table is a message with a primary key, such as `string pk = 1;`"}}
	}
	return nil, faults
}

// Skipped returns the messages of a file that [CompileProto] passes over: they
// have no primary key, and no other message or method needs them, so nothing of
// theirs is ever stored. Each Fault says what would make a table of it.
func Skipped(file protoreflect.FileDescriptor) (notes []Fault) {
	used := usedMessages(file)
	for i := range file.Messages().Len() {
		if md := file.Messages().Get(i); len(keyFields(md)) == 0 && stray(md, used) {
			notes = append(notes, noKey(md))
		}
	}
	return notes
}

// stray reports whether a message is no part of others, nor there for their
// sake.
func stray(md protoreflect.MessageDescriptor, used map[protoreflect.FullName]bool) bool {
	return !used[md.FullName()] && !wraps(md)
}

// noKey is the fault of a message without a primary key. Its first words are
// those that users of the first such compiler know.
func noKey(md protoreflect.MessageDescriptor) Fault {
	name := md.Name()
	if fd := md.Fields().ByName("pk"); fd != nil {
		return faultf(fd, "model does not include `string pk = 1;`: the field pk of message %s is another; make it so, or mark it with [(stele.key) = true]", name)
	}
	return faultf(md, "model does not include `string pk = 1;`: add that field to message %s, or mark the fields of its primary key with [(stele.key) = true]", name)
}

// usedMessages are the messages of a file that fields and methods refer to.
func usedMessages(file protoreflect.FileDescriptor) map[protoreflect.FullName]bool {
	used := map[protoreflect.FullName]bool{}
	var walk func(mds protoreflect.MessageDescriptors)
	walk = func(mds protoreflect.MessageDescriptors) {
		for i := range mds.Len() {
			md := mds.Get(i)
			for j := range md.Fields().Len() {
				if sub := md.Fields().Get(j).Message(); sub != nil && sub != md {
					used[sub.FullName()] = true
				}
			}
			walk(md.Messages())
		}
	}
	walk(file.Messages())
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			used[methods.Get(j).Input().FullName()] = true
			used[methods.Get(j).Output().FullName()] = true
		}
	}
	return used
}

// wraps reports whether a message is there for other messages' sake: it has
// fields of their types, or nested types, or nothing at all.
func wraps(md protoreflect.MessageDescriptor) bool {
	for i := range md.Fields().Len() {
		if kindOf(md.Fields().Get(i)) == Message {
			return true
		}
	}
	return md.Fields().Len() == 0
}

// hasOptions reports whether a message has options that only tables have.
func hasOptions(md protoreflect.MessageDescriptor) bool {
	if table, indexes := messageOptions(md); table != "" || len(indexes) > 0 {
		return true
	}
	for i := range md.Fields().Len() {
		if o := fieldOptions(md.Fields().Get(i)); o.key || o.index || o.unique {
			return true
		}
	}
	return false
}

// sameTable finds messages that claim one table's name.
func sameTable(tables []protoreflect.MessageDescriptor) (faults []Fault) {
	seen := map[string]protoreflect.Name{}
	for _, md := range tables {
		name := tableName(md)
		if first, ok := seen[name]; ok {
			faults = append(faults, faultf(md, "message %s is table %q, as message %s is; give one of them another (stele.table)", md.Name(), name, first))
		}
		seen[name] = md.Name()
	}
	return faults
}

// faultf is a fault at the place of a descriptor, if its source is known.
func faultf(d protoreflect.Descriptor, format string, args ...any) Fault {
	f := Fault{Reason: fmt.Sprintf(format, args...)}
	file := d.ParentFile()
	if file == nil || file.SourceLocations().Len() == 0 {
		return f
	}
	f.File = file.Path()
	if loc := file.SourceLocations().ByDescriptor(d); loc.Path != nil {
		f.Line, f.Column = loc.StartLine+1, loc.StartColumn+1
	}
	return f
}
