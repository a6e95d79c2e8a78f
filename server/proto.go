package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// printer writes .proto text. It knows where each message of the user's
// schema stands in the served file, which is one file in one package even if
// the schema is spread over several.
type printer struct {
	strings.Builder
	pkg    protoreflect.FullName
	places map[protoreflect.FullName]string // top-level type -> its name in the served file
	indent int
}

// line writes one indented line.
func (p *printer) line(format string, args ...any) {
	p.WriteString(strings.Repeat("  ", p.indent))
	fmt.Fprintf(&p.Builder, format, args...)
	p.WriteByte('\n')
}

// block writes a header with an opening brace, what body writes, and the
// closing brace; a body that writes nothing gives the one line "header {}".
func (p *printer) block(header string, body func()) {
	start := p.Len()
	p.line("%s {", header)
	opened := p.Len()
	p.indent++
	body()
	p.indent--
	if p.Len() == opened {
		before := p.String()[:start]
		p.Reset()
		p.WriteString(before)
		p.line("%s {}", header)
		return
	}
	p.line("}")
}

// leading writes the comment that stands above d in the schema. A trailing
// comment of several lines joins it, as it cannot stand behind the declaration.
func (p *printer) leading(d protoreflect.Descriptor) {
	loc := d.ParentFile().SourceLocations().ByDescriptor(d)
	p.comment(loc.LeadingComments)
	if _, long := trailing(loc.TrailingComments); long {
		p.comment(loc.TrailingComments)
	}
}

func (p *printer) comment(text string) {
	text = strings.Trim(text, "\n")
	if text == "" {
		return
	}
	for l := range strings.SplitSeq(text, "\n") {
		p.line("%s", commentLine(l))
	}
}

func commentLine(l string) string {
	l = strings.TrimRight(l, " \t\r")
	if l != "" && l[0] != ' ' {
		l = " " + l
	}
	return "//" + l
}

// trailing returns the comment to write behind a declaration, with the space
// before it, or says that it is too long for one line.
func trailing(text string) (s string, long bool) {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return "", false
	}
	if strings.Contains(text, "\n") {
		return "", true
	}
	return " " + commentLine(text), false
}

func (p *printer) trailing(d protoreflect.Descriptor) string {
	s, _ := trailing(d.ParentFile().SourceLocations().ByDescriptor(d).TrailingComments)
	return s
}

// message writes md under the given name, nested types first.
func (p *printer) message(md protoreflect.MessageDescriptor, name string) {
	p.leading(md)
	p.block("message "+name, func() {
		if isDeprecated(md) {
			p.line("option deprecated = true;")
		}
		for i := range md.Enums().Len() {
			p.enum(md.Enums().Get(i), string(md.Enums().Get(i).Name()))
		}
		for i := range md.Messages().Len() {
			if m := md.Messages().Get(i); !m.IsMapEntry() {
				p.message(m, string(m.Name()))
			}
		}
		p.reserved(messageRanges(md), md.ReservedNames())
		p.fields(md)
	})
}

// fields writes the fields of md in their order, each oneof where its first
// field stands.
func (p *printer) fields(md protoreflect.MessageDescriptor) {
	done := map[protoreflect.FullName]bool{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		od := fd.ContainingOneof()
		if od == nil || od.IsSynthetic() {
			p.field(fd)
			continue
		}
		if done[od.FullName()] {
			continue
		}
		done[od.FullName()] = true
		p.leading(od)
		p.block("oneof "+string(od.Name()), func() {
			for j := range od.Fields().Len() {
				p.field(od.Fields().Get(j))
			}
		})
	}
}

func (p *printer) field(fd protoreflect.FieldDescriptor) {
	label := ""
	switch {
	case fd.IsMap():
	case fd.IsList():
		label = "repeated "
	case fd.HasOptionalKeyword():
		label = "optional "
	}
	p.leading(fd)
	p.line("%s%s %s = %d%s;%s", label, p.fieldType(fd), fd.Name(), fd.Number(), fieldOptions(fd), p.trailing(fd))
}

func (p *printer) fieldType(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		return fmt.Sprintf("map<%s, %s>", p.fieldType(fd.MapKey()), p.fieldType(fd.MapValue()))
	}
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return p.reference(fd, fd.Message())
	case protoreflect.EnumKind:
		return p.reference(fd, fd.Enum())
	}
	return fd.Kind().String()
}

// reference names type d as seen from inside the message that declares from:
// by the shortest path that means d there, or by its full name if every path
// is hidden by something nearer.
func (p *printer) reference(from, d protoreflect.Descriptor) string {
	top := topLevel(d)
	place, ok := p.places[top.FullName()]
	if !ok { // a well-known type, imported
		return string(d.FullName())
	}
	inFile := place + strings.TrimPrefix(string(d.FullName()), string(top.FullName()))
	full := "." + string(p.pkg.Append(protoreflect.Name(inFile)))
	var nearer []protoreflect.MessageDescriptor
	name := inFile
	for s := from.Parent(); ; s = s.Parent() {
		md, ok := s.(protoreflect.MessageDescriptor)
		if !ok {
			break
		}
		if rel, inside := strings.CutPrefix(string(d.FullName()), string(md.FullName())+"."); inside {
			name = rel
			break
		}
		nearer = append(nearer, md)
	}
	first, _, _ := strings.Cut(name, ".")
	for _, md := range nearer {
		if declares(md, protoreflect.Name(first)) {
			return full
		}
	}
	return name
}

// declares reports whether name means something inside md.
func declares(md protoreflect.MessageDescriptor, name protoreflect.Name) bool {
	return md.Messages().ByName(name) != nil || md.Enums().ByName(name) != nil ||
		md.Fields().ByName(name) != nil || md.Oneofs().ByName(name) != nil
}

// fieldOptions writes what changes a client's encoding, JSON or warnings.
// Custom options are left out: a client has no use for them and need not have
// the files which declare them.
func fieldOptions(fd protoreflect.FieldDescriptor) string {
	var opts []string
	o, _ := fd.Options().(*descriptorpb.FieldOptions)
	if fd.HasJSONName() && fd.JSONName() != defaultJSONName(string(fd.Name())) {
		opts = append(opts, "json_name = "+strconv.Quote(fd.JSONName()))
	}
	if o != nil && o.Packed != nil {
		opts = append(opts, fmt.Sprintf("packed = %t", o.GetPacked()))
	}
	if o != nil && o.Jstype != nil {
		opts = append(opts, "jstype = "+o.GetJstype().String())
	}
	if o.GetDeprecated() {
		opts = append(opts, "deprecated = true")
	}
	if opts == nil {
		return ""
	}
	return " [" + strings.Join(opts, ", ") + "]"
}

// defaultJSONName is the JSON name that every compiler gives a field.
func defaultJSONName(name string) string {
	var b strings.Builder
	up := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		b.WriteByte(c)
	}
	return b.String()
}

func (p *printer) enum(ed protoreflect.EnumDescriptor, name string) {
	p.leading(ed)
	p.block("enum "+name, func() {
		o, _ := ed.Options().(*descriptorpb.EnumOptions)
		if o.GetAllowAlias() {
			p.line("option allow_alias = true;")
		}
		if isDeprecated(ed) {
			p.line("option deprecated = true;")
		}
		p.reserved(enumRanges(ed), ed.ReservedNames())
		for i := range ed.Values().Len() {
			v := ed.Values().Get(i)
			dep := ""
			if isDeprecated(v) {
				dep = " [deprecated = true]"
			}
			p.leading(v)
			p.line("%s = %d%s;%s", v.Name(), v.Number(), dep, p.trailing(v))
		}
	})
}

func isDeprecated(d protoreflect.Descriptor) bool {
	o, ok := d.Options().(interface {
		proto.Message
		GetDeprecated() bool
	})
	return ok && o.GetDeprecated()
}

func (p *printer) reserved(ranges []string, names protoreflect.Names) {
	if len(ranges) > 0 {
		p.line("reserved %s;", strings.Join(ranges, ", "))
	}
	var quoted []string
	for i := range names.Len() {
		quoted = append(quoted, strconv.Quote(string(names.Get(i))))
	}
	if quoted != nil {
		p.line("reserved %s;", strings.Join(quoted, ", "))
	}
}

// messageRanges are reserved field numbers; a descriptor's range ends before
// its second number, the text's range with it.
func messageRanges(md protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range md.ReservedRanges().Len() {
		r := md.ReservedRanges().Get(i)
		out = append(out, rangeText(int64(r[0]), int64(r[1])-1, 1<<29-1))
	}
	return out
}

func enumRanges(ed protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range ed.ReservedRanges().Len() {
		r := ed.ReservedRanges().Get(i)
		out = append(out, rangeText(int64(r[0]), int64(r[1]), 1<<31-1))
	}
	return out
}

func rangeText(from, to, most int64) string {
	switch to {
	case from:
		return strconv.FormatInt(from, 10)
	case most:
		return fmt.Sprintf("%d to max", from)
	}
	return fmt.Sprintf("%d to %d", from, to)
}

// topLevel returns the outermost type that holds d.
func topLevel(d protoreflect.Descriptor) protoreflect.Descriptor {
	for {
		p := d.Parent()
		if _, file := p.(protoreflect.FileDescriptor); file || p == nil {
			return d
		}
		d = p
	}
}

// closure returns the top-level types which roots refer to, themselves first
// and the rest in the order of reference, and the files of well-known types
// to import, sorted.
func closure(roots []protoreflect.MessageDescriptor) (types []protoreflect.Descriptor, imports []string) {
	seen := map[protoreflect.FullName]bool{}
	add := func(d protoreflect.Descriptor) {
		d = topLevel(d)
		if seen[d.FullName()] {
			return
		}
		seen[d.FullName()] = true
		if isWellKnown(d) {
			if path := d.ParentFile().Path(); !slices.Contains(imports, path) {
				imports = append(imports, path)
			}
			return
		}
		types = append(types, d)
	}
	for _, md := range roots {
		add(md)
	}
	for i := 0; i < len(types); i++ {
		if md, ok := types[i].(protoreflect.MessageDescriptor); ok {
			references(md, add)
		}
	}
	slices.Sort(imports)
	return types, imports
}

func isWellKnown(d protoreflect.Descriptor) bool {
	return strings.HasPrefix(d.ParentFile().Path(), "google/protobuf/")
}

// references calls add for every type that md or a type inside it mentions.
func references(md protoreflect.MessageDescriptor, add func(protoreflect.Descriptor)) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if m := fd.Message(); m != nil {
			add(m)
		}
		if e := fd.Enum(); e != nil {
			add(e)
		}
	}
	for i := range md.Messages().Len() {
		references(md.Messages().Get(i), add)
	}
}
