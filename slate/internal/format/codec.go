package format

import "fmt"

// Codec is the compression of an SST's blocks.
type Codec uint8

// The codecs, with the numbers that go to storage.
const (
	None   Codec = 0
	Snappy Codec = 1 // one raw Snappy block
	Zlib   Codec = 2 // an RFC 1950 stream
	LZ4    Codec = 3 // uncompressed size (u32, little endian), one LZ4 block
	Zstd   Codec = 4 // one frame without dictionary
)

var codecNames = [...]string{"none", "snappy", "zlib", "lz4", "zstd"}

// String returns the codec's name, as ParseCodec takes it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// ParseCodec returns the codec of a name: none, snappy, zlib, lz4 or zstd. The
// empty name is none.
func ParseCodec(name string) (Codec, error) {
	if name == "" {
		return None, nil
	}
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	return None, fmt.Errorf("codec %q: want none, snappy, zlib, lz4 or zstd", name)
}
