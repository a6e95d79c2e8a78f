package record

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// The entries of an index.
//
//	01 <format> 03 <table id> <index id> <values> <primary key>  ->  (empty)      an index
//	01 <format> 03 <table id> <index id> <values>                ->  primary key  a unique one
//	01 <format> 03 <table id> <index id> <values> <primary key>  ->  primary key  a unique one, a value is null
//
// A unique index has the row's primary key in the value, so that two rows with
// equal values want one key: that is how a violation is found, by a get. Null
// is equal to nothing, so entries with a null value carry the primary key in
// their key as well. A repeated field has one entry for each distinct element,
// and none if it is empty; with several repeated fields there is one for each
// combination.

// maxRowEntries bounds the entries of one row in one index.
const maxRowEntries = 10_000

// UniqueError says that a row cannot be written because another row has the
// same values in a unique index. It matches kv.ErrExists.
type UniqueError struct {
	Table string
	Index string
	Value tuple.Tuple // the values that both have
	Key   tuple.Tuple // the primary key of the other row
}

// Error names the index. It does not tell the other row's key, which the caller
// may not be allowed to know.
func (e *UniqueError) Error() string { return "index " + e.Index + ": already exists" }

// Is reports whether target is kv.ErrExists.
func (e *UniqueError) Is(target error) bool { return target == kv.ErrExists }

// entry is one key of an index, with its value.
type entry struct {
	key, value []byte
	index      *Index
}

// kept reports whether writes keep the index exact.
func (ix *Index) kept() bool { return ix.state != IndexDisabled }

// entryMaker makes the entries of rows. It keeps its memory from row to row:
// what it returned is valid until the next reset. It is used by one goroutine.
type entryMaker struct {
	buf    []byte // all keys and values, one after the other
	spans  []span
	values []tuple.Value // of the fields of one index
	parts  [][]tuple.Value
}

// span is an entry in the buffer, before it has stopped growing.
type span struct {
	key, end, value int // buf[key:end] and buf[end:value]
	index           *Index
}

// reset forgets all entries.
func (m *entryMaker) reset() { m.buf = m.buf[:0] }

// entries returns the entries of a record with the given encoded primary key in
// all kept indexes of the schema, sorted by key.
func (m *entryMaker) entries(s *Schema, table uint64, rec, pk []byte, out []entry) ([]entry, error) {
	m.spans = m.spans[:0]
	for _, ix := range s.indexes {
		if !ix.kept() {
			continue
		}
		if err := m.index(ix, table, rec, pk); err != nil {
			return out, fmt.Errorf("index %s: %w", ix.name, err)
		}
	}
	out = out[:0]
	for _, sp := range m.spans {
		e := entry{key: m.buf[sp.key:sp.end:sp.end], index: sp.index}
		if sp.value > sp.end {
			e.value = m.buf[sp.end:sp.value:sp.value]
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return out, nil
}

// index adds the entries of one index.
func (m *entryMaker) index(ix *Index, table uint64, rec, pk []byte) error {
	m.values, m.parts = m.values[:0], m.parts[:0]
	total := 1
	for _, f := range ix.fields {
		start := len(m.values)
		var err error
		if m.values, err = f.Values(rec, m.values); err != nil {
			return err
		}
		part := m.values[start:]
		if f.repeated {
			slices.SortFunc(part, tuple.Compare)
			part = slices.CompactFunc(part, func(a, b tuple.Value) bool { return tuple.Compare(a, b) == 0 })
			m.values = m.values[:start+len(part)]
		}
		m.parts = append(m.parts, part)
		if total *= len(part); total > maxRowEntries {
			return invalidf("the row has more than %d entries", maxRowEntries)
		}
	}
	prefix := indexPrefix(table, ix.id)
	for i := range total {
		if err := m.add(ix, prefix, i, pk); err != nil {
			return err
		}
	}
	return nil
}

// add adds the entry for one combination of the parts' values.
func (m *entryMaker) add(ix *Index, prefix []byte, combination int, pk []byte) error {
	sp := span{key: len(m.buf), index: ix}
	m.buf = append(m.buf, prefix...)
	null := false
	for _, part := range m.parts {
		v := part[combination%len(part)]
		combination /= len(part)
		null = null || v.IsNull()
		var err error
		if m.buf, err = tuple.Append(m.buf, v, false); err != nil {
			return &invalidError{err}
		}
	}
	if !ix.unique || null {
		m.buf = append(m.buf, pk...)
	}
	sp.end = len(m.buf)
	if n := sp.end - sp.key; n > kv.MaxKeySize {
		return invalidf("its key has %d bytes, of at most %d", n, kv.MaxKeySize)
	}
	if ix.unique {
		m.buf = append(m.buf, pk...)
	}
	sp.value = len(m.buf)
	m.spans = append(m.spans, sp)
	return nil
}

// diffEntries walks both sorted lists and calls gone for each entry that only
// the old one has, and made for each that only the new one has.
func diffEntries(before, after []entry, gone, made func(entry) error) error {
	for len(before) > 0 || len(after) > 0 {
		var order int
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = bytes.Compare(before[0].key, after[0].key)
		}
		var err error
		switch {
		case order < 0:
			err = gone(before[0])
			before = before[1:]
		case order > 0:
			err = made(after[0])
			after = after[1:]
		default: // one row's entries with equal keys have equal values
			before, after = before[1:], after[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entryRow returns the encoded primary key of the row that an entry stands for.
// It aliases the pair.
func entryRow(ix *Index, prefix int, p kv.Pair) ([]byte, error) {
	if ix.unique {
		if len(p.Value) == 0 {
			return nil, errCorruptKey(p.Key, fmt.Errorf("entry of the unique index %s has no primary key", ix.name))
		}
		return p.Value, nil
	}
	rest := p.Key[min(prefix, len(p.Key)):]
	var err error
	for range ix.fields {
		if rest, err = tuple.Skip(rest, false); err != nil {
			return nil, errCorruptKey(p.Key, err)
		}
	}
	if len(rest) == 0 {
		return nil, errCorruptKey(p.Key, fmt.Errorf("entry of index %s has no primary key", ix.name))
	}
	return rest, nil
}
