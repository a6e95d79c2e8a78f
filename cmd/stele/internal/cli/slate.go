package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/stele-db/stele/kv/slatekv"
	"github.com/stele-db/stele/slate"
)

// slateCmd is the commands on the engine: one field per command. They know
// nothing of tables, so they work on every SlateDB database.
type slateCmd struct {
	Scan      slateScanCmd      `cmd:"" help:"Print keys and values in the order of the keys."`
	Get       slateGetCmd       `cmd:"" help:"Print the value of a key, byte by byte."`
	Manifest  slateManifestCmd  `cmd:"" help:"Show a manifest: what the database consists of."`
	SST       slateSSTCmd       `cmd:"" name:"sst" help:"Show an SST: its parts and its rows."`
	WAL       slateWALCmd       `cmd:"" name:"wal" help:"Show the write-ahead log: its objects, or the rows of one."`
	Stats     slateStatsCmd     `cmd:"" help:"Show the shape of the tree: levels, sizes, rows, amplification."`
	Compact   slateCompactCmd   `cmd:"" help:"Merge everything into one sorted run."`
	Compactor slateCompactorCmd `cmd:"" help:"Compact beside a writer, until a signal."`
	GC        slateGCCmd        `cmd:"" name:"gc" help:"Delete the objects that the database no longer needs."`
}

// keyFlag says how keys are written on the command line.
type keyFlag struct {
	KeyFormat string `enum:"text,escaped,hex,base64" default:"text" placeholder:"FORMAT" help:"How keys on the command line are written: text (the bytes as they are), escaped (as scan prints them: \\x00, \\\\), hex or base64."`
}

func (k keyFlag) parse(s string) ([]byte, error) {
	var (
		out []byte
		err error
	)
	switch k.KeyFormat {
	case "escaped":
		return unescape(s)
	case "hex":
		out, err = hex.DecodeString(s)
	case "base64":
		out, err = base64.StdEncoding.DecodeString(s)
	default:
		out = []byte(s)
	}
	if err != nil {
		return nil, usagef("key %q is not %s: %v", s, k.KeyFormat, err)
	}
	return out, nil
}

// mergeOperators are the operators that the command line can name.
var mergeOperators = map[string]slate.MergeOperator{"concat": slate.Concat}

// operatorFlag names the operator that resolves merge operands.
type operatorFlag struct {
	MergeOperator string `placeholder:"NAME" help:"How operands of merges are folded onto values: concat appends them. Without it, operands that are read are an error, and compactions keep them one by one."`
}

// operator is the one that was named, nil if none was.
func (o operatorFlag) operator() (slate.MergeOperator, error) {
	op, ok := mergeOperators[o.MergeOperator]
	if !ok && o.MergeOperator != "" {
		names := slices.Sorted(maps.Keys(mergeOperators))
		return nil, usagef("no merge operator %s; there is: %s", o.MergeOperator, strings.Join(names, ", "))
	}
	return op, nil
}

func (o operatorFlag) options() (slate.ReaderOptions, error) {
	op, err := o.operator()
	return slate.ReaderOptions{MergeOperator: op, Prefixes: slatekv.Prefixes}, err
}

// within narrows r to the keys of s.
func within(r, s slate.Range) slate.Range {
	if bytes.Compare(s.Lower, r.Lower) > 0 {
		r.Lower = s.Lower
	}
	if s.Upper != nil && (r.Upper == nil || bytes.Compare(s.Upper, r.Upper) < 0) {
		r.Upper = s.Upper
	}
	return r
}
