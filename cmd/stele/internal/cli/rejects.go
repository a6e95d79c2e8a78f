package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// rejects is the file of the lines that could not be imported. It is made when
// there is one.
type rejects struct {
	path string
	file *os.File
}

// reject is one line of the file.
type reject struct {
	Line   int64  `json:"line"`
	Reason string `json:"reason"`
	Input  string `json:"input,omitempty"`       // the line, or its beginning
	Base64 []byte `json:"inputBase64,omitempty"` // the same, if it is not UTF-8
}

func appendReject(dst []byte, l parsedLine) []byte {
	r := reject{Line: l.number, Reason: oneLine(l.err)}
	if utf8.Valid(l.data) {
		r.Input = string(l.data)
	} else {
		r.Base64 = l.data
	}
	b, err := json.Marshal(r)
	if err != nil { // strings and integers always can be
		panic(err)
	}
	return append(append(dst, b...), '\n')
}

// resume takes the file up as it was after so many bytes: what lies behind
// belongs to lines that are read again. It returns where to go on, which is
// less if the file is not what it was.
func (r *rejects) resume(size int64) (int64, error) {
	info, err := os.Stat(r.path)
	if size == 0 || errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil && info.Size() < size {
		return info.Size(), nil
	}
	if err == nil {
		err = os.Truncate(r.path, size)
	}
	if err != nil {
		return 0, fmt.Errorf("rejects %s: %w", r.path, cause(err))
	}
	return size, nil
}

// write puts bad lines on disk, at the place that is theirs: to do it again
// changes nothing.
func (r *rejects) write(at int64, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if err := r.open(); err != nil {
		return fmt.Errorf("rejects %s: %w", r.path, cause(err))
	}
	_, err := r.file.WriteAt(lines, at)
	if err == nil {
		err = r.file.Truncate(at + int64(len(lines)))
	}
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("rejects %s: %w", r.path, cause(err))
	}
	return nil
}

func (r *rejects) open() (err error) {
	if r.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return err
	}
	r.file, err = os.OpenFile(r.path, os.O_CREATE|os.O_RDWR, 0o644)
	return err
}

func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
