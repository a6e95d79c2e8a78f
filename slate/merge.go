package slate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// MergeOperator gives operands written with Merge their meaning: what a key is
// worth is the operator's result for the value below and the operands written
// on it since. It must be deterministic, keep no state, and be safe for
// concurrent use, for reads, flushes and compactions all call it. Every writer
// and reader of a database must have the same one, SlateDB's tools included:
// the operator is not stored. Who has none can flush and compact, and keeps the
// operands as they are.
type MergeOperator interface {
	// Name names the operator in errors.
	Name() string
	// Merge folds operands, oldest first, onto existing, if hasExisting says
	// that the key has a value. It must be associative: any neighbouring
	// operands may be folded first, without a value, and the result takes their
	// place as one operand, or becomes the value if there is none below. It must
	// not change or keep its arguments; the result may be one of them, or a part.
	// Its error is the read's; a compaction leaves such a key as it is.
	Merge(key, existing []byte, hasExisting bool, operands [][]byte) ([]byte, error)
}

// OperandChecker is an optional method of a MergeOperator: it is asked for
// every operand before it is written, and its error refuses the write. An
// operand that Merge cannot read makes the key unreadable until it is put or
// deleted.
type OperandChecker interface {
	CheckOperand(operand []byte) error
}

// Concat appends operands to the value. Its name is "concat".
var Concat MergeOperator = concat{}

type concat struct{}

func (concat) Name() string { return "concat" }

func (concat) Merge(_, existing []byte, _ bool, operands [][]byte) ([]byte, error) {
	n := len(existing)
	for _, o := range operands {
		n += len(o)
	}
	out := append(make([]byte, 0, n), existing...)
	for _, o := range operands {
		out = append(out, o...)
	}
	return out, nil
}

// MergeByType returns an operator that lets one database hold values of several
// kinds, such as counters beside sets. The first byte of a value and of every
// operand is its type; the operator of that type in types works on the rest. An
// empty operand, an unknown type, and two types on one key are ErrInvalid; the
// first two already when the operand is written.
func MergeByType(types map[byte]MergeOperator) MergeOperator {
	return byType(maps.Clone(types))
}

type byType map[byte]MergeOperator

func (m byType) Name() string {
	var names []string
	for _, t := range slices.Sorted(maps.Keys(m)) {
		names = append(names, fmt.Sprintf("%#02x: %s", t, m[t].Name()))
	}
	return "by type (" + strings.Join(names, ", ") + ")"
}

func (m byType) operator(operand []byte) (byte, MergeOperator, error) {
	if len(operand) == 0 {
		return 0, nil, fmt.Errorf("%w: operand without a type byte", ErrInvalid)
	}
	op := m[operand[0]]
	if op == nil {
		return 0, nil, fmt.Errorf("%w: operand of unknown type %#02x", ErrInvalid, operand[0])
	}
	return operand[0], op, nil
}

func (m byType) CheckOperand(operand []byte) error {
	_, op, err := m.operator(operand)
	if c, ok := op.(OperandChecker); ok && err == nil {
		return c.CheckOperand(operand[1:])
	}
	return err
}

func (m byType) Merge(key, existing []byte, hasExisting bool, operands [][]byte) ([]byte, error) {
	t, op, err := m.operator(operands[0])
	if err != nil {
		return nil, err
	}
	rest := make([][]byte, len(operands))
	for i, o := range operands {
		if len(o) == 0 || o[0] != t {
			return nil, fmt.Errorf("%w: operand %q on operands of type %#02x", ErrInvalid, head(o), t)
		}
		rest[i] = o[1:]
	}
	if hasExisting {
		if len(existing) == 0 || existing[0] != t {
			return nil, fmt.Errorf("%w: operand of type %#02x on value %q", ErrInvalid, t, head(existing))
		}
		existing = existing[1:]
	}
	value, err := op.Merge(key, existing, hasExisting, rest)
	if err != nil {
		return nil, err
	}
	return append([]byte{t}, value...), nil
}

// head is as much of b as an error shows.
func head(b []byte) []byte { return b[:min(len(b), 8)] }

// Merge writes an operand that Options.MergeOperator folds onto the value of
// key, and returns when that is durable. It reads nothing. Without an operator
// it returns ErrNoOperator, otherwise what Put returns.
func (db *DB) Merge(ctx context.Context, key, operand []byte) error {
	var b Batch
	b.Merge(key, operand)
	_, err := db.Write(ctx, &b, WriteOptions{})
	return err
}

// merged resolves a key whose newest version is an operand. It is apart from
// get, which most reads end in.
func (v *view) merged(ctx context.Context, key []byte, seq uint64, rules merge.Rules, opts *ReadOptions) (*format.Row, error) {
	l := &levels{v: v, how: sst.IterOptions{NoFill: opts.NoFill}, r: Range{Lower: key, Upper: append(slices.Clip(key), 0)}}
	l.look = sst.Lookup{Key: key, Hash: format.BloomHash(key), MaxSeq: seq, NoFill: opts.NoFill}
	var rows merge.Iterator = l
	if v.own != nil {
		rows = v.withOwn(l.r, rows)
	}
	it := merge.Visible(rows, seq, false, rules)
	defer it.Close()
	return it.Next(ctx)
}

// levels yields the versions of one key, newest first. It opens a level only
// when the ones above have no more, and an SST only if its filter lets it.
type levels struct {
	v    *view
	how  sst.IterOptions
	r    Range // of the one key
	look sst.Lookup

	mem, l0, run int // levels that are done
	cur          merge.Iterator
}

func (l *levels) Next(ctx context.Context) (*format.Row, error) {
	for {
		if l.cur != nil {
			r, err := l.cur.Next(ctx)
			if r != nil || err != nil {
				return r, err
			}
			l.Close()
		}
		more, err := l.open(ctx)
		if !more || err != nil {
			return nil, err
		}
	}
}

// open opens the next level and reports whether there was one.
func (l *levels) open(ctx context.Context) (bool, error) {
	t := l.v.tree
	switch {
	case l.mem < len(l.v.mems):
		l.cur = l.v.mems[l.mem].Iter(l.r.Lower, l.r.Upper, false)
		l.mem++
		return true, nil
	case l.l0 < len(t.l0):
		l.l0++
		return true, l.openRun(ctx, run(t.l0[l.l0-1:l.l0]))
	case l.run < len(t.runs):
		l.run++
		return true, l.openRun(ctx, t.runs[l.run-1])
	}
	return false, nil
}

func (l *levels) openRun(ctx context.Context, r run) error {
	var row format.Row
	for i := r.seek(l.r.Lower); i < len(r) && r[i].keys.Contains(l.r.Lower); i++ {
		found, err := r[i].Get(ctx, &l.look, &row)
		if err != nil {
			return err
		}
		if found {
			if it := r[i:].iter(l.r, &l.how); it != nil {
				l.cur = it
			}
			return nil
		}
	}
	return nil
}

func (l *levels) Close() {
	if l.cur != nil {
		l.cur.Close()
		l.cur = nil
	}
}

// fold makes one write of the writes ops of one key, in their order: the last
// put or delete with the operands behind it, or the operands alone. Operands
// with different expiries are refused, for a row has but one.
func (b *Batch) fold(ops []op, operator MergeOperator, def Expiry) (op, error) {
	first := len(ops) - 1
	for first > 0 && ops[first].kind == format.Merge {
		first--
	}
	ops = ops[first:]
	if len(ops) == 1 {
		return ops[0], nil
	}
	key, base := b.key(ops[0]), ops[0]
	var (
		operands [][]byte
		below    *format.Row
	)
	if base.kind == format.Merge {
		operands = append(operands, b.value(base))
	} else if base.kind == format.Value {
		below = &format.Row{Value: b.value(base)}
	}
	expiry := ops[1].expiry.or(def)
	for _, o := range ops[1:] {
		operands = append(operands, b.value(o))
		if o.expiry.or(def) != expiry || base.kind != format.Tombstone && base.expiry.or(def) != expiry {
			return op{}, fmt.Errorf("%w: key %q: one batch merges with different expiries", ErrInvalid, key)
		}
	}
	value, err := merge.Apply(operator, key, below, operands)
	if err != nil {
		return op{}, err
	}
	out := op{at: len(b.data), keyLen: len(key), valLen: len(value), kind: format.Value, expiry: expiry}
	if base.kind == format.Merge {
		out.kind = format.Merge
	}
	b.data = append(append(b.data, key...), value...)
	return out, nil
}

// checkOperands refuses operands that could never be resolved.
func (b *Batch) checkOperands(operator MergeOperator) error {
	for _, o := range b.ops {
		if o.kind == format.Merge {
			if err := checkOperand(operator, b.key(o), b.value(o)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOperand(operator MergeOperator, key, operand []byte) error {
	if operator == nil {
		return fmt.Errorf("key %q: %w", key, ErrNoOperator)
	}
	if checker, ok := operator.(OperandChecker); ok {
		if err := checker.CheckOperand(operand); err != nil {
			return fmt.Errorf("key %q: merge operator %s: %w", key, operator.Name(), err)
		}
	}
	return nil
}
