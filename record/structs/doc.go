// Package structs turns Go structs into Protobuf records and back.
//
// [Compile] reads a struct type once and returns a [Codec]: the message
// descriptor that describes the struct, and the functions that write and read
// the message's wire form without looking at tags or types again. It knows
// nothing of tables or stores.
//
// # Types
//
//	Go                                  Protobuf
//	bool                                bool
//	int, int8, int16, int64             int64
//	int32                               int32
//	uint, uint8, uint16, uint64         uint64
//	uint32                              uint32
//	float32, float64                    float, double
//	string                              string (valid UTF-8 only)
//	[]byte                              bytes
//	a [16]byte type named UUID          bytes, always 16 of them
//	time.Time                           google.protobuf.Timestamp (UTC, years 1 to 9999)
//	time.Duration                       google.protobuf.Duration
//	a type with an enum descriptor      enum, copied into the message
//	struct                              nested message
//	embedded struct                     its fields, inlined
//	*T                                  optional
//	[]T                                 repeated, packed where T is a number
//
// Named types follow their kind. Maps, interfaces, functions, channels, other
// arrays, slices of slices and slices of pointers are refused; all faults of a
// type are reported together, each with the path of its field.
//
// # Names, numbers and options
//
// A field is named as the Go field in snake_case, and numbered in declaration
// order from 1. The stele tag holds options, separated by commas:
//
//	`stele:"-"`             the field is not stored
//	`stele:"key"`           part of the primary key, in declaration order
//	`stele:"index"`         has an index of its own
//	`stele:"unique"`        has an index in which no value occurs twice
//	`stele:"name=city"`     the field's name
//	`stele:"number=7"`      the field's number
//
// On an embedded struct, key makes all of its fields part of the key. Fields
// that are not exported are left alone. With [Options.Former], the message as
// it was before, fields keep their numbers by name wherever they stand now, and
// new fields get numbers that were never used.
//
// # Wire form
//
// [Codec.Append] writes the canonical form: fields in ascending order of their
// numbers, numbers packed, no zero of a field that has no presence. What
// Protobuf gives presence (a Timestamp, a Duration, a nested message) is always
// written, and so is a UUID; a pointer is the way to leave a field out.
// [Codec.Unmarshal] reads every valid form: any order, packed or not, the last
// of several values of one field, unknown fields skipped. A number too large
// for a Go type narrower than its Protobuf type is an error; 32-bit fields take
// the low 32 bits of a longer varint, as every Protobuf library does.
package structs
