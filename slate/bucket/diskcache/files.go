package diskcache

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lockName = "lock"
	tempExt  = ".tmp"
)

// retryWrites is how many reads and writes of parts go without the cache after
// the disk did not take a file, before it is tried again.
const retryWrites = 256

// files are the parts in a directory, and those on their way into it.
type files struct {
	dir    string
	max    int64
	logger *slog.Logger
	lock   *os.File

	hits, misses, evictions, damaged, unwritten atomic.Int64

	temps  atomic.Int64 // temporary files so far
	tell   sync.Once    // of the disk
	closed atomic.Bool
	life   sync.RWMutex // held while files are made or removed; closed is set under it

	mu      sync.Mutex // not held across I/O
	objects map[objectID]*object
	recent  list.List // of *kept, the one used last in front
	bytes   int64     // of files, and of those that are being written
	pause   int       // so many more go without the cache
}

// object is what is known of an object: either map has something.
type object struct {
	parts   map[int64]*kept
	flights map[int64]*flight
}

// kept is a part that has a file.
type kept struct {
	part
	used *list.Element
}

// flight is a part that is being requested. Its data are shared, and not to be
// changed.
type flight struct {
	done    chan struct{}
	data    []byte
	err     error
	dropped bool // the object changed meanwhile: the part is not kept; guarded by files.mu
}

// errGaveUp: who requested the part went away, which is nobody else's business.
var errGaveUp = errors.New("request given up")

// openFiles takes the directory and counts what is in it.
func openFiles(dir string, opts Options) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	f := &files{dir: dir, max: opts.MaxBytes, logger: opts.Logger, lock: lock, objects: map[objectID]*object{}}
	if err := f.scan(opts.PartBytes); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// scan finds the parts of earlier processes, and removes what they left half
// done and parts of another size.
func (f *files) scan(partBytes int64) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	type found struct {
		part
		written time.Time
	}
	var all []found
	var garbage []string
	for _, e := range entries {
		p, isPart := parsePart(e.Name())
		info, err := e.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case isPart && p.size == partBytes && info.Size() == p.bytes():
			all = append(all, found{p, info.ModTime()})
		case isPart || isTemp(e.Name()):
			garbage = append(garbage, e.Name())
		}
	}
	f.remove(garbage)
	slices.SortStableFunc(all, func(a, b found) int { return a.written.Compare(b.written) })
	f.mu.Lock()
	for _, p := range all {
		f.bytes += p.bytes()
		garbage = append(garbage, f.addLocked(p.part)...)
	}
	garbage = append(garbage, f.evictLocked()...)
	f.mu.Unlock()
	f.remove(garbage)
	return nil
}

func tempName(n int64) string { return fmt.Sprintf("%d%s", n, tempExt) }

func isTemp(name string) bool {
	digits, ok := strings.CutSuffix(name, tempExt)
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// remove deletes files, unless the directory is somebody else's already. One
// that stays is found by the next scan.
func (f *files) remove(names []string) {
	f.life.RLock()
	defer f.life.RUnlock()
	if !f.closed.Load() {
		f.unlink(names)
	}
}

// unlink is remove for who holds f.life.
func (f *files) unlink(names []string) {
	for _, name := range names {
		_ = os.Remove(f.path(name))
	}
}

// locate finds a part: its file, or the flight that somebody else has for it,
// or else flights of the caller's own for it and for all that are missing after
// it, up to last. It finds nothing of the kind if the disk cannot be written.
func (f *files) locate(id objectID, index, last int64) (k *kept, other *flight, own []*flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objectLocked(id)
	if k := o.parts[index]; k != nil {
		f.recent.MoveToFront(k.used)
		return k, nil, nil
	}
	if other := o.flights[index]; other != nil {
		f.hits.Add(1)
		return nil, other, nil
	}
	if !f.writableLocked() {
		f.tidyLocked(id)
		return nil, nil, nil
	}
	for i := index; i <= last && o.parts[i] == nil && o.flights[i] == nil; i++ {
		o.flights[i] = &flight{done: make(chan struct{}), err: errGaveUp}
		own = append(own, o.flights[i])
	}
	f.misses.Add(int64(len(own)))
	return nil, nil, own
}

// has reports whether a part is there or on its way.
func (f *files) has(id objectID, index int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[id]
	return o != nil && (o.parts[index] != nil || o.flights[index] != nil)
}

func (f *files) objectLocked(id objectID) *object {
	o := f.objects[id]
	if o == nil {
		o = &object{parts: map[int64]*kept{}, flights: map[int64]*flight{}}
		f.objects[id] = o
	}
	return o
}

// tidyLocked forgets an object of which there is nothing.
func (f *files) tidyLocked(id objectID) {
	if o := f.objects[id]; o != nil && len(o.parts) == 0 && len(o.flights) == 0 {
		delete(f.objects, id)
	}
}

// land ends the flights of a run, which were not stored or are by now. One whose
// request panicked is not done yet.
func (f *files) land(id objectID, index int64, own []*flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.objects[id]; o != nil {
		for i, fl := range own {
			if o.flights[index+int64(i)] == fl {
				delete(o.flights, index+int64(i))
			}
		}
		f.tidyLocked(id)
	}
	for _, fl := range own {
		select {
		case <-fl.done:
		default:
			close(fl.done)
		}
	}
}

// read appends bytes of a part to dst. After an error the part is gone.
func (f *files) read(k *kept, dst []byte, lo, hi int64) ([]byte, error) {
	out, err := k.appendTo(dst, f.path(k.name()), lo, hi)
	if err == nil {
		f.hits.Add(1)
		return out, nil
	}
	f.mu.Lock()
	current := f.objects[k.id] != nil && f.objects[k.id].parts[k.index] == k
	if current {
		f.forgetLocked(k)
	}
	f.mu.Unlock()
	if current && !errors.Is(err, fs.ErrNotExist) {
		f.damaged.Add(1)
		f.remove([]string{k.name()})
	}
	return nil, err
}

// store writes a part of an object, unless the object changed since fl, the
// flight that brought it. Failing is no matter: the part is just not kept.
func (f *files) store(p part, data []byte, fl *flight) {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.closed.Load() {
		return
	}
	garbage, ok := f.reserve(p.bytes())
	f.unlink(garbage)
	if !ok {
		return
	}
	err := f.write(p, data)
	f.mu.Lock()
	switch {
	case err != nil:
		f.bytes -= p.bytes()
		f.pause = retryWrites
		garbage = nil
	case fl != nil && fl.dropped:
		f.bytes -= p.bytes()
		garbage = []string{p.name()}
	default:
		garbage = f.addLocked(p)
	}
	f.mu.Unlock()
	f.unlink(garbage)
	if err != nil {
		f.unwritten.Add(1)
		f.tell.Do(func() {
			f.logger.Warn("disk cache cannot be written; reads go to the bucket", "dir", f.dir, "err", err)
		})
	}
}

// reserve makes room for n bytes and returns the files that have to go for it.
// It fails if the room is taken by parts that are being written.
func (f *files) reserve(n int64) (garbage []string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += n
	garbage = f.evictLocked()
	if f.bytes > f.max {
		f.bytes -= n
		return garbage, false
	}
	return garbage, true
}

// write makes a part's file appear whole.
func (f *files) write(p part, data []byte) error {
	temp := f.path(tempName(f.temps.Add(1)))
	err := p.write(temp, data)
	if err == nil {
		err = os.Rename(temp, f.path(p.name()))
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// addLocked adds a part whose bytes are counted already. It returns the files
// that it replaces.
func (f *files) addLocked(p part) (garbage []string) {
	o := f.objectLocked(p.id)
	if old := o.parts[p.index]; old != nil {
		if old.part != p {
			garbage = []string{old.name()}
		}
		f.forgetLocked(old)
		o = f.objectLocked(p.id)
	}
	k := &kept{part: p}
	k.used = f.recent.PushFront(k)
	o.parts[p.index] = k
	return garbage
}

// forgetLocked removes a part from the books.
func (f *files) forgetLocked(k *kept) {
	delete(f.objects[k.id].parts, k.index)
	f.tidyLocked(k.id)
	f.recent.Remove(k.used)
	f.bytes -= k.bytes()
}

// evictLocked forgets parts until the rest fits, and returns their files.
func (f *files) evictLocked() (garbage []string) {
	for f.bytes > f.max && f.recent.Len() > 0 {
		k := f.recent.Back().Value.(*kept)
		f.forgetLocked(k)
		f.evictions.Add(1)
		garbage = append(garbage, k.name())
	}
	return garbage
}

// drop forgets all of an object; what is being requested of it will not be kept.
func (f *files) drop(id objectID) {
	f.mu.Lock()
	var garbage []string
	if o := f.objects[id]; o != nil {
		for _, fl := range o.flights {
			fl.dropped = true
		}
		clear(o.flights)
		for _, k := range o.parts {
			garbage = append(garbage, k.name())
			f.forgetLocked(k)
		}
		f.tidyLocked(id)
	}
	f.mu.Unlock()
	f.remove(garbage)
}

// writable reports whether the disk is worth a try.
func (f *files) writable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writableLocked()
}

func (f *files) writableLocked() bool {
	if f.pause > 0 {
		f.pause--
		return false
	}
	return true
}

// close gives the directory back, once no file is being written or removed.
func (f *files) close() error {
	f.life.Lock()
	defer f.life.Unlock()
	if f.closed.Swap(true) {
		return nil
	}
	return f.lock.Close()
}

func (f *files) stats() Stats {
	s := Stats{
		Hits: f.hits.Load(), Misses: f.misses.Load(), Evictions: f.evictions.Load(),
		Damaged: f.damaged.Load(), Unwritten: f.unwritten.Load(),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Bytes, s.Parts = f.bytes, f.recent.Len()
	return s
}
