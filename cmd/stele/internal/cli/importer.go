package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

const (
	// batchBytes ends a batch before its rows are as many as they may be.
	batchBytes = 2 << 20
	// inFlight is the number of batches that may be committed and not yet
	// durable: all of them share the bucket's next flush, so that a bucket that
	// takes its time does not hold the import up.
	inFlight = 32
)

// importer moves lines into a table. Four stages run at once: reading lines
// into batches, turning lines into records (several batches at a time),
// committing the batches in order, and waiting until they are durable, which
// is when they are reported.
type importer struct {
	cmd      *importCmd
	in       *input
	db       *record.DB
	table    *record.Table
	rejects  *rejects
	progress *progress

	resumed resumeMark // where an earlier run had come to
	mark    resumeMark // behind the last batch committed
	stale   bool       // the database held a mark when this import began
	readErr error      // why reading ended; set by the reading stage
}

// resumeMark says how far an import of an input has come. It is stored as JSON,
// in the transaction of the rows that it covers; see record.ImportKey.
type resumeMark struct {
	Size        int64  `json:"size"`        // bytes of the input file
	SHA256      string `json:"sha256"`      // of the input file
	Insert      bool   `json:"insert"`      // rows were not to replace others
	Offset      int64  `json:"offset"`      // uncompressed bytes of the input that are done
	Line        int64  `json:"line"`        // lines that are done
	Rows        int64  `json:"rows"`        // rows that were imported
	Rejected    int64  `json:"rejected"`    // lines that were not
	RejectBytes int64  `json:"rejectBytes"` // length of the rejects file
}

// batch is lines that are committed together.
type batch struct {
	lines []parsedLine
	ready chan struct{} // closed when the lines are parsed
}

// parsedLine is a line and its record, or the reason why it has none.
type parsedLine struct {
	line
	rec []byte
	err error
}

// done is a batch that is committed and reported once it is durable.
type done struct {
	rows int64
	mark resumeMark
}

// run imports the whole input. On an error, what was committed stays.
func (im *importer) run(ctx context.Context) error {
	if err := im.resume(ctx); err != nil {
		return err
	}
	g, stage := errgroup.WithContext(ctx)
	batches := make(chan *batch, runtime.GOMAXPROCS(0))
	commits := make(chan done, inFlight)
	go func() {
		defer close(batches)
		im.readBatches(stage, batches)
	}()
	g.Go(func() error {
		defer close(commits)
		return im.commitAll(stage, batches, commits)
	})
	g.Go(func() error { return im.report(stage, commits) })
	if err := g.Wait(); err != nil {
		im.in.leave(batches)
		return err
	}
	if im.readErr != nil {
		return im.readErr
	}
	return im.finish(ctx)
}

// resume reads the mark of the table's last unfinished import. It counts if it
// is one of this very input.
func (im *importer) resume(ctx context.Context) error {
	im.mark = resumeMark{Size: im.in.size, SHA256: im.in.hash, Insert: im.cmd.Insert}
	im.resumed = im.mark
	value, err := im.db.Store().Get(ctx, im.key())
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	im.stale = true
	var old resumeMark
	if json.Unmarshal(value, &old) != nil || im.in.path == "" ||
		old.Size != im.mark.Size || old.SHA256 != im.mark.SHA256 || old.Insert != im.mark.Insert {
		return nil //nolint:nilerr // a mark of another import, or none that can be read, is ignored
	}
	if err := im.in.skip(old.Offset, old.Line); err != nil {
		return err
	}
	old.RejectBytes, err = im.rejects.resume(old.RejectBytes)
	im.mark, im.resumed = old, old
	return err
}

func (im *importer) key() []byte { return record.ImportKey(im.table.Name()) }

// readBatches cuts the input into batches and starts the parsing of each. If
// the input cannot be read further, what came before is imported nevertheless.
func (im *importer) readBatches(ctx context.Context, out chan<- *batch) {
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for im.readErr == nil {
		b := im.readBatch()
		if len(b.lines) == 0 {
			break
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		go func() {
			im.parse(b)
			<-slots
			close(b.ready)
		}()
		select {
		case out <- b:
		case <-ctx.Done():
			<-b.ready
			return
		}
	}
	if errors.Is(im.readErr, io.EOF) {
		im.readErr = nil
	}
}

// readBatch reads the next lines; at the end of the input, or where it cannot
// be read, it sets readErr.
func (im *importer) readBatch() *batch {
	b := &batch{ready: make(chan struct{})}
	for bytes := 0; len(b.lines) < im.cmd.BatchRows && bytes < batchBytes; {
		l, err := im.in.next()
		if err != nil {
			im.readErr = err
			break
		}
		b.lines = append(b.lines, parsedLine{line: l})
		bytes += len(l.data)
	}
	return b
}

func (im *importer) parse(b *batch) {
	s := im.table.Schema()
	for i := range b.lines {
		l := &b.lines[i]
		if l.length > int64(len(l.data)) {
			l.err = fmt.Errorf("the line has %d bytes, of at most %d", l.length, maxLine)
			continue
		}
		l.rec, l.err = s.FromJSON(l.data)
	}
}

// commitAll commits the batches in their order, each once it is parsed.
func (im *importer) commitAll(ctx context.Context, batches <-chan *batch, out chan<- done) error {
	for {
		var b *batch
		select {
		case next, ok := <-batches:
			if b = next; !ok {
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		<-b.ready
		before := im.mark.Rows
		if err := im.commit(ctx, b.lines); err != nil {
			return err
		}
		select {
		case out <- done{rows: im.mark.Rows - before, mark: im.mark}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// commit writes lines in one transaction. If that is too much for the store,
// as a value too large is, the lines are halved until the one is found.
func (im *importer) commit(ctx context.Context, lines []parsedLine) error {
	mark, err := im.write(ctx, lines)
	if !errors.Is(err, kv.ErrInvalid) {
		if err == nil {
			im.mark = mark
		}
		return err
	}
	if len(lines) == 1 {
		if lines[0].err != nil { // it was not the line's fault
			return err
		}
		lines[0].err = err
		return im.commit(ctx, lines)
	}
	half := len(lines) / 2
	if err := im.commit(ctx, lines[:half]); err != nil {
		return err
	}
	return im.commit(ctx, lines[half:])
}

// write is one transaction: the rows, and the mark behind them. The bad lines
// are on disk before it commits.
func (im *importer) write(ctx context.Context, lines []parsedLine) (resumeMark, error) {
	var mark resumeMark
	err := im.db.UpdateWith(ctx, kv.TxOptions{Volatile: true}, func(tx *record.Tx) error {
		mark = im.mark
		var bad []byte
		for _, l := range lines {
			if l.err == nil {
				err := im.put(ctx, tx, l.rec)
				if err == nil {
					mark.Rows++
					continue
				}
				if !errors.Is(err, kv.ErrInvalid) && !errors.Is(err, kv.ErrExists) {
					return err
				}
				l.err = err
			}
			mark.Rejected++
			bad = appendReject(bad, l)
		}
		last := lines[len(lines)-1]
		mark.Offset, mark.Line = last.end, last.number
		if err := im.rejects.write(mark.RejectBytes, bad); err != nil {
			return err
		}
		mark.RejectBytes += int64(len(bad))
		return im.putMark(tx, mark)
	})
	return mark, err
}

func (im *importer) put(ctx context.Context, tx *record.Tx, rec []byte) error {
	if im.cmd.Insert {
		return im.table.Insert(ctx, tx, rec)
	}
	return im.table.Put(ctx, tx, rec)
}

// putMark replaces the mark of whatever import was there before. An input that
// cannot be read again has none.
func (im *importer) putMark(tx *record.Tx, mark resumeMark) error {
	if im.in.path == "" {
		if !im.stale {
			return nil
		}
		return tx.Delete(im.key())
	}
	value, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	return tx.Put(im.key(), value)
}

// report waits until commits are durable, all that there are by one flush, and
// reports them in order.
func (im *importer) report(ctx context.Context, commits <-chan done) error {
	for d := range commits {
		group := []done{d}
		for more := true; more; {
			select {
			case d, ok := <-commits:
				if more = ok; ok {
					group = append(group, d)
				}
			default:
				more = false
			}
		}
		if err := im.db.Store().Flush(ctx); err != nil {
			return err
		}
		for _, d := range group {
			if err := im.progress.acknowledge(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish removes the mark: the next import of this input starts anew.
func (im *importer) finish(ctx context.Context) error {
	if !im.stale && (im.in.path == "" || im.mark == im.resumed) {
		return nil // there is none
	}
	return im.db.Update(ctx, func(tx *record.Tx) error { return tx.Delete(im.key()) })
}
