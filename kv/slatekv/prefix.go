package slatekv

import (
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/tuple"
)

// Prefixes takes prefixes from the keys of records (docs/FORMAT.md, section 6),
// so that the rows of one table, and the index entries with one first value,
// are looked for only in SSTs that have some. Stores use it unless their
// options name another.
//
//	01 01 02 <table id>                          | primary key
//	01 01 03 <table id> <index id> <first value> | further values, primary key
//
// Every part of these delimits itself, so a prefix does not depend on what
// follows it. Keys of other kinds have none.
var Prefixes slate.PrefixExtractor = prefixes{}

type prefixes struct{}

func (prefixes) Name() string { return "stele.records" }

func (prefixes) Version() uint32 { return 1 }

func (prefixes) PrefixLen(key []byte) int {
	const space, format, rows, entries = 0x01, 0x01, 0x02, 0x03
	if len(key) < 3 || key[0] != space || key[1] != format || key[2] != rows && key[2] != entries {
		return 0
	}
	_, rest, err := tuple.Uvarint(key[3:])
	if err == nil && key[2] == entries {
		if _, rest, err = tuple.Uvarint(rest); err == nil {
			rest, err = tuple.Skip(rest, false)
		}
	}
	if err != nil {
		return 0
	}
	return len(key) - len(rest)
}
