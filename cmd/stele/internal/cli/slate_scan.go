package cli

import (
	"bufio"
	"bytes"

	"github.com/stele-db/stele/slate"
)

type slateScanCmd struct {
	dbFlag
	walFlag
	keyFlag
	operatorFlag
	Prefix  string `placeholder:"P" help:"Only keys that begin with this."`
	From    string `placeholder:"K" help:"Only keys from this one on."`
	To      string `placeholder:"K" help:"Only keys before this one."`
	Limit   int    `placeholder:"N" help:"Print at most N keys."`
	Reverse bool   `help:"In descending order."`
	JSON    bool   `name:"json" help:"Print each key as a line {\"key\": base64, \"value\": base64}."`
}

// Help is shown by --help.
func (*slateScanCmd) Help() string {
	return `Prints a key and its value a line, divided by a tab. Bytes that cannot be printed are written \x00, a backslash \\.

Examples:
  stele slate scan --db file://./data --prefix __schema__
  stele slate scan --db s3://bucket/app --key-format escaped --from '\x01\x01\x02' --limit 10 --json
  stele slate scan --db file://./counters --merge-operator concat`
}

// pairJSON is a key and its value, in base64 as JSON keeps bytes.
type pairJSON struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// Run prints the range.
func (c *slateScanCmd) Run(e *env) error {
	rng, err := c.rng()
	if err != nil {
		return err
	}
	opts, err := c.options()
	if err != nil {
		return err
	}
	return c.readEngine(e, c.walFlag, opts, func(r *slate.Reader) error {
		if rng.Upper != nil && bytes.Compare(rng.Lower, rng.Upper) >= 0 {
			return nil // no key lies between
		}
		return e.buffered(func(w *bufio.Writer) error {
			rows := 0
			for kv, err := range r.Scan(e.ctx, rng) {
				if err != nil {
					return needsOperator(err)
				}
				if c.JSON {
					err = writeJSON(w, pairJSON{Key: kv.Key, Value: noNil(kv.Value)})
				} else {
					_, err = w.WriteString(escaped(kv.Key) + "\t" + escaped(kv.Value) + "\n")
				}
				if err != nil {
					return err
				}
				if rows++; rows == c.Limit {
					return nil
				}
			}
			return nil
		})
	})
}

// noNil makes JSON write an empty value as "", not as null.
func noNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (c *slateScanCmd) rng() (slate.Range, error) {
	if c.Limit < 0 {
		return slate.Range{}, usagef("--limit is %d, which must not be negative", c.Limit)
	}
	r := slate.Range{Reverse: c.Reverse}
	for _, f := range []struct {
		text string
		set  func(key []byte) slate.Range
	}{
		{c.Prefix, slate.Prefix},
		{c.From, func(k []byte) slate.Range { return slate.Range{Lower: k} }},
		{c.To, func(k []byte) slate.Range { return slate.Range{Upper: k} }},
	} {
		if f.text == "" {
			continue
		}
		key, err := c.parse(f.text)
		if err != nil {
			return r, err
		}
		r = within(r, f.set(key))
	}
	return r, nil
}
