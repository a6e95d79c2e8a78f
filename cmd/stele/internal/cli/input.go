package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxLine is the longest line that is read as a record; a longer one is bad.
	maxLine = 16 << 20
	// keptLine is how much of a line that is too long is kept, to know it by.
	keptLine = 1 << 10
)

// input is the lines of a file or of standard input.
type input struct {
	path string // "" for standard input
	name string // for the name of the rejects file
	size int64  // bytes of the file; -1 for standard input
	hash string // of the file as it lies, SHA-256 in hexadecimal

	file   *os.File
	read   atomic.Int64  // bytes of the file read so far, for the progress bar
	unzip  func()        // frees the decompressor; its errors were read errors before
	lines  *bufio.Reader // uncompressed
	offset int64         // in the uncompressed bytes, after the last line
	number int64         // of the last line, from 1
}

// line is one line of the input.
type line struct {
	number int64
	end    int64  // offset behind it
	data   []byte // without its end
	length int64  // more than len(data) for a line that is too long
}

// openInput opens a file, or standard input for "-". A file is read once to
// know it again: its size and its hash.
func openInput(e *env, path string) (*input, error) {
	if path == "-" {
		in := &input{name: "stdin", size: -1}
		return in, in.begin(e.stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	in := &input{path: path, name: filepath.Base(path), file: f}
	h := sha256.New()
	if in.size, err = io.Copy(h, &cancelled{e: e, r: f}); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		in.hash = hex.EncodeToString(h.Sum(nil))
		err = in.begin(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, cause(err)), f.Close())
	}
	return in, nil
}

// begin looks at the first bytes, which tell how r is compressed.
func (in *input) begin(r io.Reader) error {
	raw := bufio.NewReaderSize(&counter{r: r, n: &in.read}, 256<<10)
	magic, err := raw.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	in.lines, in.unzip = raw, func() {}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return err
		}
		in.lines, in.unzip = bufio.NewReaderSize(z, 256<<10), func() { _ = z.Close() }
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(raw, zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return err
		}
		in.lines, in.unzip = bufio.NewReaderSize(z, 256<<10), z.Close
	}
	if bom, err := in.lines.Peek(3); err == nil && bytes.Equal(bom, []byte{0xef, 0xbb, 0xbf}) {
		n, err := in.lines.Discard(3)
		in.offset += int64(n)
		return err
	}
	return nil
}

// skip passes over the lines before an offset that next once returned.
func (in *input) skip(offset, number int64) error {
	if _, err := io.CopyN(io.Discard, in.lines, offset-in.offset); err != nil {
		return in.failed(err)
	}
	in.offset, in.number = offset, number
	return nil
}

// next returns the next line that is not empty, or io.EOF.
func (in *input) next() (line, error) {
	for {
		l, err := in.one()
		if err != nil || len(bytes.TrimSpace(l.data)) > 0 {
			return l, err
		}
	}
}

func (in *input) one() (line, error) {
	l := line{number: in.number + 1}
	for {
		part, err := in.lines.ReadSlice('\n')
		in.offset += int64(len(part))
		l.length += int64(len(part))
		keep := part
		if l.length > maxLine {
			if len(l.data) > keptLine {
				l.data = bytes.Clone(l.data[:keptLine])
			}
			keep = keep[:min(len(keep), keptLine-len(l.data))]
		}
		l.data = append(l.data, keep...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && l.length == 0:
			return l, io.EOF
		case err != nil && err != io.EOF:
			return l, in.failed(err)
		}
		in.number++
		l.end = in.offset
		if l.length <= maxLine {
			l.data = bytes.TrimRight(l.data, "\r\n")
			l.length = int64(len(l.data))
		}
		return l, nil
	}
}

func (in *input) failed(err error) error {
	name := in.path
	if name == "" {
		name = "standard input"
	}
	return fmt.Errorf("read %s after line %d: %w", name, in.number, cause(err))
}

// leave ends the use of the input while another goroutine reads it, which
// closes batches when it has stopped. A file is waited for. Standard input may
// never say anything again: it is left to the goroutine, and both to the end of
// the process.
func (in *input) leave(batches <-chan *batch) {
	if in.file == nil {
		in.unzip = func() {}
		return
	}
	for b := range batches {
		<-b.ready
	}
}

func (in *input) close() error {
	in.unzip()
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// cancelled is a reader that ends when the command is interrupted.
type cancelled struct {
	e *env
	r io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.e.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
