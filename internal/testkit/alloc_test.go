package testkit

import (
	"fmt"
	"testing"
)

var kept []byte

// failures is a test that only notes its failures.
type failures struct {
	testing.TB
	texts []string
}

func (f *failures) Helper() {}
func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func TestFrugal(t *testing.T) {
	for _, c := range []struct {
		bytes int
		fails bool
	}{{1 << 10, false}, {64 << 20, true}} {
		f := &failures{TB: t}
		Frugal(f, 16<<20, "f", func() { kept = make([]byte, c.bytes) })
		if (len(f.texts) > 0) != c.fails {
			t.Errorf("%d bytes: %q", c.bytes, f.texts)
		}
	}
}
