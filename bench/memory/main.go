//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/stele-db/stele/bench/internal/meter"
	"github.com/stele-db/stele/slate"
)

// Settings of the engine and of Go's garbage collector under which the limit
// holds. Each is a share of the memory there is.
var settings = slate.Options{
	L0Bytes:           16 << 20,
	MaxUnflushedBytes: 40 << 20,
	MaxSSTBytes:       16 << 20,
	CacheBytes:        48 << 20,
}

const (
	memoryLimit = 192 << 20 // GOMEMLIMIT
	allowed     = 256 << 20 // above an empty Go program
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type config struct {
	rows    uint64
	gets    int
	dir     string
	empty   string
	profile string
}

// run is main with its streams; it returns the exit code: 0 for PASS, 1 for
// FAIL, 2 for an error.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c config
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&c.rows, "rows", 10_000_000, "how many `rows` to load")
	flags.IntVar(&c.gets, "gets", 100_000, "how many rows to get")
	flags.StringVar(&c.dir, "dir", "", "`folder` in which to make, and remove, the database's own (default: the system's temporary one)")
	flags.StringVar(&c.empty, "empty", "", "`program` that prints the bytes of an empty Go program (default: none, which counts as 0)")
	flags.StringVar(&c.profile, "profile", "", "`folder` for profiles of processor and heap, per step")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if c.rows == 0 || c.gets <= 0 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "memory: -rows and -gets must be positive, and there are no arguments")
		return 2
	}
	ok, err := measure(ctx, c, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "memory:", err)
		return 2
	}
	if !ok {
		return 1
	}
	return 0
}

// measure makes the run in a folder of its own and reports whether it passed.
func measure(ctx context.Context, c config, stdout, stderr io.Writer) (bool, error) {
	empty, err := emptyProgram(ctx, c.empty)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp(c.dir, "stele-memory-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	old := debug.SetMemoryLimit(memoryLimit)
	defer debug.SetMemoryLimit(old)

	fmt.Fprintf(stdout, "rows        %d of 20 + 100 bytes, loaded in random order, in %s\n", c.rows, dir)
	fmt.Fprintf(stdout, "options     L0Bytes %s, MaxUnflushedBytes %s, MaxSSTBytes %s, CacheBytes %s, no compression, else defaults\n",
		mib(settings.L0Bytes), mib(settings.MaxUnflushedBytes), mib(settings.MaxSSTBytes), mib(settings.CacheBytes))
	fmt.Fprintf(stdout, "runtime     %s, GOMAXPROCS %d, GOGC 100, GOMEMLIMIT %s\n", runtime.Version(), runtime.GOMAXPROCS(0), mib(memoryLimit))
	fmt.Fprintf(stdout, "limit       %s: %s above an empty Go program's %s\n\n", mib(empty+allowed), mib(allowed), mib(empty))

	s, err := newSteps(dir, c, stdout, stderr)
	if err != nil {
		return false, err
	}
	if err := s.all(ctx); err != nil {
		return false, err
	}
	verdict := "PASS"
	if s.peak > empty+allowed {
		verdict = "FAIL"
	}
	fmt.Fprintf(stdout, "\n%s: peak resident memory %s, limit %s\n", verdict, mib(s.peak), mib(empty+allowed))
	if s.peak == 0 {
		return false, errors.New("this system does not tell the resident memory")
	}
	return verdict == "PASS", nil
}

// emptyProgram asks the program for its peak.
func emptyProgram(ctx context.Context, program string) (int64, error) {
	if program == "" {
		return 0, nil
	}
	out, err := exec.CommandContext(ctx, program).Output()
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", program, err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// peakNow is the peak of resident memory since the last call.
func peakNow() int64 {
	_, peak := meter.Resident()
	meter.ResetPeak()
	return peak
}
