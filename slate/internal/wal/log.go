package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/memtable"
	"github.com/stele-db/stele/slate/internal/sst"
)

// ErrFenced: another writer has taken the log's next id or raised the epoch.
var ErrFenced = errors.New("detected newer DB client")

// Env is the log's world.
type Env struct {
	Place
	Clock  clock.Clock
	Random io.Reader

	MinInterval time.Duration // between the starts of two puts
	MaxDelay    time.Duration // from a row's arrival to the start of its put
	MaxBytes    int64         // buffered bytes that start a put by themselves
	SST         sst.WriterOptions

	// Confirm reads the latest manifest and returns the id up to which the log
	// need not be replayed, and ErrFenced with it if this writer's epoch is no
	// longer the newest.
	Confirm func(context.Context) (replayAfter uint64, err error)
	// Flushed is told the id of every object put, in order, before its waiters
	// are. It must not block.
	Flushed func(id uint64)
	// Flush, if not nil, makes the rows up to seq durable elsewhere, and no
	// object is put. Its error is the verdict on those that are not: it says
	// nothing of them while their outcome is open.
	Flush func(seq uint64) error
	// Failed is told the error that ended the log.
	Failed func(error)
}

// Buffer is a group of rows that go to the bucket together.
type Buffer struct {
	tables  []*memtable.Table
	refs    [][]memtable.Ref // per table, in order of arrival
	bytes   int64
	lastSeq uint64
	since   time.Time // arrival of the first row
	wanted  bool
	done    chan struct{}
	err     error
}

// Log is a writer's log. Append is called by one goroutine at a time; Wait and
// Want by any.
type Log struct {
	env    Env
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	pending *Buffer // takes rows
	flying  *Buffer // on its way, nil if none
	nextID  uint64
	durable uint64 // highest seq in the bucket, as far as is known
	closing bool
	err     error

	// Owned by the flush loop.
	lastStart   time.Time
	confirmedAt time.Time   // when the last request began that proved this writer unfenced
	askedAt     time.Time   // when the last one did that asked for it
	unasked     int         // objects put since
	asking      chan answer // gets the answer to what was asked beside the puts; nil: nothing was
}

// answer is what Env.Confirm said.
type answer struct{ err error }

// A writer that has put busyObjects since it last asked whether it is fenced asks
// again after busyTime: a newer one that comes too late for every id, so fast is
// this one, waits for that.
const (
	busyObjects = 64
	busyTime    = 10 * time.Second
)

// Start returns a log that continues after id lastID; everything up to seq is
// durable, as confirmed at confirmedAt.
func Start(env Env, lastID, seq uint64, confirmedAt time.Time) *Log {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Log{
		env: env, ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		nextID: lastID + 1, durable: seq, confirmedAt: confirmedAt, askedAt: confirmedAt,
		pending: &Buffer{done: make(chan struct{})},
	}
	go l.run()
	return l
}

// Append adds rows of one batch, already in table, to the log and returns the
// buffer they wait in.
func (l *Log) Append(table *memtable.Table, refs []memtable.Ref, lastSeq uint64, bytes int64) *Buffer {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.pending
	first := b.lastSeq == 0
	if first {
		b.since = l.env.Clock.Now()
	}
	if l.env.Flush == nil {
		b.add(table, refs)
	}
	b.bytes += bytes
	b.lastSeq = lastSeq
	if l.err != nil {
		return b
	}
	if first || b.bytes >= l.env.MaxBytes && !b.wanted {
		b.wanted = b.wanted || b.bytes >= l.env.MaxBytes
		l.signal()
	}
	return b
}

func (b *Buffer) add(table *memtable.Table, refs []memtable.Ref) {
	if n := len(b.tables); n == 0 || b.tables[n-1] != table {
		b.tables = append(b.tables, table)
		b.refs = append(b.refs, nil)
	}
	last := len(b.refs) - 1
	b.refs[last] = append(b.refs[last], refs...)
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Want starts a flush of what is buffered, without waiting for it.
func (l *Log) Want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wantLocked(l.pending)
}

func (l *Log) wantLocked(b *Buffer) {
	if b == l.pending && !b.wanted && b.lastSeq > 0 {
		b.wanted = true
		l.signal()
	}
}

// Current returns the buffer whose durability means that everything appended
// so far is durable, or nil if everything is.
func (l *Log) Current() *Buffer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending.lastSeq > l.durable {
		return l.pending
	}
	return l.flying
}

// Wait asks for a flush of b and returns when its rows are durable, or with the
// reason why they may never be. A nil buffer is durable.
func (l *Log) Wait(ctx context.Context, b *Buffer) error {
	if b == nil {
		return nil
	}
	l.mu.Lock()
	l.wantLocked(b)
	l.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LastID is the id of the newest object in the bucket.
func (l *Log) LastID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextID - 1
}

// Durable is the highest seq in the bucket.
func (l *Log) Durable() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// Reached tells the log that everything up to seq is in the bucket.
func (l *Log) Reached(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable = max(l.durable, seq)
}

// Close flushes what is buffered, ends the loop and returns when it has. It
// returns the error that ended the log, if one did.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.signal()
	<-l.ended
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Abort ends the log without flushing: those who wait for rows that are not on
// their way, and all that is appended from now on, get err. A put that is under
// way runs on, since only its own answer tells whether its rows are in the
// bucket, where the next writer will find them. Abort does not wait for that;
// Close does. With Env.Flush it does nothing: that has the verdict.
func (l *Log) Abort(err error) {
	if l.env.Flush != nil {
		return
	}
	l.mu.Lock()
	l.failLocked(err)
	l.mu.Unlock()
	l.signal()
}

func (l *Log) run() {
	defer close(l.ended)
	defer func() {
		l.cancel()
		if l.asking != nil {
			<-l.asking
		}
	}()
	for {
		b, more := l.take()
		if !more {
			return
		}
		if b == nil {
			continue
		}
		l.lastStart = l.env.Clock.Now()
		err := l.put(b)
		l.settle(b, err)
		if err != nil {
			return
		}
	}
}

// settle gives the waiters of b the outcome of its put, also if the log was
// aborted meanwhile.
func (l *Log) settle(b *Buffer, err error) {
	if err != nil {
		l.env.Failed(err) // before the waiters go on: their next call finds the end
	}
	l.mu.Lock()
	id := l.nextID
	l.flying = nil
	b.tables, b.refs = nil, nil // whoever keeps b keeps no memtable
	if b.err = err; err != nil {
		l.failLocked(err)
	} else {
		l.durable = max(l.durable, b.lastSeq)
	}
	put := err == nil && l.env.Flush == nil
	if put {
		l.nextID++
	}
	l.mu.Unlock()
	if put {
		l.env.Flushed(id)
	}
	close(b.done)
}

// take waits until a buffer is due and takes it. It returns nil, true when it
// should be asked again.
func (l *Log) take() (*Buffer, bool) {
	l.mu.Lock()
	b := l.pending
	if l.err != nil || l.closing && b.lastSeq == 0 {
		l.mu.Unlock()
		return nil, false
	}
	now := l.env.Clock.Now()
	wait := time.Duration(-1) // until woken
	if b.lastSeq > 0 {
		due := b.since.Add(l.env.MaxDelay)
		if b.wanted || l.closing {
			due = now
		}
		if earliest := l.lastStart.Add(l.env.MinInterval); !l.closing && due.Before(earliest) {
			due = earliest
		}
		if wait = due.Sub(now); wait <= 0 {
			l.pending = &Buffer{done: make(chan struct{})}
			l.flying = b
			l.mu.Unlock()
			return b, true
		}
	}
	l.mu.Unlock()
	if wait < 0 {
		<-l.wake
		return nil, true
	}
	timer, stop := l.env.Clock.After(wait)
	defer stop()
	select {
	case <-l.wake:
	case <-timer:
	}
	return nil, true
}

// put writes b as the next object and proves that this writer may acknowledge
// it.
func (l *Log) put(b *Buffer) error {
	if l.env.Flush != nil {
		return l.env.Flush(b.lastSeq)
	}
	data, err := encode(b, l.env.SST)
	if err != nil {
		return err
	}
	token, err := layout.Token(l.env.Random)
	if err != nil {
		return err
	}
	if l.stale() { // ask first, so that a deposed writer leaves nothing behind
		_, err = l.ask()
	} else {
		err = l.askBeside()
	}
	if err != nil {
		return err
	}
	key := l.env.Key(l.nextID)
	began := l.env.Clock.Now()
	if err := l.env.Bucket.PutIfAbsent(l.ctx, key, data, token); err != nil {
		if errors.Is(err, bucket.ErrExists) {
			return fmt.Errorf("%w: %s is taken", ErrFenced, key)
		}
		return err
	}
	l.unasked++
	if l.stale() { // the put itself took that long
		return l.confirmPut(key)
	}
	l.confirmedAt = began // there was no fence that could have been collected
	return nil
}

// ask looks into the latest manifest whether this writer is fenced.
func (l *Log) ask() (replayAfter uint64, err error) {
	began := l.env.Clock.Now()
	replayAfter, err = l.env.Confirm(l.ctx)
	if err == nil {
		l.confirmedAt, l.askedAt, l.unasked = began, began, 0
	}
	return replayAfter, err
}

// askBeside asks while puts go on, if it is time to: nothing that is put depends
// on the answer, so none is waited for, and ErrFenced alone ends the log.
func (l *Log) askBeside() error {
	if now := l.env.Clock.Now(); l.asking == nil && l.unasked >= busyObjects && now.Sub(l.askedAt) > busyTime {
		asking := make(chan answer, 1)
		l.asking, l.askedAt, l.unasked = asking, now, 0
		go func() {
			_, err := l.env.Confirm(l.ctx)
			asking <- answer{err}
		}()
	}
	select {
	case a := <-l.asking:
		l.asking = nil
		if errors.Is(a.err, ErrFenced) {
			return a.err
		}
	default:
	}
	return nil
}

// stale reports whether so much time has passed that a fence may have been
// collected since this writer was last known not to be fenced.
func (l *Log) stale() bool { return manifest.Stale(l.confirmedAt, l.env.Clock.Now()) }

// confirmPut decides about an object that is in the bucket, by the latest
// manifest. A newer writer that replays from behind it has its fence behind it
// too, so it found the object: the rows are safe. If it replays from further
// on, the object may have filled the place of its collected fence, or may have
// been replayed long ago; that cannot be told.
func (l *Log) confirmPut(key string) error {
	replayAfter, err := l.ask()
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, ErrFenced):
		return fmt.Errorf("%s was put, and whether in time cannot be told (%s): %w", key, err.Error(), bucket.ErrUnknownOutcome)
	case replayAfter < l.nextID:
		return nil // and the next put asks first: the fence may be collected by then
	}
	return fmt.Errorf("%w; whether the rows of %s were replayed: %w", err, key, bucket.ErrUnknownOutcome)
}

// failLocked marks the log as ended by err, which everything gets that waits
// for rows still in the buffer.
func (l *Log) failLocked(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	l.pending.err = err
	close(l.pending.done)
}

// encode writes the buffer's rows as a WAL SST, in order of arrival.
func encode(b *Buffer, opts sst.WriterOptions) ([]byte, error) {
	opts.WAL, opts.Size = true, b.bytes
	w := sst.NewWriter(opts)
	var row format.Row
	for i, table := range b.tables {
		for _, ref := range b.refs[i] {
			table.Row(ref, &row)
			if err := w.Add(&row); err != nil {
				return nil, err
			}
		}
	}
	data, _, err := w.Finish()
	return data, err
}
