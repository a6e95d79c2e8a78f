// Command packages makes records of Debian's package index, and answers
// questions about them the slow way.
//
//	packages parse [-sample N] [FILE...]   Packages files (or stdin) to NDJSON on stdout
//	packages find [flags] [FILE]           the packages of an NDJSON file that match
//
// Files may be compressed with gzip. See README.md beside it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/stele-db/stele/examples/packages/aptindex"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "parse" {
		return parse(args[1:], stdin, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "find" {
		return find(args[1:], stdin, stdout, stderr)
	}
	return fmt.Errorf("usage: packages parse [-sample N] [FILE...] | packages find [flags] [FILE]")
}

func parse(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("parse", flag.ContinueOnError)
	flags.SetOutput(stderr)
	sample := flags.Int("sample", 0, "keep only `N` packages, chosen by their names")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var all []aptindex.Package
	err := eachInput(flags.Args(), stdin, func(r io.Reader) error {
		packages, err := aptindex.Parse(r)
		all = append(all, packages...)
		return err
	})
	if err != nil {
		return err
	}
	all = aptindex.Newest(all)
	if *sample > 0 {
		all = aptindex.Sample(all, *sample)
	}
	return aptindex.Write(stdout, all)
}

func find(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var q aptindex.Query
	flags := flag.NewFlagSet("find", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&q.Section, "section", "", "of this section")
	flags.StringVar(&q.Maintainer, "maintainer", "", "of this maintainer")
	flags.StringVar(&q.Depends, "depends", "", "that depend on this package")
	low := flags.Int64("min", 0, "installed size from this many `KiB`")
	high := flags.Int64("max", 0, "installed size up to this many `KiB`")
	flags.BoolVar(&q.BySize, "by-size", false, "in the order of installed size, not of names")
	flags.BoolVar(&q.Reverse, "reverse", false, "the other way round")
	flags.IntVar(&q.Limit, "limit", 0, "the first `N` only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "min":
			q.MinSize = low
		case "max":
			q.MaxSize = high
		}
	})
	var all []aptindex.Package
	err := eachInput(flags.Args(), stdin, func(r io.Reader) error {
		packages, err := aptindex.Read(r)
		all = append(all, packages...)
		return err
	})
	if err != nil {
		return err
	}
	return aptindex.Write(stdout, aptindex.Find(all, q))
}

// eachInput calls f for every file, uncompressed, or for stdin if there is none.
func eachInput(files []string, stdin io.Reader, f func(io.Reader) error) error {
	if len(files) == 0 {
		return aptindex.Plain(stdin, f)
	}
	for _, name := range files {
		if err := aptindex.Open(name, f); err != nil {
			return err
		}
	}
	return nil
}
