package slate

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/memtable"
)

// Batch is a list of writes that take effect together: all or none, in one WAL
// object, under one sequence number. Of several writes to one key the last
// counts. A Batch is used by one goroutine at a time and may be written more
// than once.
type Batch struct {
	data []byte
	ops  []op
	size int64
	err  error
}

// op is one write; its key and value lie one behind the other in the batch's
// data.
type op struct {
	at, keyLen, valLen int
	kind               format.Kind
}

// Put sets key to value. It copies both. A key of 0 or more than 65,535 bytes,
// or a value of nearly 1 GiB, makes the write of the batch fail with ErrInvalid.
func (b *Batch) Put(key, value []byte) { b.add(format.Value, key, value) }

// Delete removes key, whether or not it is there. It copies key.
func (b *Batch) Delete(key []byte) { b.add(format.Tombstone, key, nil) }

func (b *Batch) add(kind format.Kind, key, value []byte) {
	if b.err == nil {
		b.err = checkSizes(key, value)
	}
	b.ops = append(b.ops, op{len(b.data), len(key), len(value), kind})
	b.data = append(append(b.data, key...), value...)
	b.size += memtable.EncodedSize(key, value)
}

// Len is the number of writes in the batch.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes is the estimated size of the batch in an SST, in bytes.
func (b *Batch) Bytes() int64 { return b.size }

// Reset empties the batch and keeps its memory for further use.
func (b *Batch) Reset() { *b = Batch{data: b.data[:0], ops: b.ops[:0]} }

func (b *Batch) key(o op) []byte   { return b.data[o.at : o.at+o.keyLen] }
func (b *Batch) value(o op) []byte { return b.data[o.at+o.keyLen : o.at+o.keyLen+o.valLen] }

// normalise puts the writes in key order and keeps the last one of every key.
func (b *Batch) normalise() {
	if len(b.ops) < 2 {
		return
	}
	slices.SortStableFunc(b.ops, func(x, y op) int { return bytes.Compare(b.key(x), b.key(y)) })
	kept := b.ops[:0]
	for i, o := range b.ops {
		if i+1 < len(b.ops) && bytes.Equal(b.key(o), b.key(b.ops[i+1])) {
			b.size -= memtable.EncodedSize(b.key(o), b.value(o))
			continue
		}
		kept = append(kept, o)
	}
	b.ops = kept
}

func checkSizes(key, value []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("%w: key is empty", ErrInvalid)
	case len(key) > format.MaxKey:
		return fmt.Errorf("%w: key of %d bytes, at most %d are allowed", ErrInvalid, len(key), format.MaxKey)
	case len(value) > format.MaxRowValue:
		return fmt.Errorf("%w: value of %d bytes, at most %d are allowed", ErrInvalid, len(value), format.MaxRowValue)
	}
	return nil
}
