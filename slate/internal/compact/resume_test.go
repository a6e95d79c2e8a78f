package compact

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// Of what another attempt has recorded, SSTs stay from the beginning on, up to
// the last that ends with all that is needed of its last key.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name    string
		ssts    []string // rows as key@seq and kind; "gone": not in the bucket
		stay    int
		minimum uint64
	}{
		{"nothing", nil, 0, 9},
		{"whole", []string{"a@1v b@2v", "c@1v"}, 2, 9},
		{"a tombstone ends a key", []string{"a@1v b@3v b@2t"}, 1, 9},
		{"the last version is one that a reader looks behind", []string{"a@1v", "b@9v b@8v"}, 1, 7},
		{"the last version is an operand", []string{"a@1v", "b@2m"}, 1, 9},
		{"none is complete", []string{"a@1m", "b@2m"}, 0, 9},
		{"a key goes on in the next", []string{"a@1v", "b@9v", "b@2v c@1v"}, 1, 5},
		{"what goes on is not needed any more", []string{"a@1v", "b@9v", "b@2v c@1v"}, 2, 9},
		{"one is gone", []string{"a@1v", "gone b@1v", "c@1v"}, 1, 9},
		{"the first is gone", []string{"gone a@1v", "b@1v"}, 0, 9},
	} {
		j := &Job{
			Bucket: bucket.NewInMemBucket(), Root: layout.NewRoot("db"),
			SST: sst.WriterOptions{BlockSize: 1 << 10}, Policy: merge.Policy{MinSeq: c.minimum},
		}
		j.Key = j.Root.SST
		var output []format.SST
		for i, rows := range c.ssts {
			output = append(output, written(t, j, byte(i), rows))
		}
		got, err := j.Resume(t.Context(), output)
		if err != nil || len(got) != c.stay {
			t.Errorf("%s: %d stay, %v; want %d", c.name, len(got), err, c.stay)
		}
	}
}

func written(t *testing.T, j *Job, id byte, rows string) format.SST {
	t.Helper()
	rows, gone := strings.CutPrefix(rows, "gone ")
	w := sst.NewWriter(j.SST)
	for r := range strings.FieldsSeq(rows) {
		var key, kind string
		var seq uint64
		if _, err := fmt.Sscanf(strings.Replace(r, "@", " ", 1), "%s %d%s", &key, &seq, &kind); err != nil {
			t.Fatal(err)
		}
		row := &format.Row{Key: []byte(key), Seq: seq, Kind: map[string]format.Kind{"v": format.Value, "t": format.Tombstone, "m": format.Merge}[kind]}
		if err := w.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := WriteSST(t.Context(), j.Bucket, j.Root, w, func() (format.ULID, error) { return format.ULID{15: id}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if gone {
		if err := j.Bucket.Delete(context.Background(), j.Root.SST(out.ID)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Ranges follow each other without a gap, in order, and each but the last has
// enough to do.
func TestDivide(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var samples []sample
		var total int64
		for range rnd.IntN(30) {
			s := sample{fmt.Appendf(nil, "%02d", rnd.IntN(40)), rnd.Int64N(100)}
			samples = append(samples, s)
			total += s.bytes
		}
		from := fmt.Appendf(nil, "%02d", rnd.IntN(40))
		if rnd.IntN(2) == 0 {
			from = nil
		}
		limit := 1 + rnd.Int64N(300)
		ranges := divide(samples, from, limit)
		if !bytes.Equal(ranges[0].lower, from) || ranges[len(ranges)-1].upper != nil {
			t.Fatalf("%v is not all from %q on", ranges, from)
		}
		for i, r := range ranges {
			total -= r.bytes
			if i == len(ranges)-1 {
				break
			}
			if !bytes.Equal(r.upper, ranges[i+1].lower) || bytes.Compare(r.lower, r.upper) >= 0 || r.bytes < limit {
				t.Fatalf("range %d of %v, limit %d", i, ranges, limit)
			}
		}
		if total != 0 {
			t.Fatalf("%d bytes are in no range", total)
		}
	}
}

// Older runs are asked for keys in ascending order, and say yes where an SST of
// theirs may hold the key.
func TestCover(t *testing.T) {
	between := func(first, last string) format.SST {
		return format.SST{Info: format.SSTInfo{FirstKey: []byte(first), LastKey: []byte(last), HasLast: true}}
	}
	c := cover{levels: [][]format.SST{{between("b", "d"), between("f", "f")}, {between("m", "p")}}}
	got := ""
	for k := 'a'; k <= 'r'; k++ {
		if c.any([]byte(string(k))) {
			got += string(k)
		}
	}
	if got != "bcdfmnop" {
		t.Errorf("covered: %s", got)
	}
}
