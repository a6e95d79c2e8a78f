package wal

import (
	"context"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/sst"
)

// List returns the ids of the WAL objects above after, in ascending order.
func List(ctx context.Context, b bucket.Bucket, root layout.Root, after uint64) ([]uint64, error) {
	from := ""
	if after > 0 {
		from = root.WAL(after)
	}
	var ids []uint64
	for obj, err := range b.List(ctx, root.Dir(layout.WALDir), from) {
		if err != nil {
			return nil, err
		}
		if id, ok := layout.WALID(obj.Key); ok && id > after {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Read returns the rows of one WAL object, none for a fence.
func Read(ctx context.Context, b bucket.Bucket, root layout.Root, id uint64) ([]format.Row, error) {
	key := root.WAL(id)
	data, err := b.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	rows, err := sst.ReadWAL(data)
	if err != nil {
		return nil, format.InObject(key, 0, err)
	}
	return rows, nil
}
