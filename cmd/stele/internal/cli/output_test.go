package cli

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestEscapedAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "key")
		text := escaped(b)
		back, err := unescape(text)
		if err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%x is written %s, which is %x (%v)", b, text, back, err)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ünïcode \u2713": "plain, ünïcode \u2713",
		"tab\tline\nbell\a":     `tab\tline\nbell\a`,
		"\x1b[31mred":           `\x1b[31mred`,
		"\xff\u00a0\ufffd":      "\\xff\u00a0\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUnescapeErrors(t *testing.T) {
	for _, s := range []string{`\`, `\xg0`, `\q`, `a\x1`} {
		if _, err := unescape(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0 kB", 1376040: "1.4 MB", 5e15: "5.0 PB", 9e18: "9000.0 PB"} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	err := errors.Join(errors.New("a"), errors.New("b\r\nc\n"), errors.New("c"))
	if got := oneLine(err); got != "a; b; c" {
		t.Errorf("got %q", got)
	}
}
