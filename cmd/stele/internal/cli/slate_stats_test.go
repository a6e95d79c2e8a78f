package cli

import (
	"bytes"
	"testing"

	"github.com/stele-db/stele/slate"
)

func sst(first, last string) slate.SSTShape {
	return slate.SSTShape{SSTInfo: slate.SSTInfo{FirstKey: []byte(first), LastKey: []byte(last)}}
}

func TestShapePicture(t *testing.T) {
	run := func(id uint32) *uint32 { return &id }
	level := func(id *uint32, bytes uint64, rows slate.RowCounts, tables ...slate.SSTShape) slate.LevelShape {
		l := slate.LevelShape{Run: id, Tables: tables, LevelSum: slate.LevelSum{
			SSTs: len(tables), Filters: len(tables), Bytes: bytes, FilterBytes: rows.All() * 5 / 4, Rows: rows,
		}}
		l.FirstKey, l.LastKey = tables[0].FirstKey, tables[len(tables)-1].LastKey
		return l
	}
	l0 := level(nil, 1_234_567, slate.RowCounts{Values: 9000, Tombstones: 1200, Operands: 7}, sst("b", "f"), sst("c", "d"))
	l0.LastKey, l0.Filters = []byte("f"), 1
	young := level(run(3), 12_000_000, slate.RowCounts{Values: 100_000}, sst("a", "h"))
	young.Uncounted = 1
	oldest := level(run(0), 80_000_000, slate.RowCounts{Values: 1_000_000}, sst("a", "c\x00"), sst("d", "m"), sst("n", "z"))
	tiny := level(run(7), 1, slate.RowCounts{Tombstones: 1}, sst("k", "k"))
	tiny.Segment = []byte("x/")
	for _, c := range []struct {
		name  string
		shape slate.Shape
		want  string
	}{
		{"empty", slate.Shape{Manifest: 1, Levels: []slate.LevelShape{{}}, Objects: slate.ShapeObjects{Log: slate.ObjectSum{Objects: 1, Bytes: 114}}}, `
manifest 1: 0 SSTs, 0 bytes, 0 rows

level  SSTs     size    rows  deletes  merges  filter  first key  last key
L0        0  0 bytes       0        0       0

log          1 object (114 bytes) to replay
checkpoints  none
garbage      0 SSTs (0 bytes) that no manifest needs, 0 log objects (0 bytes) from before the replay point
bucket       1 object (114 bytes)

space        no sorted run to compare with
get          0 SSTs at most, without the help of filters
scan         merges 0 sorted sequences
`},
		{"levels", slate.Shape{
			Manifest: 42, Levels: []slate.LevelShape{l0, young, oldest, tiny},
			Total: slate.LevelSum{SSTs: 7, Bytes: 93_234_568, Rows: slate.RowCounts{Values: 1_110_208}, Uncounted: 1},
			Objects: slate.ShapeObjects{
				Tree: slate.ObjectSum{Objects: 7, Bytes: 93_300_000}, Pinned: slate.ObjectSum{Objects: 2, Bytes: 9_000_000},
				Unnamed: slate.ObjectSum{Objects: 1, Bytes: 4_000_000}, Log: slate.ObjectSum{Objects: 3, Bytes: 12_345}, OldLog: slate.ObjectSum{Objects: 2, Bytes: 228},
			},
			Checkpoints:   make([]slate.CheckpointInfo, 2),
			Amplification: slate.Amplification{Space: 1.165, Bucket: 1.329, Get: 4, Scan: 5},
		}, `
manifest 42: 7 SSTs, 93.2 MB, ≥ 1,110,208 rows

level     SSTs     size                                       rows  deletes  merges         filter  first key  last key
L0           2   1.2 MB  ▍                                  10,207    1,200       7         1 of 2  b          f
run 3        1  12.0 MB  ████▌                           ≥ 100,000        0       0       125.0 kB  a          h
run 0        3  80.0 MB  ██████████████████████████████  1,000,000        0       0  10.0 bits/row  a          z
x/ run 7     1   1 byte  ▏                                       1        1       0   8.0 bits/row  k          k

keys, from the first to the last
L0        ······111112222222222222222211111···························
run 3     ███████████████████████████████████████·····················
run 0     ██████████████████████▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓██████████
x/ run 7  ·······································█████················

log          3 objects (12.3 kB) to replay
checkpoints  2, keep 2 SSTs (9.0 MB) that the tree does without
garbage      1 SST (4.0 MB) that no manifest needs, 2 log objects (228 bytes) from before the replay point
bucket       15 objects (106.3 MB)

space        1.17 times the oldest run (1.33 with all that is in the bucket)
get          4 SSTs at most, without the help of filters
scan         merges 5 sorted sequences
`},
	} {
		var out bytes.Buffer
		if err := printShape(&out, &out, &c.shape); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != c.want[1:] {
			t.Errorf("%s:\n%swant\n%s", c.name, got, c.want[1:])
		}
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		value, largest uint64
		want           string
	}{
		{0, 0, ""},
		{0, 100, ""},
		{1, 1 << 62, "▏"},
		{1, 60, "▌"},
		{1 << 62, 1 << 62, "██████████████████████████████"},
	} {
		if got := bar(c.value, c.largest); got != c.want {
			t.Errorf("bar(%d, %d) is %q, want %q", c.value, c.largest, got, c.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 12345678: "12,345,678"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
