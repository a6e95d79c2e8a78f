package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// ToJSON returns the record as canonical Protobuf JSON on one line: equal
// bytes for equal records. Unknown fields are left out. It returns
// kv.ErrInvalid if rec is not valid.
func (s *Schema) ToJSON(rec []byte) ([]byte, error) {
	m, err := s.decode(rec)
	if err != nil {
		return nil, err
	}
	b, err := protojson.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		return nil, invalidf("%s: %w", s.table, err)
	}
	// protojson puts spaces in at random, so that nobody counts on its bytes.
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return nil, invalidf("%s: %w", s.table, err)
	}
	return out.Bytes(), nil
}

// FromJSON returns the record for Protobuf JSON in its canonical encoding. It
// returns kv.ErrInvalid, naming the field, for JSON that the message does not
// take: unknown fields, wrong types, values out of range. It does not demand a
// primary key: see [Schema.Check].
func (s *Schema) FromJSON(json []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(s.md)
	if err := protojson.Unmarshal(json, m); err != nil {
		text := plainError(err)
		if !bytes.Contains(json, []byte("\n")) {
			text = inLine(text)
		}
		return nil, invalidf("%s: %s", s.table, text)
	}
	rec, err := appendMessage(nil, m)
	if err != nil {
		return nil, invalidf("%s: %w", s.table, err)
	}
	return rec, nil
}

// plainError returns the text of an error of the Protobuf library without the
// library's name and the odd space that it puts in at random.
func plainError(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}

// inLine rewrites the place in an error about JSON of one line, whose number is
// no help, and a wrong one where the JSON is a line of a file: "(line 1:7): bad"
// becomes "column 7: bad".
func inLine(text string) string {
	before, rest, ok := strings.Cut(text, "(line 1:")
	column, after, ok2 := strings.Cut(rest, ")")
	switch {
	case !ok || !ok2:
		return text
	case before == "":
		return "column " + column + after
	}
	return before + "at column " + column + after
}

// Canonical returns the canonical encoding of rec: fields by number, numbers
// packed where the schema says so, maps sorted by key, nothing that equals its
// default, unknown fields last as they came. It returns kv.ErrInvalid if rec is
// not valid.
func (s *Schema) Canonical(rec []byte) ([]byte, error) {
	m, err := s.decode(rec)
	if err != nil {
		return nil, err
	}
	out, err := appendMessage(make([]byte, 0, len(rec)), m)
	if err != nil {
		return nil, invalidf("%s: %w", s.table, err)
	}
	return out, nil
}

func (s *Schema) decode(rec []byte) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(s.md)
	err := proto.UnmarshalOptions{AllowPartial: true, RecursionLimit: maxDepth}.Unmarshal(rec, m)
	if err != nil {
		return nil, invalidf("%s: %s", s.table, plainError(err))
	}
	return m, nil
}

// appendMessage appends the canonical encoding of a message. The library's
// deterministic one sorts members of a oneof behind other fields.
func appendMessage(dst []byte, m protoreflect.Message) ([]byte, error) {
	for _, fd := range setFields(m) {
		var err error
		if dst, err = appendField(dst, fd, m.Get(fd)); err != nil {
			return nil, err
		}
	}
	return append(dst, m.GetUnknown()...), nil
}

// appendField appends a field that is set.
func appendField(dst []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch {
	case fd.IsMap():
		return appendMap(dst, fd, v.Map())
	case !fd.IsList():
		return appendValue(dst, fd, v, true)
	}
	list := v.List()
	if fd.IsPacked() {
		var run []byte
		var err error
		for i := range list.Len() {
			if run, err = appendValue(run, fd, list.Get(i), false); err != nil {
				return nil, err
			}
		}
		dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
		return protowire.AppendBytes(dst, run), nil
	}
	for i := range list.Len() {
		var err error
		if dst, err = appendValue(dst, fd, list.Get(i), true); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// appendMap appends the entries of a map, sorted by their keys, both parts of
// each always written.
func appendMap(dst []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) ([]byte, error) {
	type entry struct {
		key   protoreflect.MapKey
		value protoreflect.Value
	}
	var entries []entry
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries = append(entries, entry{k, v})
		return true
	})
	slices.SortFunc(entries, func(a, b entry) int { return compareKeys(a.key, b.key) })
	for _, e := range entries {
		body, err := appendValue(nil, fd.MapKey(), e.key.Value(), true)
		if err != nil {
			return nil, err
		}
		if body, err = appendValue(body, fd.MapValue(), e.value, true); err != nil {
			return nil, err
		}
		dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
		dst = protowire.AppendBytes(dst, body)
	}
	return dst, nil
}

// compareKeys orders the keys of one map.
func compareKeys(a, b protoreflect.MapKey) int {
	less := false
	switch x := a.Interface().(type) {
	case bool:
		less = !x && b.Bool()
	case int32, int64:
		less = a.Int() < b.Int()
	case uint32, uint64:
		less = a.Uint() < b.Uint()
	case string:
		less = x < b.String()
	}
	switch {
	case a.Interface() == b.Interface():
		return 0
	case less:
		return -1
	}
	return 1
}

// appendValue appends one value, with its tag if that is wanted.
func appendValue(dst []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value, tag bool) ([]byte, error) {
	if tag {
		dst = protowire.AppendTag(dst, fd.Number(), wireType(fd.Kind()))
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(dst, protowire.EncodeBool(v.Bool())), nil
	case protoreflect.EnumKind:
		return protowire.AppendVarint(dst, uint64(v.Enum())), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(dst, uint64(v.Int())), nil
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(v.Int())), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(dst, v.Uint()), nil
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(dst, uint32(v.Int())), nil
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(dst, uint32(v.Uint())), nil
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(dst, uint64(v.Int())), nil
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(dst, v.Uint()), nil
	case protoreflect.FloatKind:
		return protowire.AppendFixed32(dst, math.Float32bits(float32(v.Float()))), nil
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(dst, math.Float64bits(v.Float())), nil
	case protoreflect.StringKind:
		return protowire.AppendString(dst, v.String()), nil
	case protoreflect.BytesKind:
		return protowire.AppendBytes(dst, v.Bytes()), nil
	case protoreflect.MessageKind:
		body, err := appendMessage(nil, v.Message())
		return protowire.AppendBytes(dst, body), err
	case protoreflect.GroupKind:
		dst, err := appendMessage(dst, v.Message())
		return protowire.AppendTag(dst, fd.Number(), protowire.EndGroupType), err
	}
	return nil, fmt.Errorf("field %q has no encoding", fd.Name())
}
