package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/stele-db/stele/slate"
)

type slateGetCmd struct {
	dbFlag
	walFlag
	keyFlag
	operatorFlag
	Key  string `arg:"" help:"The key."`
	JSON bool   `name:"json" help:"Print a line {\"key\": base64, \"value\": base64}."`
}

// Help is shown by --help.
func (*slateGetCmd) Help() string {
	return `Prints the value as it is, so that it can go into a file; on a terminal, what cannot be printed as escapes.

Examples:
  stele slate get --db file://./data __schema__Package
  stele slate get --db file://./data --key-format escaped '\x01\x01\x01\x00' --json`
}

// Run prints the value.
func (c *slateGetCmd) Run(e *env) error {
	key, err := c.parse(c.Key)
	if err != nil {
		return err
	}
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.readEngine(e, c.walFlag, opts, func(r *slate.Reader) error {
		value, err := r.Get(e.ctx, key)
		if errors.Is(err, slate.ErrNotFound) {
			return fmt.Errorf("no key %s in the database at %s", escaped(key), c.DB)
		}
		if err != nil {
			return needsOperator(err)
		}
		return e.buffered(func(w *bufio.Writer) error {
			switch {
			case c.JSON:
				return writeJSON(w, pairJSON{Key: key, Value: noNil(value)})
			case isTerminal(e.stdout):
				_, err = w.WriteString(onTerminal(value) + "\n")
			default:
				_, err = w.Write(value)
			}
			return err
		})
	})
}

// needsOperator says which flag a merge operator is given by, if there was none.
func needsOperator(err error) error {
	if errors.Is(err, slate.ErrNoOperator) {
		return fmt.Errorf("%w: name it with --merge-operator", err)
	}
	return err
}

// onTerminal keeps the lines of text, and escapes everything else that a
// terminal would obey.
func onTerminal(value []byte) string {
	var b []byte
	for i, line := range splitLines(string(value)) {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, printable(line)...)
	}
	return string(b)
}
