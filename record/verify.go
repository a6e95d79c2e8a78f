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

// maxFaults is how many faults a Verification spells out.
const maxFaults = 100

// Verification is what VerifyTable found.
type Verification struct {
	Table   string   `json:"table"`
	Rows    int      `json:"rows"`
	Entries int      `json:"entries"` // of all indexes
	Faults  int      `json:"faults"`
	First   []string `json:"first,omitempty"` // the first 100 faults, a line each
}

// OK reports whether nothing is wrong.
func (v *Verification) OK() bool { return v.Faults == 0 }

func (v *Verification) fault(format string, args ...any) {
	if v.Faults++; len(v.First) < maxFaults {
		v.First = append(v.First, fmt.Sprintf(format, args...))
	}
}

// VerifyTable checks that the rows of a table and its index entries agree: that
// every row is a valid record at its own key with all its entries, and that
// every entry is that of a row. Damage is no error, but a fault in the result;
// an error means that the store could not be read. The reader should be a
// snapshot: it is read twice, once by rows and once by entries.
func VerifyTable(ctx context.Context, r kv.Reader, t *Table) (*Verification, error) {
	v := &verifier{table: t, schema: t.Schema(), reader: r, found: &Verification{Table: t.name}}
	if err := v.rows(ctx); err != nil {
		return v.found, fmt.Errorf("verify %s: %w", t.name, err)
	}
	for _, ix := range v.schema.indexes {
		if !ix.kept() {
			continue
		}
		if err := v.index(ctx, ix); err != nil {
			return v.found, fmt.Errorf("verify %s: index %s: %w", t.name, ix.name, err)
		}
	}
	return v.found, nil
}

type verifier struct {
	table  *Table
	schema *Schema
	reader kv.Reader
	found  *Verification
	maker  entryMaker
	list   []entry
}

// rows checks every row and looks for its entries.
func (v *verifier) rows(ctx context.Context) error {
	prefix := rowPrefix(v.table.id)
	for pair, err := range v.reader.Scan(ctx, prefixRange(prefix)) {
		if err != nil {
			return err
		}
		v.found.Rows++
		if err := v.row(ctx, pair, pair.Key[len(prefix):]); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) row(ctx context.Context, pair kv.Pair, pk []byte) error {
	name := v.name(pk)
	if err := v.schema.Check(pair.Value); err != nil {
		v.found.fault("row %s: %s", name, err)
		return nil
	}
	key, err := v.schema.KeyOf(pair.Value)
	if err != nil {
		v.found.fault("row %s: %s", name, err)
		return nil
	}
	if own, err := key.Append(nil); err != nil || !bytes.Equal(own, pk) {
		v.found.fault("row %s: its record has the key %s", name, v.schema.FormatKey(key))
		return nil //nolint:nilerr // a fault is what was looked for
	}
	v.maker.reset()
	if v.list, err = v.maker.entries(v.schema, v.table.id, pair.Value, pk, v.list); err != nil {
		v.found.fault("row %s: %s", name, err)
		return nil
	}
	for _, e := range v.list {
		if e.index.state == IndexBuilding {
			continue // older rows may lack their entries
		}
		value, err := v.reader.Get(ctx, e.key)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			v.found.fault("row %s: index %s lacks its entry %s", name, e.index.name, v.entryName(e))
		case err != nil:
			return err
		case !bytes.Equal(value, e.value):
			v.found.fault("row %s: index %s: its entry %s belongs to row %s", name, e.index.name, v.entryName(e), v.name(value))
		}
	}
	return nil
}

// index looks for the row of every entry of an index.
func (v *verifier) index(ctx context.Context, ix *Index) error {
	prefix := indexPrefix(v.table.id, ix.id)
	for pair, err := range v.reader.Scan(ctx, prefixRange(prefix)) {
		if err != nil {
			return err
		}
		v.found.Entries++
		pk, err := entryRow(ix, len(prefix), pair)
		if err != nil {
			v.found.fault("index %s: %s", ix.name, err)
			continue
		}
		rec, err := v.reader.Get(ctx, slices.Concat(rowPrefix(v.table.id), pk))
		switch {
		case errors.Is(err, kv.ErrNotFound):
			v.found.fault("index %s: entry %s: there is no row %s", ix.name, v.entryName(entry{key: pair.Key, index: ix}), v.name(pk))
			continue
		case err != nil:
			return err
		}
		if !v.has(ix, rec, pk, pair) {
			v.found.fault("index %s: entry %s: the row %s has other values", ix.name, v.entryName(entry{key: pair.Key, index: ix}), v.name(pk))
		}
	}
	return nil
}

// has reports whether the entry is one of the record's. A record that cannot be
// read was a fault before.
func (v *verifier) has(ix *Index, rec, pk []byte, pair kv.Pair) bool {
	v.maker.reset()
	v.maker.spans = v.maker.spans[:0]
	if err := v.maker.index(ix, v.table.id, rec, pk); err != nil {
		return true
	}
	return slices.ContainsFunc(v.maker.spans, func(sp span) bool {
		return bytes.Equal(v.maker.buf[sp.key:sp.end], pair.Key) && bytes.Equal(v.maker.buf[sp.end:sp.value], pair.Value)
	})
}

// name returns a primary key for people to read.
func (v *verifier) name(pk []byte) string {
	key, err := tuple.DecodeAll(pk, nil)
	if err != nil {
		return fmt.Sprintf("%x", pk)
	}
	return v.schema.FormatKey(key)
}

func (v *verifier) entryName(e entry) string {
	values, err := tuple.DecodeAll(e.key[len(indexPrefix(v.table.id, e.index.id)):], nil)
	if err != nil {
		return fmt.Sprintf("%x", e.key)
	}
	return values.String()
}
