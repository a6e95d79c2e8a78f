package aptindex

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
)

// ReadFile reads the NDJSON file name, which may be compressed with gzip.
func ReadFile(name string) ([]Package, error) {
	var out []Package
	err := Open(name, func(r io.Reader) (err error) {
		out, err = Read(r)
		return err
	})
	return out, err
}

// Open calls f with what the file name holds, uncompressed.
func Open(name string, f func(io.Reader) error) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := Plain(file, f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Plain calls f with what r yields, uncompressed if it begins as gzip does.
func Plain(r io.Reader, f func(io.Reader) error) error {
	buf := bufio.NewReader(r)
	if magic, err := buf.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return f(buf)
	}
	unzipped, err := gzip.NewReader(buf)
	if err != nil {
		return err
	}
	return f(unzipped)
}
