package diskcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
)

// chunkBytes is how much of a part one checksum covers: what has to be read at
// least. Blocks of SSTs are of about this size.
const chunkBytes = 4 << 10

// objectID names an object of a bucket.
type objectID [16]byte

func newObjectID(bucketName, key string) objectID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %s", bucketName, key))
	return objectID(sum[:16])
}

// part is a part of an object. It never changes. Its file, in the cache's
// directory, holds
//
//	the part's bytes                                             length
//	CRC-32C of each 4 KiB of them, the last may be shorter       4 each, little endian
//
// Each checksum covers the part's identity and the chunk's number as well, so
// that bytes in the wrong place are no better than wrong ones. Only the last
// part of an object is shorter than the others; one behind an object that ends
// where a part does is empty.
type part struct {
	id     objectID
	size   int64 // of the parts of a cache
	index  int64
	length int64 // of this one
}

const partExt = ".part"

// name is the name of the file.
func (p part) name() string {
	return fmt.Sprintf("%x-%d-%d-%d%s", p.id, p.size, p.index, p.length, partExt)
}

// parsePart returns the part that a file name stands for; ok is false for all
// other names.
func parsePart(name string) (p part, ok bool) {
	fields := strings.Split(strings.TrimSuffix(name, partExt), "-")
	id, err := hex.DecodeString(fields[0])
	if err != nil || len(id) != len(p.id) || len(fields) != 4 {
		return part{}, false
	}
	p.id = objectID(id)
	for i, n := range []*int64{&p.size, &p.index, &p.length} {
		if *n, err = strconv.ParseInt(fields[1+i], 10, 64); err != nil || *n < 0 {
			return part{}, false
		}
	}
	return p, p.name() == name && p.length <= p.size && p.size <= maxPartBytes
}

// bytes is the size of the file.
func (p part) bytes() int64 { return fileBytes(p.length) }

func fileBytes(length int64) int64 { return length + 4*chunks(length) }

func chunks(length int64) int64 { return (length + chunkBytes - 1) / chunkBytes }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of the chunk with this number.
func (p part) checksum(chunk int64, data []byte) uint32 {
	var b [48]byte
	copy(b[:], p.id[:])
	for i, n := range [...]int64{p.size, p.index, p.length, chunk} {
		binary.LittleEndian.PutUint64(b[16+8*i:], uint64(n))
	}
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, data)
}

// write makes the file at path of the part's bytes. What it leaves after an
// error is to be removed.
func (p part) write(path string, data []byte) error {
	sums := make([]byte, 0, 4*chunks(p.length))
	for chunk := range chunks(p.length) {
		from := chunk * chunkBytes
		sums = binary.LittleEndian.AppendUint32(sums, p.checksum(chunk, data[from:min(from+chunkBytes, p.length)]))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		_, err = f.Write(sums)
	}
	return errors.Join(err, f.Close())
}

// errDamaged: the file does not hold what was written to it.
var errDamaged = errors.New("cached part is damaged")

// appendTo appends the part's bytes from lo up to hi, or its end, to dst, as
// they are in the file at path. It returns an error, and no bytes, unless they
// are those that were written.
func (p part) appendTo(dst []byte, path string, lo, hi int64) ([]byte, error) {
	hi = min(hi, p.length)
	if lo >= hi {
		return dst, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	first, end := lo/chunkBytes, chunks(hi)
	from, to := first*chunkBytes, min(end*chunkBytes, p.length)
	buf := make([]byte, to-from+4*(end-first))
	data, sums := buf[:to-from], buf[to-from:]
	for _, r := range []struct {
		into []byte
		at   int64
	}{{data, from}, {sums, p.length + 4*first}} {
		if _, err := f.ReadAt(r.into, r.at); errors.Is(err, io.EOF) {
			return nil, errDamaged
		} else if err != nil {
			return nil, err
		}
	}
	for chunk := first; chunk < end; chunk++ {
		at := (chunk - first) * chunkBytes
		sum := binary.LittleEndian.Uint32(sums[4*(chunk-first):])
		if p.checksum(chunk, data[at:min(at+chunkBytes, int64(len(data)))]) != sum {
			return nil, errDamaged
		}
	}
	return append(dst, data[lo-from:hi-from]...), nil
}
