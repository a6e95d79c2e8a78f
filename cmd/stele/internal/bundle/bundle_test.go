package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func write(t *testing.T, exe, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, strings.NewReader(exe), int64(len(exe)), []byte(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, exe := range []string{"", "x", strings.Repeat("program", 1000)} {
		for _, payload := range []string{"", "syntax", strings.Repeat("s", 100_000)} {
			b := write(t, exe, payload)
			if !bytes.HasPrefix(b, []byte(exe)) {
				t.Fatal("the program is not at the start")
			}
			got, found, err := Read(bytes.NewReader(b), int64(len(b)))
			if err != nil || !found || string(got) != payload {
				t.Fatalf("read %d bytes, found %t, %v; want %d bytes", len(got), found, err, len(payload))
			}
			if again := write(t, string(b), payload); !bytes.Equal(again, b) {
				t.Fatal("a bundle of a bundle is not the same bundle")
			}
		}
	}
}

// The layout is in files that people keep: it never changes.
func TestGolden(t *testing.T) {
	const want = "\x7fELF" + "{}" +
		"\x02\x00\x00\x00\x00\x00\x00\x00" +
		"\x44\x13\x6f\xa3\x55\xb3\x67\x8a\x11\x46\xad\x16\xf7\xe8\x64\x9e\x94\xfb\x4f\xc2\x1f\xe7\x7e\x83\x10\xc0\x60\xf6\x1c\xaa\xff\x8a" +
		"\x00stele bundle\x00\xe5\x01"
	if got := write(t, "\x7fELF", "{}"); string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPlainProgram(t *testing.T) {
	for _, exe := range []string{"", "short", strings.Repeat("program", 1000), magic} {
		if p, found, err := Read(strings.NewReader(exe), int64(len(exe))); p != nil || found || err != nil {
			t.Errorf("%d bytes: %q, %t, %v", len(exe), p, found, err)
		}
	}
}

func TestDamage(t *testing.T) {
	good := write(t, "program", "payload")
	for i := len("program"); i < len(good)-len(magic); i++ {
		b := bytes.Clone(good)
		b[i] ^= 0x41
		if _, found, err := Read(bytes.NewReader(b), int64(len(b))); !found || !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: found %t, %v", i, found, err)
		}
	}
	cut := good[5:]
	if _, found, err := Read(bytes.NewReader(cut[len(cut)-trailerSize:]), int64(trailerSize)); !found || !errors.Is(err, ErrDamaged) {
		t.Errorf("payload cut off: found %t, %v", found, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("program"))
	f.Add([]byte(magic))
	var b bytes.Buffer
	if err := Write(&b, strings.NewReader("p"), 1, []byte("payload")); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, found, err := Read(bytes.NewReader(data), int64(len(data)))
		if found && err == nil && !bytes.Contains(data, p) {
			t.Error("a payload that is not in the file")
		}
	})
}

func ExampleRead() {
	var b bytes.Buffer
	program := "machine code"
	if err := Write(&b, strings.NewReader(program), int64(len(program)), []byte("a schema")); err != nil {
		fmt.Println(err)
		return
	}
	payload, found, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	fmt.Println(string(payload), found, err)
	// Output: a schema true <nil>
}
