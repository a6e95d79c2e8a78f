package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests' binary be the process of a turn.
func TestMain(m *testing.M) {
	if turn := os.Getenv(turnVariable); turn != "" {
		os.Exit(runTurn(turn, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// Every engine goes through every workload with few rows: each of them checks
// what comes back.
func TestAllEngines(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	args := []string{"-engines", strings.Join(names(), ","), "-n", "2345", "-rounds", "1", "-time", "10ms", "-pause", "0", "-dir", dir, "-json"}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for _, name := range names() {
		for _, g := range groups {
			for _, w := range g.workloads {
				if v := r.Medians[name][w]; v[cpuTime] < 0 || v[wallTime] <= 0 {
					t.Errorf("%s, %s: %v", name, w, v)
				}
			}
		}
		if v := r.Medians[name][loadRandom]; v[disk] <= 0 {
			t.Errorf("%s is nowhere on disk: %v", name, v)
		}
	}
	if v := r.Medians["stele"][putSynced]; v[puts] <= 0 {
		t.Errorf("no requests counted: %v", v)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// An engine that loses or mixes up rows is told.
func TestFaultsAreSeen(t *testing.T) {
	c := config{Engine: "bbolt", Rows: 1000, Time: time.Millisecond, Dir: t.TempDir(), Workloads: []string{"scan"}}
	tu := &turn{config: c, engine: engines[slices.Index(names(), "bbolt")], emit: func(sample) error { return nil }}
	if err := tu.load("random", loadRandom, func(i uint64) uint64 { return i / 2 }); err != nil {
		t.Fatal(err)
	}
	if err := tu.reads(); err == nil {
		t.Error("half of the rows are missing, and nobody noticed")
	}
	if err := tu.close(); err != nil {
		t.Fatal(err)
	}
}

func TestTables(t *testing.T) {
	r := report{engines: []string{"stele", "pebble"}, Medians: mediansOf([]sample{
		{"stele", 0, getHit1, map[string]float64{cpuTime: 3}},
		{"stele", 1, getHit1, map[string]float64{cpuTime: 1}},
		{"stele", 2, getHit1, map[string]float64{cpuTime: 2}},
		{"pebble", 0, getHit1, map[string]float64{cpuTime: 4}},
	})}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := "| workload         |        stele | pebble |\n" +
		"|------------------|-------------:|-------:|\n" +
		"| get, 1 goroutine | 2.00 (0.500) |   4.00 |\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant in it\n%s", out.String(), want)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-engines", "x"}, {"-workloads", "x"}, {"-n", "0"}, {"-rounds", "0"}, {"x"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, says %q", args, code, errs.String())
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 500 * time.Microsecond}, {0.99, 990 * time.Microsecond}} {
		if got := h.quantile(q.q); got > q.want || got < q.want*15/16 {
			t.Errorf("quantile %v is %v, want %v less a sixteenth at most", q.q, got, q.want)
		}
	}
}
