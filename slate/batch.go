package slate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/memtable"
)

// Batch is a list of writes that take effect together: all or none, in one WAL
// object, under one sequence number. Of several puts and deletes of one key the
// last counts, and the merges behind it are folded onto it. A Batch is used by
// one goroutine at a time and may be written more than once.
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
	expiry             Expiry
}

// Put sets key to value. It copies both. A key of 0 or more than 65,535 bytes,
// or a value of nearly 1 GiB, makes the write of the batch fail with ErrInvalid.
func (b *Batch) Put(key, value []byte) { b.add(format.Value, key, value, Expiry{}) }

// PutExpiring is Put for a value that expires.
func (b *Batch) PutExpiring(key, value []byte, e Expiry) { b.add(format.Value, key, value, e) }

// Merge writes an operand that the database's merge operator folds onto the
// value of key. It copies both. Sizes are bounded as Put's are; without an
// operator the write of the batch fails with ErrNoOperator.
func (b *Batch) Merge(key, operand []byte) { b.add(format.Merge, key, operand, Expiry{}) }

// MergeExpiring is Merge for an operand that expires: the key's value is then
// what it would be without it. Merges of one key in one batch that expire at
// different times, or otherwise than the put that they follow, are ErrInvalid.
func (b *Batch) MergeExpiring(key, operand []byte, e Expiry) { b.add(format.Merge, key, operand, e) }

// Delete removes key, whether or not it is there. It copies key.
func (b *Batch) Delete(key []byte) { b.add(format.Tombstone, key, nil, Expiry{}) }

func (b *Batch) add(kind format.Kind, key, value []byte, e Expiry) {
	if b.err == nil {
		b.err = checkSizes(key, value)
	}
	b.ops = append(b.ops, op{len(b.data), len(key), len(value), kind, e})
	b.data = append(append(b.data, key...), value...)
	b.size += memtable.EncodedSize(key, value)
}

// Len is the number of writes in the batch.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes is the estimated size of the batch in an SST, in bytes.
func (b *Batch) Bytes() int64 { return b.size }

// Reset empties the batch and keeps its memory for further use.
func (b *Batch) Reset() { *b = Batch{data: b.data[:0], ops: b.ops[:0]} }

// keys yields the keys of all writes.
func (b *Batch) keys(yield func([]byte) bool) {
	for _, o := range b.ops {
		if !yield(b.key(o)) {
			return
		}
	}
}

// row is the row that a write becomes; def is the expiry of one that says
// nothing of it.
func (b *Batch) row(o op, seq uint64, now int64, def Expiry) format.Row {
	r := format.Row{Key: b.key(o), Value: b.value(o), Kind: o.kind, Seq: seq, HasCreate: true, CreateTS: now}
	if o.kind != format.Tombstone {
		r.ExpireTS, r.HasExpire = o.expiry.or(def).at(now)
	}
	return r
}

// compare orders a write by its key.
func (b *Batch) compare(o op, key []byte) int { return bytes.Compare(b.key(o), key) }

func (b *Batch) key(o op) []byte   { return b.data[o.at : o.at+o.keyLen] }
func (b *Batch) value(o op) []byte { return b.data[o.at+o.keyLen : o.at+o.keyLen+o.valLen] }

// normalise puts the writes in key order and makes one of those to one key. An
// error leaves the batch as good as it was.
func (b *Batch) normalise(operator MergeOperator, def Expiry) error {
	if err := b.checkOperands(operator); err != nil {
		return err
	}
	if len(b.ops) < 2 {
		return nil
	}
	slices.SortFunc(b.ops, func(x, y op) int {
		if c := bytes.Compare(b.key(x), b.key(y)); c != 0 {
			return c
		}
		return cmp.Compare(x.at, y.at) // in order of arrival
	})
	kept := b.ops[:0]
	for from := 0; from < len(b.ops); {
		end := from + 1
		for end < len(b.ops) && bytes.Equal(b.key(b.ops[from]), b.key(b.ops[end])) {
			end++
		}
		same := b.ops[from:end]
		o, err := b.fold(same, operator, def)
		if err != nil {
			b.ops = append(kept, b.ops[from:]...)
			return err
		}
		for _, old := range same {
			b.size -= memtable.EncodedSize(b.key(old), b.value(old))
		}
		b.size += memtable.EncodedSize(b.key(o), b.value(o))
		kept = append(kept, o)
		from = end
	}
	b.ops = kept
	return nil
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
