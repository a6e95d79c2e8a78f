package record

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/tuple"
)

// Schema is one message with its primary key and its indexes. It is immutable
// and safe for concurrent use.
type Schema struct {
	table    string
	file     protoreflect.FileDescriptor // holds md and all that md refers to
	proto    *descriptorpb.FileDescriptorProto
	md       protoreflect.MessageDescriptor
	text     string
	fields   []*Field
	byName   map[string]*Field
	byNumber map[protoreflect.FieldNumber]*Field
	key      []*Field
	indexes  []*Index
	check    *checker
	version  uint32 // in the catalog; 0 until stored
}

// Table returns the name of the table.
func (s *Schema) Table() string { return s.table }

// Message returns the descriptor of the records. Its file holds every message
// and enum that it refers to, except those of google/protobuf.
func (s *Schema) Message() protoreflect.MessageDescriptor { return s.md }

// Key returns the parts of the primary key, in order; at least one. The slice
// must not be changed.
func (s *Schema) Key() []*Field { return s.key }

// Fields returns the fields of the message in the order of their declaration.
// The slice must not be changed.
func (s *Schema) Fields() []*Field { return s.fields }

// Field returns the field with the given name in the .proto, or nil.
func (s *Schema) Field(name string) *Field { return s.byName[name] }

// Indexes returns the declared indexes: those of single fields first, in the
// order of the fields, then the composite ones. The slice must not be changed.
func (s *Schema) Indexes() []*Index { return s.indexes }

// Index returns the index with the given name, or nil.
func (s *Schema) Index(name string) *Index {
	for _, ix := range s.indexes {
		if ix.name == name {
			return ix
		}
	}
	return nil
}

// Text returns the schema as a .proto file that imports nothing but files of
// google/protobuf and stele/options.proto: the source as it was written where
// that is such a file, with one table and nothing beside it. Otherwise the
// messages and enums that the table's message refers to are nested in it, and
// comments are kept.
func (s *Schema) Text() string { return s.text }

// Version returns the number of the schema's version in the catalog, from 1; 0
// if it does not come from a database.
func (s *Schema) Version() int { return int(s.version) }

// IndexState says what an index is good for.
type IndexState uint8

// The states of an index.
const (
	// IndexUnstored is an index that no database has yet.
	IndexUnstored IndexState = iota
	// IndexBuilding is kept exact by every write, but older rows may lack their
	// entries: queries must not use it.
	IndexBuilding
	// IndexReadable is exact.
	IndexReadable
	// IndexDisabled is neither kept nor used.
	IndexDisabled
)

// String returns the state's name, as "readable".
func (s IndexState) String() string {
	switch s {
	case IndexUnstored:
		return "unstored"
	case IndexBuilding:
		return "building"
	case IndexReadable:
		return "readable"
	case IndexDisabled:
		return "disabled"
	}
	return "unknown"
}

// Index is an index over one or more fields of a schema. It is immutable.
type Index struct {
	name   string
	fields []*Field
	unique bool
	id     uint64
	state  IndexState
}

// Name returns the name of the index: that of its field, or its fields' names
// joined by "_", unless it was given another.
func (ix *Index) Name() string { return ix.name }

// ID returns the id of the index in its table's keys; 0 until it is stored.
func (ix *Index) ID() uint64 { return ix.id }

// State returns what the index is good for.
func (ix *Index) State() IndexState { return ix.state }

// Fields returns the indexed fields, in order; at least one. The slice must not
// be changed.
func (ix *Index) Fields() []*Field { return ix.fields }

// Unique reports whether no two rows may have the same values in the index.
func (ix *Index) Unique() bool { return ix.unique }

// Multi reports whether one of the fields is repeated: the index then has one
// entry for each distinct element of a row, and none for a row without any.
func (ix *Index) Multi() bool {
	for _, f := range ix.fields {
		if f.repeated {
			return true
		}
	}
	return false
}

// KeyOf returns the primary key of a record, read from its bytes. It returns
// kv.ErrInvalid if a part of the key is absent, or not valid.
func (s *Schema) KeyOf(rec []byte) (tuple.Tuple, error) {
	key := make(tuple.Tuple, 0, len(s.key))
	for _, f := range s.key {
		var err error
		if key, err = f.Values(rec, key); err != nil {
			return nil, err
		}
	}
	if err := s.checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// checkKey returns kv.ErrInvalid if key has a missing part.
func (s *Schema) checkKey(key tuple.Tuple) error {
	if len(key) != len(s.key) {
		return invalidf("the primary key of %s has %d parts, not %d", s.table, len(s.key), len(key))
	}
	for i, v := range key {
		if v.IsNull() || len(key) == 1 && isEmpty(v) {
			return invalidf("missing primary key: field %q of %s is not set", s.key[i].name, s.table)
		}
	}
	return nil
}

// isEmpty reports whether v is what a string, bytes or UUID field holds that
// nobody set. As the only part of a primary key that is a forgotten key; in a
// composite one it is a value like others.
func isEmpty(v tuple.Value) bool {
	switch v.Kind() {
	case tuple.KindString:
		s, _ := v.AsString()
		return s == ""
	case tuple.KindBytes:
		b, _ := v.AsBytes()
		return len(b) == 0
	case tuple.KindUUID:
		u, _ := v.AsUUID()
		return u == [16]byte{}
	}
	return false
}
