package interop

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stele-db/stele/slate"
)

// mask is the block transformer of latest.py.
type mask byte

func (f form) transformer() slate.BlockTransformer {
	if f.mask == 0 {
		return nil
	}
	return mask(f.mask)
}

func (k mask) Encode(block []byte) ([]byte, error) {
	out := append(make([]byte, 0, 1+len(block)), byte(k))
	for _, c := range block {
		out = append(out, c^byte(k))
	}
	return out, nil
}

func (k mask) Decode(block []byte) ([]byte, error) {
	if !bytes.HasPrefix(block, []byte{byte(k)}) {
		return nil, errors.New("block of another key")
	}
	out := make([]byte, len(block)-1)
	for i, c := range block[1:] {
		out[i] = c ^ byte(k)
	}
	return out, nil
}

// What one engine writes through a block transformer the other reads, goes on
// with, and compacts, in every codec: log, fences, L0 and runs, with filters,
// indexes and statistics. Another transformer is refused by both.
func TestBlockTransformer(t *testing.T) {
	onlyLatest(t)
	n := startSlateDB(t)
	rounds := workload(61, 2)
	for i, f := range forms {
		f.mask = byte(7 + i)
		next := forms[(i+1)%len(forms)]
		next.mask = f.mask
		stele := func(t *testing.T, dir string, f form) writer { return newSteleWriter(t, dir, f) }
		slatedb := func(t *testing.T, dir string, f form) writer { return newSlateDBWriter(t, n, dir, f) }
		for half, make := range [][2]func(*testing.T, string, form) writer{theirTurn: {stele, slatedb}, ourTurn: {slatedb, stele}} {
			t.Run([]string{"Stele's ", "SlateDB's "}[half]+f.codec.String(), func(t *testing.T) {
				cell(t, "a block transformer", half, f.codec.String())
				dir := newDir(t)
				both := func(m model) {
					t.Helper()
					b, path := open(t, dir)
					r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{MergeOperator: operator, BlockTransformer: mask(f.mask)})
					must(t, err)
					check(t, ours{r}, m)
					must(t, r.Close())
					reading(t, n, dir, command{Mask: f.mask}, func(r engine) { check(t, r, m) })
				}
				w := make[0](t, dir, f)
				m := layered(t, w)
				both(m)
				w.crash(t)

				b, path := open(t, dir)
				if _, err := slate.Open(t.Context(), path, b, forms[i].steleOptions()); !errors.Is(err, slate.ErrCorrupt) {
					t.Errorf("Stele without a transformer: %v", err)
				}
				other := next
				other.mask++
				if _, err := slate.Open(t.Context(), path, b, other.steleOptions()); !errors.Is(err, slate.ErrTransform) {
					t.Errorf("Stele with another: %v", err)
				}
				if _, err := n.try(t, command{Op: "reader", DB: "reading", URL: url(dir), Mask: other.mask}, nil); err == nil {
					t.Error("SlateDB reads with another transformer")
				}

				w = make[1](t, dir, next)
				check(t, w, m)
				put(t, w, m, rounds[0])
				w.flushMemtable(t)
				put(t, w, m, rounds[1])
				w.flush(t)
				both(m)
				w.compact(t)
				both(m)
				w.close(t)
				w = make[0](t, dir, f)
				check(t, w, m)
				w.compact(t)
				w.close(t)
				both(m)
			})
		}
	}
}
