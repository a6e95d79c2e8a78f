package aptindex

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Package is one binary package. Its JSON form is the canonical Protobuf JSON
// of message Package: lower camel case names, 64-bit integers as strings, and
// nothing for what is zero.
type Package struct {
	Name          string   `json:"name,omitempty"`
	Version       string   `json:"version,omitempty"`
	Architecture  string   `json:"architecture,omitempty"`
	Section       string   `json:"section,omitempty"`
	Priority      string   `json:"priority,omitempty"`
	Maintainer    string   `json:"maintainer,omitempty"`
	InstalledSize Int64    `json:"installedSize,omitempty"` // KiB
	Size          Int64    `json:"size,omitempty"`          // bytes
	Depends       []string `json:"depends,omitempty"`
	Description   string   `json:"description,omitempty"`
	Homepage      string   `json:"homepage,omitempty"`
	SHA256        string   `json:"sha256,omitempty"`
}

// Int64 is an integer that JSON writes as a string, as Protobuf does, and
// reads from a string or a number.
type Int64 int64

// MarshalJSON returns the number in quotes.
func (n Int64) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

// UnmarshalJSON accepts 12 and "12".
func (n *Int64) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a 64-bit integer", b)
	}
	*n = Int64(v)
	return nil
}

// Write writes the packages as NDJSON.
func Write(w io.Writer, packages []Package) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	for i := range packages {
		if err := enc.Encode(&packages[i]); err != nil {
			return err
		}
	}
	return buf.Flush()
}

// Read reads NDJSON, unordered and unchecked, as it lies.
func Read(r io.Reader) ([]Package, error) {
	dec := json.NewDecoder(bufio.NewReader(r))
	var out []Package
	for {
		var p Package
		err := dec.Decode(&p)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(out)+1, err)
		}
		out = append(out, p)
	}
}
