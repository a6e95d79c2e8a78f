package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// turnVariable is the environment variable by which the command tells a process
// of its own what turn to run.
const turnVariable = "STELE_BENCH_TURN"

func main() {
	if turn := os.Getenv(turnVariable); turn != "" {
		os.Exit(runTurn(turn, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// runTurn runs one engine in this process and prints its samples.
func runTurn(turn string, stdout, stderr io.Writer) int {
	var c config
	err := json.Unmarshal([]byte(turn), &c)
	if err == nil {
		out := json.NewEncoder(stdout)
		err = c.run(func(s sample) error { return out.Encode(s) })
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// plan is what the command is asked for.
type plan struct {
	config
	engines []string
	rounds  int
	json    bool
}

// run is main with its streams; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "engine:", err)
		return 2
	}
	r, err := p.all(ctx, stderr)
	if err == nil && p.json {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "\t")
		err = out.Encode(r)
	} else if err == nil {
		err = r.print(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "engine:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (p plan, err error) {
	var engines, workloads []string
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := func(v *[]string, name, def, usage string) {
		*v = strings.Split(def, ",")
		flags.Func(name, usage+" (default "+def+")", func(s string) error {
			*v = strings.Split(s, ",")
			return nil
		})
	}
	list(&engines, "engines", defaultEngines, "comma-separated `names` of "+strings.Join(names(), ", "))
	list(&workloads, "workloads", strings.Join(groupNames(), ","), "comma-separated `groups` of "+strings.Join(groupNames(), ", "))
	flags.Uint64Var(&p.Rows, "n", 1_000_000, "`rows` in a store")
	flags.IntVar(&p.rounds, "rounds", 3, "`rounds`; the figures are their medians")
	flags.DurationVar(&p.Time, "time", 1200*time.Millisecond, "how long each workload runs that is not a load or scan")
	flags.DurationVar(&p.Pause, "pause", 2*time.Second, "wait after a load, for compactions")
	flags.StringVar(&p.Dir, "dir", "", "`folder` in which to make, and remove, the stores' own (default: the system's temporary one)")
	flags.StringVar(&p.Profile, "profile", "", "`folder` for profiles of the processor, by engine and workload")
	flags.BoolVar(&p.json, "json", false, "print every sample and its medians as JSON")
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	p.engines, p.Workloads = engines, workloads
	return p, p.check(flags.Args())
}

// check reports every fault at once.
func (p plan) check(rest []string) error {
	var faults []error
	for _, name := range p.engines {
		if _, err := engineNamed(name); err != nil {
			faults = append(faults, err)
		}
	}
	for _, name := range p.Workloads {
		if !slices.Contains(groupNames(), name) {
			faults = append(faults, fmt.Errorf("unknown workloads %q", name))
		}
	}
	if p.Rows == 0 || p.rounds <= 0 || p.Time <= 0 || p.Pause < 0 {
		faults = append(faults, errors.New("n, rounds and time must be positive"))
	}
	if len(rest) > 0 {
		faults = append(faults, fmt.Errorf("what is %q?", rest))
	}
	return errors.Join(faults...)
}

// all runs every turn.
func (p plan) all(ctx context.Context, stderr io.Writer) (*report, error) {
	if p.Profile != "" {
		dir, err := filepath.Abs(p.Profile)
		if err == nil {
			err = os.MkdirAll(dir, 0o777)
		}
		if err != nil {
			return nil, err
		}
		p.Profile = dir
	}
	r := &report{Machine: describe(), Rows: p.Rows, Rounds: p.rounds, Time: p.Time.String(), engines: p.engines}
	for _, name := range p.engines {
		e, _ := engineNamed(name)
		r.Engines = append(r.Engines, setting{e.name, e.settings})
	}
	bar := p.progress(stderr)
	defer bar.Clear() //nolint:errcheck // a bar that cannot be drawn harms nobody
	for round := range p.rounds {
		for _, name := range p.engines {
			err := p.turn(ctx, name, round, stderr, func(s sample) {
				r.Samples = append(r.Samples, s)
				bar.Describe(fmt.Sprintf("round %d of %d, %s: %s", round+1, p.rounds, s.Engine, s.Workload))
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			_ = bar.Add(1)
		}
	}
	r.Medians = mediansOf(r.Samples)
	return r, nil
}

// progress is a bar over the turns on a terminal, and nothing elsewhere.
func (p plan) progress(stderr io.Writer) *progressbar.ProgressBar {
	f, ok := stderr.(*os.File)
	seen := ok && term.IsTerminal(int(f.Fd()))
	return progressbar.NewOptions(p.rounds*len(p.engines), progressbar.OptionSetWriter(stderr), progressbar.OptionSetVisibility(seen),
		progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
}

// turn runs one engine once in a process of its own.
func (p plan) turn(ctx context.Context, name string, round int, stderr io.Writer, got func(sample)) (err error) {
	c := p.config
	c.Engine, c.Round = name, round
	if c.Dir, err = os.MkdirTemp(p.Dir, "stele-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.Dir)
	spec, err := json.Marshal(c)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), turnVariable+"="+string(spec))
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return errors.Join(fmt.Errorf("its process printed %q: %w", lines.Text(), err), cmd.Wait())
		}
		got(s)
	}
	return errors.Join(lines.Err(), cmd.Wait())
}

// machine is where the figures come from.
type machine struct {
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Memory     string `json:"memory"`
	System     string `json:"system"`
	Go         string `json:"go"`
	Day        string `json:"day"`
}

// describe tells what the system does; what it does not tell is empty.
func describe() machine {
	line := func(file, key string) string {
		data, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut("\n"+string(data), "\n"+key)
		value, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(strings.TrimLeft(value, " \t:"))
	}
	return machine{
		CPU: line("/proc/cpuinfo", "model name"), CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Memory: line("/proc/meminfo", "MemTotal"),
		System: strings.TrimSpace(runtime.GOOS + "/" + runtime.GOARCH + " " + line("/proc/sys/kernel/osrelease", "")),
		Go:     runtime.Version(), Day: time.Now().Format(time.DateOnly),
	}
}
