package record

import (
	"context"
	"io/fs"

	"google.golang.org/protobuf/reflect/protoreflect"
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

// CompileProto compiles the .proto file with the given name, whose text and
// whose imports' texts are in src by path; "stele/options.proto" and the files
// of google/protobuf are built in. Every message of the file with a primary key
// is a schema, in the order of the file. If something is wrong it returns a
// *SchemaError with all faults, which matches kv.ErrInvalid.
func CompileProto(ctx context.Context, filename string, src map[string]string) ([]*Schema, error) {
	return nil, invalidf("not yet")
}

// CompileFS is CompileProto for a file and its imports in a file system.
func CompileFS(ctx context.Context, fsys fs.FS, filename string) ([]*Schema, error) {
	return nil, invalidf("not yet")
}

// FromMessage makes a schema of a message descriptor, such as one made from a
// Go struct or that of a generated type. It returns a *SchemaError with all
// faults, which matches kv.ErrInvalid. The schema's own descriptor is another,
// with the same fields: see [Schema.Message].
func FromMessage(md protoreflect.MessageDescriptor, def Definition) (*Schema, error) {
	return nil, invalidf("not yet")
}
