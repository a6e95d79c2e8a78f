package cli

import (
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
)

// progress tells how far an import is: a bar on stderr if that is a terminal,
// and a line on stdout for every batch that is safe, unless people look at the
// bar there already.
type progress struct {
	in    *input
	lines io.Writer                // nil: no lines
	json  bool                     // the lines are JSON
	bar   *progressbar.ProgressBar // nil: no bar
}

// acknowledged is a batch that is durable, as --json prints it.
type acknowledged struct {
	Acknowledged int64 `json:"acknowledged"` // rows of the batch
	Rows         int64 `json:"rows"`         // rows of the input until here
	Rejected     int64 `json:"rejected"`     // bad lines of the input until here
	Line         int64 `json:"line"`         // the last line of the input that is done
}

func newProgress(e *env, in *input, asJSON bool) *progress {
	p := &progress{in: in, json: asJSON, lines: e.stdout}
	if !isTerminal(e.stderr) {
		return p
	}
	p.bar = progressbar.NewOptions64(in.size,
		progressbar.OptionSetWriter(e.stderr), progressbar.OptionSetDescription("importing"),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(in.size > 0))
	if isTerminal(e.stdout) && !asJSON {
		p.lines = nil
	}
	return p
}

// acknowledge reports a batch.
func (p *progress) acknowledge(d done) (err error) {
	if p.bar != nil {
		_ = p.bar.Set64(p.in.read.Load()) // a bar that cannot be drawn harms nobody
		p.bar.Describe(fmt.Sprintf("%d rows", d.mark.Rows))
	}
	switch {
	case p.lines == nil:
	case p.json:
		err = writeJSON(p.lines, acknowledged{Acknowledged: d.rows, Rows: d.mark.Rows, Rejected: d.mark.Rejected, Line: d.mark.Line})
	default:
		_, err = fmt.Fprintf(p.lines, "acknowledged %s, %d in all, to line %d\n", count(d.rows, "row"), d.mark.Rows, d.mark.Line)
	}
	return err
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
