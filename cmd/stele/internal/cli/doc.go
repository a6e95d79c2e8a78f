// Package cli is the program stele: one file per command, and around them what
// they share: opening a database by its URL, output for people and for
// programs, and exit codes.
//
// Rules that every command keeps:
//
//   - flags may stand before and after positional arguments;
//   - results go to stdout, one error in one line to stderr;
//   - the exit code is 0, 1 for an error, 2 for a command line that makes no sense;
//   - --json prints one compact JSON object a line and nothing else on stdout;
//   - a command that changes no data opens the database with the reader, so it
//     works beside a writer and without write permission, and creates nothing.
package cli
