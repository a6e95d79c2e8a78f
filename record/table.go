package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// Insert writes a new row in the transaction, with its index entries. The bytes
// are stored as they are, after Schema.Check. It returns kv.ErrExists if there
// is a row with this primary key, a *UniqueError, which also matches
// kv.ErrExists, if another row has the same values in a unique index, and
// kv.ErrInvalid if the record is not valid or too large for a key.
//
// A write that returns an error has changed nothing in the transaction, unless
// the store itself failed: the next row can be written.
func (t *Table) Insert(ctx context.Context, tx *Tx, rec []byte) error {
	return t.write(ctx, tx, "insert", rec)
}

// Put writes a row in the transaction, in place of the one with the same
// primary key if there is one. It returns the errors of Insert but that one.
func (t *Table) Put(ctx context.Context, tx *Tx, rec []byte) error {
	return t.write(ctx, tx, "put", rec)
}

// Update replaces the row with the same primary key in the transaction. It
// returns kv.ErrNotFound if there is none, else the errors of Put.
func (t *Table) Update(ctx context.Context, tx *Tx, rec []byte) error {
	return t.write(ctx, tx, "update", rec)
}

// Delete removes the row with the primary key, and its index entries, in the
// transaction. It reports whether there was one.
func (t *Table) Delete(ctx context.Context, tx *Tx, key tuple.Tuple) (existed bool, err error) {
	if err := t.mine(tx); err != nil {
		return false, err
	}
	s := t.Schema()
	row, err := t.keyOf(s, key)
	if err != nil {
		return false, t.failed("delete", s, key, err)
	}
	old, err := get(ctx, tx, row)
	if err != nil || old == nil {
		return false, t.failed("delete", s, key, err)
	}
	tx.maker.reset()
	tx.before, err = tx.maker.entries(s, t.id, old, row[len(rowPrefix(t.id)):], tx.before)
	if err != nil {
		return false, t.failed("delete", s, key, stored(row, err))
	}
	for _, e := range tx.before {
		if err := tx.tx.Delete(e.key); err != nil {
			return false, t.failed("delete", s, key, err)
		}
	}
	if err := tx.tx.Delete(row); err != nil {
		return false, t.failed("delete", s, key, err)
	}
	return true, nil
}

// Get returns the record with the primary key, which the caller owns, or
// kv.ErrNotFound. The reader is the database's store, a snapshot of it, or a
// transaction.
func (t *Table) Get(ctx context.Context, r kv.Reader, key tuple.Tuple) ([]byte, error) {
	s := t.Schema()
	row, err := t.keyOf(s, key)
	if err == nil {
		var rec []byte
		if rec, err = r.Get(ctx, row); err == nil {
			return rec, nil
		}
		if errors.Is(err, kv.ErrNotFound) {
			err = kv.ErrNotFound
		}
	}
	return nil, t.failed("get", s, key, err)
}

// keyOf returns the key of the row with the primary key.
func (t *Table) keyOf(s *Schema, key tuple.Tuple) ([]byte, error) {
	if err := s.checkKey(key); err != nil {
		return nil, err
	}
	for i, f := range s.key {
		if v := key[i]; v.Kind() != valueKind(f.kind) {
			return nil, invalidf("part %q of the primary key is of type %s, not %s", f.name, f.kind, v.Kind())
		}
	}
	row, err := rowKey(t.id, key)
	if err != nil {
		return nil, &invalidError{err}
	}
	if len(row) > kv.MaxKeySize {
		return nil, invalidf("its key has %d bytes, of at most %d", len(row), kv.MaxKeySize)
	}
	return row, nil
}

// write is Insert, Put and Update. It first reads and checks, then writes.
func (t *Table) write(ctx context.Context, tx *Tx, verb string, rec []byte) error {
	if err := t.mine(tx); err != nil {
		return err
	}
	s := t.Schema()
	if err := s.checkFields(rec); err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.table, err)
	}
	key, err := s.KeyOf(rec)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.table, err)
	}
	if err := t.writeRow(ctx, tx, s, verb, key, rec); err != nil {
		return t.failed(verb, s, key, err)
	}
	return nil
}

func (t *Table) writeRow(ctx context.Context, tx *Tx, s *Schema, verb string, key tuple.Tuple, rec []byte) error {
	row, err := t.keyOf(s, key)
	if err != nil {
		return err
	}
	old, err := get(ctx, tx, row)
	switch {
	case err != nil:
		return err
	case verb == "insert" && old != nil:
		return kv.ErrExists
	case verb == "update" && old == nil:
		return kv.ErrNotFound
	}
	if old != nil && bytes.Equal(old, rec) { // so are its entries
		return tx.tx.Put(row, rec)
	}
	pk := row[len(rowPrefix(t.id)):]
	tx.maker.reset()
	tx.before = tx.before[:0]
	if old != nil {
		if tx.before, err = tx.maker.entries(s, t.id, old, pk, tx.before); err != nil {
			return stored(row, err)
		}
	}
	if tx.after, err = tx.maker.entries(s, t.id, rec, pk, tx.after); err != nil {
		return err
	}
	if err := t.checkUnique(ctx, tx, s, pk); err != nil {
		return err
	}
	if err := diffEntries(tx.before, tx.after,
		func(e entry) error { return tx.tx.Delete(e.key) },
		func(e entry) error { return tx.tx.Put(e.key, e.value) }); err != nil {
		return err
	}
	return tx.tx.Put(row, rec)
}

// checkUnique returns a *UniqueError if a new entry of a unique index is
// another row's.
func (t *Table) checkUnique(ctx context.Context, tx *Tx, s *Schema, pk []byte) error {
	keep := func(entry) error { return nil }
	return diffEntries(tx.before, tx.after, keep, func(e entry) error {
		if !e.index.unique {
			return nil
		}
		owner, err := get(ctx, tx, e.key)
		if err != nil || owner == nil || bytes.Equal(owner, pk) {
			return err
		}
		return t.uniqueError(e, owner)
	})
}

func (t *Table) uniqueError(e entry, owner []byte) error {
	values, rest, err := parseIndexKey(t.id, e.index.id, len(e.index.fields), e.key)
	if err != nil {
		return err
	}
	if len(rest) > 0 { // a null is in no conflict
		return nil
	}
	key, err := tuple.DecodeAll(owner, nil)
	if err != nil {
		return errCorruptKey(e.key, err)
	}
	return &UniqueError{Table: t.name, Index: e.index.name, Value: values, Key: key}
}

// get returns the value of key, nil if there is none.
func get(ctx context.Context, tx *Tx, key []byte) ([]byte, error) {
	v, err := tx.tx.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err == nil && v == nil {
		v = []byte{}
	}
	return v, err
}

// mine returns kv.ErrInvalid for a transaction of another database.
func (t *Table) mine(tx *Tx) error {
	if tx == nil || tx.db != t.db {
		return invalidf("table %s: the transaction is not one of its database", t.name)
	}
	return nil
}

// keyInError is the most characters of a key that an error repeats.
const keyInError = 100

// failed says what was asked; of a nil error it makes nil.
func (t *Table) failed(verb string, s *Schema, key tuple.Tuple, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %s: %w", verb, t.name, keyText(s, key), err)
}

func keyText(s *Schema, key tuple.Tuple) string {
	text := []rune(s.FormatKey(key))
	if len(text) > keyInError {
		text = append(text[:keyInError], '…')
	}
	return string(text)
}

// stored says that a record that is stored cannot be read.
func stored(row []byte, err error) error {
	if errors.Is(err, kv.ErrInvalid) {
		return errCorruptKey(row, err)
	}
	return err
}
