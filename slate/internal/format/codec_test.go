package format

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

func TestSealRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "raw"), rapid.IntRange(1, 40).Draw(t, "times"))
		c := Codec(rapid.IntRange(0, 4).Draw(t, "codec"))
		part, err := Seal([]byte("before"), raw, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		part = part[len("before"):]
		got, err := Unseal(part, c, nil)
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%x, %v, want %x", got, err, raw)
		}
		part[rapid.IntRange(0, len(part)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Unseal(part, c, nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("flipped bit: %v", err)
		}
	})
}

// What would be larger than the limit once decompressed is refused, whatever
// size it claims.
func TestDecompressionIsBounded(t *testing.T) {
	const limit = 1 << 16
	big := make([]byte, limit+1)
	for c := None; c <= Zstd; c++ {
		packed, err := compress(nil, big, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decompress(packed, c, limit); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes: %v", c, len(big), err)
		}
		if packed, err = compress(nil, big[:limit], c); err != nil {
			t.Fatal(err)
		}
		if got, err := decompress(packed, c, limit); err != nil || len(got) != limit {
			t.Errorf("%s: %d bytes: %v", c, len(got), err)
		}
	}

	// A stream that does not say its size.
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := w.Write(big); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := decompress(packed.Bytes(), Zstd, limit); !errors.Is(err, ErrCorrupt) {
		t.Errorf("zstd stream: %v", err)
	}
	if got, err := decompress(packed.Bytes(), Zstd, 1<<22); err != nil || len(got) != 20*len(big) {
		t.Errorf("zstd stream: %d bytes, %v", len(got), err)
	}

	for _, c := range []struct {
		codec Codec
		src   []byte
	}{
		{Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x03}}, // claims a gigabyte
		{LZ4, binary.LittleEndian.AppendUint32(nil, 1<<30)},
		{LZ4, []byte{1, 2}},
		{Zlib, []byte{0x78}},
		{Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0x40, 0, 0, 0, 0}},
		{Zstd, nil},
		{9, nil},
	} {
		if _, err := decompress(c.src, c.codec, MaxRaw); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of %x: %v", c.codec, c.src, err)
		}
	}
}

// Streams of the standard library's zlib decompress too.
func TestZlibStream(t *testing.T) {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := decompress(b.Bytes(), Zlib, MaxRaw); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestParseCodec(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		if got, err := ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
	if _, err := ParseCodec("rar"); err == nil || !strings.Contains(err.Error(), "zstd") {
		t.Errorf("rar: %v", err)
	}
	if got := Codec(9).String(); got != "codec 9" {
		t.Error(got)
	}
}

// What is decompressed takes the memory that it is long, whatever the codec: a
// cache counts no more.
func TestDecompressedIsNoLargerThanItIs(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, symbols := range []uint32{1, 4, 64, 256} {
		raw := make([]byte, 4096)
		for i := range raw {
			raw[i] = byte(rnd.Uint32N(symbols))
		}
		for _, c := range []Codec{None, Snappy, Zlib, LZ4, Zstd} {
			part, err := Seal(nil, raw, c, nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := Unseal(part, c, nil)
			if err != nil || !bytes.Equal(out, raw) || cap(out) > len(out)+len(out)/4 {
				t.Errorf("%s of %d symbols: %d bytes in %d, %v", c, symbols, len(out), cap(out), err)
			}
		}
	}
}
