package record

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth is how deep messages may be nested: the limit of most Protobuf
// libraries.
const maxDepth = 100

// checker checks the wire form of one message type. It is compiled once per
// type; recursive types refer back to themselves.
type checker struct {
	name     protoreflect.FullName
	fields   map[protowire.Number]*fieldChecker
	required []*fieldChecker
}

// fieldChecker checks one field.
type fieldChecker struct {
	fd   protoreflect.FieldDescriptor
	f    *Field // for values of kinds with limits
	wire protowire.Type
	pack bool // may come packed
	utf8 bool
	sub  *checker
}

func newChecker(md protoreflect.MessageDescriptor) *checker {
	return compileChecker(md, map[protoreflect.FullName]*checker{})
}

func compileChecker(md protoreflect.MessageDescriptor, done map[protoreflect.FullName]*checker) *checker {
	if c := done[md.FullName()]; c != nil {
		return c
	}
	c := &checker{name: md.FullName(), fields: map[protowire.Number]*fieldChecker{}}
	done[md.FullName()] = c
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		wire := wireType(fd.Kind())
		f := &fieldChecker{
			fd:   fd,
			wire: wire,
			pack: fd.IsList() && wire != protowire.BytesType && wire != protowire.StartGroupType,
			utf8: fd.Kind() == protoreflect.StringKind && strictUTF8(fd),
		}
		switch kindOf(fd) {
		case Time, Duration, UUID:
			f.f = newField(fd)
		}
		if fd.Message() != nil {
			f.sub = compileChecker(fd.Message(), done)
		}
		c.fields[fd.Number()] = f
		if fd.Cardinality() == protoreflect.Required {
			c.required = append(c.required, f)
		}
	}
	return c
}

// strictUTF8 reports whether invalid UTF-8 is refused in the field. Fields that
// can be in a key refuse it in any case.
func strictUTF8(fd protoreflect.FieldDescriptor) bool {
	if e, ok := fd.(interface{ EnforceUTF8() bool }); ok {
		return e.EnforceUTF8()
	}
	return fd.Syntax() != protoreflect.Proto2
}

// Check returns kv.ErrInvalid, naming the field, if rec is not a record of the
// schema that any Protobuf library can read: known fields have their types and
// valid values (UTF-8, times in the years 1 to 9999, durations of at most 292
// years, UUIDs of 16 bytes), required fields and the primary key are there,
// messages are nested at most 100 deep, and the field number 536870911, which
// Stele keeps for itself, is not used. Unknown fields are accepted.
func (s *Schema) Check(rec []byte) error {
	if err := s.checkFields(rec); err != nil {
		return fmt.Errorf("%s: %w", s.table, err)
	}
	_, err := s.KeyOf(rec)
	return err
}

// checkFields is Check without the primary key and without the table's name in
// its errors.
func (s *Schema) checkFields(rec []byte) error {
	if err := s.check.message(rec, 1, true); err != nil {
		return &invalidError{err}
	}
	return nil
}

// message checks the bytes of a message at the given depth; the record itself
// is at depth 1.
func (c *checker) message(b []byte, depth int, record bool) error {
	if depth > maxDepth {
		return fmt.Errorf("messages are nested more than %d deep", maxDepth)
	}
	var seen map[protowire.Number]bool
	if len(c.required) > 0 {
		seen = map[protowire.Number]bool{}
	}
	var whole map[protowire.Number]*instant // durations, whose occurrences add up
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if record && num == reservedNumber {
			return fmt.Errorf("field number %d is reserved for Stele's own use", reservedNumber)
		}
		f := c.fields[num]
		var err error
		tag := n
		if n, err = f.field(b, n, num, typ, depth); err == nil && f.isDuration() {
			if whole == nil {
				whole = map[protowire.Number]*instant{}
			}
			err = addDuration(whole, num, b[tag:n])
		}
		if err != nil {
			if f != nil {
				err = fmt.Errorf("field %q: %w", f.fd.Name(), err)
			}
			return err
		}
		if seen != nil {
			seen[num] = true
		}
		b = b[n:]
	}
	for _, f := range c.required {
		if !seen[f.fd.Number()] {
			return fmt.Errorf("required field %q of %s is missing", f.fd.Name(), c.name)
		}
	}
	return nil
}

// isDuration reports whether the field is a singular Duration, whose seconds
// and nanoseconds must agree when they come in several occurrences too.
func (f *fieldChecker) isDuration() bool {
	return f != nil && f.f != nil && f.f.kind == Duration && !f.f.repeated
}

// addDuration adds an occurrence of a duration, with its length before it, to
// those before and checks what they make together.
func addDuration(whole map[protowire.Number]*instant, num protowire.Number, b []byte) error {
	content, _ := protowire.ConsumeBytes(b)
	if whole[num] == nil {
		whole[num] = &instant{}
	}
	if err := whole[num].merge(content); err != nil {
		return err
	}
	_, err := whole[num].duration()
	return err
}

// field checks the field at the start of b, whose tag has n bytes, and returns
// its length. A nil f is an unknown field.
func (f *fieldChecker) field(b []byte, n int, num protowire.Number, typ protowire.Type, depth int) (int, error) {
	w := wireValue{number: num, typ: typ}
	m := w.consume(b[n:])
	if m < 0 {
		return 0, protowire.ParseError(m)
	}
	end := n + m
	switch {
	case f == nil:
		return end, nil
	case typ == f.wire && typ == protowire.StartGroupType:
		content, _ := protowire.ConsumeGroup(num, b[n:])
		return end, f.sub.message(content, depth+1, false)
	case typ == f.wire:
		return end, f.value(w, depth)
	case typ == protowire.BytesType && f.pack:
		return end, f.packed(w.bytes)
	}
	return 0, fmt.Errorf("wire type %d does not fit its type %s", typ, typeName(f.fd))
}

// value checks one value.
func (f *fieldChecker) value(w wireValue, depth int) error {
	switch {
	case f.utf8 && !utf8.Valid(w.bytes):
		return fmt.Errorf("the string is not valid UTF-8")
	case f.sub != nil:
		if err := f.sub.message(w.bytes, depth+1, false); err != nil {
			return err
		}
	}
	if f.f != nil {
		_, err := f.f.value(w)
		return err
	}
	return nil
}

// packed checks a run of numbers.
func (f *fieldChecker) packed(run []byte) error {
	for len(run) > 0 {
		w := wireValue{number: f.fd.Number(), typ: f.wire}
		n := w.consume(run)
		if n < 0 {
			return protowire.ParseError(n)
		}
		run = run[n:]
	}
	return nil
}
