package interop

import (
	"encoding/binary"
	"errors"

	"github.com/stele-db/stele/slate"
)

// operator is the merge operator of every database here, as slatedb.mjs and
// latest.py have it: the first byte says what a value or operand is.
var operator = slate.MergeByType(map[byte]slate.MergeOperator{'c': slate.Concat, '+': sum{}})

// sum is a counter, u64 big endian.
type sum struct{}

func (sum) Name() string { return "sum" }

func (sum) Merge(_, existing []byte, hasExisting bool, operands [][]byte) ([]byte, error) {
	if hasExisting {
		operands = append([][]byte{existing}, operands...)
	}
	var n uint64
	for _, o := range operands {
		if len(o) != 8 {
			return nil, errors.New("a counter has 8 bytes")
		}
		n += binary.BigEndian.Uint64(o)
	}
	return binary.BigEndian.AppendUint64(nil, n), nil
}

// counter is a value or operand of type '+'.
func counter(n uint64) string { return string(binary.BigEndian.AppendUint64([]byte{'+'}, n)) }

// merged is the value after an operand of the same type.
func merged(value, operand string) string {
	if operand[0] == '+' {
		return counter(binary.BigEndian.Uint64([]byte(value[1:])) + binary.BigEndian.Uint64([]byte(operand[1:])))
	}
	return value + operand[1:]
}
