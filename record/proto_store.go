package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/gen/stelepb"
)

// Definition says what makes a table of a message that carries no options of
// stele/options.proto, such as one made from a Go struct. What it leaves out is
// taken from the message's options.
type Definition struct {
	Table   string     // name of the table; "" for the message's name
	Key     []string   // names of the key's fields, in the order of the message
	Indexes []IndexDef // indexes, of one field or of several
	UUIDs   []string   // names of the bytes fields that hold UUIDs
}

// IndexDef is an index of a Definition.
type IndexDef struct {
	Name   string   // "" for the fields' names joined by "_"
	Fields []string // names of the indexed fields
	Unique bool
}

// FromMessage makes a schema of a message descriptor, such as one made from a
// Go struct or that of a generated type. It returns a *SchemaError with all
// faults, which matches kv.ErrInvalid. The schema's own descriptor is another,
// with the same fields: see [Schema.Message].
func FromMessage(md protoreflect.MessageDescriptor, def Definition) (*Schema, error) {
	if builtIn(md.ParentFile().Path()) {
		return nil, invalidf("message %s is one of Protobuf's own and cannot be a table", md.FullName())
	}
	n, faults := nest(md)
	if len(faults) == 0 {
		faults = n.define(def)
	}
	if len(faults) > 0 {
		return nil, &SchemaError{Faults: faults}
	}
	return storeText(context.Background(), n.print())
}

// store makes the schema of a message that was compiled from text and found
// without fault. The text is kept as it is if it holds one table and nothing
// else.
func store(ctx context.Context, md protoreflect.MessageDescriptor, text string) (*Schema, error) {
	if !standsAlone(md) {
		n, faults := nest(md)
		if len(faults) > 0 {
			return nil, &SchemaError{Faults: faults}
		}
		text = n.print()
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return storeText(ctx, text)
}

// standsAlone reports whether the file of a message can lie in a database as it
// is: it imports only what is always there, and what it declares at top level is
// this one message, so that it never contradicts another table's file.
func standsAlone(md protoreflect.MessageDescriptor) bool {
	file := md.ParentFile()
	if file.Messages().Len() != 1 || file.Enums().Len() != 0 || file.Services().Len() != 0 || file.Extensions().Len() != 0 {
		return false
	}
	for i := range file.Imports().Len() {
		if !builtIn(file.Imports().Get(i).Path()) {
			return false
		}
	}
	return md.Parent() == file
}

// builtIn reports whether a schema may import the file.
func builtIn(path string) bool {
	return path == optionsPath || strings.HasPrefix(path, "google/protobuf/")
}

// storeText compiles the text of a file that holds one table.
func storeText(ctx context.Context, text string) (*Schema, error) {
	const name = "schema.proto"
	if len(text) > maxSchemaLength {
		return nil, invalidf("the schema's text is %d bytes long; %d are the most", len(text), maxSchemaLength)
	}
	file, faults, err := parse(ctx, name, func(path string) (string, error) {
		if path == name {
			return text, nil
		}
		return "", fs.ErrNotExist
	})
	if err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		return nil, &SchemaError{Faults: faults}
	}
	result, ok := file.(linker.Result)
	if !ok {
		return nil, errors.New("the compiler returned no descriptor")
	}
	fp := proto.CloneOf(result.FileDescriptorProto())
	fp.SourceCodeInfo = nil
	fp.Name = proto.String(tableName(file.Messages().Get(0)) + ".proto")
	return schemaOf(fp, string(file.Messages().Get(0).FullName()), text)
}

// schemaOf makes the schema of the message with the given full name in a file
// that imports only built-in files.
func schemaOf(fp *descriptorpb.FileDescriptorProto, message, text string) (*Schema, error) {
	file, err := protodesc.NewFile(fp, builtInFiles{})
	if err != nil {
		return nil, invalidf("schema %s: %w", fp.GetName(), err)
	}
	d := file.Messages().ByName(protoreflect.FullName(message).Name())
	if d == nil || string(d.FullName()) != message {
		return nil, invalidf("schema %s: there is no message %s in it", fp.GetName(), message)
	}
	s, faults := analyse(d)
	if len(faults) > 0 {
		return nil, &SchemaError{Faults: faults}
	}
	s.file, s.proto, s.text = file, fp, text
	s.check = newChecker(d)
	return s, nil
}

// builtInFiles resolves what a stored schema may import.
type builtInFiles struct{}

func (builtInFiles) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if path == optionsPath {
		return stelepb.File_stele_options_proto, nil
	}
	if !builtIn(path) {
		return nil, protoregistry.NotFound
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (builtInFiles) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil || !builtIn(d.ParentFile().Path()) {
		return nil, protoregistry.NotFound
	}
	return d, nil
}

// define writes a definition into the options of the nested message.
func (n *nesting) define(def Definition) (faults []Fault) {
	fields := map[string]*descriptorpb.FieldDescriptorProto{}
	for _, f := range n.root.Field {
		fields[f.GetName()] = f
	}
	find := func(name, what string) *descriptorpb.FieldDescriptorProto {
		f := fields[name]
		if f == nil {
			faults = append(faults, Fault{Reason: fmt.Sprintf("%s names field %q, which message %s does not have", what, name, n.root.GetName())})
		}
		return f
	}
	if def.Table != "" {
		if n.root.Options == nil {
			n.root.Options = &descriptorpb.MessageOptions{}
		}
		proto.ClearExtension(n.root.Options, stelepb.E_Table)
		if def.Table != n.root.GetName() {
			proto.SetExtension(n.root.Options, stelepb.E_Table, def.Table)
		}
	}
	if len(def.Key) > 0 {
		faults = append(faults, n.defineKey(def.Key, find)...)
	}
	if len(def.Indexes) > 0 {
		n.defineIndexes(def.Indexes, find)
	}
	for _, name := range def.UUIDs {
		if f := find(name, "the list of UUIDs"); f != nil {
			setOption(f, stelepb.E_Uuid)
		}
	}
	return faults
}

type finder func(name, what string) *descriptorpb.FieldDescriptorProto

// defineKey marks the fields of the key.
func (n *nesting) defineKey(key []string, find finder) (faults []Fault) {
	var declared []string
	for _, f := range n.root.Field {
		clearOption(f, stelepb.E_Key)
		if slices.Contains(key, f.GetName()) {
			declared = append(declared, f.GetName())
		}
	}
	known := true
	for _, name := range key {
		f := find(name, "the primary key")
		if known = known && f != nil; f != nil {
			setOption(f, stelepb.E_Key)
		}
	}
	if known && !slices.Equal(key, declared) {
		faults = append(faults, Fault{Reason: fmt.Sprintf("the primary key of %s lists its fields as %s; they must be named once each, in the order of the message", n.root.GetName(), strings.Join(key, ", "))})
	}
	return faults
}

// defineIndexes marks the indexed fields, and writes the other indexes into the
// message's options.
func (n *nesting) defineIndexes(indexes []IndexDef, find finder) {
	for _, f := range n.root.Field {
		clearOption(f, stelepb.E_Index)
		clearOption(f, stelepb.E_Unique)
	}
	var composite []*stelepb.Index
	for _, ix := range indexes {
		what := fmt.Sprintf("index %q", ix.Name)
		if ix.Name == "" {
			what = "an index"
		}
		ok := true
		for _, name := range ix.Fields {
			ok = find(name, what) != nil && ok
		}
		if ok && len(ix.Fields) == 1 && (ix.Name == "" || ix.Name == ix.Fields[0]) {
			f := find(ix.Fields[0], what)
			if ix.Unique {
				setOption(f, stelepb.E_Unique)
			} else {
				setOption(f, stelepb.E_Index)
			}
			continue
		}
		if ok {
			composite = append(composite, &stelepb.Index{Name: ix.Name, Fields: ix.Fields, Unique: ix.Unique})
		}
	}
	if n.root.Options == nil {
		n.root.Options = &descriptorpb.MessageOptions{}
	}
	proto.ClearExtension(n.root.Options, stelepb.E_CompositeIndex)
	if len(composite) > 0 {
		proto.SetExtension(n.root.Options, stelepb.E_CompositeIndex, composite)
	}
}

func setOption(f *descriptorpb.FieldDescriptorProto, option protoreflect.ExtensionType) {
	if f.Options == nil {
		f.Options = &descriptorpb.FieldOptions{}
	}
	proto.SetExtension(f.Options, option, true)
}

func clearOption(f *descriptorpb.FieldDescriptorProto, option protoreflect.ExtensionType) {
	if f.Options != nil {
		proto.ClearExtension(f.Options, option)
	}
}
