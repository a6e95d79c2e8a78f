package tuple

import (
	"cmp"
	"fmt"
	"strings"
)

// Tuple is a list of values: a key, or a part of one. In the methods that take
// it, desc says which parts are descending; parts beyond its end are ascending.
type Tuple []Value

// Append appends the encoding of all parts to dst. It returns ErrInvalid, and
// dst as it was, under the conditions of the function Append.
func (t Tuple) Append(dst []byte, desc ...bool) ([]byte, error) {
	out := dst
	for i, v := range t {
		var err error
		if out, err = Append(out, v, i < len(desc) && desc[i]); err != nil {
			return dst, fmt.Errorf("part %d: %w", i+1, err)
		}
	}
	return out, nil
}

// DecodeAll reads values until src is used up; desc[i] says whether part i is
// descending, and parts beyond its end are ascending. It returns ErrCorrupt
// under the conditions of Decode.
func DecodeAll(src []byte, desc []bool) (Tuple, error) {
	var t Tuple
	for len(src) > 0 {
		i := len(t)
		v, rest, err := Decode(src, i < len(desc) && desc[i])
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", i+1, err)
		}
		t, src = append(t, v), rest
	}
	return t, nil
}

// Compare returns -1, 0 or 1 as t sorts before, with or after u, part by part;
// a tuple sorts before those that it begins.
func (t Tuple) Compare(u Tuple, desc ...bool) int {
	for i := range min(len(t), len(u)) {
		if c := Compare(t[i], u[i]); c != 0 {
			if i < len(desc) && desc[i] {
				return -c
			}
			return c
		}
	}
	return cmp.Compare(len(t), len(u))
}

// String returns the parts in parentheses, for people to read.
func (t Tuple) String() string {
	var b strings.Builder
	b.WriteByte('(')
	for i, v := range t {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v.String())
	}
	b.WriteByte(')')
	return b.String()
}
