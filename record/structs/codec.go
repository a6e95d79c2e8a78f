package structs

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/kv"
)

// Options says how a type is compiled. The zero value compiles a type that
// was never stored.
type Options struct {
	// Former is the message that the type's records were described by until
	// now. Its fields keep their numbers and wire types, by name; fields that
	// only it has stay in the descriptor, so that nothing takes their numbers.
	Former protoreflect.MessageDescriptor
}

// Field is one field of a compiled struct, those of embedded structs included.
type Field struct {
	Name     string // in the message
	GoName   string // in the struct
	Number   protoreflect.FieldNumber
	Type     reflect.Type // the struct field's
	Elem     reflect.Type // Type, or what it points to or is a slice of
	Optional bool         // a pointer
	Repeated bool         // a slice
	UUID     bool         // bytes that are a UUID
	Key      bool         // part of the primary key
	Index    bool         // has an index of its own
	Unique   bool         // has an index in which no value occurs twice
}

// Codec writes and reads the records of one struct type. It is immutable and
// may be used concurrently.
type Codec struct {
	root    *message
	desc    protoreflect.MessageDescriptor
	fields  []Field
	changed bool
}

// Compile reads the struct type t. It returns an error that matches
// kv.ErrInvalid and lists every fault of t and of the types in it.
func Compile(t reflect.Type, opts Options) (*Codec, error) {
	if t == nil || t.Kind() != reflect.Struct || shapeOf(t) != nested {
		return nil, &DefinitionError{Type: t, Faults: []error{errors.New("not a struct")}}
	}
	p := &planner{byType: map[reflect.Type]*message{}}
	root := p.message(t, "record", cmp.Or(t.Name(), "struct"))
	if len(p.faults) > 0 {
		return nil, &DefinitionError{Type: t, Faults: p.faults}
	}
	c := &Codec{root: root}
	for _, f := range root.fields { // in declaration order
		c.fields = append(c.fields, f.Field)
	}
	d := &describer{planner: p}
	if c.desc = d.describe(opts); c.desc == nil {
		return nil, &DefinitionError{Type: t, Faults: d.faults}
	}
	c.changed = d.changed
	for i, f := range root.fields {
		c.fields[i].Number = f.Number
	}
	bind(root, c.desc, map[*message]bool{})
	return c, nil
}

// bind takes numbers and wire types from the built descriptor and prepares the
// look-up of fields by number.
func bind(m *message, desc protoreflect.MessageDescriptor, done map[*message]bool) {
	if done[m] {
		return
	}
	done[m] = true
	for _, f := range m.fields {
		fd := desc.Fields().ByName(protoreflect.Name(f.Name))
		f.Number, f.kind, f.packed = fd.Number(), fd.Kind(), fd.IsPacked()
		if f.sub != nil {
			bind(f.sub, fd.Message(), done)
		}
	}
	slices.SortFunc(m.fields, func(a, b *field) int { return cmp.Compare(a.Number, b.Number) })
	m.lookUp()
	m.former, m.desc = nil, nil
}

// maxDense bounds the numbers that are found by position instead of in a map.
const maxDense = 256

func (m *message) lookUp() {
	m.sparse = map[protoreflect.FieldNumber]*field{}
	for _, f := range m.fields {
		if f.Number >= maxDense {
			m.sparse[f.Number] = f
			continue
		}
		for len(m.dense) <= int(f.Number) {
			m.dense = append(m.dense, nil)
		}
		m.dense[f.Number] = f
	}
}

// byNumber returns the field with number n, or nil.
func (m *message) byNumber(n protoreflect.FieldNumber) *field {
	if int(n) < len(m.dense) {
		return m.dense[n]
	}
	return m.sparse[n]
}

// Type returns the struct type.
func (c *Codec) Type() reflect.Type { return c.root.typ }

// Message returns the descriptor of the records. It carries no options of
// stele/options.proto: Fields says what the tags say.
func (c *Codec) Message() protoreflect.MessageDescriptor { return c.desc }

// Fields returns the fields of the struct in declaration order. The caller
// must not change them.
func (c *Codec) Fields() []Field { return c.fields }

// Field returns the field with this name in the message.
func (c *Codec) Field(name string) (Field, bool) {
	for _, f := range c.fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Changed reports whether Message holds what Options.Former did not: always,
// where there was none.
func (c *Codec) Changed() bool { return c.changed }

// Append appends the canonical wire form of *v to dst and returns it. v must
// be a non-nil pointer to the codec's type. It returns an error that matches
// kv.ErrInvalid and names the field if a value cannot be stored: a string that
// is not UTF-8, a time outside the years 1 to 9999, structs nested deeper than
// 100. It allocates only to grow dst.
func (c *Codec) Append(dst []byte, v any) ([]byte, error) {
	p, err := c.pointer(v)
	if err != nil {
		return dst, err
	}
	out, err := c.root.append(dst, p, 0)
	if err != nil {
		return dst, fmt.Errorf("%s.%w", c.root.name, err)
	}
	return out, nil
}

// Unmarshal sets *v to the record rec; fields that rec lacks become zero, and
// so do those that are not stored. v must be a non-nil pointer to the codec's
// type. It keeps no reference to rec. It returns an error that matches
// kv.ErrCorrupt if rec is not a valid message or a value does not fit its Go
// type; *v is then of no use.
func (c *Codec) Unmarshal(rec []byte, v any) error {
	p, err := c.pointer(v)
	if err != nil {
		return err
	}
	reflect.ValueOf(v).Elem().SetZero()
	if err := c.root.decode(rec, p, 0); err != nil {
		return fmt.Errorf("%s.%w", c.root.name, err)
	}
	return nil
}

// DefinitionError lists what keeps a type from being stored. It matches
// kv.ErrInvalid.
type DefinitionError struct {
	Type   reflect.Type // the type that was compiled
	Faults []error      // each begins with the path of its field
}

// Error lists the faults, one a line if there are several.
func (e *DefinitionError) Error() string {
	if len(e.Faults) == 1 {
		return fmt.Sprintf("type %v: %v", e.Type, e.Faults[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "type %v has %d faults:", e.Type, len(e.Faults))
	for _, err := range e.Faults {
		b.WriteString("\n\t")
		b.WriteString(err.Error())
	}
	return b.String()
}

// Is reports whether target is kv.ErrInvalid.
func (e *DefinitionError) Is(target error) bool { return target == kv.ErrInvalid }

// Unwrap returns the faults.
func (e *DefinitionError) Unwrap() []error { return e.Faults }

// invalid returns an error about one field that matches sentinel.
func invalid(sentinel error, f *field, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", f.Name, sentinel, fmt.Sprintf(format, args...))
}
