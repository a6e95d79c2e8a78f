package structs

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// tagName is the key of the struct tag that holds a field's options.
const tagName = "stele"

// tag is what a field's tag says.
type tag struct {
	name                     string
	number                   protoreflect.FieldNumber // 0: not set
	skip, key, index, unique bool
}

// parseTag reads the value of a stele tag. It returns every fault it finds.
func parseTag(s string) (tag, []error) {
	var t tag
	var faults []error
	if s == "" {
		return t, nil
	}
	if s == "-" {
		t.skip = true
		return t, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		option, value, hasValue := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case option == "name" && hasValue:
			if !validName(value) {
				faults = append(faults, fmt.Errorf("tag: %q is not a Protobuf field name", value))
			}
			t.name = value
		case option == "number" && hasValue:
			n, err := parseNumber(value)
			if err != nil {
				faults = append(faults, err)
			}
			t.number = n
		case hasValue || option == "-":
			faults = append(faults, fmt.Errorf("tag: unknown option %q", part))
		case option == "key":
			t.key = true
		case option == "index":
			t.index = true
		case option == "unique":
			t.unique = true
		default:
			faults = append(faults, fmt.Errorf("tag: unknown option %q; there are key, index, unique, name=..., number=... and -", option))
		}
	}
	return t, faults
}

// lastNumber is the highest field number a schema may use: the one above it
// belongs to the record layer.
const lastNumber = protowire.MaxValidNumber - 1

func parseNumber(s string) (protoreflect.FieldNumber, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 || n > int64(lastNumber) {
		return 0, fmt.Errorf("tag: field number %q is not between 1 and %d", s, lastNumber)
	}
	if implementationNumber(protoreflect.FieldNumber(n)) {
		return 0, fmt.Errorf("tag: field numbers 19000 to 19999 belong to Protobuf itself")
	}
	return protoreflect.FieldNumber(n), nil
}

func implementationNumber(n protoreflect.FieldNumber) bool {
	return n >= protowire.FirstReservedNumber && n <= protowire.LastReservedNumber
}

// validName reports whether s is an identifier of the .proto language.
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// snake writes a Go name in snake_case: UserID is user_id, HTTPServer is
// http_server, SHA256 is sha256.
func snake(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !upper(c) {
			b.WriteByte(c)
			continue
		}
		if i > 0 && s[i-1] != '_' && (!upper(s[i-1]) || i+1 < len(s) && lower(s[i+1])) {
			b.WriteByte('_')
		}
		b.WriteByte(c | 0x20)
	}
	return b.String()
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }
func lower(c byte) bool { return 'a' <= c && c <= 'z' }

// camel writes a name as message names are written: its first letter upper.
func camel(s string) string {
	if s != "" && lower(s[0]) {
		return string(s[0]&^0x20) + s[1:]
	}
	return s
}
