package format

import (
	"encoding/binary"
	"hash/crc32"
)

// checksumLen is the number of bytes that follow every part of an SST.
const checksumLen = 4

// Seal appends raw to dst as a part of an SST: compressed by c, then its
// checksum.
func Seal(dst, raw []byte, c Codec) ([]byte, error) {
	start := len(dst)
	dst, err := compress(dst, raw, c)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:])), nil
}

// Unseal checks a part of an SST against its checksum and returns it
// decompressed. With codec None the result aliases part.
func Unseal(part []byte, c Codec) ([]byte, error) {
	n := len(part) - checksumLen
	if n < 0 {
		return nil, corrupt(0, "part of %d bytes is shorter than its checksum", len(part))
	}
	want := binary.BigEndian.Uint32(part[n:])
	if got := crc32.ChecksumIEEE(part[:n]); got != want {
		return nil, corrupt(0, "checksum is %08x, stored is %08x", got, want)
	}
	return decompress(part[:n], c, MaxRaw)
}
