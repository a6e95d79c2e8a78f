package record

import "github.com/stele-db/stele/tuple"

// ParseText returns the value that people write as s for the field: true or
// false, decimal numbers, strings as they are, bytes in base64, UUID text, RFC
// 3339 times, durations such as 1h30m, the name or number of an enum's value.
// It returns kv.ErrInvalid for anything else.
func (f *Field) ParseText(s string) (tuple.Value, error) { return tuple.Value{}, invalidf("not yet") }

// FormatText returns the value as ParseText takes it; null is "null".
func (f *Field) FormatText(v tuple.Value) string { return v.String() }

// ParseKey returns the primary key that people write as text: the value alone,
// as Field.ParseText takes it, or for a composite key a JSON array of its parts,
// strings or numbers. It returns kv.ErrInvalid if text is not a key.
func (s *Schema) ParseKey(text string) (tuple.Tuple, error) { return nil, invalidf("not yet") }

// FormatKey returns the primary key as ParseKey takes it.
func (s *Schema) FormatKey(key tuple.Tuple) string { return key.String() }
