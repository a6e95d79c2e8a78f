package record

// ToJSON returns the record as canonical Protobuf JSON on one line, equal
// bytes for equal records. Unknown fields are left out. It returns
// kv.ErrInvalid if rec is not valid.
func (s *Schema) ToJSON(rec []byte) ([]byte, error) { return nil, invalidf("not yet") }

// FromJSON returns the record for Protobuf JSON in its canonical encoding. It
// returns kv.ErrInvalid, naming the field, for JSON that the message does not
// take: unknown fields, wrong types, values out of range.
func (s *Schema) FromJSON(json []byte) ([]byte, error) { return nil, invalidf("not yet") }

// Canonical returns the canonical encoding of rec: fields by number, numbers
// packed, maps sorted by key, nothing that equals its default, unknown fields
// last as they came. It returns kv.ErrInvalid if rec is not valid.
func (s *Schema) Canonical(rec []byte) ([]byte, error) { return nil, invalidf("not yet") }
