package record

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// nesting is a message made self-contained: what it refers to in other places
// is copied into it, so that its file declares nothing but this message. Files
// of several tables can then be compiled together, whatever they share.
type nesting struct {
	file    *descriptorpb.FileDescriptorProto
	root    *descriptorpb.DescriptorProto
	source  protoreflect.MessageDescriptor
	names   map[protoreflect.FullName]string // where carried types went
	origins []origin                         // where elements came from, for comments
}

// origin says that the elements below path in the new file are those below from
// in another.
type origin struct {
	path protoreflect.SourcePath
	file protoreflect.FileDescriptor
	from protoreflect.SourcePath
}

// The field numbers of descriptor.proto that paths are made of.
const (
	pathFileMessage   = 4
	pathNestedMessage = 3
	pathNestedEnum    = 4
)

// nest copies a message with everything that it refers to.
func nest(md protoreflect.MessageDescriptor) (*nesting, []Fault) {
	src := protodesc.ToFileDescriptorProto(md.ParentFile())
	n := &nesting{
		source: md,
		root:   protodesc.ToDescriptorProto(md),
		names:  map[protoreflect.FullName]string{},
		file: &descriptorpb.FileDescriptorProto{
			Name:    proto.String("schema.proto"),
			Syntax:  src.Syntax,
			Edition: src.Edition,
			Options: src.Options,
		},
	}
	if src.GetPackage() != "" {
		n.file.Package = src.Package
	}
	n.origins = []origin{{
		path: protoreflect.SourcePath{pathFileMessage, 0},
		file: md.ParentFile(),
		from: md.ParentFile().SourceLocations().ByDescriptor(md).Path,
	}}
	full := qualify(src.GetPackage(), string(md.Name()))
	n.names[md.FullName()] = full
	carried, faults := carry(md)
	for _, d := range carried {
		n.add(d, full)
	}
	cleanMessage(n.root)
	n.file.Options = cleanFileOptions(n.file.Options)
	n.rename(n.root)
	n.file.MessageType = []*descriptorpb.DescriptorProto{n.root}
	return n, faults
}

func qualify(pkg, name string) string {
	if pkg == "" {
		return name
	}
	return pkg + "." + name
}

// carry finds the types outside of md that it needs: each with what is nested
// in it, none nested in another of them.
func carry(md protoreflect.MessageDescriptor) (carried []protoreflect.Descriptor, faults []Fault) {
	seen := map[protoreflect.FullName]bool{md.FullName(): true}
	var all []protoreflect.Descriptor
	var walk func(m protoreflect.MessageDescriptor)
	need := func(fd protoreflect.FieldDescriptor, d protoreflect.Descriptor) {
		if seen[d.FullName()] || builtIn(d.ParentFile().Path()) || within(d, md) {
			return
		}
		seen[d.FullName()] = true
		if why := otherSyntax(md.ParentFile(), d.ParentFile()); why != "" {
			faults = append(faults, faultf(fd, "field %q: %s comes from %s, which %s than the table's file; use one syntax for both", fd.Name(), d.FullName(), d.ParentFile().Path(), why))
		}
		all = append(all, d)
		if m, ok := d.(protoreflect.MessageDescriptor); ok {
			walk(m)
		}
	}
	walk = func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			fd := m.Fields().Get(i)
			if fd.Message() != nil {
				need(fd, fd.Message())
			}
			if fd.Enum() != nil {
				need(fd, fd.Enum())
			}
		}
		for i := range m.Messages().Len() {
			walk(m.Messages().Get(i))
		}
	}
	walk(md)
	for _, d := range all {
		if !slices.ContainsFunc(all, func(o protoreflect.Descriptor) bool { return o != d && within(d, o) }) {
			carried = append(carried, d)
		}
	}
	return carried, faults
}

// within reports whether d lies in outer, at any depth.
func within(d, outer protoreflect.Descriptor) bool {
	for p := d; p != nil; p = p.Parent() {
		if p.FullName() == outer.FullName() && p.ParentFile() == outer.ParentFile() {
			return true
		}
	}
	return false
}

// otherSyntax says how the languages of two files differ, "" if they do not.
// The same declaration may mean different things in two of them.
func otherSyntax(a, b protoreflect.FileDescriptor) string {
	if a.Syntax() != b.Syntax() {
		return "is written in another syntax (" + b.Syntax().String() + ")"
	}
	if a.Syntax() == protoreflect.Editions && !proto.Equal(features(a), features(b)) {
		return "has another edition or other features"
	}
	return ""
}

// features returns the part of a file that says what its declarations mean.
func features(f protoreflect.FileDescriptor) proto.Message {
	fp := protodesc.ToFileDescriptorProto(f)
	return &descriptorpb.FileDescriptorProto{
		Edition: fp.Edition,
		Options: &descriptorpb.FileOptions{Features: fp.GetOptions().GetFeatures()},
	}
}

// add copies a type into the root, under a name that is free there.
func (n *nesting) add(d protoreflect.Descriptor, root string) {
	loc := d.ParentFile().SourceLocations().ByDescriptor(d)
	taken := scope(n.root)
	name := free(string(d.Name()), taken)
	o := origin{file: d.ParentFile(), from: loc.Path}
	switch d := d.(type) {
	case protoreflect.MessageDescriptor:
		m := protodesc.ToDescriptorProto(d)
		m.Name = proto.String(name)
		o.path = protoreflect.SourcePath{pathFileMessage, 0, pathNestedMessage, int32(len(n.root.NestedType))}
		n.root.NestedType = append(n.root.NestedType, m)
		n.names[d.FullName()] = root + "." + name
	case protoreflect.EnumDescriptor:
		e := protodesc.ToEnumDescriptorProto(d)
		e.Name = proto.String(name)
		if !slices.ContainsFunc(e.Value, func(v *descriptorpb.EnumValueDescriptorProto) bool { return taken[v.GetName()] }) {
			o.path = protoreflect.SourcePath{pathFileMessage, 0, pathNestedEnum, int32(len(n.root.EnumType))}
			n.root.EnumType = append(n.root.EnumType, e)
			n.names[d.FullName()] = root + "." + name
			break
		}
		// Names of an enum's values live beside the enum: one of these is taken
		// in the message, so the enum gets a message to itself.
		outer := free(name+"Enum", taken)
		o.path = protoreflect.SourcePath{pathFileMessage, 0, pathNestedMessage, int32(len(n.root.NestedType)), pathNestedEnum, 0}
		n.root.NestedType = append(n.root.NestedType, &descriptorpb.DescriptorProto{
			Name: proto.String(outer), EnumType: []*descriptorpb.EnumDescriptorProto{e},
		})
		n.names[d.FullName()] = root + "." + outer + "." + name
	}
	n.origins = append(n.origins, o)
}

// free returns name, with a number behind it if it is taken.
func free(name string, taken map[string]bool) string {
	if !taken[name] {
		return name
	}
	for i := 2; ; i++ {
		if s := fmt.Sprintf("%s%d", name, i); !taken[s] {
			return s
		}
	}
}

// scope lists the names that are declared directly in a message.
func scope(m *descriptorpb.DescriptorProto) map[string]bool {
	names := map[string]bool{}
	for _, f := range m.Field {
		names[f.GetName()] = true
	}
	for _, o := range m.OneofDecl {
		names[o.GetName()] = true
	}
	for _, t := range m.NestedType {
		names[t.GetName()] = true
	}
	for _, e := range m.EnumType {
		names[e.GetName()] = true
		for _, v := range e.Value {
			names[v.GetName()] = true
		}
	}
	return names
}

// rename points references to where the types went.
func (n *nesting) rename(m *descriptorpb.DescriptorProto) {
	for _, f := range m.Field {
		if f.TypeName != nil {
			f.TypeName = proto.String("." + n.newName(strings.TrimPrefix(f.GetTypeName(), ".")))
		}
	}
	for _, t := range m.NestedType {
		n.rename(t)
	}
}

// newName returns the new full name of a type: its own, or that of the message
// it is nested in with the rest behind it.
func (n *nesting) newName(old string) string {
	rest := ""
	for name := protoreflect.FullName(old); name != ""; name = name.Parent() {
		if to, ok := n.names[name]; ok {
			return to + rest
		}
		rest = "." + string(name.Name()) + rest
	}
	return old
}

// comments returns the comments of an element of the new file.
func (n *nesting) comments(path protoreflect.SourcePath) protoreflect.SourceLocation {
	for _, o := range slices.Backward(n.origins) {
		if o.from != nil && len(path) >= len(o.path) && slices.Equal(path[:len(o.path)], o.path) {
			from := append(slices.Clone(o.from), path[len(o.path):]...)
			return o.file.SourceLocations().ByPath(from)
		}
	}
	if len(path) == 1 {
		return n.source.ParentFile().SourceLocations().ByPath(path)
	}
	return protoreflect.SourceLocation{}
}

// cleanMessage drops what a self-contained file cannot say: options of other
// files, and declared extensions.
func cleanMessage(m *descriptorpb.DescriptorProto) {
	m.Options = cleanOptions(m.Options)
	m.Extension = nil
	for _, f := range m.Field {
		f.Options = cleanOptions(f.Options)
	}
	for _, o := range m.OneofDecl {
		o.Options = cleanOptions(o.Options)
	}
	for _, r := range m.ExtensionRange {
		r.Options = nil
	}
	for _, e := range m.EnumType {
		e.Options = cleanOptions(e.Options)
		for _, v := range e.Value {
			v.Options = cleanOptions(v.Options)
		}
	}
	for _, t := range m.NestedType {
		cleanMessage(t)
	}
}

// cleanOptions keeps the options of descriptor.proto and stele/options.proto;
// nil if none is left.
func cleanOptions[M proto.Message](opts M) M {
	var none M
	fresh := opts.ProtoReflect().Type().New().Interface()
	if !reparse(opts, fresh) {
		return none
	}
	m := fresh.ProtoReflect()
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if fd.IsExtension() && !builtIn(fd.ParentFile().Path()) || fd.Name() == "uninterpreted_option" {
			m.Clear(fd)
		}
		return true
	})
	if proto.Size(fresh) == 0 {
		return none
	}
	return fresh.(M)
}

// cleanFileOptions drops options that name a class, which several tables of one
// file would share.
func cleanFileOptions(opts *descriptorpb.FileOptions) *descriptorpb.FileOptions {
	opts = cleanOptions(opts)
	if opts != nil {
		opts.JavaOuterClassname, opts.JavaMultipleFiles = nil, nil
		opts.CcGenericServices, opts.JavaGenericServices, opts.PyGenericServices = nil, nil, nil
	}
	return opts
}
