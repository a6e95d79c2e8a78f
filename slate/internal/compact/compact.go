package compact

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// ReadAhead is the most bytes that a compaction fetches from a source in one
// request.
const ReadAhead = 1 << 20

// indexCache is the budget for the indexes of the sources.
const indexCache = 16 << 20

// Job is one compaction's work. In memory it has the sources' indexes, at most
// 16 MiB of them, and for each range that it works on one SST of MaxSST bytes
// and ReadAhead bytes of each source; all of that next to the largest row.
type Job struct {
	Bucket bucket.Bucket
	Root   layout.Root
	Key    func(format.ULID) string // names the object of a source
	SST    sst.WriterOptions
	MaxSST int64 // size at which an output SST ends
	NewID  func() (format.ULID, error)
	Policy merge.Policy // MinSeq, Operator and Edit; the rest is the job's
	Rate   *Rate        // bounds what is read and written; nil: nothing does
	// Slot waits for the right to work on a range and returns the function that
	// gives it back. nil: one range at a time.
	Slot func(context.Context) (release func(), err error)
	// Split is the size of the sources' part from which on it is divided into
	// ranges, at least MaxSST.
	Split int64
	// Progress is told of the SSTs that are done, whenever there are more: all of
	// the result from its beginning on, without a gap. It is called by one
	// goroutine at a time; its error ends the job. nil: nobody is told.
	Progress func(context.Context, []format.SST) error
	// Wrote is told, concurrently, of each SST of the result that is in the bucket,
	// with the object's bytes, which are not its to keep. nil: nobody is told.
	Wrote func(t format.SST, object []byte)
	// Advanced is called, concurrently, when Bytes has grown. It must not block.
	// nil: nobody is told.
	Advanced func()

	once    sync.Once
	metered metered
	store   *sst.Store
	read    atomic.Int64
	written atomic.Int64
	free    buffers
}

// Bytes returns how much the job has read and written of SSTs so far.
func (j *Job) Bytes() (read, written int64) { return j.read.Load(), j.written.Load() }

func (j *Job) start() {
	j.once.Do(func() {
		if j.Rate == nil {
			j.Rate = NewRate(nil, 0)
		}
		if j.Advanced == nil {
			j.Advanced = func() {}
		}
		if j.Wrote == nil {
			j.Wrote = func(format.SST, []byte) {}
		}
		j.metered = metered{j.Bucket, j.Rate, &j.read, &j.written, j.Advanced}
		j.store = sst.NewStore(&j.metered, sst.NewCache(indexCache), sst.StoreOptions{Transformer: j.SST.Transformer})
	})
}

func (j *Job) open(t format.SST) *sst.Table {
	j.start()
	return j.store.Open(j.Key(t.ID), t)
}

// Run merges the spec's sources as they stand in m and returns the SSTs of the
// new run, written but named by no manifest yet. It begins with done, which an
// earlier attempt has written and Resume approved.
func (j *Job) Run(ctx context.Context, m *format.Manifest, s Spec, done []format.SST) ([]format.SST, error) {
	j.start()
	levels, err := sources(m, s)
	if err != nil {
		return nil, err
	}
	var from []byte
	if len(done) > 0 {
		from = append(bytes.Clone(done[len(done)-1].Info.LastKey), 0)
	}
	ranges, err := j.split(ctx, levels, from)
	if err != nil {
		return nil, err
	}
	p := newProgress(done, len(ranges))
	ended := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(ended)
		return j.each(ctx, ranges, func(ctx context.Context, i int) error {
			it := j.rows(ctx, m, s, levels, ranges[i])
			defer it.Close()
			return j.write(ctx, it, ranges[i].bytes, func(t format.SST) { p.add(i, t) }, func() { p.end(i) })
		})
	})
	if j.Progress != nil {
		g.Go(func() error { return p.tell(ctx, ended, j.Progress) })
	}
	err = g.Wait()
	return p.all(), err
}

// each runs f for every range, in their order and as many at once as there are
// slots.
func (j *Job) each(ctx context.Context, ranges []keyRange, f func(context.Context, int) error) error {
	slot := j.Slot
	if slot == nil {
		slot = oneByOne()
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range ranges {
		release, err := slot(ctx)
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		g.Go(func() error {
			defer release()
			return f(ctx, i)
		})
	}
	return g.Wait()
}

func oneByOne() func(context.Context) (func(), error) {
	slots := make(chan struct{}, 1)
	return func(ctx context.Context) (func(), error) {
		select {
		case slots <- struct{}{}:
			return func() { <-slots }, ctx.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sources returns the SSTs of the spec by level, newest first: an L0 SST each,
// then the runs.
func sources(m *format.Manifest, s Spec) ([][]format.SST, error) {
	var levels [][]format.SST
	for _, id := range s.L0 {
		i := slices.IndexFunc(m.L0, func(t format.SST) bool { return t.ViewID == id })
		if i < 0 {
			return nil, fmt.Errorf("compaction source %s is not in L0", id)
		}
		levels = append(levels, m.L0[i:i+1])
	}
	for _, id := range s.Runs {
		i := slices.IndexFunc(m.Runs, func(r format.SortedRun) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("compaction source run %d is not in the manifest", id)
		}
		levels = append(levels, m.Runs[i].SSTs)
	}
	return levels, nil
}

// rows returns what the compaction keeps of a range. It waits for the first row
// of all sources, which are asked at the same time.
func (j *Job) rows(ctx context.Context, m *format.Manifest, s Spec, levels [][]format.SST, r keyRange) merge.Iterator {
	var all []merge.Iterator
	var first sync.WaitGroup
	for _, ssts := range levels {
		in := overlapping(ssts, r)
		if len(in) > 0 {
			it := &levelIter{job: j, ssts: in, r: r}
			all = append(all, it)
			first.Go(func() { it.first(ctx) })
		}
	}
	first.Wait()
	p := j.Policy
	p.Tick = m.LastL0ClockTick
	below := older(m, s)
	p.Bottom = len(below) == 0
	if !p.Bottom {
		p.Below = (&cover{levels: below}).any
	}
	return merge.Retain(merge.Sorted(all, false), p)
}

// older returns the runs that lie below the compaction's result.
func older(m *format.Manifest, s Spec) (below [][]format.SST) {
	for _, r := range m.Runs {
		if r.ID < s.Destination && len(r.SSTs) > 0 {
			below = append(below, r.SSTs)
		}
	}
	return below
}

// cover tells of keys, in ascending order, whether an SST of its levels may
// hold them.
type cover struct{ levels [][]format.SST }

func (c *cover) any(key []byte) bool {
	for i, ssts := range c.levels {
		for len(ssts) > 0 && endsBefore(&ssts[0], key) {
			ssts = ssts[1:]
		}
		c.levels[i] = ssts
		if len(ssts) > 0 && ssts[0].Range().Contains(key) {
			return true
		}
	}
	return false
}

func endsBefore(t *format.SST, key []byte) bool { return t.Range().EndsBefore(key) }

// levelIter walks over the SSTs of a level one after the other.
type levelIter struct {
	job  *Job
	ssts []format.SST // still to come
	r    keyRange
	cur  *sst.Iter

	early bool // the first row was fetched and not asked for yet
	row   *format.Row
	err   error
}

func (it *levelIter) first(ctx context.Context) {
	it.row, it.err = it.next(ctx)
	it.early = true
}

func (it *levelIter) Next(ctx context.Context) (*format.Row, error) {
	if it.early {
		it.early = false
		return it.row, it.err
	}
	return it.next(ctx)
}

func (it *levelIter) next(ctx context.Context) (*format.Row, error) {
	for {
		if it.cur == nil {
			if len(it.ssts) == 0 {
				return nil, nil
			}
			it.cur = it.job.open(it.ssts[0]).Iter(sst.IterOptions{Lower: it.r.lower, Upper: it.r.upper, NoFill: true, ReadAhead: ReadAhead})
			it.ssts = it.ssts[1:]
		}
		row, err := it.cur.Next(ctx)
		if row != nil || err != nil {
			return row, err
		}
		it.Close()
	}
}

func (it *levelIter) Close() {
	if it.cur != nil {
		it.cur.Close()
		it.cur = nil
	}
}

// write turns the rows of a range of about so many bytes into SSTs. An SST ends
// only between keys, so that all versions of a key lie in one.
func (j *Job) write(ctx context.Context, it merge.Iterator, size int64, add func(format.SST), end func()) error {
	buf := j.free.get(min(j.MaxSST, size))
	defer func() { j.free.put(buf) }()
	w := sst.NewWriter(j.SST)
	w.Reset(buf)
	var last []byte
	for {
		r, err := it.Next(ctx)
		if err != nil {
			return err
		}
		full := int64(w.Size()) >= j.MaxSST
		if w.Rows() > 0 && (r == nil || full && !bytes.Equal(r.Key, last)) {
			t, data, err := WriteSST(ctx, &j.metered, j.Root, w, j.NewID)
			if err != nil {
				return err
			}
			j.Wrote(t, data)
			add(t)
			buf = data
			w.Reset(buf)
		}
		if r == nil {
			end()
			return nil
		}
		if err := w.Add(r); err != nil {
			return err
		}
		last = append(last[:0], r.Key...)
	}
}

// WriteSST finishes w and puts it under a new id. It returns the object's bytes,
// which nobody else has.
func WriteSST(ctx context.Context, b bucket.Bucket, root layout.Root, w *sst.Writer, newID func() (format.ULID, error)) (format.SST, []byte, error) {
	data, info, err := w.Finish()
	if err != nil {
		return format.SST{}, nil, err
	}
	id, err := newID()
	if err != nil {
		return format.SST{}, nil, err
	}
	if err := b.Put(ctx, root.SST(id), data); err != nil {
		return format.SST{}, nil, err
	}
	return format.SST{ID: id, ViewID: id, Info: info, Version: format.SSTVersion2}, data, nil
}

// buffers are memory for output SSTs that goes from range to range.
type buffers struct {
	mu   sync.Mutex
	free [][]byte
}

func (b *buffers) get(size int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return make([]byte, 0, size+size/16+16<<10) // filter, index and statistics come on top
}

func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buf[:0])
}

// progress puts together what the ranges write, in the order of the keys.
type progress struct {
	mu     sync.Mutex
	done   []format.SST   // of an earlier attempt
	parts  [][]format.SST // by range
	ended  []bool
	grown  chan struct{}
	passed int // SSTs that were told
}

func newProgress(done []format.SST, ranges int) *progress {
	return &progress{done: done, parts: make([][]format.SST, ranges), ended: make([]bool, ranges), grown: make(chan struct{}, 1), passed: len(done)}
}

func (p *progress) add(i int, t format.SST) {
	p.mu.Lock()
	p.parts[i] = append(p.parts[i], t)
	p.mu.Unlock()
	p.wake()
}

func (p *progress) end(i int) {
	p.mu.Lock()
	p.ended[i] = true
	p.mu.Unlock()
	p.wake()
}

func (p *progress) wake() {
	select {
	case p.grown <- struct{}{}:
	default:
	}
}

// all returns the SSTs of all ranges.
func (p *progress) all() []format.SST {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Concat(append([][]format.SST{p.done}, p.parts...)...)
}

// prefix returns the SSTs before the first gap.
func (p *progress) prefix() []format.SST {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.done)
	for i, part := range p.parts {
		out = append(out, part...)
		if !p.ended[i] {
			break
		}
	}
	return out
}

// tell calls f with the prefix whenever it has grown, until the channel stop is
// closed.
func (p *progress) tell(ctx context.Context, stop <-chan struct{}, f func(context.Context, []format.SST) error) error {
	for {
		select {
		case <-p.grown:
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		}
		if out := p.prefix(); len(out) > p.passed {
			p.passed = len(out)
			if err := f(ctx, out); err != nil {
				return err
			}
		}
	}
}
