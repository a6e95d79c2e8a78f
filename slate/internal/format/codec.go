package format

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

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

// MaxRaw is the most bytes that one part of an SST may have once it is
// decompressed. It bounds what a forged part can make us allocate.
const MaxRaw = 1 << 30

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

// The Zstd coders hold large tables, work without goroutines of their own
// here, and serve any number of callers at once.
var (
	zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault))
	})
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecoderMaxWindow(zstdWindow))
	})
)

// zstdWindow is the largest window accepted; level 3 writes 2 MiB.
const zstdWindow = 64 << 20

// compress appends raw to dst, compressed.
func compress(dst, raw []byte, c Codec) ([]byte, error) {
	switch c {
	case None:
		return append(dst, raw...), nil
	case Snappy:
		return append(dst, snappy.Encode(nil, raw)...), nil
	case Zlib:
		buf := bytes.NewBuffer(dst)
		w := zlib.NewWriter(buf)
		if _, err := w.Write(raw); err != nil {
			return nil, fmt.Errorf("compress with zlib: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("compress with zlib: %w", err)
		}
		return buf.Bytes(), nil
	case LZ4:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(raw)))
		start := len(dst)
		dst = append(dst, make([]byte, lz4.CompressBlockBound(len(raw)))...)
		n, err := lz4.CompressBlock(raw, dst[start:], nil)
		if err != nil {
			return nil, fmt.Errorf("compress with lz4: %w", err)
		}
		return dst[:start+n], nil
	case Zstd:
		enc, err := zstdEncoder()
		if err != nil {
			return nil, fmt.Errorf("compress with zstd: %w", err)
		}
		return enc.EncodeAll(raw, dst), nil
	}
	return nil, fmt.Errorf("compress with %s: unknown codec", c)
}

// decompress returns src decompressed, at most limit bytes. It allocates in
// proportion to what src really holds, whatever size src claims. With codec
// None the result is src.
func decompress(src []byte, c Codec, limit int) ([]byte, error) {
	var out []byte
	var err error
	switch c {
	case None:
		if len(src) > limit {
			return nil, tooLarge(limit)
		}
		return src, nil
	case Snappy:
		out, err = unsnappy(src, limit)
	case Zlib:
		out, err = unzlib(src, limit)
	case LZ4:
		out, err = unlz4(src, limit)
	case Zstd:
		out, err = unzstd(src, limit)
	default:
		return nil, corrupt(0, "unknown codec %d", uint8(c))
	}
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		return nil, corrupt(0, "%s: %v", c, err)
	}
	return out, nil
}

func tooLarge(limit int) error {
	return corrupt(0, "more than %d bytes once decompressed", limit)
}

// unsnappy: no element of a Snappy block yields more than 64 bytes for two.
func unsnappy(src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, tooLarge(limit)
	}
	if n > 32*len(src) {
		return nil, corrupt(0, "snappy block of %d bytes claims to hold %d", len(src), n)
	}
	return snappy.Decode(nil, src)
}

// unlz4: no byte of an LZ4 block yields more than 255.
func unlz4(src []byte, limit int) ([]byte, error) {
	if len(src) < 4 {
		return nil, corrupt(0, "lz4 block without its size")
	}
	size := uint64(binary.LittleEndian.Uint32(src))
	src = src[4:]
	if size > uint64(limit) {
		return nil, tooLarge(limit)
	}
	if size > 255*uint64(len(src))+64 {
		return nil, corrupt(0, "lz4 block of %d bytes claims to hold %d", len(src), size)
	}
	out := make([]byte, size)
	n, err := lz4.UncompressBlock(src, out)
	if err != nil {
		return nil, err
	}
	if uint64(n) != size {
		return nil, corrupt(0, "lz4 block holds %d bytes, its size says %d", n, size)
	}
	return out, nil
}

func unzlib(src []byte, limit int) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	out, err := readUpTo(r, limit, 4*len(src))
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return out, err
}

// zstdTrusted is the claimed size up to which a frame is decoded in one go,
// into a buffer of that size.
const zstdTrusted = 8 << 20

func unzstd(src []byte, limit int) ([]byte, error) {
	dec, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	var head zstd.Header
	if err := head.Decode(src); err != nil {
		return nil, err
	}
	if head.HasFCS && head.FrameContentSize > uint64(limit) {
		return nil, tooLarge(limit)
	}
	if head.HasFCS && head.FrameContentSize <= zstdTrusted {
		out, err := dec.DecodeAll(src, nil)
		if err == nil && len(out) > limit {
			err = tooLarge(limit)
		}
		return out, err
	}
	r, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readUpTo(r, limit, 4*len(src))
}

// readUpTo reads r to its end, into a buffer that begins with hint bytes and
// grows with what comes. It returns no more memory than there are bytes: a cache
// may keep them.
func readUpTo(r io.Reader, limit, hint int) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(hint+bytes.MinRead, limit+bytes.MinRead)))
	n, err := buf.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, tooLarge(limit)
	}
	return bytes.Clone(buf.Bytes()), nil
}
