package merge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
)

// ErrNoOperator: a row holds a merge operand and no merge operator is there to
// resolve it.
var ErrNoOperator = errors.New("row has merge operands but no merge operator is configured")

// Operator folds merge operands; see slate.MergeOperator for what it must
// keep to.
type Operator interface {
	Name() string
	Merge(key, existing []byte, hasExisting bool, operands [][]byte) ([]byte, error)
}

// Rules say how versions become what a reader sees.
type Rules struct {
	// Operator resolves merge operands; nil: they are an error.
	Operator Operator
	// HideExpired leaves out what expires at or before Now (ms).
	HideExpired bool
	Now         int64
}

// Kind is the kind of r for a reader, and whether r counts at all: an expired
// value is as good as a tombstone, an expired operand was never there. A flush
// or compaction says the same of them.
func (s Rules) Kind(r *format.Row) (kind format.Kind, counts bool) {
	if s.HideExpired && r.HasExpire && r.ExpireTS <= s.Now {
		return format.Tombstone, r.Kind != format.Merge
	}
	return r.Kind, true
}

// Apply calls op for operands in order from the oldest and says of an error
// where it happened.
func Apply(op Operator, key []byte, base *format.Row, operands [][]byte) ([]byte, error) {
	var existing []byte
	if base != nil {
		existing = base.Value
	}
	value, err := op.Merge(key, existing, base != nil, operands)
	if err == nil && len(value) > format.MaxRowValue {
		err = fmt.Errorf("result of %d bytes, at most %d are allowed", len(value), format.MaxRowValue)
	}
	if err != nil {
		return nil, fmt.Errorf("key %q: merge operator %s: %w", key, op.Name(), err)
	}
	return value, nil
}

// foldBatch is how many operands Fold holds back before it folds them among
// themselves.
const foldBatch = 100

// Fold gathers the operands of one key, in order of age from either end, and
// folds them onto what lies below. Operands that were folded among themselves
// move up one level, so that memory grows with the operator's results and not
// with the number of operands. The zero value is ready.
type Fold struct {
	op          Operator
	oldestFirst bool
	any         bool
	row         format.Row
	levels      [][][]byte // operands; the later ones are in the lower level
}

// Reset begins a new key, whose operands come oldest first or newest first.
func (f *Fold) Reset(op Operator, oldestFirst bool) {
	f.op, f.oldestFirst, f.any = op, oldestFirst, false
	for i := range f.levels {
		clear(f.levels[i])
		f.levels[i] = f.levels[i][:0]
	}
}

// Any reports whether there are operands.
func (f *Fold) Any() bool { return f.any }

// Add takes a copy of the next operand.
func (f *Fold) Add(r *format.Row) error {
	if f.op == nil {
		return operandError(r)
	}
	if f.any {
		absorb(&f.row, r)
	} else {
		f.any = true
		key := append(f.row.Key[:0], r.Key...)
		f.row = *r
		f.row.Key, f.row.Value = key, nil
	}
	return f.push(0, bytes.Clone(r.Value))
}

func (f *Fold) push(level int, operand []byte) error {
	if level == len(f.levels) {
		f.levels = append(f.levels, nil)
	}
	f.levels[level] = append(f.levels[level], operand)
	if len(f.levels[level]) < foldBatch {
		return nil
	}
	folded, err := Apply(f.op, f.row.Key, nil, f.ordered(f.levels[level:level+1]))
	if err != nil {
		return err
	}
	f.levels[level] = f.levels[level][:0]
	return f.push(level+1, folded)
}

// ordered returns the operands of the levels from the oldest on.
func (f *Fold) ordered(levels [][][]byte) [][]byte {
	var out [][]byte
	for _, l := range slices.Backward(levels) {
		out = append(out, l...)
	}
	if !f.oldestFirst {
		slices.Reverse(out)
	}
	return out
}

// Value folds the operands onto base, nil if nothing or a tombstone lies below,
// and returns the row that a reader sees. It is valid until the next Reset, and
// no longer than base.
func (f *Fold) Value(base *format.Row) (*format.Row, error) {
	value, err := Apply(f.op, f.row.Key, base, f.ordered(f.levels))
	if err != nil {
		return nil, err
	}
	if base != nil {
		absorb(&f.row, base)
	}
	f.row.Kind, f.row.Value = format.Value, value
	return &f.row, nil
}

// absorb gives dst the times and the seq that a row merged from both has.
func absorb(dst, r *format.Row) {
	dst.Seq = max(dst.Seq, r.Seq)
	if r.HasCreate && (!dst.HasCreate || r.CreateTS > dst.CreateTS) {
		dst.HasCreate, dst.CreateTS = true, r.CreateTS
	}
	if r.HasExpire && (!dst.HasExpire || r.ExpireTS < dst.ExpireTS) {
		dst.HasExpire, dst.ExpireTS = true, r.ExpireTS
	}
}

func operandError(r *format.Row) error { return fmt.Errorf("key %q: %w", r.Key, ErrNoOperator) }
