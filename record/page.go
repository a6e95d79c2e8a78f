package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/tuple"
)

// A page token is the place of a row in the result of one query:
//
//	01  8 bytes: the query's fingerprint  varint: index id, 0 for the rows  place
//
// The place is what the entry's key has after the index's prefix, or, where the
// rows were sorted in memory, the row's sort key.
const tokenVersion = 1

type pageToken struct {
	print uint64
	index uint64
	place []byte
}

// parseToken reads Query.After; nil if it is not set.
func parseToken(q *Query) (*pageToken, error) {
	if len(q.After) == 0 {
		return nil, nil
	}
	if len(q.After) < 10 || q.After[0] != tokenVersion {
		return nil, invalidf("not a page token")
	}
	t := &pageToken{print: binary.BigEndian.Uint64(q.After[1:9])}
	var err error
	if t.index, t.place, err = tuple.Uvarint(q.After[9:]); err != nil || len(t.place) == 0 || len(t.place) > kv.MaxKeySize {
		return nil, invalidf("not a page token")
	}
	return t, nil
}

func appendToken(dst []byte, print, index uint64, place []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tokenVersion), print)
	return append(tuple.AppendUvarint(dst, index), place...)
}

// fingerprint tells the queries of a table apart whose page tokens must not be
// mixed. Limit may differ from page to page.
func fingerprint(table uint64, root node, q *Query) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %v %v %q", table, q.OrderBy, q.Reverse, root)
	return h.Sum64()
}

// pathOfToken returns the path on which the token's page was read.
func pathOfToken(s *Schema, table uint64, tests []*test, t *pageToken) ([]*path, error) {
	var ix *Index
	if t.index != 0 {
		i := slices.IndexFunc(s.indexes, func(ix *Index) bool { return ix.id == t.index })
		if i < 0 || s.indexes[i].state != IndexReadable {
			return nil, invalidf("the page token is of an index that is gone: start again")
		}
		ix = s.indexes[i]
	}
	p := newPath(s, table, ix, tests)
	if p.complete() != nil {
		return nil, errForeignToken()
	}
	return []*path{p}, nil
}

func errForeignToken() error { return invalidf("the page token is of another query") }

// resume makes the plan go on after the token's row.
func (p *Plan) resume(t *pageToken) error {
	if t == nil {
		return nil
	}
	if t.print != p.print {
		return errForeignToken()
	}
	if p.sort != nil {
		p.after = t.place
		return nil
	}
	if p.path.point { // its only row was on the page before
		p.Access = AccessNone
		return nil
	}
	place := slices.Concat(p.path.prefix, t.place)
	p.scan = p.path.scanRange()
	if p.path.reverse {
		if bytes.Compare(place, p.scan.Upper) < 0 {
			p.scan.Upper = place
		}
		return nil
	}
	if place = append(place, 0); bytes.Compare(place, p.scan.Lower) > 0 {
		p.scan.Lower = place
	}
	return nil
}
