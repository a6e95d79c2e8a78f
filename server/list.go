package server

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// A list message holds its records in field 1, whatever the model.
const fieldRecords = 1

// splitList returns the records of a list message as parts of b. name is the
// list's field, for errors. Other fields mean nothing here.
func splitList(b []byte, name string) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, invalid("", "the list is not a valid message: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if num == fieldRecords {
			element := fmt.Sprintf("%s[%d]", name, len(out))
			if typ != protowire.BytesType {
				return nil, invalid(element, "has wire type %d, want a message", typ)
			}
			rec, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, invalid(element, "%v", protowire.ParseError(n))
			}
			out, b = append(out, rec), b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil, invalid("", "the list is not a valid message: %v", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return out, nil
}

// listChunk is how much of a reply lies in one piece of memory; a record that
// is larger gets a piece of its own.
const listChunk = 64 << 10

// list builds a list message from stored records by copying their bytes, in
// pieces so that a long one is never moved.
type list struct {
	pieces mem.BufferSlice
	last   []byte
	size   int
	limit  int
}

// add appends one record, which may be reused afterwards. It reports false,
// and adds nothing, if the message would be larger than the limit.
func (l *list) add(rec []byte) bool {
	n := protowire.SizeTag(fieldRecords) + protowire.SizeBytes(len(rec))
	if n > l.limit-l.size {
		return false
	}
	if cap(l.last)-len(l.last) < n {
		l.cut()
		l.last = make([]byte, 0, max(n, min(listChunk, 512+l.size)))
	}
	l.last = protowire.AppendTag(l.last, fieldRecords, protowire.BytesType)
	l.last = protowire.AppendBytes(l.last, rec)
	l.size += n
	return true
}

func (l *list) cut() {
	if len(l.last) > 0 {
		l.pieces = append(l.pieces, mem.SliceBuffer(l.last))
		l.last = nil
	}
}

// message returns the finished message, which holds the list's memory.
func (l *list) message() mem.BufferSlice {
	l.cut()
	return l.pieces
}
