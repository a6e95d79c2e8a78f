package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// checksumLen is the number of bytes that follow every part of an SST.
const checksumLen = 4

// MaxStored is the most bytes that a part of an SST may have as it is stored,
// without its checksum: MaxRaw bytes that no codec makes smaller.
const MaxStored = MaxRaw + MaxRaw/128 + 1<<16

// Transformer changes the parts of SSTs between compression and checksum; see
// slate.BlockTransformer.
type Transformer interface {
	Encode(block []byte) ([]byte, error)
	Decode(block []byte) ([]byte, error)
}

// Seal appends raw to dst as a part of an SST: compressed by c, transformed by
// t unless it is nil, then its checksum. An error of t is a *TransformError.
func Seal(dst, raw []byte, c Codec, t Transformer) ([]byte, error) {
	start := len(dst)
	dst, err := compress(dst, raw, c)
	if err != nil {
		return nil, err
	}
	if t != nil {
		stored, err := t.Encode(dst[start:len(dst):len(dst)])
		if err == nil && len(stored) > MaxStored {
			err = fmt.Errorf("it made %d bytes of %d, must be at most %d", len(stored), len(dst)-start, MaxStored)
		}
		if err != nil {
			return nil, &TransformError{Err: err}
		}
		dst = append(dst[:start], stored...)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:])), nil
}

// Unseal checks a part of an SST against its checksum and returns it as it was
// before t and c. With codec None the result aliases part, or is what t
// returned. Errors are *DecodeError or, of t, *TransformError.
func Unseal(part []byte, c Codec, t Transformer) ([]byte, error) {
	stored, err := Intact(part)
	if err != nil {
		return nil, err
	}
	if t != nil {
		if stored, err = t.Decode(stored); err != nil {
			return nil, &TransformError{Err: err}
		}
	}
	raw, err := decompress(stored, c, MaxRaw)
	return raw, Strange(err, t)
}

// Intact checks a part of an SST against its checksum, which it cuts off.
func Intact(part []byte) ([]byte, error) {
	n := len(part) - checksumLen
	if n < 0 {
		return nil, corrupt(0, "part of %d bytes is shorter than its checksum", len(part))
	}
	want := binary.BigEndian.Uint32(part[n:])
	if got := crc32.ChecksumIEEE(part[:n]); got != want {
		return nil, corrupt(0, "checksum is %08x, stored is %08x", got, want)
	}
	return part[:n:n], nil
}

// Strange adds to an error in decoding a part whose checksum is right what may
// be the reason: it was written so, but with another transformer than t. A nil
// error stays nil.
func Strange(err error, t Transformer) error {
	d, ok := err.(*DecodeError) //nolint:errorlint // decoders return it as it is
	if !ok {
		return err
	}
	hint := "with a block transformer, and there is none"
	if t != nil {
		hint = "with another block transformer, or none"
	}
	return &DecodeError{Offset: d.Offset, Reason: d.Reason + "; its checksum is right, so perhaps it was written " + hint}
}
