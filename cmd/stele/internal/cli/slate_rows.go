package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/stele-db/stele/slate"
)

// shownBytes is how much of a key or a value one cell of a table shows.
const shownBytes = 64

// shortKey is a key for a table: escaped, and cut if it is long.
func shortKey(b []byte) string {
	if len(b) > shownBytes {
		return fmt.Sprintf("%s... (%s)", escaped(b[:shownBytes]), count(len(b), "byte"))
	}
	return escaped(b)
}

func timeText(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// rowColumns are the columns of addRow.
var rowColumns = []string{"seq", "kind", "key", "value", "expires"}

// addRow adds a version of a key.
func addRow(g *grid, r slate.RowInfo) error {
	expires := ""
	if r.Expires != nil {
		expires = timeText(r.Expires)
	}
	return g.add(fmt.Sprint(r.Seq), r.Kind, shortKey(r.Key), shortKey(r.Value), expires)
}

func splitLines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }
