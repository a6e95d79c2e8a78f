package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// Exit codes of the program.
const (
	exitOK    = 0
	exitError = 1 // what was asked could not be done, or not all of it
	exitUsage = 2 // the command line cannot be understood
)

// commands is the command line: one field per command, in the order of the help.
type commands struct {
	Import importCmd `cmd:"" help:"Import records from NDJSON into a table."`
	Export exportCmd `cmd:"" help:"Print a table as NDJSON, in the order of its key."`
	Get    getCmd    `cmd:"" help:"Print the record with a key."`
	Query  queryCmd  `cmd:"" help:"Print the records that match a filter."`
	Tables tablesCmd `cmd:"" help:"List the tables."`
	Schema schemaCmd `cmd:"" help:"Print the schemas as .proto."`
	Create createCmd `cmd:"" help:"Make a gRPC database server of a schema."`
	Serve  serveCmd  `cmd:"" help:"Serve a schema's database over gRPC."`
	Verify verifyCmd `cmd:"" help:"Check that rows, indexes and schemas agree."`
	Slate  slateCmd  `cmd:"" help:"Look at the engine: raw keys and values, manifests, SSTs, the log; compact, collect garbage."`

	Version kong.VersionFlag `help:"Print the version."`
}

const description = `Typed records in a bucket.

A database lies in a local folder (file://./data, file:///srv/data) or in an object store (s3://bucket/path); every command takes its URL with --db, or from the environment variable STELE_DB.`

// env is what a command has of the world.
type env struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// usageError is a command line that makes no sense. Its text says how to put
// it right.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// Main runs one command line, without the program's name, and returns the
// program's exit code. An interrupt ends the command at the next safe place.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(&env{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr}, args)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	_, _ = fmt.Fprintf(stderr, "stele: %s\n", oneLine(err)) // there is nobody left to tell
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitError
}

// exited is how kong's --help and --version come back instead of ending the
// process.
type exited struct{}

// run parses the command line and runs its command.
func run(e *env, args []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
			err = nil
		}
	}()
	line, err := thisProgram()
	if err != nil {
		return err
	}
	parser, err := kong.New(line.grammar,
		kong.Name(line.name), kong.Description(line.description),
		kong.Writers(e.stdout, e.stderr), kong.Exit(func(int) { panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		unmarkAll(),
		kong.Vars{"version": version()})
	if err != nil {
		return err
	}
	if len(args) == 0 && !line.serves {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(markNegative(args))
	if err != nil {
		return usage(line.name, err)
	}
	parsed.Bind(e)
	return parsed.Run()
}

// usage makes a usage error of one of the parser, with the help to read.
func usage(command string, err error) error {
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
		if selected := pe.Context.Selected(); selected != nil {
			command = selected.FullPath()
		}
	}
	return usagef("%s; see %s --help", strings.ReplaceAll(err.Error(), mark, ""), command)
}

// mark precedes an argument that begins like a flag and is a negative number:
// `stele get --db URL T -5`. No argument of a process holds a NUL byte.
const mark = "\x00"

func markNegative(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' {
			a = mark + a
		}
		out[i] = a
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
	}
	return out
}

// unmarked reads a value without the mark, as kong reads it.
type unmarked struct{ kong.Mapper }

func (u unmarked) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if s, ok := ctx.Scan.Peek().Value.(string); ok && strings.HasPrefix(s, mark) {
		ctx.Scan.Pop()
		ctx.Scan.PushTyped(strings.TrimPrefix(s, mark), kong.FlagValueToken)
	}
	return u.Mapper.Decode(ctx, target)
}

// unmarkAll makes kong read values of the types that commands have without
// marks.
func unmarkAll() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		types := kong.NewRegistry().RegisterDefaults()
		for _, t := range []reflect.Type{
			reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[uint64](), reflect.TypeFor[time.Duration](),
		} {
			if err := kong.TypeMapper(t, unmarked{types.ForType(t)}).Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "stele (unknown version)"
	}
	return "stele " + info.Main.Version
}

// oneLine returns the message of an error on one line, and what joined errors
// have in common once.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(slices.Compact(lines), "; ")
}
