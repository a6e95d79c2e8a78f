// Package bundle puts a payload behind an executable, where the program finds
// it when it starts. An operating system loads what an executable's headers
// name and ignores what follows, so the copy runs as the original does.
//
//	executable | payload | payload length, uint64 | SHA-256 of the payload | magic
//
// The length is little-endian; the trailer behind the payload has a fixed size,
// so that it is found from the end of the file. Equal inputs give equal bytes.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// magic ends every bundle; its last byte is the version of the layout.
const magic = "\x00stele bundle\x00\xe5\x01"

const trailerSize = 8 + sha256.Size + len(magic)

// MaxPayload is the largest payload in bytes, a bound for what a damaged
// trailer can make a reader allocate.
const MaxPayload = 64 << 20

// ErrDamaged is returned for a bundle whose payload is not what was written.
var ErrDamaged = errors.New("the program's embedded schema is damaged: make it again with `stele create`")

// Write writes the program in exe, which is size bytes long, with payload
// behind it. If exe carries a payload already, that one is left out.
func Write(w io.Writer, exe io.ReaderAt, size int64, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("payload of %d bytes: the limit is %d", len(payload), MaxPayload)
	}
	if old, found, err := Read(exe, size); err != nil {
		return err
	} else if found {
		size -= int64(len(old)) + int64(trailerSize)
	}
	if _, err := io.Copy(w, io.NewSectionReader(exe, 0, size)); err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	end := binary.LittleEndian.AppendUint64(nil, uint64(len(payload)))
	end = append(end, sum[:]...)
	end = append(end, magic...)
	if _, err := w.Write(payload); err != nil {
		return err
	}
	_, err := w.Write(end)
	return err
}

// Read returns the payload of the executable in r, which is size bytes long,
// and whether there is one. It returns ErrDamaged if there is one but its
// length or checksum is wrong.
func Read(r io.ReaderAt, size int64) (payload []byte, found bool, err error) {
	if size < int64(trailerSize) {
		return nil, false, nil
	}
	end := make([]byte, trailerSize)
	if _, err := r.ReadAt(end, size-int64(trailerSize)); err != nil && err != io.EOF {
		return nil, false, err
	}
	if !bytes.HasSuffix(end, []byte(magic)) {
		return nil, false, nil
	}
	n := binary.LittleEndian.Uint64(end)
	if n > MaxPayload || int64(n) > size-int64(trailerSize) {
		return nil, true, ErrDamaged
	}
	payload = make([]byte, n)
	if _, err := r.ReadAt(payload, size-int64(trailerSize)-int64(n)); err != nil && err != io.EOF {
		return nil, true, err
	}
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], end[8:8+sha256.Size]) {
		return nil, true, ErrDamaged
	}
	return payload, true, nil
}
