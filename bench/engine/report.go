package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// report is all that a run found.
type report struct {
	Machine machine   `json:"machine"`
	Rows    uint64    `json:"rows"`
	Rounds  int       `json:"rounds"`
	Time    string    `json:"time"`
	Engines []setting `json:"engines"`
	Medians medians   `json:"medians"` // by engine, workload and value
	Samples []sample  `json:"samples"`

	engines []string
}

type setting struct {
	Name     string `json:"name"`
	Settings string `json:"settings"`
}

type medians map[string]map[string]map[string]float64

func mediansOf(samples []sample) medians {
	type place struct{ engine, workload, value string }
	all := map[place][]float64{}
	for _, s := range samples {
		for value, x := range s.Values {
			p := place{s.Engine, s.Workload, value}
			all[p] = append(all[p], x)
		}
	}
	m := medians{}
	for p, xs := range all {
		if m[p.engine] == nil {
			m[p.engine] = map[string]map[string]float64{}
		}
		if m[p.engine][p.workload] == nil {
			m[p.engine][p.workload] = map[string]float64{}
		}
		slices.Sort(xs)
		m[p.engine][p.workload][p.value] = (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
	}
	return m
}

// peer is the engine to which the others are compared.
const peer = "pebble"

// row is a line of a table: a label and where its figures are.
type row struct{ label, workload, value string }

// print writes the report as Markdown tables that line up as plain text too.
func (r *report) print(w io.Writer) error {
	p := printer{w: w, r: r}
	m := r.Machine
	p.line("%d rows of 20 + 100 bytes; medians of %d rounds, %s per timed workload.", r.Rows, r.Rounds, r.Time)
	p.line("%s: %s, %d CPUs, GOMAXPROCS %d, %s memory, %s, %s.", m.Day, m.CPU, m.CPUs, m.GOMAXPROCS, m.Memory, m.System, m.Go)
	p.line("")
	for _, e := range r.Engines {
		p.line("- %s: %s", e.Name, e.Settings)
	}
	p.table("Processor time of the whole process, us per operation (ratio to "+peer+": below 1 is less)", true, r.engines, forAll(cpuTime))
	wall := forAll(wallTime)
	for _, load := range []string{loadOrdered, loadRandom} {
		i := slices.IndexFunc(wall, func(w row) bool { return w.workload == load })
		wall = slices.Insert(wall, i+1, row{"... and flushed", load, flushed})
	}
	p.table("Wall-clock time, us per operation (ratio to "+peer+")", true, r.engines, wall)
	var tails []row
	for _, t := range []string{put1, put16, putSynced, scanPrefix, getHit1, getHit16, getMiss1, getMiss16, getBeside} {
		tails = append(tails, row{t + ", p50", t, median}, row{t + ", p99", t, slowest})
	}
	p.table("Latency, us (ratio to "+peer+")", true, r.engines, append(tails, row{"rows/s that the writer beside had, of 10,000 asked", getBeside, beside}))
	p.table("Allocations per operation", false, r.engines, forAll(allocs))
	p.table("Bytes allocated per operation", false, r.engines, forAll(heap))
	var ours []string
	for _, e := range r.engines {
		if strings.HasPrefix(e, "stele") {
			ours = append(ours, e)
		}
	}
	var asked []row
	for _, a := range forAll(puts) {
		asked = append(asked, row{a.label + ": writes", a.workload, puts}, row{a.label + ": reads", a.workload, gets})
	}
	p.table("Requests to the bucket per operation", false, ours, asked)
	p.table("Memory and disk, MiB (ratio to "+peer+")", true, r.engines, []row{
		{"peak resident memory, load in order", loadOrdered, peak}, {"peak resident memory, load in random order", loadRandom, peak},
		{"peak resident memory, scans and gets", reading, peak},
		{"disk after the load in order", loadOrdered, disk}, {"disk after the load in random order", loadRandom, disk},
	})
	p.table("The same loop beside each engine, us: how quiet the machine was", false, r.engines, []row{
		{"processor", calibration, cpuTime}, {"wall clock", calibration, wallTime},
	})
	return p.err
}

// forAll is a line for every workload.
func forAll(value string) (rows []row) {
	for _, g := range groups {
		for _, w := range g.workloads {
			rows = append(rows, row{w, w, value})
		}
	}
	return rows
}

type printer struct {
	w   io.Writer
	r   *report
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// table prints those of the rows of which anything is known.
func (p *printer) table(title string, ratios bool, engines []string, rows []row) {
	cells := [][]string{append([]string{"workload"}, engines...)}
	for _, w := range rows {
		line, known := []string{w.label}, false
		base, has := p.r.Medians[peer][w.workload][w.value]
		for _, e := range engines {
			x, ok := p.r.Medians[e][w.workload][w.value]
			known = known || ok
			switch {
			case !ok:
				line = append(line, "-")
			case ratios && has && base > 0 && e != peer:
				line = append(line, fmt.Sprintf("%s (%s)", digits(x), digits(x/base)))
			default:
				line = append(line, digits(x))
			}
		}
		if known {
			cells = append(cells, line)
		}
	}
	if len(cells) == 1 || len(engines) == 0 {
		return
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			widths[i] = max(widths[i], len(c))
		}
	}
	p.line("\n### %s\n", title)
	for n, line := range cells {
		out := fmt.Sprintf("| %-*s |", widths[0], line[0])
		for i, c := range line[1:] {
			out += fmt.Sprintf(" %*s |", widths[i+1], c)
		}
		p.line("%s", out)
		if n == 0 {
			out = "|" + strings.Repeat("-", widths[0]+2) + "|"
			for _, width := range widths[1:] {
				out += strings.Repeat("-", width+1) + ":|"
			}
			p.line("%s", out)
		}
	}
}

// digits writes a number with about three digits that count.
func digits(x float64) string {
	if x == 0 {
		return "0"
	}
	places := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	return fmt.Sprintf("%.*f", min(max(places, 0), 6), x)
}
