//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/stele-db/stele/bench/internal/meter"
	"github.com/stele-db/stele/bench/internal/rows"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

const (
	path      = "db"
	batchRows = 1000
	colds     = 20 // readers opened for one cold get each
)

// steps is a run: what each step needs of those before it.
type steps struct {
	config
	bucket *faulty.Bucket // counts requests
	db     *slate.DB
	order  rows.Shuffle
	peak   int64 // of all steps

	out, bars io.Writer // bars is nil where nobody looks
}

func newSteps(dir string, c config, stdout, stderr io.Writer) (*steps, error) {
	b, err := bucket.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	s := &steps{config: c, bucket: faulty.New(b, faulty.Options{}), order: rows.NewShuffle(c.rows), out: stdout}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.bars = stderr
	}
	return s, nil
}

// all makes every step, prints its line and closes what is open.
func (s *steps) all(ctx context.Context) error {
	defer func() {
		if s.db != nil {
			_ = s.db.Close()
		}
		_ = s.bucket.Close()
	}()
	fmt.Fprintf(s.out, "%-22s %9s %9s %11s %10s %9s %9s %9s %10s %10s\n",
		"step", "wall", "CPU", "rows/s", "peak RSS", "puts", "gets", "others", "sent", "received")
	type step struct {
		name string
		rows uint64
		do   func(context.Context, func()) error
	}
	for _, t := range []step{
		{"create", 0, s.open},
		{"load", s.rows, s.load},
		{"flush", 0, s.flush},
		{"compact", 0, s.compact},
		{"close", 0, s.close},
		{"open for writing", 0, s.open},
		{"scan", s.rows, s.scan},
		{"get, random", uint64(s.gets), s.get},
		{"get, missing", uint64(s.gets), s.miss},
		{"close again", 0, s.close},
	} {
		if err := s.step(ctx, t.name, t.rows, t.do); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return s.cold(ctx)
}

// step makes one step and prints what it used. do calls its second argument
// after every row.
func (s *steps) step(ctx context.Context, name string, n uint64, do func(context.Context, func()) error) error {
	advance, finish := s.progress(name, n)
	stop, err := s.startProfile(name)
	if err != nil {
		return err
	}
	meter.ResetPeak()
	asked, from := s.bucket.Stats(), meter.Now()
	err = do(ctx, advance)
	to, used := meter.Now(), s.bucket.Stats().Since(asked)
	peak := peakNow()
	s.peak = max(s.peak, peak)
	finish()
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	wall := to.Wall.Sub(from.Wall)
	rate := ""
	if n > 0 {
		rate = fmt.Sprintf("%.0f", float64(n)/wall.Seconds())
	}
	puts := used.Total(faulty.Put, faulty.PutIfAbsent, faulty.PutIfMatch).Requests
	gets := used.Total(faulty.Get, faulty.GetRange).Requests
	all := used.Total()
	_, err = fmt.Fprintf(s.out, "%-22s %9s %9s %11s %10s %9d %9d %9d %10s %10s\n", name, short(wall), short(to.CPU-from.CPU), rate, mib(peak),
		puts, gets, all.Requests-puts-gets, mib(all.Sent), mib(all.Received))
	return err
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// progress draws a bar if somebody looks.
func (s *steps) progress(name string, n uint64) (advance, finish func()) {
	if s.bars == nil {
		return func() {}, func() {}
	}
	total := int64(n)
	if n == 0 {
		total = -1 // a spinner
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(s.bars), progressbar.OptionSetDescription(name),
		progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond))
	const every = 1024
	rows := 0
	// A bar that cannot be drawn harms nobody.
	return func() {
		if rows++; rows%every == 0 {
			_ = bar.Add(every)
		}
	}, func() { _ = bar.Clear() }
}

// startProfile begins a profile of the processor, if one is wanted; stop ends
// it and writes one of the heap.
func (s *steps) startProfile(name string) (stop func() error, err error) {
	if s.profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(s.profile, 0o777); err != nil {
		return nil, err
	}
	base := filepath.Join(s.profile, name)
	f, err := os.Create(base + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	highest, done := make(chan error, 1), make(chan struct{})
	go func() { highest <- watchHeap(base+".heap", done) }()
	return func() error {
		pprof.StopCPUProfile()
		close(done)
		return errors.Join(<-highest, f.Close())
	}, nil
}

// watchHeap writes a profile of the heap whenever the resident memory is well
// above that of the profile before.
func watchHeap(file string, done <-chan struct{}) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for highest := int64(0); ; {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		now, _ := meter.Resident()
		if now < highest+highest/20 {
			continue
		}
		highest = now
		var b bytes.Buffer
		if err := pprof.Lookup("heap").WriteTo(&b, 0); err != nil {
			return err
		}
		if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
			return err
		}
	}
}

func (s *steps) open(ctx context.Context, _ func()) (err error) {
	s.db, err = slate.Open(ctx, path, s.bucket, settings)
	return err
}

func (s *steps) close(context.Context, func()) error {
	db := s.db
	s.db = nil
	return db.Close()
}

// load writes all rows in random order. It waits for memory, not for the
// bucket.
func (s *steps) load(ctx context.Context, advance func()) error {
	var b slate.Batch
	var key, value []byte
	for i := range s.rows {
		j := s.order.At(i)
		key, value = rows.Key(key[:0], j), rows.Value(value[:0], j)
		b.Put(key, value)
		if b.Len() == batchRows || i == s.rows-1 {
			if _, err := s.db.Write(ctx, &b, slate.WriteOptions{Volatile: true}); err != nil {
				return err
			}
			b.Reset()
		}
		advance()
	}
	return nil
}

func (s *steps) flush(ctx context.Context, _ func()) error { return s.db.FlushMemtable(ctx) }

func (s *steps) compact(ctx context.Context, _ func()) error { return s.db.Compact(ctx) }

// scan reads every row once, in order.
func (s *steps) scan(ctx context.Context, advance func()) error {
	var want []byte
	i := uint64(0)
	for kv, err := range s.db.Scan(ctx, slate.Range{}) {
		if err != nil {
			return err
		}
		if want = rows.Key(want[:0], i); !bytes.Equal(kv.Key, want) || !rows.Check(kv.Value, i) {
			return fmt.Errorf("row %d is %q = %q, want key %q", i, kv.Key, kv.Value, want)
		}
		i++
		advance()
	}
	if i != s.rows {
		return fmt.Errorf("%d rows came back of %d", i, s.rows)
	}
	return nil
}

func (s *steps) get(ctx context.Context, advance func()) error {
	var key []byte
	for i := range uint64(s.gets) {
		j := s.order.At(i % s.rows)
		key = rows.Key(key[:0], j)
		value, err := s.db.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if !rows.Check(value, j) {
			return fmt.Errorf("key %q is %q, which is another row's", key, value)
		}
		advance()
	}
	return nil
}

func (s *steps) miss(ctx context.Context, advance func()) error {
	var key []byte
	for i := range uint64(s.gets) {
		key = rows.Missing(key[:0], s.order.At(i%s.rows))
		switch value, err := s.db.Get(ctx, key); {
		case err == nil:
			return fmt.Errorf("key %q, which was never put, has the value %q", key, value)
		case !errors.Is(err, slate.ErrNotFound):
			return fmt.Errorf("key %q, which was never put: %w", key, err)
		}
		advance()
	}
	return nil
}

// cold opens readers for one get each and prints what that takes of the bucket.
func (s *steps) cold(ctx context.Context) error {
	var opens, gets faulty.Count
	var openTime, getTime time.Duration
	for i := range uint64(colds) {
		j := s.order.At(s.rows - 1 - i%s.rows)
		before, began := s.bucket.Stats(), time.Now()
		r, err := slate.OpenReader(ctx, path, s.bucket, slate.ReaderOptions{CacheBytes: settings.CacheBytes})
		if err != nil {
			return fmt.Errorf("open for reading: %w", err)
		}
		opened, ready := s.bucket.Stats(), time.Now()
		value, err := r.Get(ctx, rows.Key(nil, j))
		done, end := s.bucket.Stats(), time.Now()
		if err := r.Close(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("row %d, read cold: %w", j, err)
		}
		if !rows.Check(value, j) {
			return fmt.Errorf("row %d, read cold, has the value %q", j, value)
		}
		opens, gets = plus(opens, opened.Since(before).Total()), plus(gets, done.Since(opened).Total())
		openTime += ready.Sub(began)
		getTime += end.Sub(ready)
	}
	s.peak = max(s.peak, peakNow())
	const form = "%-22s %9s, %.1f requests, %.1f KiB received (mean of %d)\n"
	fmt.Fprintln(s.out)
	fmt.Fprintf(s.out, form, "open for reading", short(openTime/colds), float64(opens.Requests)/colds, float64(opens.Received)/colds/1024, colds)
	_, err := fmt.Fprintf(s.out, form, "cold get after it", short(getTime/colds), float64(gets.Requests)/colds, float64(gets.Received)/colds/1024, colds)
	return err
}

func plus(a, b faulty.Count) faulty.Count {
	a.Requests += b.Requests
	a.Received += b.Received
	return a
}
