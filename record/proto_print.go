package record

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// printer writes a descriptor as a .proto file.
type printer struct {
	strings.Builder
	n       *nesting
	symbols map[string]bool // full names of all that is declared, with their packages
	imports map[string]bool
	indent  string
}

type sourcePath = protoreflect.SourcePath

// print returns the text of the nested message's file.
func (n *nesting) print() string {
	p := &printer{n: n, symbols: map[string]bool{"google": true, "google.protobuf": true, "stele": true}, imports: map[string]bool{}}
	for pkg := n.file.GetPackage(); pkg != ""; pkg = string(protoreflect.FullName(pkg).Parent()) {
		p.symbols[pkg] = true
	}
	p.declare(n.root, qualify(n.file.GetPackage(), n.root.GetName()))
	p.message(n.root, n.file.GetPackage(), sourcePath{pathFileMessage, 0})
	body := p.String()
	p.Reset()
	p.header()
	return p.String() + "\n" + body
}

// declare notes the names in a message.
func (p *printer) declare(m *descriptorpb.DescriptorProto, full string) {
	p.symbols[full] = true
	for name := range scope(m) {
		p.symbols[full+"."+name] = true
	}
	for _, t := range m.NestedType {
		p.declare(t, full+"."+t.GetName())
	}
}

// header writes what comes before the message.
func (p *printer) header() {
	f := p.n.file
	p.leading(sourcePath{12})
	switch {
	case f.Edition != nil && f.GetSyntax() == "editions":
		p.line("edition = %q;", strings.TrimPrefix(f.GetEdition().String(), "EDITION_"))
	case f.GetSyntax() == "":
		p.line(`syntax = "proto2";`)
	default:
		p.line("syntax = %q;", f.GetSyntax())
	}
	if f.GetPackage() != "" {
		p.line("")
		p.leading(sourcePath{2})
		p.line("package %s;", f.GetPackage())
	}
	if len(p.imports) > 0 {
		p.line("")
		for _, path := range sorted(p.imports) {
			p.line("import %q;", path)
		}
	}
	if opts := p.options(f.Options); len(opts) > 0 {
		p.line("")
		for _, o := range opts {
			p.line("option %s;", o)
		}
	}
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// line writes a line at the current indentation.
func (p *printer) line(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); s != "" {
		p.WriteString(p.indent + s)
	}
	p.WriteByte('\n')
}

// leading writes the comments before an element.
func (p *printer) leading(path sourcePath) {
	loc := p.n.comments(path)
	for _, c := range loc.LeadingDetachedComments {
		p.comment(c)
		p.line("")
	}
	p.comment(loc.LeadingComments)
}

// trailing writes the comment behind an element, and ends its line.
func (p *printer) trailing(path sourcePath) {
	c := strings.TrimSuffix(p.n.comments(path).TrailingComments, "\n")
	switch {
	case c == "":
		p.WriteByte('\n')
	case !strings.Contains(c, "\n"):
		p.WriteString(" " + commentLine(c) + "\n")
	default:
		p.WriteByte('\n')
		p.comment(c)
		p.line("")
	}
}

func (p *printer) comment(c string) {
	if c == "" {
		return
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(c, "\n"), "\n") {
		p.line("%s", commentLine(l))
	}
}

// commentLine writes one line of a comment's text.
func commentLine(text string) string {
	text = strings.TrimRight(text, " \t\r")
	if text != "" && text[0] != ' ' {
		text = " " + text
	}
	return "//" + text
}

// message writes a message that lies in the scope outer.
func (p *printer) message(m *descriptorpb.DescriptorProto, outer string, path sourcePath) {
	p.leading(path)
	p.WriteString(p.indent + "message " + m.GetName() + " {")
	p.trailing(path)
	p.body(m, qualify(outer, m.GetName()), path)
	p.line("}")
}

// body writes what is between the braces of the message with the given full
// name.
func (p *printer) body(m *descriptorpb.DescriptorProto, full string, path sourcePath) {
	p.indent += "  "
	wrote := false
	gap := func() {
		if wrote {
			p.line("")
		}
		wrote = true
	}
	if opts := p.options(m.Options); len(opts) > 0 {
		gap()
		for _, o := range opts {
			p.line("option %s;", o)
		}
	}
	p.reserved(m, gap)
	if len(m.Field) > 0 {
		gap()
		p.fields(m, full, path)
	}
	for i, e := range m.EnumType {
		gap()
		p.enum(e, append(slices.Clone(path), pathNestedEnum, int32(i)))
	}
	for i, t := range m.NestedType {
		if t.GetOptions().GetMapEntry() || isGroup(m, full+"."+t.GetName()) {
			continue
		}
		gap()
		p.message(t, full, append(slices.Clone(path), pathNestedMessage, int32(i)))
	}
	p.indent = p.indent[2:]
}

// isGroup reports whether a field of m is a group of the named type.
func isGroup(m *descriptorpb.DescriptorProto, name string) bool {
	return slices.ContainsFunc(m.Field, func(f *descriptorpb.FieldDescriptorProto) bool {
		return f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_GROUP && f.GetTypeName() == "."+name
	})
}

// reserved writes reserved numbers and names, and ranges for extensions.
func (p *printer) reserved(m *descriptorpb.DescriptorProto, gap func()) {
	var ranges, names, ext []string
	for _, r := range m.ReservedRange {
		ranges = append(ranges, numberSpan(r.GetStart(), r.GetEnd()-1, reservedNumber))
	}
	for _, r := range m.ReservedName {
		names = append(names, p.name(r))
	}
	for _, r := range m.ExtensionRange {
		ext = append(ext, numberSpan(r.GetStart(), r.GetEnd()-1, reservedNumber))
	}
	if len(ranges)+len(names)+len(ext) == 0 {
		return
	}
	gap()
	p.list("reserved", ranges)
	p.list("reserved", names)
	p.list("extensions", ext)
}

// name writes a reserved name: a string, in editions a word.
func (p *printer) name(s string) string {
	if p.n.file.GetSyntax() == "editions" {
		return s
	}
	return strconv.Quote(s)
}

func (p *printer) list(word string, items []string) {
	if len(items) > 0 {
		p.line("%s %s;", word, strings.Join(items, ", "))
	}
}

func numberSpan(first, last, most int32) string {
	switch last {
	case first:
		return fmt.Sprint(first)
	case most:
		return fmt.Sprintf("%d to max", first)
	}
	return fmt.Sprintf("%d to %d", first, last)
}

// fields writes the fields of a message, each oneof where its first member is.
func (p *printer) fields(m *descriptorpb.DescriptorProto, full string, path sourcePath) {
	done := map[int32]bool{}
	for i, f := range m.Field {
		if f.OneofIndex == nil || f.GetProto3Optional() {
			p.field(m, f, full, append(slices.Clone(path), 2, int32(i)))
			continue
		}
		if done[f.GetOneofIndex()] {
			continue
		}
		done[f.GetOneofIndex()] = true
		p.oneof(m, f.GetOneofIndex(), full, path)
	}
}

func (p *printer) oneof(m *descriptorpb.DescriptorProto, n int32, full string, path sourcePath) {
	at := append(slices.Clone(path), 8, n)
	p.leading(at)
	p.WriteString(p.indent + "oneof " + m.OneofDecl[n].GetName() + " {")
	p.trailing(at)
	p.indent += "  "
	for _, o := range p.options(m.OneofDecl[n].Options) {
		p.line("option %s;", o)
	}
	for i, f := range m.Field {
		if f.OneofIndex != nil && f.GetOneofIndex() == n {
			p.field(m, f, full, append(slices.Clone(path), 2, int32(i)))
		}
	}
	p.indent = p.indent[2:]
	p.line("}")
}

// field writes one field of the message with the given full name.
func (p *printer) field(m *descriptorpb.DescriptorProto, f *descriptorpb.FieldDescriptorProto, full string, path sourcePath) {
	p.leading(path)
	var b strings.Builder
	entry := mapEntry(m, full, f)
	if entry == nil {
		b.WriteString(p.label(f))
	}
	group := f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_GROUP
	switch {
	case entry != nil:
		fmt.Fprintf(&b, "map<%s, %s> %s", p.typeName(entry.Field[0], full), p.typeName(entry.Field[1], full), f.GetName())
	case group:
		b.WriteString("group " + string(protoreflect.FullName(f.GetTypeName()[1:]).Name()))
	default:
		b.WriteString(p.typeName(f, full) + " " + f.GetName())
	}
	fmt.Fprintf(&b, " = %d", f.GetNumber())
	if opts := p.fieldOptions(f); len(opts) > 0 {
		b.WriteString(" [" + strings.Join(opts, ", ") + "]")
	}
	p.WriteString(p.indent + b.String())
	if !group {
		p.WriteByte(';')
		p.trailing(path)
		return
	}
	p.WriteString(" {\n")
	for i, t := range m.NestedType {
		if f.GetTypeName() == "."+full+"."+t.GetName() {
			p.body(t, full+"."+t.GetName(), append(slices.Clone(path[:len(path)-2]), pathNestedMessage, int32(i)))
		}
	}
	p.line("}")
}

// mapEntry returns the entry type of a map field, nil for other fields.
func mapEntry(m *descriptorpb.DescriptorProto, full string, f *descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
	for _, t := range m.NestedType {
		if t.GetOptions().GetMapEntry() && f.GetTypeName() == "."+full+"."+t.GetName() {
			return t
		}
	}
	return nil
}

func (p *printer) label(f *descriptorpb.FieldDescriptorProto) string {
	switch {
	case f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED:
		return "repeated "
	case f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REQUIRED && p.n.file.GetSyntax() != "editions":
		return "required "
	case f.GetProto3Optional():
		return "optional "
	case p.n.file.GetSyntax() == "" || p.n.file.GetSyntax() == "proto2":
		if f.OneofIndex == nil {
			return "optional "
		}
	}
	return ""
}

// typeName writes the type of a field as seen from the scope.
func (p *printer) typeName(f *descriptorpb.FieldDescriptorProto, scope string) string {
	if f.TypeName == nil {
		return strings.ToLower(strings.TrimPrefix(f.GetType().String(), "TYPE_"))
	}
	target := f.GetTypeName()[1:]
	if d, err := (builtInFiles{}).FindDescriptorByName(protoreflect.FullName(target)); err == nil {
		p.imports[d.ParentFile().Path()] = true
		p.symbols[target] = true
	}
	for short := shorter(target); ; short = short[1:] {
		if len(short) == 0 {
			return "." + target
		}
		if p.resolve(short[0], scope) == target {
			return short[0]
		}
	}
}

// shorter lists the ends of a full name, the shortest first.
func shorter(full string) (ends []string) {
	for i := len(full) - 1; i >= 0; i-- {
		if full[i] == '.' {
			ends = append(ends, full[i+1:])
		}
	}
	return append(ends, full)
}

// resolve looks a name up as Protobuf does: the innermost scope that knows its
// first part decides.
func (p *printer) resolve(name, scope string) string {
	first, _, _ := strings.Cut(name, ".")
	for s := protoreflect.FullName(scope); ; s = s.Parent() {
		if p.symbols[qualify(string(s), first)] {
			return qualify(string(s), name)
		}
		if s == "" {
			return ""
		}
	}
}

func (p *printer) enum(e *descriptorpb.EnumDescriptorProto, path sourcePath) {
	p.leading(path)
	p.WriteString(p.indent + "enum " + e.GetName() + " {")
	p.trailing(path)
	p.indent += "  "
	for _, o := range p.options(e.Options) {
		p.line("option %s;", o)
	}
	var ranges, names []string
	for _, r := range e.ReservedRange {
		ranges = append(ranges, numberSpan(r.GetStart(), r.GetEnd(), math.MaxInt32))
	}
	for _, r := range e.ReservedName {
		names = append(names, p.name(r))
	}
	p.list("reserved", ranges)
	p.list("reserved", names)
	for i, v := range e.Value {
		at := append(slices.Clone(path), 2, int32(i))
		p.leading(at)
		opts := ""
		if o := p.options(v.Options); len(o) > 0 {
			opts = " [" + strings.Join(o, ", ") + "]"
		}
		p.WriteString(fmt.Sprintf("%s%s = %d%s;", p.indent, v.GetName(), v.GetNumber(), opts))
		p.trailing(at)
	}
	p.indent = p.indent[2:]
	p.line("}")
}

// fieldOptions lists the options of a field, default and json_name included.
func (p *printer) fieldOptions(f *descriptorpb.FieldDescriptorProto) (opts []string) {
	if f.DefaultValue != nil {
		v := f.GetDefaultValue()
		switch f.GetType() {
		case descriptorpb.FieldDescriptorProto_TYPE_STRING:
			v = quote(v)
		case descriptorpb.FieldDescriptorProto_TYPE_BYTES:
			v = `"` + v + `"` // descriptors hold it escaped
		}
		opts = append(opts, "default = "+v)
	}
	if f.JsonName != nil && f.GetJsonName() != jsonName(f.GetName()) {
		opts = append(opts, "json_name = "+quote(f.GetJsonName()))
	}
	return append(opts, p.options(f.Options)...)
}

// jsonName is the JSON name of a field that is given none.
func jsonName(name string) string {
	var b []byte
	up := false
	for i := range len(name) {
		c := name[i]
		if c == '_' {
			up = true
			continue
		}
		if up && c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		b, up = append(b, c), false
	}
	return string(b)
}

// options lists options as "name = value", in the order of their numbers.
func (p *printer) options(opts proto.Message) (list []string) {
	m := opts.ProtoReflect()
	if !m.IsValid() {
		return nil
	}
	for _, fd := range setFields(m) {
		if fd.Name() == "map_entry" || fd.Name() == "uninterpreted_option" {
			continue
		}
		name := string(fd.Name())
		if fd.IsExtension() {
			name = "(" + string(fd.FullName()) + ")"
			p.imports[fd.ParentFile().Path()] = true
		}
		v := m.Get(fd)
		if !fd.IsList() {
			list = append(list, name+" = "+optionValue(fd, v))
			continue
		}
		for i := range v.List().Len() {
			list = append(list, name+" = "+optionValue(fd, v.List().Get(i)))
		}
	}
	return list
}

// setFields lists the fields that are set, by number.
func setFields(m protoreflect.Message) (fds []protoreflect.FieldDescriptor) {
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fds = append(fds, fd)
		return true
	})
	slices.SortFunc(fds, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return fds
}

// optionValue writes one value of an option.
func optionValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return quote(v.String())
	case protoreflect.BytesKind:
		return quote(string(v.Bytes()))
	case protoreflect.EnumKind:
		if d := fd.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return fmt.Sprint(v.Enum())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		var parts []string
		m := v.Message()
		for _, f := range setFields(m) {
			x := m.Get(f)
			if !f.IsList() {
				parts = append(parts, fmt.Sprintf("%s: %s", f.Name(), optionValue(f, x)))
				continue
			}
			var items []string
			for i := range x.List().Len() {
				items = append(items, optionValue(f, x.List().Get(i)))
			}
			parts = append(parts, fmt.Sprintf("%s: [%s]", f.Name(), strings.Join(items, ", ")))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return v.String()
}

// quote writes a string literal: what is not printable ASCII as octal escapes,
// except for valid UTF-8.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%03o`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
