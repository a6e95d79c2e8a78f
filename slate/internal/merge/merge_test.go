package merge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate/internal/format"
)

// rows is an iterator over rows written as "key@seq kind value [expiry]", with
// the kinds v, m and t; like the engine's it reuses the buffer of the key.
type rows struct {
	text []string
	row  format.Row
}

func (r *rows) Next(context.Context) (*format.Row, error) {
	if len(r.text) == 0 {
		return nil, nil
	}
	f := strings.Fields(r.text[0])
	r.text = r.text[1:]
	key, seq, _ := strings.Cut(f[0], "@")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return nil, err
	}
	r.row = format.Row{
		Key: append(r.row.Key[:0], key...), Seq: n, Kind: format.Kind(strings.Index("vtm", f[1])),
		HasCreate: true, CreateTS: int64(n) * 10,
	}
	if len(f) > 2 && f[2] != "-" {
		r.row.Value = []byte(f[2])
	}
	if len(f) > 3 {
		r.row.HasExpire = true
		r.row.ExpireTS, err = strconv.ParseInt(f[3], 10, 64)
	}
	return &r.row, err
}

func (*rows) Close() {}

func texts(t *testing.T, it Iterator) []string {
	t.Helper()
	var out []string
	for {
		r, err := it.Next(t.Context())
		if err != nil {
			return append(out, err.Error())
		}
		if r == nil {
			return out
		}
		s := fmt.Sprintf("%s@%d %c", r.Key, r.Seq, "vtm"[r.Kind])
		if r.Kind != format.Tombstone {
			s += " " + string(r.Value)
		}
		if r.HasExpire {
			s += fmt.Sprint(" ", r.ExpireTS)
		}
		if r.CreateTS != int64(r.Seq)*10 { // newer rows are never older
			s += fmt.Sprint(" created ", r.CreateTS)
		}
		out = append(out, s)
	}
}

// plus joins with plus signs, so that it shows what was folded; it fails on
// "bad".
type plus struct{}

func (plus) Name() string { return "plus" }

func (plus) Merge(_, existing []byte, has bool, operands [][]byte) ([]byte, error) {
	var parts []string
	if has {
		parts = append(parts, string(existing))
	}
	for _, o := range operands {
		if string(o) == "bad" {
			return nil, errors.New("operand is bad")
		}
		parts = append(parts, string(o))
	}
	return []byte(strings.Join(parts, "+")), nil
}

// What a flush or compaction keeps.
func TestRetain(t *testing.T) {
	all := Policy{MinSeq: math.MaxUint64, Operator: plus{}}
	at := func(p Policy, seq uint64) Policy { p.MinSeq = seq; return p }
	tick := func(p Policy, tick int64) Policy { p.Tick = tick; return p }
	bottom := func(p Policy) Policy { p.Bottom = true; return p }
	for _, c := range []struct {
		name     string
		policy   Policy
		in, want string
	}{
		{"operands fold onto a value", all, "k@3 m c; k@2 m b; k@1 v a", "k@3 v a+b+c"},
		{"what the value hides is dropped", all, "k@3 m c; k@2 v b; k@1 v a", "k@3 v b+c"},
		{"operands fold onto a tombstone", all, "k@3 m c; k@2 m b; k@1 t", "k@3 v b+c"},
		{"one operand folds onto a tombstone", all, "k@3 m c; k@2 t; k@1 v a", "k@3 v c"},
		{"without a base they stay an operand", all, "k@3 m c; k@2 m b", "k@3 m b+c"},
		{"also at the bottom", bottom(all), "k@3 m c; k@2 m b", "k@3 m b+c"},
		{"a value above is a barrier", all, "k@3 v c; k@2 m b; k@1 v a", "k@3 v c"},
		{"operands that a snapshot parts stay", at(all, 2), "k@4 m d; k@3 m c; k@2 m b; k@1 v a", "k@4 m d; k@3 m c; k@2 v a+b"},
		{"all above the snapshot stay", at(all, 0), "k@3 m c; k@2 m b; k@1 v a", "k@3 m c; k@2 m b; k@1 v a"},
		{"a value above the snapshot does not hide", at(all, 2), "k@3 v c; k@2 m b; k@1 v a", "k@3 v c; k@2 v a+b"},
		{"keys are apart", all, "j@4 m x; k@3 m c; k@2 m b; l@1 m a", "j@4 m x; k@3 m b+c; l@1 m a"},
		{"equal expiries fold", all, "k@3 m c 9; k@2 m b 9; k@1 v a 9", "k@3 v a+b+c 9"},
		{"other expiries do not", all, "k@4 m d; k@3 m c 9; k@2 m b 9; k@1 v a", "k@4 m d; k@3 m b+c 9; k@1 v a"},
		{"nor onto a tombstone", all, "k@3 m c 9; k@2 m b 9; k@1 t", "k@3 m b+c 9; k@1 t"},
		{"whose use ends at the bottom", bottom(all), "k@3 m c 9; k@2 m b 9; k@1 t", "k@3 m b+c 9"},
		{"expired operands vanish", tick(all, 9), "k@4 m d; k@3 m c 9; k@2 m b 8; k@1 v a 10", "k@4 m d; k@1 v a 10"},
		{"expired values become tombstones", tick(all, 9), "k@2 m b; k@1 v a 9", "k@2 m b; k@1 t"},
		{"a fold that has expired too", tick(all, 9), "k@2 m b 9; k@1 v a 9; l@1 v x", "k@2 t; l@1 v x"},
		{"and is gone at the bottom", bottom(tick(all, 9)), "k@2 m b 9; k@1 v a 9; l@1 v x", "l@1 v x"},
		{"nothing is left of a key", tick(all, 9), "k@2 m b 9; l@1 v x", "l@1 v x"},
		{"a failing operator leaves all", all, "k@4 m d; k@3 m bad; k@2 m b; k@1 v a; l@1 m x", "k@4 m d; k@3 m bad; k@2 m b; k@1 v a; l@1 m x"},
		{"no operator, above the snapshot", at(Policy{}, 1), "k@2 m b; k@1 v a", "k@2 m b; k@1 v a"},
		{"no operator, below a value", Policy{MinSeq: 9}, "k@3 v c; k@2 m b", "k@3 v c"},
		{"no operator", Policy{MinSeq: 9}, "j@1 v a; k@4 m d; k@3 m c 5; k@2 v b; k@1 v a", "j@1 v a; k@4 m d; k@3 m c 5; k@2 v b"},
		{"no operator, and no base", bottom(Policy{MinSeq: 9}), "k@3 m c; k@2 m b; l@2 m b; l@1 t", "k@3 m c; k@2 m b; l@2 m b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := texts(t, Retain(&rows{text: strings.Split(c.in, "; ")}, c.policy))
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("kept\n %s\nwant\n %s", s, c.want)
			}
		})
	}
}

// What a reader sees, in either order.
func TestVisible(t *testing.T) {
	const in = "a@7 m x; a@2 m y; b@6 m z; b@5 t; b@1 v gone; c@9 v new; c@3 m d; c@2 v e; d@4 m f 20; d@3 v g 30; e@8 t; e@2 m h; f@4 m i; g@2 v j 20"
	now := func(ms int64) Rules { return Rules{Operator: plus{}, HideExpired: true, Now: ms} }
	for _, c := range []struct {
		name  string
		seq   uint64
		rules Rules
		want  string
	}{
		{"all", 9, Rules{Operator: plus{}}, "a@7 v y+x; b@6 v z; c@9 v new; d@4 v g+f 20; f@4 v i; g@2 v j 20"},
		{"between operands", 6, Rules{Operator: plus{}}, "a@2 v y; b@6 v z; c@3 v e+d; d@4 v g+f 20; e@2 v h; f@4 v i; g@2 v j 20"},
		{"under a tombstone", 5, Rules{Operator: plus{}}, "a@2 v y; c@3 v e+d; d@4 v g+f 20; e@2 v h; f@4 v i; g@2 v j 20"},
		{"before expiry", 9, now(19), "a@7 v y+x; b@6 v z; c@9 v new; d@4 v g+f 20; f@4 v i; g@2 v j 20"},
		{"at expiry", 9, now(20), "a@7 v y+x; b@6 v z; c@9 v new; d@3 v g 30; f@4 v i"},
		{"after all expiries", 9, now(30), "a@7 v y+x; b@6 v z; c@9 v new; f@4 v i"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Split(in, "; ")
			got := texts(t, Visible(&rows{text: text}, c.seq, false, c.rules))
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("forward\n %s\nwant\n %s", s, c.want)
			}
			slices.Reverse(text)
			got = texts(t, Visible(&rows{text: text}, c.seq, true, c.rules))
			slices.Reverse(got)
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("reverse\n %s\nwant\n %s", s, c.want)
			}
		})
	}
}

// Any number of operands folds in order, with results far fewer than operands
// held back.
func TestFoldInBatches(t *testing.T) {
	for _, n := range []int{1, 99, 100, 101, 9_999, 10_000, 10_001, 23_456} {
		var want []string
		for i := range n {
			want = append(want, strconv.Itoa(i))
		}
		for _, oldestFirst := range []bool{true, false} {
			var f Fold
			f.Reset(plus{}, oldestFirst)
			held := 0
			for i := range n {
				if !oldestFirst {
					i = n - 1 - i
				}
				err := f.Add(&format.Row{Key: []byte("k"), Seq: uint64(i), Value: []byte(want[i])})
				if err != nil {
					t.Fatal(err)
				}
				now := 0
				for _, l := range f.levels {
					now += len(l)
				}
				held = max(held, now)
			}
			r, err := f.Value(nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Value) != strings.Join(want, "+") || r.Seq != uint64(n-1) {
				t.Errorf("%d operands, oldest first %v: folded out of order", n, oldestFirst)
			}
			if held > 3*foldBatch {
				t.Errorf("%d of %d operands were held", held, n)
			}
		}
	}
}
