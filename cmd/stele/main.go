// Command stele keeps typed records in a bucket: import, get, query, export,
// and a look at the objects below. `stele --help` tells the rest.
package main

import (
	"os"

	"github.com/stele-db/stele/cmd/stele/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
