package slate

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/stele-db/stele/slate/internal/format"
)

// Back-pressure. A flush waits while L0 is full, and a writer while the
// memtables are. If that were all, writers that outpace compaction would fill
// both at full speed and then stand still until the compaction of L0 ends.
// Instead the last part of both fills up only as the compaction goes on: writers
// go at its pace, and a put waits until about its own size has been compacted.

// l0Work is how far a compaction of L0 has come. The zero value is none, but one
// will come.
type l0Work struct {
	oldest format.ULID // view id of the oldest SST of L0, which it takes
	ssts   int         // of L0 that it takes
	done   float64     // the part that is done of what it reads and writes, from 0 to 1
	halted bool        // there is none where there should be one, for whatever reason
}

// in returns the work as it counts for a tree: not at all once the tree has its
// result.
func (w l0Work) in(m *format.Manifest) l0Work {
	if n := len(m.L0); n == 0 || m.L0[n-1].ViewID != w.oldest {
		return l0Work{}
	}
	return w
}

// l0Room is how many SSTs may be added to L0, whatever their keys.
func (o *Options) l0Room(m *format.Manifest) int {
	return max(0, min(o.MaxL0-len(m.L0), o.MaxL0PerKey-depth(m.L0)))
}

// depth is the largest number of SSTs whose ranges hold one key. It is found
// where one of them begins. Bounds that only touch count as well.
func depth(ssts []format.SST) int {
	ranges := make([]format.KeyRange, len(ssts))
	for i := range ssts {
		ranges[i] = ssts[i].Range()
	}
	most := 0
	for _, at := range ranges {
		n := 0
		for _, r := range ranges {
			if bytes.Compare(r.Start.Key, at.Start.Key) <= 0 && (r.End.Kind == format.Unbounded || bytes.Compare(r.End.Key, at.Start.Key) >= 0) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// aheadOfL0 is how many memtables of the size at which they are frozen there
// may be, as far as it depends on L0: what it has room for once its compaction
// has begun, what leaves memory for as many as a full L0 holds, and what the
// compaction under way has made room for by now.
func (o *Options) aheadOfL0(room int, w l0Work) float64 {
	room = min(room, max(1, o.MaxL0-o.CompactL0))
	memory := float64(o.MaxUnflushedBytes)/float64(o.freezeSize()) - 1 // one fills up while another is flushed
	reserve := min(memory, float64(o.MaxL0))
	return float64(room) + memory - reserve + w.done*min(reserve, float64(w.ssts))
}

// lockWithRoom takes writeMu when size bytes more may be held in memory. A
// batch larger than the cap is let in alone.
func (db *DB) lockWithRoom(ctx context.Context, size int64) error {
	waits := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		db.writeMu.Lock()
		changed, err := db.room(size, waits)
		if changed == nil && err == nil {
			return nil
		}
		db.writeMu.Unlock()
		if err != nil {
			return err
		}
		if !waits {
			waits = true
			defer db.stall()()
			select { // one after the other, so that a large batch has its turn
			case db.turn <- struct{}{}:
				defer func() { <-db.turn }()
			case <-db.dead:
				return db.failure()
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		db.log.Want()
		if err := db.await(ctx, changed); err != nil {
			return err
		}
	}
}

// room returns nil if a batch of this size may be inserted, else a channel that
// is closed when that may have changed. It is called with writeMu held.
func (db *DB) room(size int64, first bool) (changed <-chan struct{}, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	s := &db.state
	switch {
	case s.err != nil:
		return nil, s.err
	case s.closing:
		return nil, ErrClosed
	}
	if s.stalled > 0 && !first {
		return s.changed, nil // behind those who wait
	}
	used := s.active.Size()
	for _, f := range s.frozen {
		used += f.table.Size()
	}
	switch {
	case used > 0 && used+size > db.opts.MaxUnflushedBytes:
		if len(s.frozen) == 0 {
			db.freezeLocked() // nothing is on its way out: send what there is
		}
		return s.changed, nil
	case db.behindLocked():
		return s.changed, nil
	}
	return nil, nil
}

// behindLocked reports whether writers must wait for the compaction of L0. While
// there is none they need not save memory for its time.
func (db *DB) behindLocked() bool {
	s := &db.state
	if s.l0Work.halted {
		return false
	}
	tables := float64(len(s.frozen)) + float64(s.active.Size())/float64(db.opts.freezeSize())
	return tables >= db.opts.aheadOfL0(s.l0Room, s.l0Work.in(s.version.Value))
}

// stall begins the wait of a write and returns the function that ends it.
func (db *DB) stall() (end func()) {
	began := db.opts.Clock.Now()
	change := func(n int) {
		db.mu.Lock()
		defer db.mu.Unlock()
		if db.state.stalled += n; db.state.stalled == n {
			db.broadcastLocked() // for watchLoop
		}
	}
	change(1)
	return func() {
		change(-1)
		db.counters.stalled(db.opts.Clock.Now().Sub(began))
	}
}

// compactingL0 takes note of how far the compaction of L0 has come.
func (db *DB) compactingL0(w l0Work) {
	db.mu.Lock()
	defer db.mu.Unlock()
	waits := db.behindLocked()
	if w.halted && db.state.l0Room > 0 {
		w = l0Work{} // there need not be one yet
	}
	db.state.l0Work = w
	if waits {
		db.broadcastLocked()
	}
}

// compactedElsewhere reports whether another process compacts this database, if
// anybody does.
func (db *DB) compactedElsewhere() bool { return db.opts.CompactL0 < 0 || db.compactor.isDeposed() }

// lookInterval is how often those who wait for the compactor of another process
// look how far it is.
const lookInterval = time.Second

// watchLoop looks how far the compactor of another process is while writers or a
// flush wait for it.
func (db *DB) watchLoop() {
	var later <-chan time.Time
	stop := func() {}
	defer func() { stop() }()
	for {
		db.mu.Lock()
		s := &db.state
		waits := s.stalled > 0 || s.l0Room == 0 && len(s.frozen) > 0
		ended, changed := s.err != nil || s.closing, s.changed
		db.mu.Unlock()
		if ended {
			return
		}
		if waits && later == nil && db.compactedElsewhere() {
			later, stop = db.opts.Clock.After(lookInterval)
		}
		select {
		case <-changed:
		case <-db.dead:
		case <-later:
			later = nil
			if err := db.look(db.ctx); err != nil {
				db.fail(err)
				return
			}
		}
	}
}

// look learns how far the compactor of another process is: from what it has
// recorded of its output, and from its result in the manifest.
func (db *DB) look(ctx context.Context) error {
	c, err := db.compactor.compactions.Latest(ctx) // before the manifest, which has its result then
	if err != nil {
		c.Value = &format.Compactions{} // only the manifest tells
	}
	v, err := db.latest(ctx)
	if err != nil {
		return err
	}
	db.adopt(v)
	w := l0Work{halted: true}
	for i := range c.Value.Recent {
		if found, ok := recordedWork(v.Value, &c.Value.Recent[i]); ok {
			w = found
		}
	}
	db.compactingL0(w)
	return nil
}

// recordedWork is how far a recorded compaction is, if it is one of m's L0 and
// under way. It has read about as much as it has written.
func recordedWork(m *format.Manifest, e *format.Compaction) (l0Work, bool) {
	if n := len(m.L0); e.Status.Finished() || len(e.L0) == 0 || n == 0 || m.L0[n-1].ViewID != e.L0[len(e.L0)-1] {
		return l0Work{}, false
	}
	var all, written uint64
	for i := range m.L0 {
		if slices.Contains(e.L0, m.L0[i].ViewID) {
			all += m.L0[i].Info.Size()
		}
	}
	for i := range m.Runs {
		if slices.Contains(e.Runs, m.Runs[i].ID) {
			all += m.Runs[i].Size()
		}
	}
	for i := range e.Output {
		written += e.Output[i].Info.Size()
	}
	return l0Work{oldest: m.L0[len(m.L0)-1].ViewID, ssts: len(e.L0), done: min(1, float64(written)/float64(max(1, all)))}, true
}
