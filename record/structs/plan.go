package structs

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A shape is how one value of a field lies in memory and on the wire.
type shape uint8

const (
	number shape = iota + 1 // bool, integers, floats and enums
	text
	blob
	uuid
	timestamp
	duration
	nested
)

// A cardinality is how many values a field has.
type cardinality uint8

const (
	single   cardinality = iota // the value lies in the struct
	optional                    // a pointer to it, or nil
	repeated                    // a slice of them
)

// message is a struct type with its fields, ascending by number once bound.
type message struct {
	typ    reflect.Type
	name   string // the message's own name
	fields []*field
	dense  []*field // by number, for the small numbers
	sparse map[protoreflect.FieldNumber]*field

	former protoreflect.MessageDescriptor // as it was before, or nil
	desc   *descriptorpb.DescriptorProto  // while compiling
	full   protoreflect.FullName          // while compiling
}

// field is one stored field of a struct, embedded structs' fields included.
type field struct {
	Field
	path   string // for faults: Type.Field
	tag    tag
	offset uintptr // from the start of the message's struct
	typ    reflect.Type
	elem   reflect.Type // typ, or what it points to or is a slice of
	shape  shape
	card   cardinality
	sub    *message                    // of shape nested
	enum   protoreflect.EnumDescriptor // of an enum

	kind   protoreflect.Kind // the wire's, once bound
	packed bool
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	enumType     = reflect.TypeFor[protoreflect.Enum]()
)

// planner walks the struct types reachable from one and collects all faults.
type planner struct {
	messages []*message // in order of discovery, the root first
	byType   map[reflect.Type]*message
	faults   []error
}

func (p *planner) fault(path, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

// message plans t, once. hint names it where the type has no name.
func (p *planner) message(t reflect.Type, hint, path string) *message {
	if m := p.byType[t]; m != nil {
		return m
	}
	name, _, _ := strings.Cut(t.Name(), "[") // without type arguments
	name = camel(cmp.Or(name, hint))
	if !validName(name) {
		p.fault(path, "type %s cannot name a message; declare a type with a plain name", t)
	}
	m := &message{typ: t, name: name}
	for _, other := range p.messages {
		if other.name == name {
			p.fault(path, "types %s and %s would both be message %s", other.typ, t, name)
		}
	}
	p.byType[t] = m
	p.messages = append(p.messages, m)
	root := len(p.messages) == 1
	p.structFields(m, t, 0, path, root, false)
	p.checkNames(m)
	return m
}

// structFields adds the fields of t, which lies at offset in m's struct.
func (p *planner) structFields(m *message, t reflect.Type, offset uintptr, path string, root, key bool) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := path + "." + sf.Name
		text, tagged := sf.Tag.Lookup(tagName)
		tg, faults := parseTag(text)
		for _, err := range faults {
			p.fault(at, "%w", err)
		}
		if tg.skip {
			continue
		}
		if sf.Anonymous && inlined(sf.Type) {
			if tg.name != "" || tg.number != 0 || tg.index || tg.unique {
				p.fault(at, "an embedded struct has no name, number or index of its own; tag its fields")
			}
			p.structFields(m, sf.Type, offset+sf.Offset, path, root, key || tg.key)
			continue
		}
		if !sf.IsExported() {
			if tagged {
				p.fault(at, "has a stele tag but is not exported")
			}
			continue
		}
		tg.key = tg.key || key
		if !root && (tg.key || tg.index || tg.unique) {
			p.fault(at, "key, index and unique belong to the fields of the table's own type")
		}
		p.field(m, sf, tg, offset, at)
	}
}

// inlined reports whether an embedded field of type t gives its fields away.
func inlined(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != timeType
}

func (p *planner) field(m *message, sf reflect.StructField, tg tag, offset uintptr, path string) {
	name := tg.name
	if name == "" {
		name = snake(sf.Name)
	}
	if !validName(name) {
		p.fault(path, "%q is not a Protobuf field name; set one by the tag name=...", name)
	}
	f := &field{
		Field:  Field{Name: name, GoName: sf.Name, Type: sf.Type, Key: tg.key, Index: tg.index, Unique: tg.unique},
		path:   path,
		tag:    tg,
		offset: offset + sf.Offset,
		typ:    sf.Type,
	}
	if !p.classify(f) {
		return
	}
	f.Optional, f.Repeated, f.UUID = f.card == optional, f.card == repeated, f.shape == uuid
	f.Elem = f.elem
	if f.Key && f.card != single {
		p.fault(path, "a key field cannot be %s", map[cardinality]string{optional: "a pointer", repeated: "a slice"}[f.card])
	}
	if f.Unique && f.card == repeated {
		p.fault(path, "a repeated field cannot be unique; use index")
	}
	if (f.Key || f.Index || f.Unique) && f.shape == nested {
		p.fault(path, "a nested struct has no order: it cannot be a key nor indexed")
	}
	m.fields = append(m.fields, f)
}

// classify finds the field's cardinality and shape, or reports why it has none.
func (p *planner) classify(f *field) bool {
	t := f.typ
	f.elem, f.card = t, single
	switch {
	case t.Kind() == reflect.Pointer:
		f.elem, f.card = t.Elem(), optional
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		f.elem, f.card = t.Elem(), repeated
	}
	f.shape = shapeOf(f.elem)
	if f.shape == 0 {
		p.fault(f.path, "%s", refusal(t, f.elem))
		return false
	}
	if f.elem.Implements(enumType) {
		f.enum = reflect.Zero(f.elem).Interface().(protoreflect.Enum).Descriptor()
		if f.elem.Kind() != reflect.Int32 || f.enum.Values().ByNumber(0) == nil {
			p.fault(f.path, "enum %s is not an int32 type with a value for 0", f.elem)
			return false
		}
	}
	if f.shape == nested {
		f.sub = p.message(f.elem, f.GoName, f.path)
	}
	return true
}

// shapeOf returns the shape of one value of type t, 0 if it cannot be stored.
func shapeOf(t reflect.Type) shape {
	switch {
	case t == timeType:
		return timestamp
	case t == durationType:
		return duration
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return number
	case reflect.String:
		return text
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return blob
		}
	case reflect.Array:
		if t.Name() == "UUID" && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 {
			return uuid
		}
	case reflect.Struct:
		return nested
	}
	return 0
}

// refusal says why a field of type t with elements of type elem is not stored.
func refusal(t, elem reflect.Type) string {
	switch elem.Kind() {
	case reflect.Map:
		return fmt.Sprintf("%s: maps are not supported; use a slice of structs", t)
	case reflect.Array:
		return fmt.Sprintf("%s: arrays are not supported, except a [16]byte type named UUID; use a slice", t)
	case reflect.Slice:
		return fmt.Sprintf("%s: a repeated field cannot repeat or be left out; use a slice of structs", t)
	case reflect.Pointer:
		if t.Kind() == reflect.Slice {
			return fmt.Sprintf("%s: elements cannot be pointers; use a slice of values", t)
		}
		return fmt.Sprintf("%s: a pointer to a pointer cannot be stored", t)
	}
	return fmt.Sprintf("%s cannot be stored in a record; leave it out by the tag -", t)
}

// checkNames reports fields of one message whose names cannot stand together:
// Protobuf JSON knows them by lowerCamelCase, so those must differ as well.
func (p *planner) checkNames(m *message) {
	names := map[string]*field{}
	for _, f := range m.fields {
		json := jsonName(f.Name)
		if other := names[json]; other != nil {
			p.fault(f.path, "field name %s is taken by %s (%s)", f.Name, other.path, other.Name)
			continue
		}
		names[json] = f
	}
}

// jsonName is the lowerCamelCase form that Protobuf derives from a field name.
func jsonName(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
		case i > 0 && s[i-1] == '_' && lower(s[i]):
			b = append(b, s[i]&^0x20)
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}
