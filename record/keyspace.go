package record

import (
	"errors"
	"fmt"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// Format is the version of the layout of keys and values that this package
// writes, and the newest that it reads.
//
//	__schema__<table>                                  current schema of a table, .proto text
//	__schema__/stele/options.proto                     the file that it imports
//	01 <format> 01 00                                  header: stele.catalog.Database
//	01 <format> 01 01 <table id>                       stele.catalog.Table
//	01 <format> 01 02 <name>                           resume mark of an import
//	01 <format> 02 <table id> <primary key>            row: the record
//	01 <format> 03 <table id> <index id> <values> ...  index entry
//
// The first byte of a binary key is 01 for tables without segments; 00 and 02
// are reserved. Ids are order-preserving varints (tuple.AppendUvarint); keys and
// values are tuples. Tag 04 is reserved for merged values.
const Format = 1

// The fixed parts of keys. They are on disk: they never change.
const (
	schemaPrefix = "__schema__"
	optionsPath  = "stele/options.proto"

	spaceTables = 0x01

	tagMeta  = 0x01
	tagData  = 0x02
	tagIndex = 0x03

	metaHeader = 0x00
	metaTable  = 0x01
	metaImport = 0x02
)

// SchemaKey returns the key at which the text of a table's schema lies.
func SchemaKey(table string) []byte { return []byte(schemaPrefix + table) }

// OptionsKey returns the key at which the text of stele/options.proto lies.
func OptionsKey() []byte { return []byte(schemaPrefix + "/" + optionsPath) }

// ImportKey returns the key of the resume mark of the import that is called
// name. Its value is the importer's own.
func ImportKey(name string) []byte {
	return append([]byte{spaceTables, Format, tagMeta, metaImport}, name...)
}

func headerKey() []byte { return []byte{spaceTables, Format, tagMeta, metaHeader} }

// catalogRange holds the header and every table's record, and no other key.
func catalogRange() kv.Range {
	return kv.Range{
		Lower: []byte{spaceTables, Format, tagMeta, metaHeader},
		Upper: []byte{spaceTables, Format, tagMeta, metaImport},
	}
}

func tableKey(table uint64) []byte {
	return tuple.AppendUvarint([]byte{spaceTables, Format, tagMeta, metaTable}, table)
}

// rowPrefix returns what the keys of all rows of a table begin with.
func rowPrefix(table uint64) []byte {
	return tuple.AppendUvarint([]byte{spaceTables, Format, tagData}, table)
}

// rowKey returns the key of the row with the given primary key.
func rowKey(table uint64, key tuple.Tuple) ([]byte, error) {
	return key.Append(rowPrefix(table))
}

// parseRowKey returns the primary key in the key of a row of the table.
func parseRowKey(table uint64, key []byte) (tuple.Tuple, error) {
	p := rowPrefix(table)
	if len(key) < len(p) || string(key[:len(p)]) != string(p) {
		return nil, errCorruptKey(key, errors.New("not the key of a row of this table"))
	}
	t, err := tuple.DecodeAll(key[len(p):], nil)
	if err != nil {
		return nil, errCorruptKey(key, err)
	}
	return t, nil
}

// indexPrefix returns what the keys of all entries of an index begin with.
func indexPrefix(table, index uint64) []byte {
	b := tuple.AppendUvarint([]byte{spaceTables, Format, tagIndex}, table)
	return tuple.AppendUvarint(b, index)
}

// appendIndexKey appends the key of the entry for the indexed values and the
// primary key to dst, which holds the prefix of the index.
func appendIndexKey(dst []byte, values, key tuple.Tuple) ([]byte, error) {
	dst, err := values.Append(dst)
	if err != nil {
		return nil, err
	}
	return key.Append(dst)
}

// parseIndexKey returns the n indexed values and the primary key in the key of
// an entry of the index.
func parseIndexKey(table, index uint64, n int, key []byte) (values, pk tuple.Tuple, err error) {
	p := indexPrefix(table, index)
	if len(key) < len(p) || string(key[:len(p)]) != string(p) {
		return nil, nil, errCorruptKey(key, errors.New("not the key of an entry of this index"))
	}
	t, err := tuple.DecodeAll(key[len(p):], nil)
	if err != nil {
		return nil, nil, errCorruptKey(key, err)
	}
	if len(t) < n {
		return nil, nil, errCorruptKey(key, errors.New("too few values"))
	}
	return t[:n:n], t[n:], nil
}

// prefixRange returns the range of all keys that begin with p.
func prefixRange(p []byte) kv.Range {
	return kv.Range{Lower: p, Upper: tuple.PrefixEnd(p)}
}

// errCorruptKey says that a stored key is not what its place demands.
func errCorruptKey(key []byte, reason error) error {
	return &kv.CorruptError{Object: fmt.Sprintf("key %x", key), Offset: -1, Reason: reason.Error()}
}
