package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

type slateStatsCmd struct {
	dbFlag
	walFlag
	JSON bool `name:"json" help:"Print one line of JSON, with every SST."`
}

// Help is shown by --help.
func (*slateStatsCmd) Help() string {
	return `A picture of the tree: L0, whose SSTs may overlap, and the sorted runs, newest first. It changes nothing and works beside a writer.

Below the levels is where they lie: each column is a key at which an SST begins or ends. The digit of L0 is how many of its SSTs hold that key; the shade of a run changes from one SST to the next.

Amplification is what the shape costs. Space: the bytes of all levels over those of the oldest run, which is what a full compaction would leave if all that is newer replaced something in it; in brackets the same for all SSTs and log objects in the bucket. Get: the SSTs that a get looks into if no filter helps, the most whose keys overlap. Scan: the sorted sequences that a scan merges. How many bytes were written for each that was put is known to the writer alone (slate.DB.Stats).

Examples:
  stele slate stats --db file://./data
  stele slate stats --db s3://bucket/app --json`
}

// Run prints the shape.
func (c *slateStatsCmd) Run(e *env) error {
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		return c.withLog(e, func(log bucket.Bucket, logPath string) error {
			s, err := slate.ReadShape(e.ctx, path, b, slate.ShapeOptions{WALBucket: log, WALPath: logPath})
			if err != nil {
				return err
			}
			return e.buffered(func(w *bufio.Writer) error {
				if c.JSON {
					return writeJSON(w, s)
				}
				return printShape(w, e.stdout, s)
			})
		})
	})
}

// printShape draws the shape for people; stdout is where w ends up.
func printShape(w, stdout io.Writer, s *slate.Shape) error {
	if _, err := fmt.Fprintf(w, "manifest %d: %s, %s, %s\n\n", s.Manifest, count(s.Total.SSTs, "SST"), byteSize(s.Total.Bytes), rowsText(s.Total)); err != nil {
		return err
	}
	if err := printLevels(w, stdout, s); err != nil {
		return err
	}
	if _, err := io.WriteString(w, keyMap(s.Levels)+"\n"); err != nil {
		return err
	}
	return printCosts(w, stdout, s)
}

// barWidth is the length of the longest bar.
const barWidth = 30

func printLevels(w, stdout io.Writer, s *slate.Shape) error {
	g := newGrid(w, stdout, "level", "SSTs", "size", "", "rows", "deletes", "merges", "filter", "first key", "last key")
	g.right = []int{2, 3, 5, 6, 7, 8}
	var largest uint64
	for i := range s.Levels {
		largest = max(largest, s.Levels[i].Bytes)
	}
	for i := range s.Levels {
		l := &s.Levels[i]
		if err := g.add(levelName(l), grouped(l.SSTs), byteSize(l.Bytes), bar(l.Bytes, largest), rowsNumber(l.LevelSum),
			grouped(l.Rows.Tombstones), grouped(l.Rows.Operands), filterText(l.LevelSum), shortKey(l.FirstKey), shortKey(l.LastKey)); err != nil {
			return err
		}
	}
	return g.flush()
}

func levelName(l *slate.LevelShape) string {
	name := "L0"
	if l.Run != nil {
		name = fmt.Sprintf("run %d", *l.Run)
	}
	if len(l.Segment) > 0 {
		name = shortKey(l.Segment) + " " + name
	}
	return name
}

// bar is value beside the largest, to an eighth of a character. Only nothing
// has no bar.
func bar(value, largest uint64) string {
	if value == 0 {
		return ""
	}
	eighths := max(1, int(float64(value)/float64(largest)*barWidth*8))
	b := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		b += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return b
}

func rowsNumber(s slate.LevelSum) string {
	if s.Uncounted > 0 {
		return "≥ " + grouped(s.Rows.All())
	}
	return grouped(s.Rows.All())
}

func rowsText(s slate.LevelSum) string {
	if s.Rows.All() == 1 && s.Uncounted == 0 {
		return "1 row"
	}
	return rowsNumber(s) + " rows"
}

// filterText is what the filters spend on a row, or how many there are if some
// SSTs have none.
func filterText(s slate.LevelSum) string {
	switch rows := s.Rows.All(); {
	case s.SSTs == 0:
		return ""
	case s.Filters == 0:
		return "none"
	case s.Filters < s.SSTs:
		return fmt.Sprintf("%d of %d", s.Filters, s.SSTs)
	case s.Uncounted > 0 || rows == 0:
		return byteSize(s.FilterBytes)
	default:
		return fmt.Sprintf("%.1f bits/row", 8*float64(s.FilterBytes)/float64(rows))
	}
}

// mapWidth is the number of places at which a map of the keys looks.
const mapWidth = 60

// keyMap draws which keys each level covers, from the first key to the last.
// Keys lie closer to each other where more SSTs begin and end. Of L0 it says how
// many SSTs overlap, of a run the shade changes from one SST to the next. There
// is no map of fewer than two SSTs.
func keyMap(levels []slate.LevelShape) string {
	var keys [][]byte
	name, ssts := 0, 0
	for i := range levels {
		name = max(name, len([]rune(levelName(&levels[i]))))
		ssts += levels[i].SSTs
		for _, t := range levels[i].Tables {
			keys = append(keys, t.FirstKey, t.LastKey)
		}
	}
	if ssts < 2 {
		return ""
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	var b strings.Builder
	b.WriteString("\nkeys, from the first to the last\n")
	for i := range levels {
		fmt.Fprintf(&b, "%-*s  ", name, printable(levelName(&levels[i])))
		for at := range mapWidth {
			b.WriteRune(covers(&levels[i], keys[at*len(keys)/mapWidth]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// covers is the sign for what a level has at a key.
func covers(l *slate.LevelShape, key []byte) rune {
	n, last := 0, 0
	for i, t := range l.Tables {
		if bytes.Compare(t.FirstKey, key) <= 0 && (t.LastKey == nil || bytes.Compare(key, t.LastKey) <= 0) {
			n, last = n+1, i
		}
	}
	switch {
	case n == 0:
		return '·'
	case l.Run != nil:
		return []rune("█▓")[last%2]
	case n < 10:
		return rune('0' + n)
	}
	return '+'
}

func printCosts(w, stdout io.Writer, s *slate.Shape) error {
	g := newGrid(w, stdout)
	o, a := &s.Objects, &s.Amplification
	all := o.All()
	lines := [][2]string{
		{"log", fmt.Sprintf("%s to replay", sumText(o.Log, "object"))},
		{"checkpoints", checkpointsText(s)},
		{"garbage", fmt.Sprintf("%s that no manifest needs, %s from before the replay point", sumText(o.Unnamed, "SST"), sumText(o.OldLog, "log object"))},
		{"bucket", sumText(all, "object")},
		{"", ""},
		{"space", spaceText(a)},
		{"get", fmt.Sprintf("%s at most, without the help of filters", count(a.Get, "SST"))},
		{"scan", fmt.Sprintf("merges %s", count(a.Scan, "sorted sequence"))},
	}
	for _, l := range lines {
		if err := g.add(l[0], l[1]); err != nil {
			return err
		}
	}
	return g.flush()
}

func sumText(s slate.ObjectSum, noun string) string {
	return fmt.Sprintf("%s (%s)", count(s.Objects, noun), byteSize(s.Bytes))
}

func checkpointsText(s *slate.Shape) string {
	if len(s.Checkpoints) == 0 {
		return "none"
	}
	verb := "keep"
	if len(s.Checkpoints) == 1 {
		verb = "keeps"
	}
	return fmt.Sprintf("%d, %s %s that the tree does without", len(s.Checkpoints), verb, sumText(s.Objects.Pinned, "SST"))
}

func spaceText(a *slate.Amplification) string {
	if a.Space == 0 {
		return "no sorted run to compare with"
	}
	return fmt.Sprintf("%.2f times the oldest run (%.2f with all that is in the bucket)", a.Space, a.Bucket)
}

// grouped is a number with a comma before every third digit from the right.
func grouped[N int | uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
