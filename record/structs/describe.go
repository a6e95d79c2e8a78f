package structs

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Well-known messages, by their full names.
var (
	timestampName = (*timestamppb.Timestamp)(nil).ProtoReflect().Descriptor().FullName()
	durationName  = (*durationpb.Duration)(nil).ProtoReflect().Descriptor().FullName()
)

// describer writes planned messages into a file descriptor: a new one, or the
// former message's with what is new added to it. Nothing that the former file
// holds is ever taken away or renumbered.
type describer struct {
	*planner
	file    *descriptorpb.FileDescriptorProto
	root    *descriptorpb.DescriptorProto
	name    protoreflect.FullName
	former  protoreflect.FileDescriptor // or nil
	changed bool                        // something was added to the former file
}

// describe returns the root's descriptor, or nil after a fault.
func (d *describer) describe(opts Options) protoreflect.MessageDescriptor {
	root := d.messages[0]
	if opts.Former != nil {
		d.former = opts.Former.ParentFile()
		d.file = proto.CloneOf(protodesc.ToFileDescriptorProto(d.former))
		d.root, d.name = d.find(opts.Former), opts.Former.FullName()
		dropOptions(d.root)
		root.former = opts.Former
	} else {
		d.root = &descriptorpb.DescriptorProto{Name: proto.String(root.name)}
		d.file = &descriptorpb.FileDescriptorProto{
			Name:        proto.String(snake(root.name) + ".proto"),
			Syntax:      proto.String("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{d.root},
		}
		d.name = protoreflect.FullName(root.name)
	}
	root.desc, root.full = d.root, d.name
	// Fields name their message's type, so a message is placed when the first
	// field of its type is described; messages come in order of discovery.
	for _, m := range d.messages {
		if m.desc == nil {
			continue // its only field was refused
		}
		d.number(m)
		for _, f := range m.fields {
			d.describeField(m, f)
		}
	}
	if len(d.faults) > 0 {
		return nil
	}
	fd, err := protodesc.NewFile(d.file, d.resolver())
	if err != nil {
		d.faults = append(d.faults, err)
		return nil
	}
	return findMessage(fd.Messages(), d.name)
}

// dropOptions removes options that are not Protobuf's own from a table's
// message: what they say of keys and indexes, the struct's tags say anew.
func dropOptions(md *descriptorpb.DescriptorProto) {
	md.Options = nil
	for _, f := range md.Field {
		if old := f.Options; old != nil {
			f.Options = &descriptorpb.FieldOptions{Packed: old.Packed, Deprecated: old.Deprecated}
		}
	}
}

// number gives every field its number: the tag's, else the former message's,
// else the next that was never used.
func (d *describer) number(m *message) {
	used := map[protoreflect.FieldNumber]*field{}
	next := protoreflect.FieldNumber(1)
	if m.former != nil {
		next = highest(m.former) + 1
	}
	for _, f := range m.fields {
		f.Number = f.tag.number
		if old := formerField(m, f); old != nil {
			if f.Number != 0 && f.Number != old.Number() {
				d.fault(f.path, "the tag says number %d, but the field is stored with number %d", f.Number, old.Number())
			}
			f.Number = old.Number()
		} else if f.Number != 0 && m.former != nil && taken(m.former, f.Number) {
			d.fault(f.path, "the tag says number %d, which was used before; numbers are never reused", f.Number)
		}
		if f.Number == 0 {
			continue
		}
		if other := used[f.Number]; other != nil {
			d.fault(f.path, "number %d is taken by %s", f.Number, other.path)
		}
		used[f.Number] = f
	}
	for _, f := range m.fields {
		if f.Number != 0 {
			continue
		}
		for used[next] != nil || implementationNumber(next) {
			next++
		}
		f.Number, used[next] = next, f
		next++
	}
}

func formerField(m *message, f *field) protoreflect.FieldDescriptor {
	if m.former == nil {
		return nil
	}
	return m.former.Fields().ByName(protoreflect.Name(f.Name))
}

// highest returns the largest number that md uses or reserves.
func highest(md protoreflect.MessageDescriptor) protoreflect.FieldNumber {
	var n protoreflect.FieldNumber
	for i := range md.Fields().Len() {
		n = max(n, md.Fields().Get(i).Number())
	}
	for i := range md.ReservedRanges().Len() {
		if end := md.ReservedRanges().Get(i)[1]; end <= lastNumber { // end is exclusive
			n = max(n, end-1)
		}
	}
	return n
}

func taken(md protoreflect.MessageDescriptor, n protoreflect.FieldNumber) bool {
	return md.Fields().ByNumber(n) != nil || md.ReservedRanges().Has(n)
}

// describeField adds f to m's descriptor, or checks it against what is there.
func (d *describer) describeField(m *message, f *field) {
	old := formerField(m, f)
	d.place(f, old)
	if old != nil {
		d.matchFormer(m, f, old)
		return
	}
	d.changed = true
	fd := &descriptorpb.FieldDescriptorProto{
		Name:   proto.String(f.Name),
		Number: proto.Int32(int32(f.Number)),
		Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		Type:   descriptorpb.FieldDescriptorProto_Type(kindOf(f)).Enum(),
	}
	if name := d.typeName(f); name != "" {
		fd.TypeName = proto.String("." + string(name))
	}
	switch f.card {
	case repeated:
		fd.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	case optional:
		fd.Proto3Optional = proto.Bool(true)
		fd.OneofIndex = proto.Int32(int32(len(m.desc.OneofDecl)))
		m.desc.OneofDecl = append(m.desc.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + f.Name)})
	}
	m.desc.Field = append(m.desc.Field, fd)
}

// kindOf is the Protobuf kind that a new field of f's Go type gets.
func kindOf(f *field) protoreflect.Kind {
	switch f.shape {
	case text:
		return protoreflect.StringKind
	case blob, uuid:
		return protoreflect.BytesKind
	case timestamp, duration, nested:
		return protoreflect.MessageKind
	}
	if f.enum != nil {
		return protoreflect.EnumKind
	}
	switch f.elem.Kind() {
	case reflect.Bool:
		return protoreflect.BoolKind
	case reflect.Int32:
		return protoreflect.Int32Kind
	case reflect.Uint32:
		return protoreflect.Uint32Kind
	case reflect.Float32:
		return protoreflect.FloatKind
	case reflect.Float64:
		return protoreflect.DoubleKind
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint64:
		return protoreflect.Uint64Kind
	}
	return protoreflect.Int64Kind
}

// typeName returns the full name of the message or enum that f refers to and
// imports the file that it is in.
func (d *describer) typeName(f *field) protoreflect.FullName {
	switch f.shape {
	case timestamp:
		d.imports(timestamppb.File_google_protobuf_timestamp_proto)
		return timestampName
	case duration:
		d.imports(durationpb.File_google_protobuf_duration_proto)
		return durationName
	case nested:
		return f.sub.full
	}
	if f.enum != nil {
		return d.placeEnum(f)
	}
	return ""
}

func (d *describer) imports(file protoreflect.FileDescriptor) {
	if !slices.Contains(d.file.Dependency, file.Path()) {
		d.file.Dependency = append(d.file.Dependency, file.Path())
	}
}

// place gives the message that f refers to its descriptor: the one that the
// former field refers to, else a new one nested in the root.
func (d *describer) place(f *field, old protoreflect.FieldDescriptor) {
	m := f.sub
	if m == nil || m.desc != nil {
		return
	}
	if old != nil {
		m.former = old.Message()
	} else if d.former != nil {
		m.former = d.messages[0].former.Messages().ByName(protoreflect.Name(m.name))
	}
	if m.former != nil {
		m.desc, m.full = d.find(m.former), m.former.FullName()
		if m.desc == nil { // in another file: usable, not to be added to
			m.desc = protodesc.ToDescriptorProto(m.former)
		}
		return
	}
	m.desc = &descriptorpb.DescriptorProto{Name: proto.String(m.name)}
	m.full = d.name.Append(protoreflect.Name(m.name))
	d.root.NestedType = append(d.root.NestedType, m.desc)
}

// placeEnum copies f's enum into the root, once, and returns its name there.
func (d *describer) placeEnum(f *field) protoreflect.FullName {
	name := camel(string(f.enum.Name()))
	full := d.name.Append(protoreflect.Name(name))
	for _, ed := range d.root.EnumType {
		if ed.GetName() == name {
			d.mergeEnum(ed, f)
			return full
		}
	}
	ed := protodesc.ToEnumDescriptorProto(f.enum)
	ed.Name = proto.String(name)
	// Only the names and numbers are the schema's; a value for 0 comes first.
	if ed.ReservedRange, ed.ReservedName = nil, nil; ed.GetOptions().GetAllowAlias() {
		ed.Options = &descriptorpb.EnumOptions{AllowAlias: proto.Bool(true)}
	} else {
		ed.Options = nil
	}
	for _, v := range ed.Value {
		v.Options = nil
	}
	slices.SortStableFunc(ed.Value, func(a, b *descriptorpb.EnumValueDescriptorProto) int {
		return b2i(b.GetNumber() == 0) - b2i(a.GetNumber() == 0)
	})
	d.root.EnumType = append(d.root.EnumType, ed)
	return full
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mergeEnum adds the values of f's enum that ed lacks.
func (d *describer) mergeEnum(ed *descriptorpb.EnumDescriptorProto, f *field) {
	for i := range f.enum.Values().Len() {
		v := f.enum.Values().Get(i)
		at := slices.IndexFunc(ed.Value, func(o *descriptorpb.EnumValueDescriptorProto) bool {
			return o.GetName() == string(v.Name())
		})
		switch {
		case at < 0:
			d.changed = true
			ed.Value = append(ed.Value, &descriptorpb.EnumValueDescriptorProto{
				Name: proto.String(string(v.Name())), Number: proto.Int32(int32(v.Number())),
			})
		case ed.Value[at].GetNumber() != int32(v.Number()):
			d.fault(f.path, "enum value %s is %d in the stored schema and %d in the type", v.Name(), ed.Value[at].GetNumber(), v.Number())
		}
	}
}

// matchFormer checks that f can hold what is stored under old.
func (d *describer) matchFormer(m *message, f *field, old protoreflect.FieldDescriptor) {
	if want := kindOf(f); !readable(f, want, old) {
		d.fault(f.path, "is stored as %s, which %s cannot hold; give the new field another name", protoType(old), f.Type)
		return
	}
	if cardinalityOf(old) != f.card {
		d.fault(f.path, "is stored as %s, which is not what %s says; presence and repetition of a field cannot change", protoType(old), f.Type)
		return
	}
	switch {
	case f.enum != nil:
		if ed := d.findEnum(old.Enum()); ed != nil {
			d.mergeEnum(ed, f)
		}
	case widened(kindOf(f), old.Kind()):
		d.changed = true
		for _, fd := range m.desc.Field {
			if fd.GetName() == f.Name {
				fd.Type = descriptorpb.FieldDescriptorProto_Type(kindOf(f)).Enum()
			}
		}
	}
}

func cardinalityOf(fd protoreflect.FieldDescriptor) cardinality {
	switch {
	case fd.IsList():
		return repeated
	case fd.HasOptionalKeyword():
		return optional
	}
	return single
}

// readable reports whether a field of f's type and kind want reads what old,
// whatever its wire type, describes.
func readable(f *field, want protoreflect.Kind, old protoreflect.FieldDescriptor) bool {
	if old.IsMap() || old.ContainingOneof() != nil && !old.HasOptionalKeyword() {
		return false
	}
	if want != protoreflect.MessageKind {
		return family(want) == family(old.Kind()) || widened(want, old.Kind())
	}
	if old.Kind() != protoreflect.MessageKind {
		return false
	}
	name := old.Message().FullName()
	switch f.shape {
	case timestamp:
		return name == timestampName
	case duration:
		return name == durationName
	}
	return name != timestampName && name != durationName
}

// family maps the kinds of one type and width to one of them.
func family(k protoreflect.Kind) protoreflect.Kind {
	switch k {
	case protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.Int32Kind
	case protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.Int64Kind
	case protoreflect.Fixed32Kind:
		return protoreflect.Uint32Kind
	case protoreflect.Fixed64Kind:
		return protoreflect.Uint64Kind
	}
	return k
}

// widened reports whether going from old to kind keeps the stored bytes valid
// and their meaning.
func widened(kind, old protoreflect.Kind) bool {
	return kind == protoreflect.Int64Kind && old == protoreflect.Int32Kind ||
		kind == protoreflect.Uint64Kind && old == protoreflect.Uint32Kind
}

// protoType writes a field's type as a .proto file does.
func protoType(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		return fmt.Sprintf("map<%s, %s>", protoType(fd.MapKey()), protoType(fd.MapValue()))
	}
	name := fd.Kind().String()
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		name = string(fd.Message().FullName())
	case protoreflect.EnumKind:
		name = string(fd.Enum().FullName())
	}
	switch cardinalityOf(fd) {
	case repeated:
		return "repeated " + name
	case optional:
		return "optional " + name
	}
	return name
}

// find returns md's descriptor in the file being written, nil if md is in
// another file.
func (d *describer) find(md protoreflect.MessageDescriptor) *descriptorpb.DescriptorProto {
	if md.ParentFile().Path() != d.file.GetName() {
		return nil
	}
	if parent, ok := md.Parent().(protoreflect.MessageDescriptor); ok {
		return d.find(parent).NestedType[md.Index()]
	}
	return d.file.MessageType[md.Index()]
}

func (d *describer) findEnum(ed protoreflect.EnumDescriptor) *descriptorpb.EnumDescriptorProto {
	if ed.ParentFile().Path() != d.file.GetName() {
		return nil
	}
	if parent, ok := ed.Parent().(protoreflect.MessageDescriptor); ok {
		return d.find(parent).EnumType[ed.Index()]
	}
	return d.file.EnumType[ed.Index()]
}

// resolver finds the files that the written one imports: those that the former
// one did, and the well-known ones.
func (d *describer) resolver() protodesc.Resolver {
	if d.former == nil {
		return protoregistry.GlobalFiles
	}
	r := &imported{files: new(protoregistry.Files)}
	r.add(d.former)
	return r
}

// imported resolves from a file's imports first, then from those linked in.
type imported struct{ files *protoregistry.Files }

func (r *imported) add(file protoreflect.FileDescriptor) {
	for i := range file.Imports().Len() {
		dep := file.Imports().Get(i).FileDescriptor
		if _, err := r.files.FindFileByPath(dep.Path()); err == nil || dep.IsPlaceholder() {
			continue
		}
		// Two descriptors of one name cannot be in a file that was built.
		_ = r.files.RegisterFile(dep)
		r.add(dep)
	}
}

// FindFileByPath implements protodesc.Resolver.
func (r *imported) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	fd, err := r.files.FindFileByPath(path)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindFileByPath(path)
	}
	return fd, err
}

// FindDescriptorByName implements protodesc.Resolver.
func (r *imported) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	desc, err := r.files.FindDescriptorByName(name)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindDescriptorByName(name)
	}
	return desc, err
}

// findMessage returns the message with this full name among ms and what is
// nested in them.
func findMessage(ms protoreflect.MessageDescriptors, name protoreflect.FullName) protoreflect.MessageDescriptor {
	for i := range ms.Len() {
		if m := ms.Get(i); m.FullName() == name {
			return m
		} else if found := findMessage(m.Messages(), name); found != nil {
			return found
		}
	}
	return nil
}
