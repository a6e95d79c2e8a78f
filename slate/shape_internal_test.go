package slate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/internal/format"
)

// someSST is an SST with a first and a last key and 100 bytes of data for each n.
func someSST(id byte, first, last string, n uint64) format.SST {
	ulid := format.ULID{0: 1, 15: id}
	return format.SST{ID: ulid, ViewID: ulid, Version: 2, Info: format.SSTInfo{
		FirstKey: []byte(first), LastKey: []byte(last), HasLast: true,
		FilterOffset: 100 * n, FilterLen: 10 * n, IndexOffset: 110 * n, IndexLen: 5, StatsOffset: 110*n + 5, StatsLen: 7,
	}}
}

// digest is a shape in a few lines.
func digest(s *Shape) string {
	var b strings.Builder
	sum := func(name string, s LevelSum, first, last []byte) {
		r := s.Rows
		fmt.Fprintf(&b, "%s: %d SSTs, %d bytes (%d+%d+%d), %d filters, rows %d+%d+%d in %d+%d bytes, %d uncounted %q..%q\n", name,
			s.SSTs, s.Bytes, s.DataBytes, s.FilterBytes, s.IndexBytes, s.Filters,
			r.Values, r.Tombstones, r.Operands, r.KeyBytes, r.ValueBytes, s.Uncounted, first, last)
	}
	fmt.Fprintf(&b, "manifest %d, replay after %d, seq %d\n", s.Manifest, s.ReplayAfterWAL, s.LastL0Seq)
	for _, l := range s.Levels {
		name := "L0"
		if l.Run != nil {
			name = fmt.Sprint("run ", *l.Run)
		}
		if l.Segment != nil {
			name = string(l.Segment) + " " + name
		}
		sum(name, l.LevelSum, l.FirstKey, l.LastKey)
	}
	sum("all", s.Total, nil, nil)
	a := s.Amplification
	fmt.Fprintf(&b, "space %.3f, bucket %.3f, get %d, scan %d\n", a.Space, a.Bucket, a.Get, a.Scan)
	return b.String()
}

func TestShape(t *testing.T) {
	rows := map[format.ULID]RowCounts{}
	counted := func(s format.SST, c RowCounts) format.SST {
		rows[s.ID] = c
		return s
	}
	noLast := someSST(9, "a", "", 1)
	noLast.Info.HasLast = false
	for _, c := range []struct {
		name    string
		m       format.Manifest
		objects *ShapeObjects
		want    string
	}{
		{"nothing", format.Manifest{}, &ShapeObjects{Log: ObjectSum{1, 114}}, `
manifest 7, replay after 0, seq 0
L0: 0 SSTs, 0 bytes (0+0+0), 0 filters, rows 0+0+0 in 0+0 bytes, 0 uncounted ""..""
all: 0 SSTs, 0 bytes (0+0+0), 0 filters, rows 0+0+0 in 0+0 bytes, 0 uncounted ""..""
space 0.000, bucket 0.000, get 0, scan 0
`},
		{"levels", format.Manifest{
			ReplayAfterWAL: 5, LastL0Seq: 44,
			L0: []format.SST{
				counted(someSST(1, "k", "p", 1), RowCounts{Values: 1, Tombstones: 2, Operands: 3, KeyBytes: 4, ValueBytes: 5}),
				someSST(2, "a", "k", 2),
			},
			Runs: []format.SortedRun{
				{ID: 4, SSTs: []format.SST{counted(someSST(3, "l", "m", 1), RowCounts{Values: 10, KeyBytes: 30, ValueBytes: 40})}},
				{ID: 1, SSTs: []format.SST{
					counted(someSST(4, "a", "j", 4), RowCounts{Values: 100, KeyBytes: 200, ValueBytes: 300}),
					counted(someSST(5, "ja", "m", 4), RowCounts{Values: 100, Operands: 1, KeyBytes: 200, ValueBytes: 300}),
				}},
			},
		}, &ShapeObjects{Tree: ObjectSum{5, 1400}, Pinned: ObjectSum{1, 100}, Unnamed: ObjectSum{1, 200}, Log: ObjectSum{1, 30}, OldLog: ObjectSum{2, 70}}, `
manifest 7, replay after 5, seq 44
L0: 2 SSTs, 354 bytes (300+30+10), 2 filters, rows 1+2+3 in 4+5 bytes, 1 uncounted "a".."p"
run 4: 1 SSTs, 122 bytes (100+10+5), 1 filters, rows 10+0+0 in 30+40 bytes, 0 uncounted "l".."m"
run 1: 2 SSTs, 904 bytes (800+80+10), 2 filters, rows 200+0+1 in 400+600 bytes, 0 uncounted "a".."m"
all: 5 SSTs, 1380 bytes (1200+120+25), 5 filters, rows 211+2+4 in 434+645 bytes, 1 uncounted ""..""
space 1.527, bucket 1.991, get 3, scan 4
`},
		{"an SST without a last key", format.Manifest{Runs: []format.SortedRun{{ID: 3, SSTs: []format.SST{noLast, someSST(6, "x", "z", 1)}}}}, nil, `
manifest 7, replay after 0, seq 0
L0: 0 SSTs, 0 bytes (0+0+0), 0 filters, rows 0+0+0 in 0+0 bytes, 0 uncounted ""..""
run 3: 2 SSTs, 244 bytes (200+20+10), 2 filters, rows 0+0+0 in 0+0 bytes, 2 uncounted "a"..""
all: 2 SSTs, 244 bytes (200+20+10), 2 filters, rows 0+0+0 in 0+0 bytes, 2 uncounted ""..""
space 1.000, bucket 0.000, get 1, scan 1
`},
		{"segments", format.Manifest{Segments: []format.Segment{
			{Prefix: []byte("s1"), L0: []format.SST{someSST(7, "s1a", "s1b", 1)}, Runs: []format.SortedRun{{ID: 2, SSTs: []format.SST{someSST(8, "s1a", "s1c", 9)}}}},
			{Prefix: []byte("s2"), L0: []format.SST{someSST(10, "s2a", "s2b", 1)}},
		}}, nil, `
manifest 7, replay after 0, seq 0
s1 L0: 1 SSTs, 122 bytes (100+10+5), 1 filters, rows 0+0+0 in 0+0 bytes, 1 uncounted "s1a".."s1b"
s1 run 2: 1 SSTs, 1002 bytes (900+90+5), 1 filters, rows 0+0+0 in 0+0 bytes, 1 uncounted "s1a".."s1c"
s2 L0: 1 SSTs, 122 bytes (100+10+5), 1 filters, rows 0+0+0 in 0+0 bytes, 1 uncounted "s2a".."s2b"
all: 3 SSTs, 1246 bytes (1100+110+15), 3 filters, rows 0+0+0 in 0+0 bytes, 3 uncounted ""..""
space 1.244, bucket 0.000, get 2, scan 3
`},
	} {
		if got := digest(newShape(7, &c.m, rows, c.objects)); got != c.want[1:] {
			t.Errorf("%s:\n%swant\n%s", c.name, got, c.want[1:])
		}
	}
}

// The deepest place is found by looking at every key.
func TestDeepestPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := func(label string) format.Bound {
			return format.Bound{
				Kind: rapid.SampledFrom([]format.BoundKind{format.Unbounded, format.Included, format.Excluded}).Draw(t, label),
				Key:  []byte{rapid.ByteRange('a', 'f').Draw(t, label+" key")},
			}
		}
		var s format.Segment
		for i := range rapid.IntRange(0, 8).Draw(t, "SSTs") {
			first := rapid.ByteRange('a', 'f').Draw(t, "first")
			last := rapid.ByteRange(first, 'f').Draw(t, "last")
			sst := someSST(byte(i), string(first), string(last), 1)
			if rapid.Bool().Draw(t, "projected") {
				visible := format.KeyRange{Start: bound("start"), End: bound("end")}
				if visible.Start.Kind == format.Unbounded {
					visible.Start.Key = nil
				}
				if visible.End.Kind == format.Unbounded {
					visible.End.Key = nil
				}
				sst.Visible = &visible
			}
			s.L0 = append(s.L0, sst)
		}
		want := 0
		for a := byte('a'); a <= 'f'; a++ { // every key of one byte, and one behind each
			for _, key := range [][]byte{{a}, {a, 0}} {
				n := 0
				for i := range s.L0 {
					if s.L0[i].Range().Contains(key) {
						n++
					}
				}
				want = max(want, n)
			}
		}
		if got := deepest(s); got != want {
			t.Fatalf("deepest is %d, want %d", got, want)
		}
	})
}

// A run without gaps is one deep, also where its SSTs do not say where they end.
func TestRunsAreOneDeep(t *testing.T) {
	run := format.SortedRun{}
	for i := range 5 {
		s := someSST(byte(i), string(rune('a'+2*i)), string(rune('b'+2*i)), 1)
		s.Info.HasLast = i%2 == 0
		run.SSTs = append(run.SSTs, s)
	}
	if got := deepest(format.Segment{Runs: []format.SortedRun{run, run}}); got != 2 {
		t.Errorf("two runs are %d deep", got)
	}
	if !bytes.Equal(run.SSTs[1].Info.FirstKey, []byte("c")) {
		t.Error("the manifest was changed")
	}
}
