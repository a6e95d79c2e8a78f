package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/stele-db/stele/tuple"
)

// ParseText returns the value that people write as s for the field: true or
// false, decimal numbers, strings as they are, bytes in base64, UUID text, RFC
// 3339 times, durations such as 1h30m or 5s, the name or the number of an
// enum's value. It returns kv.ErrInvalid for anything else.
func (f *Field) ParseText(s string) (tuple.Value, error) {
	v, err := f.parseText(s)
	if err != nil {
		return tuple.Value{}, invalidf("field %q: %q is not %s", f.name, s, f.wanted(err))
	}
	return v, nil
}

// wanted says what the text of a field's value looks like.
func (f *Field) wanted(err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return "in the range of " + typeName(f.fd)
	}
	switch f.kind {
	case Bool:
		return "true or false"
	case Int:
		return "an integer"
	case Uint:
		return "an integer that is not negative"
	case Float:
		return "a number"
	case String:
		return "valid UTF-8"
	case Bytes:
		return "base64"
	case UUID:
		return "a UUID, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	case Time:
		return "an RFC 3339 time, such as 2006-01-02T15:04:05Z"
	case Duration:
		return "a duration, such as 1h30m"
	case Enum:
		return "a value of enum " + string(f.fd.Enum().FullName())
	}
	return "a value: the field is a " + f.kind.String()
}

var errText = errors.New("not a value")

func (f *Field) parseText(s string) (tuple.Value, error) {
	switch f.kind {
	case Bool:
		if s != "true" && s != "false" {
			return tuple.Value{}, errText
		}
		return tuple.Bool(s == "true"), nil
	case Int:
		i, err := strconv.ParseInt(s, 10, f.bits())
		return tuple.Int(i), err
	case Uint:
		u, err := strconv.ParseUint(s, 10, f.bits())
		return tuple.Uint(u), err
	case Float:
		x, err := strconv.ParseFloat(s, f.bits())
		return tuple.Float(x), err
	case String:
		if strings.ToValidUTF8(s, "") != s {
			return tuple.Value{}, errText
		}
		return tuple.String(s), nil
	case Bytes:
		b, err := parseBase64(s)
		return tuple.Bytes(b), err
	case UUID:
		return parseUUID(s)
	case Time:
		t, err := time.Parse(time.RFC3339Nano, s)
		if err == nil && (t.Unix() < minSeconds || t.Unix() > maxSeconds) {
			err = errText
		}
		return tuple.Time(t), err
	case Duration:
		d, err := time.ParseDuration(s)
		return tuple.Int(int64(d)), err
	case Enum:
		return f.parseEnum(s)
	}
	return tuple.Value{}, errText
}

// bits is the width of a number's type.
func (f *Field) bits() int {
	switch f.fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.FloatKind:
		return 32
	}
	return 64
}

func (f *Field) parseEnum(s string) (tuple.Value, error) {
	if v := f.fd.Enum().Values().ByName(protoreflect.Name(s)); v != nil {
		return tuple.Int(int64(v.Number())), nil
	}
	i, err := strconv.ParseInt(s, 10, 32)
	return tuple.Int(i), err
}

// parseBase64 takes both alphabets, with padding or without.
func parseBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}

// parseUUID takes 32 hexadecimal digits, with the usual hyphens or without any.
func parseUUID(s string) (tuple.Value, error) {
	digits := s
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		digits = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	var u [16]byte
	if len(digits) != 32 {
		return tuple.Value{}, errText
	}
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return tuple.Value{}, errText
	}
	return tuple.UUID(u), nil
}

// FormatText returns the value as ParseText takes it; null is "null".
func (f *Field) FormatText(v tuple.Value) string {
	switch v.Kind() {
	case tuple.KindNull:
		return "null"
	case tuple.KindBool:
		b, _ := v.AsBool()
		return strconv.FormatBool(b)
	case tuple.KindInt:
		return f.formatInt(v)
	case tuple.KindFloat:
		x, _ := v.AsFloat64()
		return strconv.FormatFloat(x, 'g', -1, f.bits())
	case tuple.KindString:
		s, _ := v.AsString()
		return s
	case tuple.KindBytes:
		b, _ := v.AsBytes()
		return base64.StdEncoding.EncodeToString(b)
	case tuple.KindTime:
		t, _ := v.AsTime()
		return t.UTC().Format(time.RFC3339Nano)
	case tuple.KindUUID:
		u, _ := v.AsUUID()
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	}
	return v.String()
}

// formatInt writes an integer as its kind says: durations and enums are
// integers too.
func (f *Field) formatInt(v tuple.Value) string {
	i, ok := v.AsInt64()
	if !ok {
		u, _ := v.AsUint64()
		return strconv.FormatUint(u, 10)
	}
	switch f.kind {
	case Duration:
		return time.Duration(i).String()
	case Enum:
		if d := f.fd.Enum().Values().ByNumber(protoreflect.EnumNumber(i)); d != nil && int64(d.Number()) == i {
			return string(d.Name())
		}
	}
	return strconv.FormatInt(i, 10)
}

// ParseKey returns the primary key that people write as text: the value alone,
// as Field.ParseText takes it, or for a composite key a JSON array of its
// parts, which are strings, numbers or booleans. It returns kv.ErrInvalid if
// text is not a key.
func (s *Schema) ParseKey(text string) (tuple.Tuple, error) {
	parts := []string{text}
	if len(s.key) > 1 {
		var err error
		if parts, err = s.splitKey(text); err != nil {
			return nil, err
		}
	}
	key := make(tuple.Tuple, len(parts))
	for i, p := range parts {
		var err error
		if key[i], err = s.key[i].ParseText(p); err != nil {
			return nil, err
		}
	}
	return key, s.checkKey(key)
}

// splitKey returns the parts of a composite key as text.
func (s *Schema) splitKey(text string) ([]string, error) {
	names := make([]string, len(s.key))
	for i, f := range s.key {
		names[i] = f.name
	}
	bad := func(why string) error {
		return invalidf("%q is not a primary key of %s, which is a JSON array of %s: %s", text, s.table, strings.Join(names, ", "), why)
	}
	var raw []any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil || d.More() {
		return nil, bad("it is no JSON array")
	}
	if len(raw) != len(s.key) {
		return nil, bad(fmt.Sprintf("it has %d parts, not %d", len(raw), len(s.key)))
	}
	parts := make([]string, len(raw))
	for i, r := range raw {
		switch r := r.(type) {
		case string:
			parts[i] = r
		case json.Number:
			parts[i] = r.String()
		case bool:
			parts[i] = strconv.FormatBool(r)
		default:
			return nil, bad("its parts must be strings, numbers or booleans")
		}
	}
	return parts, nil
}

// FormatKey returns the primary key as ParseKey takes it.
func (s *Schema) FormatKey(key tuple.Tuple) string {
	if len(key) != len(s.key) {
		return key.String()
	}
	if len(key) == 1 {
		return s.key[0].FormatText(key[0])
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('[')
	for i, v := range key {
		if i > 0 {
			b.WriteByte(',')
		}
		text := s.key[i].FormatText(v)
		switch s.key[i].kind {
		case Bool, Int, Uint:
			b.WriteString(text)
		default:
			_ = enc.Encode(text) // a string always has JSON, and a buffer always room
			b.Truncate(b.Len() - 1)
		}
	}
	b.WriteByte(']')
	return b.String()
}
