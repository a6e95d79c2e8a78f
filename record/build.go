package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// buildIndexes gives the new indexes of a table the entries of its rows, which
// are at most limit.
func (ch *change) buildIndexes(ctx context.Context, tx kv.Tx, limit int) error {
	table := ch.record.GetId()
	fresh := *ch.schema
	fresh.indexes = ch.build
	prefix := rowPrefix(table)
	var maker entryMaker
	var list []entry
	rows := 0
	for p, err := range tx.Scan(ctx, prefixRange(prefix)) {
		if err != nil {
			return err
		}
		if rows++; rows > limit {
			return invalidf("table %s has more than %d rows, too many to add index %s to it in one transaction: raise Options.IndexBuildRows, or export the table and import it into a new database with the new schema", ch.schema.table, limit, ch.build[0].name)
		}
		maker.reset()
		list, err = maker.entries(&fresh, table, p.Value, p.Key[len(prefix):], list)
		if err != nil {
			return fmt.Errorf("row %s: %w", ch.rowName(p.Key), err)
		}
		for _, e := range list {
			if err := ch.putEntry(ctx, tx, e, p.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// putEntry writes the entry of an existing row, unless another row has the same
// one already.
func (ch *change) putEntry(ctx context.Context, tx kv.Tx, e entry, row []byte) error {
	if e.index.unique {
		other, err := tx.Get(ctx, e.key)
		switch {
		case err == nil && !bytes.Equal(other, e.value):
			first := append(rowPrefix(ch.record.GetId()), other...)
			return fmt.Errorf("index %s cannot be unique: rows %s and %s of table %s have the same values: %w",
				e.index.name, ch.rowName(first), ch.rowName(row), ch.schema.table, kv.ErrExists)
		case err != nil && !errors.Is(err, kv.ErrNotFound):
			return err
		}
	}
	return tx.Put(slices.Clone(e.key), slices.Clone(e.value))
}

// rowName writes the primary key in the key of a row for people.
func (ch *change) rowName(key []byte) string {
	pk, err := parseRowKey(ch.record.GetId(), key)
	if err != nil {
		return tuple.Bytes(key).String()
	}
	return ch.schema.FormatKey(pk)
}
