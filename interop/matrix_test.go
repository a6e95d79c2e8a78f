package interop

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// The two halves of the matrix.
const (
	theirTurn  = iota // SlateDB works on what Stele wrote
	ourTurn           // Stele works on what SlateDB wrote
	eitherTurn        // of what 0.12.1 has in neither half, see sinceThen
)

// rows of the matrix, in the order in which it is printed. A row whose tests
// did not run shows as such.
var rows = []string{
	"all rows in the log, after a crash",
	"three L0 SSTs and a log, after a crash",
	"everything compacted, closed",
	"a run, an L0 SST and a log, after a crash",
	"three runs, an L0 SST and a log, after a crash",
	"a clean close",
	"every key deleted, a run without SSTs, one row in the log",
	"keys and values at the limits",
	"keys beyond 65,535 bytes",
	"merges over log, L0 and run",
	"expired rows are seen until a flush",
	"a flush writes the same rows",
	"a compaction writes the same rows",
	"the log, row by row",
	"the log in another bucket",
	"Stele writes without a log",
	"prefix filters",
	"composite filters",
	"a block transformer",
	"segments",
	"a clone",
	"every field of a manifest survives",
	"the compactors take turns",
	"a compaction that the other left is settled",
	"fencing",
	"taking turns as the writer",
	"takeovers under load",
	"a killed writer",
	"a reader that follows",
	"a checkpoint, opened by the other",
	"garbage collection beside reader and writer",
	"tables and their indexes",
	"in an S3 store",
	"the other's own tools",
}

// explained are the cells that nothing can fill, and why.
var explained = map[string][2]string{
	"keys beyond 65,535 bytes":          {theirTurn: "Stele refuses them, for earlier versions do"},
	"composite filters":                 {theirTurn: "Stele writes legacy filters, which every version reads"},
	"segments":                          {theirTurn: "Stele writes none"},
	"a clone":                           {theirTurn: "Stele makes none"},
	"a killed writer":                   {theirTurn: "in the rows 'after a crash'"},
	"a reader that follows":             {ourTurn: "Stele's reader is one fixed view"},
	"a checkpoint, opened by the other": {ourTurn: "Stele's reader opens the latest state only"},
	"tables and their indexes":          {ourTurn: "SlateDB knows no tables"},
	"the other's own tools":             {ourTurn: "in 'the log, row by row'"},
}

// sinceThen are the cells of what SlateDB 0.12.1 does not have.
var sinceThen = map[string]int{
	"keys beyond 65,535 bytes": ourTurn,
	"composite filters":        ourTurn,
	"a block transformer":      eitherTurn,
	"segments":                 ourTurn,
	"a clone":                  ourTurn,
	"a compaction that the other left is settled": ourTurn,
	"the other's own tools":                       theirTurn,
}

// why explains an empty cell; "" if it should not be empty.
func why(row string, half int) string {
	if h, ok := sinceThen[row]; ok && (h == half || h == eitherTurn) && !latest {
		return "only the newest SlateDB has it"
	}
	return explained[row][half]
}

var matrix struct {
	sync.Mutex
	cells map[string]*[2][]string
	count map[string]int
}

// cell makes the test one of the matrix: variant ends up in the row's half if
// the test passes, marked if it fails.
func cell(t *testing.T, row string, half int, variant string) {
	t.Helper()
	if !slices.Contains(rows, row) {
		t.Fatalf("the matrix has no row %q", row)
	}
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		matrix.Lock()
		defer matrix.Unlock()
		if matrix.cells == nil {
			matrix.cells, matrix.count = map[string]*[2][]string{}, map[string]int{}
		}
		if matrix.cells[row] == nil {
			matrix.cells[row] = &[2][]string{}
		}
		result := "green"
		if t.Failed() {
			result, variant = "red", "FAIL: "+variant
		}
		matrix.count[result]++
		c := &matrix.cells[row][half]
		*c = append(*c, variant)
	})
}

// TestMain runs the tests and prints the matrix that they filled.
func TestMain(m *testing.M) {
	began := time.Now()
	var err error
	if root, err = os.MkdirTemp("", "stele-interop-"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	if err := os.RemoveAll(root); err != nil {
		log.Print(err)
		code = 1
	}
	if len(matrix.cells) > 0 && !printMatrix(time.Since(began)) && flag.Lookup("test.run").Value.String() == "" {
		fmt.Println("FAIL: a cell of the matrix is empty without a reason")
		code = 1
	}
	os.Exit(code)
}

// printMatrix reports whether every cell is filled or explained.
func printMatrix(took time.Duration) bool {
	full := true
	var table [][3]string
	width := [3]int{}
	for _, r := range rows {
		line := [3]string{r}
		for half := range 2 {
			var got []string
			if c := matrix.cells[r]; c != nil {
				got = c[half]
			}
			slices.Sort(got)
			text := strings.Join(got, ", ")
			if text == "" {
				full = full && why(r, half) != ""
				text = "(" + cmp.Or(why(r, half), "nothing ran") + ")"
				matrix.count["explained"]++
			}
			line[half+1] = text
		}
		table = append(table, line)
	}
	engine := "SlateDB " + version
	head := [3]string{"", engine + " on what Stele wrote", "Stele on what " + engine + " wrote"}
	table = append([][3]string{head}, table...)
	for _, l := range table {
		for i := range l {
			width[i] = max(width[i], utf8.RuneCountInString(l[i]))
		}
	}
	for i, l := range table {
		fmt.Printf("| %-*s | %-*s | %-*s |\n", width[0], l[0], width[1], l[1], width[2], l[2])
		if i == 0 {
			fmt.Println("| --- | --- | --- |")
		}
	}
	fmt.Printf("%d cells green, %d red, %d explained; %s, %.0f s\n",
		matrix.count["green"], matrix.count["red"], matrix.count["explained"], engine, took.Seconds())
	return full
}
