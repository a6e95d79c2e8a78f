package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"

	"github.com/stele-db/stele/slate"
)

// slateCmd is the commands on the engine: one field per command. They know
// nothing of tables, so they work on every SlateDB database.
type slateCmd struct {
	Scan     slateScanCmd     `cmd:"" help:"Print keys and values in the order of the keys."`
	Get      slateGetCmd      `cmd:"" help:"Print the value of a key, byte by byte."`
	Manifest slateManifestCmd `cmd:"" help:"Show a manifest: what the database consists of."`
	SST      slateSSTCmd      `cmd:"" name:"sst" help:"Show an SST: its parts and its rows."`
	WAL      slateWALCmd      `cmd:"" name:"wal" help:"Show the write-ahead log: its objects, or the rows of one."`
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
