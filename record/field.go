package record

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kind is the type of a field as conditions, keys and indexes see it. Of a
// repeated field it is the type of one element.
type Kind uint8

// The kinds of fields; the package comment has the table of their types.
const (
	Bool Kind = iota + 1
	Int
	Uint
	Float
	String
	Bytes
	UUID
	Time
	Duration
	Enum
	Message
	Map
)

var kindNames = [...]string{"invalid", "bool", "int", "uint", "float", "string", "bytes", "uuid",
	"time", "duration", "enum", "message", "map"}

// String returns the kind's name, as "int".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// Comparable reports whether values of the kind have an order, so that a field
// of it can be indexed and compared.
func (k Kind) Comparable() bool { return k >= Bool && k <= Enum }

// Field is a field of a schema's message. It is immutable.
type Field struct {
	fd       protoreflect.FieldDescriptor
	name     string
	number   protowire.Number
	kind     Kind
	repeated bool
	optional bool
	wire     protowire.Type     // of one element
	rivals   []protowire.Number // the other members of its oneof
}

const (
	timestampName = "google.protobuf.Timestamp"
	durationName  = "google.protobuf.Duration"
)

// newField compiles what reading the field of a record takes.
func newField(fd protoreflect.FieldDescriptor) *Field {
	f := &Field{
		fd:       fd,
		name:     string(fd.Name()),
		number:   fd.Number(),
		kind:     kindOf(fd),
		repeated: fd.Cardinality() == protoreflect.Repeated && !fd.IsMap(),
		optional: fd.HasPresence(),
		wire:     wireType(fd.Kind()),
	}
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		for i := range o.Fields().Len() {
			if n := o.Fields().Get(i).Number(); n != f.number {
				f.rivals = append(f.rivals, n)
			}
		}
	}
	return f
}

// kindOf returns the kind of a field of any message.
func kindOf(fd protoreflect.FieldDescriptor) Kind {
	if fd.IsMap() {
		return Map
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return Bool
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return Int
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return Uint
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return Float
	case protoreflect.StringKind:
		return String
	case protoreflect.BytesKind:
		if fieldOptions(fd).uuid {
			return UUID
		}
		return Bytes
	case protoreflect.EnumKind:
		return Enum
	case protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case timestampName:
			return Time
		case durationName:
			return Duration
		}
	}
	return Message
}

// wireType returns the wire type of one unpacked value.
func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// Name returns the field's name in the .proto.
func (f *Field) Name() string { return f.name }

// Number returns the field's number, which is what stored rows know it by.
func (f *Field) Number() int { return int(f.number) }

// Descriptor returns the field's descriptor.
func (f *Field) Descriptor() protoreflect.FieldDescriptor { return f.fd }

// Kind returns the type of the field, of one element if it is repeated.
func (f *Field) Kind() Kind { return f.kind }

// Repeated reports whether the field is a list. A map is not.
func (f *Field) Repeated() bool { return f.repeated }

// Optional reports whether the field can be absent, which is its null value.
func (f *Field) Optional() bool { return f.optional }
