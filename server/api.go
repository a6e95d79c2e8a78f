package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// Heading is how every database.proto begins.
const Heading = "// Made by stele"

// ProtoFile is the name of the file that clients compile.
const ProtoFile = "database.proto"

// Verb is what a method of the served database does.
type Verb uint8

// The verbs. Get and Delete take an IndexQuery over one access path; Put takes
// one record, BatchPut a list that is stored whole or not at all.
const (
	Get Verb = iota + 1
	Delete
	Put
	BatchPut
)

// Method is one RPC of the served database and the access path it stands for.
type Method struct {
	Name  string // of the RPC, such as GetDogsByPk
	Verb  Verb
	Model string // the message, such as Dog
	Field string // the indexed field that an IndexQuery ranges over; "" is the primary key
}

// Plan says in one line what the method does to the store.
func (m Method) Plan() string {
	path := "primary key"
	if m.Field != "" {
		path = "index on " + m.Field
	}
	switch m.Verb {
	case Get:
		return fmt.Sprintf("%s: read %s by one range of the %s", m.Name, m.Model, path)
	case Delete:
		return fmt.Sprintf("%s: delete %s in one range of the %s, in one transaction", m.Name, m.Model, path)
	case Put:
		return fmt.Sprintf("%s: put one %s by its primary key", m.Name, m.Model)
	}
	return fmt.Sprintf("%s: put many %s in one transaction", m.Name, m.Model)
}

// API is the gRPC face of a schema: the file database.proto as text and as a
// descriptor, and the methods of its service. It is immutable.
type API struct {
	schemas []*record.Schema // in the order of the file
	skipped []record.Fault
	text    string
	file    protoreflect.FileDescriptor
	methods []Method
}

// Text returns database.proto, ending in a newline. Equal schemas give equal
// bytes.
func (a *API) Text() string { return a.text }

// Descriptor returns the descriptor of database.proto, comments included.
func (a *API) Descriptor() protoreflect.FileDescriptor { return a.file }

// Service returns the descriptor of the service Database.
func (a *API) Service() protoreflect.ServiceDescriptor { return a.file.Services().Get(0) }

// Skipped returns notes on the messages of the schema that are no models, nor
// parts of models; see [record.Skipped]. The caller owns the slice.
func (a *API) Skipped() []record.Fault { return slices.Clone(a.skipped) }

// Methods returns the methods in the order of the service. The caller owns
// the slice.
func (a *API) Methods() []Method { return slices.Clone(a.methods) }

// model is what the served interface needs to know of one table.
type model struct {
	message protoreflect.MessageDescriptor
	indexed []string // fields with an index of their own, in the order of the schema
}

func (m model) plural() string { return string(m.message.Name()) + "s" }

func (m model) methods() []Method {
	name := string(m.message.Name())
	out := []Method{
		{Name: "Get" + m.plural() + "ByPk", Verb: Get, Model: name},
		{Name: "Delete" + m.plural() + "ByPk", Verb: Delete, Model: name},
		{Name: "Put" + name, Verb: Put, Model: name},
		{Name: "BatchPut" + m.plural(), Verb: BatchPut, Model: name},
	}
	for _, f := range m.indexed {
		out = append(out, Method{Name: "Get" + m.plural() + "By" + camel(f), Verb: Get, Model: name, Field: f})
	}
	return out
}

// camel turns a field name into the end of a method name: installed_size into
// InstalledSize.
func camel(field string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(field, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// snake turns a message name into a field name: HouseCats into house_cats,
// HTTPLogs into http_logs.
func snake(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if !isUpper(c) {
			b.WriteByte(c)
			continue
		}
		wordStart := i > 0 && name[i-1] != '_' &&
			(!isUpper(name[i-1]) || i+1 < len(name) && 'a' <= name[i+1] && name[i+1] <= 'z' && name[i+1:] != "s")
		if wordStart {
			b.WriteByte('_')
		}
		b.WriteByte(c + 'a' - 'A')
	}
	return b.String()
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// synthesize makes the served interface of models, which share one package.
// source is the name of the user's file, for the comment at the top.
func synthesize(source string, models []model) (*API, error) {
	if len(models) == 0 {
		return nil, fmt.Errorf("%w: %s: no model to serve", kv.ErrInvalid, source)
	}
	roots := make([]protoreflect.MessageDescriptor, len(models))
	for i, m := range models {
		roots[i] = m.message
	}
	types, imports := closure(roots)
	p := &printer{pkg: roots[0].ParentFile().Package(), places: map[protoreflect.FullName]string{}}
	a := &API{}
	for _, m := range models {
		a.methods = append(a.methods, m.methods()...)
	}
	if err := place(p, models, types, a.methods); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", kv.ErrInvalid, source, err)
	}
	p.file(source, imports, models, types, a.methods)
	a.text = p.String()
	var err error
	if a.file, err = compile(a.text); err != nil {
		return nil, fmt.Errorf("%s cannot be served: %w", source, err)
	}
	return a, nil
}

// place gives every type its name in the served file and reports all names
// that are there twice.
func place(p *printer, models []model, types []protoreflect.Descriptor, methods []Method) error {
	var faults []error
	taken := map[string]string{
		"IndexQuery": "the query message of the served database",
		"Empty":      "the empty reply of the served database",
		"Database":   "the service of the served database",
	}
	take := func(name, what string) {
		if other, ok := taken[name]; ok {
			faults = append(faults, fmt.Errorf("the name %s of %s is taken by %s: rename the message", name, what, other))
			return
		}
		taken[name] = what
	}
	for _, d := range types {
		if s := d.ParentFile().Syntax(); s != protoreflect.Proto3 {
			faults = append(faults, fmt.Errorf("%s is in a %s file: a served schema begins with `syntax = \"proto3\";`", d.FullName(), s))
		}
		take(string(d.Name()), string(d.FullName()))
		p.places[d.FullName()] = string(d.Name())
	}
	for _, m := range models {
		if topLevel(m.message) != protoreflect.Descriptor(m.message) {
			faults = append(faults, fmt.Errorf("model %s is nested in another message: move it to the top level", m.message.FullName()))
		}
		take(m.plural(), "the list of "+string(m.message.Name()))
	}
	names := map[string]bool{}
	for _, m := range methods {
		if names[m.Name] {
			faults = append(faults, fmt.Errorf("two methods would be named %s: rename a message or a field", m.Name))
		}
		names[m.Name] = true
	}
	return errors.Join(faults...)
}

// file writes database.proto.
func (p *printer) file(source string, imports []string, models []model, types []protoreflect.Descriptor, methods []Method) {
	p.line("%s from %s. Do not edit: the next `stele create` overwrites it.", Heading, source)
	p.line(`syntax = "proto3";`)
	if p.pkg != "" {
		p.line("package %s;", p.pkg)
	}
	p.line("")
	for _, path := range imports {
		p.line("import %q;", path)
	}
	if imports != nil {
		p.line("")
	}
	for _, m := range models {
		p.block("message "+m.plural(), func() {
			p.line("repeated %s %s = 1;", m.message.Name(), snake(m.plural()))
		})
		p.message(m.message, string(m.message.Name()))
		p.line("")
	}
	for _, d := range types[len(models):] {
		switch d := d.(type) {
		case protoreflect.MessageDescriptor:
			p.message(d, p.places[d.FullName()])
		case protoreflect.EnumDescriptor:
			p.enum(d, p.places[d.FullName()])
		}
		p.line("")
	}
	p.query()
	p.service(models, methods)
}

// query writes the two messages that every served database has.
func (p *printer) query() {
	p.block("message IndexQuery", func() {
		p.block("oneof expression", func() {
			p.line("string eq = %d;", fieldEq)
			p.line("string gte = %d;", fieldGte)
			p.line("string lte = %d;", fieldLte)
			p.line("string begins_with = %d;", fieldBeginsWith)
		})
	})
	p.line("")
	p.line("message Empty {}")
	p.line("")
}

func (p *printer) service(models []model, methods []Method) {
	plural := map[string]string{}
	for _, m := range models {
		plural[string(m.message.Name())] = m.plural()
	}
	p.block("service Database", func() {
		for _, m := range methods {
			in, out := "IndexQuery", "Empty"
			switch m.Verb {
			case Get:
				out = plural[m.Model]
			case Put:
				in = m.Model
			case BatchPut:
				in = plural[m.Model]
			}
			p.line("rpc %s(%s) returns (%s) {}", m.Name, in, out)
		}
	})
}

// compile turns the text into its descriptor, so that the two cannot differ.
func compile(text string) (protoreflect.FileDescriptor, error) {
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{ProtoFile: text}),
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(context.Background(), ProtoFile)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}
