package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// pageRows is the number of rows that are laid out as one table; a longer
// result is several, so that its memory is bounded.
const pageRows = 1000

// buffered calls f with a buffered stdout and flushes it, also after an error:
// what was printed before stays true.
func (e *env) buffered(f func(w *bufio.Writer) error) error {
	w := bufio.NewWriterSize(e.stdout, 64<<10)
	err := f(w)
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}

// writeJSON writes v as one compact line.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal reports whether people look at the stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// grid prints rows in columns for people, page by page.
type grid struct {
	w      io.Writer
	header table.Row
	right  []int // columns of numbers, counted from 1
	width  int   // of the terminal; 0 for anything else
	page   []table.Row
}

// newGrid prints to w; stdout is where that ends up.
func newGrid(w io.Writer, stdout io.Writer, columns ...string) *grid {
	g := &grid{w: w}
	for _, c := range columns {
		g.header = append(g.header, c)
	}
	if f, ok := stdout.(*os.File); ok && isTerminal(f) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			g.width = width
		}
	}
	return g
}

func (g *grid) add(cells ...string) error {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = printable(c)
	}
	g.page = append(g.page, row)
	if len(g.page) < pageRows {
		return nil
	}
	return g.flush()
}

// flush prints what was added. Nothing is printed for no rows.
func (g *grid) flush() error {
	if len(g.page) == 0 {
		return nil
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	configs := make([]table.ColumnConfig, len(g.header))
	for i := range configs {
		configs[i].Number = i + 1
		if g.width > 0 {
			configs[i].WidthMax, configs[i].WidthMaxEnforcer = max(g.width/2, 20), text.Trim
		}
		if slices.Contains(g.right, i+1) {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	t.SetColumnConfigs(configs)
	if g.width > 0 {
		t.Style().Size.WidthMax = g.width
	}
	if len(g.header) > 0 {
		t.AppendHeader(g.header)
	}
	t.AppendRows(g.page)
	g.page = g.page[:0]
	_, err := fmt.Fprintln(g.w, t.Render())
	return err
}

// printable returns s with what a terminal would obey, and bytes that are not
// UTF-8, written as escapes.
func printable(s string) string {
	clean := func(r rune) bool { return r != utf8.RuneError && !unicode.IsControl(r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsControl(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// escaped is printable with backslashes doubled, so that it can be turned back;
// see unescape.
func escaped(b []byte) string {
	return printable(strings.ReplaceAll(string(b), `\`, `\\`))
}

// unescape turns what escaped wrote, or any Go string literal without its
// quotes, back into bytes.
func unescape(s string) ([]byte, error) {
	var out []byte
	for rest := s; rest != ""; {
		if rest[0] == '"' {
			out, rest = append(out, '"'), rest[1:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			return nil, usagef("%q holds an escape that is none: use \\xNN, \\n, \\t or \\\\", s)
		}
		if multibyte {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return out, nil
}

// count returns "1 row" or "2 rows".
func count[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byteSize returns a number of bytes for people.
func byteSize[N int | int64 | uint64](n N) string {
	const unit = 1000
	if n < unit {
		return count(n, "byte")
	}
	size, at := float64(n)/unit, 0
	for size >= unit && at < 4 {
		size, at = size/unit, at+1
	}
	return fmt.Sprintf("%.1f %cB", size, "kMGTP"[at])
}
