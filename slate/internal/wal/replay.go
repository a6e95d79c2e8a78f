package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/sst"
)

// Place is where a log's objects lie: those of the folder wal directly under
// Root.
type Place struct {
	Bucket bucket.Bucket
	Root   layout.Root
	// Transformer is the one that the objects were written with; nil: none.
	Transformer format.Transformer
}

// Key names the object with this id.
func (p Place) Key(id uint64) string { return p.Root.WAL(id) }

// List returns the ids of the objects above after, in ascending order.
func (p Place) List(ctx context.Context, after uint64) ([]uint64, error) {
	from := ""
	if after > 0 {
		from = p.Key(after)
	}
	var ids []uint64
	for obj, err := range p.Bucket.List(ctx, p.Root.Dir(layout.WALDir), from) {
		if err != nil {
			return nil, err
		}
		if id, ok := layout.WALID(obj.Key); ok && id > after {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Read returns the rows of one object, none for a fence.
func (p Place) Read(ctx context.Context, id uint64) ([]format.Row, error) {
	key := p.Key(id)
	data, err := p.Bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	rows, err := sst.ReadWAL(data, p.Transformer)
	if err != nil {
		return nil, format.InObject(key, 0, err)
	}
	return rows, nil
}

// CheckTransformer returns an error if the first object after the one with this
// id that says anything about it was written with another transformer than the
// place's, or is corrupt.
func (p Place) CheckTransformer(ctx context.Context, after uint64) error {
	for id := after + 1; ; id++ {
		key := p.Key(id)
		data, err := p.Bucket.Get(ctx, key)
		if errors.Is(err, bucket.ErrNotFound) {
			return nil
		}
		if err == nil && len(data) == 0 {
			continue // a fence of SlateDB's
		}
		if err == nil {
			_, err = sst.Parse(data, p.Transformer)
		}
		return format.InObject(key, 0, err)
	}
}

// HasRows reports whether an object holds rows, which it tells without its
// transformer.
func (p Place) HasRows(ctx context.Context, id uint64) (bool, error) {
	key := p.Key(id)
	data, err := p.Bucket.Get(ctx, key)
	if err != nil {
		return false, err
	}
	rows, err := sst.HasRows(data)
	return rows, format.InObject(key, 0, err)
}

// Order checks that the rows of a log come in the order in which they were
// written: by seq, and the rows of one batch by key. Objects that were exchanged
// or copied show by it, and by nothing else. The zero Order is ready for the
// first object.
type Order struct {
	seq uint64
	key []byte
}

// Next takes the rows of the next object, whose name is for the error, which
// matches format.ErrCorrupt.
func (o *Order) Next(object string, rows []format.Row) error {
	for i := range rows {
		r := &rows[i]
		if r.Seq < o.seq || i == 0 && r.Seq == o.seq && bytes.Compare(r.Key, o.key) <= 0 {
			return &format.ObjectError{Object: object,
				Reason: fmt.Sprintf("row of seq %d and key %q comes after seq %d and key %q in the log", r.Seq, r.Key, o.seq, o.key)}
		}
		o.seq = r.Seq
	}
	if n := len(rows); n > 0 {
		o.key = rows[n-1].Key
	}
	return nil
}
