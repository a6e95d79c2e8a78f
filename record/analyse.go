package record

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of names and definitions.
const (
	maxTableName    = 128
	maxKeyParts     = 16
	maxIndexes      = 64
	maxIndexParts   = 16
	reservedNumber  = 536870911 // rows' own field, the highest number there is
	defaultKey      = "pk"
	maxSchemaLength = 1 << 20
)

// tableName returns the name of the table of a message.
func tableName(md protoreflect.MessageDescriptor) string {
	if table, _ := messageOptions(md); table != "" {
		return table
	}
	return string(md.Name())
}

// keyFields returns the fields of the primary key; none if there is no key.
func keyFields(md protoreflect.MessageDescriptor) (key []protoreflect.FieldDescriptor) {
	fields := md.Fields()
	for i := range fields.Len() {
		if fieldOptions(fields.Get(i)).key {
			key = append(key, fields.Get(i))
		}
	}
	if len(key) > 0 {
		return key
	}
	if pk := fields.ByNumber(1); pk != nil && pk.Name() == defaultKey && pk.Kind() == protoreflect.StringKind &&
		pk.Cardinality() != protoreflect.Repeated && pk.ContainingOneof() == nil {
		return []protoreflect.FieldDescriptor{pk}
	}
	return nil
}

// analyse finds the table in a message: its key and its indexes, and all that
// is wrong with them. The schema has neither a text nor a file yet.
func analyse(md protoreflect.MessageDescriptor) (*Schema, []Fault) {
	s := &Schema{
		table:    tableName(md),
		md:       md,
		byName:   map[string]*Field{},
		byNumber: map[protoreflect.FieldNumber]*Field{},
	}
	var faults []Fault
	if why := badTableName(s.table); why != "" {
		faults = append(faults, faultf(md, "%q cannot be the name of a table: %s", s.table, why))
	}
	for i := range md.Fields().Len() {
		f := newField(md.Fields().Get(i))
		s.fields = append(s.fields, f)
		s.byName[f.name], s.byNumber[f.number] = f, f
		faults = append(faults, fieldFaults(f)...)
	}
	faults = append(faults, s.findKey()...)
	faults = append(faults, s.findIndexes()...)
	faults = append(faults, numberFaults(md)...)
	return s, faults
}

// badTableName says why a table cannot have the name, "" if it can. Names become
// parts of keys, files and services.
func badTableName(name string) string {
	if name == "" || len(name) > maxTableName {
		return fmt.Sprintf("it must have 1 to %d characters", maxTableName)
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '.')) {
			return "it must consist of letters, digits, '_', '-' and '.', and begin with a letter or '_'"
		}
	}
	if strings.HasPrefix(name, schemaPrefix) {
		return "that prefix is taken"
	}
	return ""
}

// fieldFaults finds options that do not fit the field.
func fieldFaults(f *Field) (faults []Fault) {
	o := fieldOptions(f.fd)
	if o.uuid && f.fd.Kind() != protoreflect.BytesKind {
		faults = append(faults, faultf(f.fd, "field %q has (stele.uuid) but is %s: a UUID is bytes", f.name, typeName(f.fd)))
	}
	if (o.index || o.unique) && !f.kind.Comparable() {
		faults = append(faults, faultf(f.fd, "field %q cannot be indexed: %s", f.name, whyNoOrder(f)))
	}
	return faults
}

// whyNoOrder says why a field of kind Message or Map has no index.
func whyNoOrder(f *Field) string {
	if f.kind == Map {
		return "it is a map, which has no order; keep what shall be found in a field of its own, or in a repeated one"
	}
	return fmt.Sprintf("it is a message (%s), which has no order; of messages only google.protobuf.Timestamp and Duration have one. Index a field of the table's own message instead", f.fd.Message().FullName())
}

// typeName names the type of a field as a .proto does.
func typeName(fd protoreflect.FieldDescriptor) string {
	name := fd.Kind().String()
	switch {
	case fd.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeName(fd.MapKey()), typeName(fd.MapValue()))
	case fd.Message() != nil:
		name = string(fd.Message().FullName())
	case fd.Enum() != nil:
		name = string(fd.Enum().FullName())
	}
	if fd.Cardinality() == protoreflect.Repeated {
		return "repeated " + name
	}
	return name
}

// findKey fills in the primary key.
func (s *Schema) findKey() (faults []Fault) {
	for _, fd := range keyFields(s.md) {
		f := s.byNumber[fd.Number()]
		s.key = append(s.key, f)
		if why := whyNoKey(f); why != "" {
			faults = append(faults, faultf(fd, "field %q cannot be a part of the primary key: %s", f.name, why))
		}
	}
	if len(s.key) == 0 {
		faults = append(faults, noKey(s.md))
	}
	if len(s.key) > maxKeyParts {
		faults = append(faults, faultf(s.md, "the primary key has %d parts; %d are the most", len(s.key), maxKeyParts))
	}
	return faults
}

// whyNoKey says why a field cannot be a part of a primary key, "" if it can.
func whyNoKey(f *Field) string {
	switch {
	case f.repeated || f.kind == Map:
		return "it is " + typeName(f.fd) + ", and a row has one key"
	case len(f.rivals) > 0 || f.fd.ContainingOneof() != nil && !f.fd.ContainingOneof().IsSynthetic():
		return "it is in a oneof, and a key is always set"
	case f.kind == Float:
		return "it is " + typeName(f.fd) + ", whose values may differ and yet print alike; use an integer or a string"
	case !f.kind.Comparable():
		return "it is a message (" + typeName(f.fd) + "), which has no order; keys are bool, integers, strings, bytes, enums, UUIDs, Timestamp and Duration"
	}
	return ""
}

// findIndexes fills in the indexes.
func (s *Schema) findIndexes() (faults []Fault) {
	names := map[string]bool{}
	add := func(d protoreflect.Descriptor, ix *Index) {
		if names[ix.name] {
			faults = append(faults, faultf(d, "two indexes are called %q; give one of them another name", ix.name))
			return
		}
		names[ix.name] = true
		s.indexes = append(s.indexes, ix)
	}
	for _, f := range s.fields {
		if o := fieldOptions(f.fd); (o.index || o.unique) && f.kind.Comparable() {
			add(f.fd, &Index{name: f.name, fields: []*Field{f}, unique: o.unique})
		}
	}
	_, composite := messageOptions(s.md)
	for _, c := range composite {
		fields, f := s.indexFields(c.GetFields())
		if faults = append(faults, f...); len(f) > 0 {
			continue
		}
		name := c.GetName()
		if name == "" {
			name = strings.Join(c.GetFields(), "_")
		}
		if why := badTableName(name); why != "" {
			faults = append(faults, faultf(s.md, "%q cannot be the name of an index: %s", name, why))
		}
		add(s.md, &Index{name: name, fields: fields, unique: c.GetUnique()})
	}
	if len(s.indexes) > maxIndexes {
		faults = append(faults, faultf(s.md, "message %s has %d indexes; %d are the most", s.md.Name(), len(s.indexes), maxIndexes))
	}
	return faults
}

// indexFields finds the fields of a composite index.
func (s *Schema) indexFields(names []string) (fields []*Field, faults []Fault) {
	if len(names) == 0 || len(names) > maxIndexParts {
		return nil, []Fault{faultf(s.md, "an index of message %s has %d fields; it must have 1 to %d", s.md.Name(), len(names), maxIndexParts)}
	}
	repeated := ""
	for _, name := range names {
		f := s.byName[name]
		switch {
		case f == nil:
			faults = append(faults, faultf(s.md, "an index names field %q, which message %s does not have%s", name, s.md.Name(), s.suggest(name)))
			continue
		case slices.Contains(fields, f):
			faults = append(faults, faultf(s.md, "an index names field %q twice", name))
		case !f.kind.Comparable():
			faults = append(faults, faultf(f.fd, "field %q cannot be indexed: %s", name, whyNoOrder(f)))
		case f.repeated && repeated != "":
			faults = append(faults, faultf(s.md, "an index names two repeated fields, %q and %q; it may have one", repeated, name))
		}
		if f.repeated {
			repeated = name
		}
		fields = append(fields, f)
	}
	return fields, faults
}

// suggest names the field whose name differs from name by case only.
func (s *Schema) suggest(name string) string {
	for _, f := range s.fields {
		if strings.EqualFold(f.name, name) {
			return fmt.Sprintf(" (it has %q)", f.name)
		}
	}
	return ""
}

// numberFaults finds fields and ranges that take the rows' own number.
func numberFaults(md protoreflect.MessageDescriptor) (faults []Fault) {
	if fd := md.Fields().ByNumber(reservedNumber); fd != nil {
		faults = append(faults, faultf(fd, "field %q has the number %d, which Stele keeps for itself; give it another", fd.Name(), reservedNumber))
	}
	return faults
}
