package sst

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/stele-db/stele/slate/internal/format"
)

// Table reads one SST whose rows are ordered by key. Its methods may be called
// concurrently. It holds nothing large: index, filter and blocks live in the
// store's cache.
type Table struct {
	store   *Store
	object  string
	sst     format.SST
	visible format.KeyRange // keys that the SST may hold and show

	// MaxSeq is the highest seq that a row may have, 0 if any: who names the SST
	// knows. It is set before the table is used.
	MaxSeq uint64

	index, filter atomic.Pointer[entry] // where the cache had them last
}

// SST returns the manifest's record that the table was opened with.
func (t *Table) SST() *format.SST { return &t.sst }

// Object returns the key of the SST's object.
func (t *Table) Object() string { return t.object }

// fail names the object in an error found in the part at offset.
func (t *Table) fail(offset uint64, err error) error {
	return format.InObject(t.object, int64(offset), err)
}

// unseal returns a part as it was before transformer and codec.
func (t *Table) unseal(part []byte) ([]byte, error) {
	return format.Unseal(part, t.sst.Info.Codec, t.store.opts.Transformer)
}

// strange is fail for an error in decoding a part whose checksum is right.
func (t *Table) strange(offset uint64, err error) error {
	return t.fail(offset, format.Strange(err, t.store.opts.Transformer))
}

// Lookup says what Get looks for.
type Lookup struct {
	Key    []byte
	Hash   uint64 // format.BloomHash of Key
	MaxSeq uint64
	// NoFill leaves the blocks that are read out of the cache.
	NoFill bool
}

// Get finds the newest version of a key with a seq of at most l.MaxSeq:
// tombstones and merge operands too. If there is one it is written to dst: its
// Key is the lookup's, its Value aliases a cached block and must not be
// changed, but may be kept. Errors are those of the bucket or match
// format.ErrCorrupt, as *format.ObjectError, or format.ErrTransform, as
// *format.TransformError.
//
// A hit in the cache costs no allocation. Without the cache's help it costs at
// most two requests: filter and index, then the blocks that may hold the key.
func (t *Table) Get(ctx context.Context, l *Lookup, dst *format.Row) (bool, error) {
	key := l.Key
	if !t.visible.Contains(key) {
		return false, nil
	}
	f, known := t.cachedFilter()
	if known && !f.mayContain(l.Hash) {
		return false, nil
	}
	index := t.cachedIndex()
	if !known || index == nil {
		var err error
		if f, index, err = t.meta(ctx, true); err != nil || !f.mayContain(l.Hash) {
			return false, err
		}
	}
	i, last := index.SeekGE(key), index.SeekLE(key)
	var win window
	for ; i <= last; i++ {
		b, err := t.block(ctx, index, i, last, boundedReadAhead, l.NoFill, &win)
		if err != nil {
			return false, err
		}
		found, more, err := b.Find(key, l.MaxSeq, dst)
		if err != nil {
			return false, t.fail(index.Offset(i), err)
		}
		if found || !more {
			if found && !t.possible(dst.Seq) {
				return false, t.impossible(dst.Seq, index.Offset(i))
			}
			return found, nil
		}
	}
	return false, nil
}

func (t *Table) possible(seq uint64) bool { return t.MaxSeq == 0 || seq <= t.MaxSeq }

func (t *Table) impossible(seq, offset uint64) error {
	return t.fail(offset, &format.DecodeError{Reason: fmt.Sprintf("row of seq %d, the manifest knows none above %d", seq, t.MaxSeq)})
}

// window is the stored bytes of the blocks from from up to to, not included.
// It is immutable.
type window struct {
	data     []byte
	from, to int
}

func (w *window) has(i int) bool { return w.from <= i && i < w.to }

// block returns block i from the window or the cache, or fetches it together
// with those after it, up to last and ahead bytes, that are not in the cache
// either.
func (t *Table) block(ctx context.Context, index *format.Index, i, last, ahead int, noFill bool, win *window) (*format.Block, error) {
	if win.has(i) {
		return t.fromWindow(index, win, i, noFill)
	}
	if b, ok := t.store.cache.get(t.sst.ID, index.Offset(i)).(*format.Block); ok {
		return b, nil
	}
	b, w, err := t.fetch(ctx, index, i, t.extend(index, i, last, ahead), noFill)
	*win = w
	return b, err
}

// extend returns the last block, from i to at most last in either direction,
// that a request for block i should bring along: blocks next to each other, not
// in the cache, of at most so many bytes together.
func (t *Table) extend(index *format.Index, i, last, bytes int) int {
	step := 1
	if last < i {
		step = -1
	}
	n := index.Offset(i+1) - index.Offset(i)
	for i != last {
		next := i + step
		n += index.Offset(next+1) - index.Offset(next)
		if n > uint64(max(bytes, 0)) || t.store.cache.has(t.sst.ID, index.Offset(next)) {
			break
		}
		i = next
	}
	return i
}

type fetched struct {
	block *format.Block
	win   window
}

// fetch reads the blocks from i to last, in either direction, and returns block
// i and the window of all. Those who want the same block at the same time share
// one request; the window is then that of the first.
func (t *Table) fetch(ctx context.Context, index *format.Index, i, last int, noFill bool) (*format.Block, window, error) {
	v, err := t.store.flights.do(ctx, partKey{t.sst.ID, index.Offset(i)}, func() (any, error) {
		if b, ok := t.store.cache.get(t.sst.ID, index.Offset(i)).(*format.Block); ok {
			return fetched{block: b}, nil // a flight ended between our look and this one
		}
		w := window{from: min(i, last), to: max(i, last) + 1}
		base := index.Offset(w.from)
		t.store.cache.missed()
		var err error
		if w.data, err = t.store.read(ctx, t.object, base, index.Offset(w.to)-base); err != nil {
			return nil, err
		}
		b, err := t.fromWindow(index, &w, i, noFill)
		return fetched{b, w}, err
	})
	if err != nil {
		return nil, window{}, err
	}
	f := v.(fetched)
	return f.block, f.win, nil
}

// fromWindow decodes block i of a window and, unless noFill, puts it into the
// cache.
func (t *Table) fromWindow(index *format.Index, w *window, i int, noFill bool) (*format.Block, error) {
	base := index.Offset(w.from)
	fill := !noFill && t.store.cache != nil
	b, err := t.decodeBlock(index, i, w.data[index.Offset(i)-base:index.Offset(i+1)-base], fill && w.to-w.from > 1)
	if err == nil && fill {
		t.store.cache.set(t.sst.ID, index.Offset(i), b)
	}
	return b, err
}

// decodeBlock decodes block i from its stored bytes. own says that the block
// must not keep them, as they are part of something larger.
func (t *Table) decodeBlock(index *format.Index, i int, part []byte, own bool) (*format.Block, error) {
	raw, err := t.unseal(part)
	if err != nil {
		return nil, t.fail(index.Offset(i), err)
	}
	if own && t.sst.Info.Codec == format.None { // a transformer may have returned a part of it
		raw = append(make([]byte, 0, len(raw)), raw...)
	}
	b, err := format.DecodeBlock(raw, t.sst.Version)
	if err != nil {
		return nil, t.strange(index.Offset(i), err)
	}
	if err := t.checkBounds(b, i, index.Len()); err != nil {
		return nil, t.fail(index.Offset(i), err)
	}
	return b, nil
}

// checkBounds compares the first and the last key of the SST with what the
// manifest says they are, which lies under no checksum.
func (t *Table) checkBounds(b *format.Block, i, blocks int) error {
	info := &t.sst.Info
	if i == 0 {
		if key, err := b.FirstKey(); err != nil || !bytes.Equal(key, info.FirstKey) {
			return cmp.Or(err, error(&format.DecodeError{Reason: fmt.Sprintf("first key is %q, expected %q", key, info.FirstKey)}))
		}
	}
	if i == blocks-1 && info.HasLast {
		if key, err := b.LastKey(); err != nil || !bytes.Equal(key, info.LastKey) {
			return cmp.Or(err, error(&format.DecodeError{Reason: fmt.Sprintf("last key is %q, expected %q", key, info.LastKey)}))
		}
	}
	return nil
}

// cached returns a part that the cache holds, nil if it does not. at remembers
// its entry, which is found faster than the part by its offset.
func (t *Table) cached(at *atomic.Pointer[entry], offset uint64) any {
	if e := at.Load(); e != nil {
		if v := e.get(); v != nil {
			return v
		}
		at.Store(nil)
	}
	e := t.store.cache.lookup(t.sst.ID, offset)
	if e == nil {
		return nil
	}
	at.Store(e)
	return e.get()
}

// cachedIndex returns the index if no request is needed for it, else nil.
func (t *Table) cachedIndex() *format.Index {
	x, _ := t.cached(&t.index, t.sst.Info.IndexOffset).(*format.Index)
	return x
}

// cachedFilter returns the filter, nil if there is none, if no request is
// needed for it, and whether that is so.
func (t *Table) cachedFilter() (*filter, bool) {
	if t.sst.Info.FilterLen == 0 {
		return nil, true
	}
	f, ok := t.cached(&t.filter, t.sst.Info.FilterOffset).(*filter)
	return f, ok
}

// meta returns filter (nil if there is none) and index. What it reads goes into
// the cache if fill says so.
func (t *Table) meta(ctx context.Context, fill bool) (*filter, *format.Index, error) {
	index := t.cachedIndex()
	f, known := t.cachedFilter()
	info := &t.sst.Info
	var err error
	switch {
	case index != nil && known:
		return f, index, nil
	case index == nil && (info.FilterLen == 0 || !known && info.FilterOffset+info.FilterLen == info.IndexOffset):
		return t.readMeta(ctx, fill)
	case index == nil:
		if index, err = t.readIndex(ctx, fill); err != nil {
			return nil, nil, err
		}
	}
	if !known {
		if f, err = t.readFilter(ctx, fill); err != nil {
			return nil, nil, err
		}
	}
	return f, index, nil
}

// indexOnly returns the index, for scans, which do not ask the filter.
func (t *Table) indexOnly(ctx context.Context, fill bool) (*format.Index, error) {
	if x := t.cachedIndex(); x != nil {
		return x, nil
	}
	return t.readIndex(ctx, fill)
}

type metaParts struct {
	filter *filter
	index  *format.Index
}

// readMeta reads filter and index, which lie side by side, in one request; of
// a small SST the data too.
func (t *Table) readMeta(ctx context.Context, fill bool) (*filter, *format.Index, error) {
	v, err := t.store.flights.do(ctx, partKey{t.sst.ID, ^uint64(0)}, func() (any, error) {
		return t.loadMeta(ctx, fill)
	})
	if err != nil {
		return nil, nil, err
	}
	m := v.(metaParts)
	return m.filter, m.index, nil
}

func (t *Table) loadMeta(ctx context.Context, fill bool) (any, error) {
	if f, ok := t.cachedFilter(); ok {
		if x := t.cachedIndex(); x != nil {
			return metaParts{f, x}, nil
		}
	}
	info := &t.sst.Info
	base, end := info.FilterOffset, info.IndexOffset+info.IndexLen
	if info.FilterLen == 0 {
		base = info.IndexOffset
	}
	whole := fill && t.store.cache != nil && end <= wholeRead && info.FilterOffset+info.FilterLen == info.IndexOffset
	if whole {
		base = 0
	}
	data, err := t.store.read(ctx, t.object, base, end-base)
	if err != nil {
		return nil, err
	}
	// The index comes first: a filter that was written through another
	// transformer may look like one, and must not be asked.
	var m metaParts
	if m.index, err = t.decodeIndex(data[info.IndexOffset-base:], fill); err != nil {
		return nil, err
	}
	if info.FilterLen > 0 {
		if m.filter, err = t.decodeFilter(data[info.FilterOffset-base:info.FilterOffset+info.FilterLen-base], fill); err != nil {
			return nil, err
		}
	}
	for i := 0; whole && i < m.index.Len(); i++ {
		from, to := m.index.Offset(i), m.index.Offset(i+1)
		// A damaged block is the business of who needs it, and reads it again.
		if b, err := t.decodeBlock(m.index, i, data[from:to], true); err == nil {
			t.store.cache.set(t.sst.ID, from, b)
		}
	}
	return m, nil
}

func (t *Table) readIndex(ctx context.Context, fill bool) (*format.Index, error) {
	info := &t.sst.Info
	v, err := t.store.flights.do(ctx, partKey{t.sst.ID, info.IndexOffset}, func() (any, error) {
		if x := t.cachedIndex(); x != nil {
			return x, nil
		}
		data, err := t.store.read(ctx, t.object, info.IndexOffset, info.IndexLen)
		if err != nil {
			return nil, err
		}
		return t.decodeIndex(data, fill)
	})
	if err != nil {
		return nil, err
	}
	return v.(*format.Index), nil
}

func (t *Table) readFilter(ctx context.Context, fill bool) (*filter, error) {
	info := &t.sst.Info
	v, err := t.store.flights.do(ctx, partKey{t.sst.ID, info.FilterOffset}, func() (any, error) {
		if f, ok := t.cachedFilter(); ok {
			return f, nil
		}
		data, err := t.store.read(ctx, t.object, info.FilterOffset, info.FilterLen)
		if err != nil {
			return nil, err
		}
		return t.decodeFilter(data, fill)
	})
	if err != nil {
		return nil, err
	}
	return v.(*filter), nil
}

// Check reads the parts that reading rows does not need, filter and statistics,
// and returns what is wrong with them.
func (t *Table) Check(ctx context.Context) error {
	info := &t.sst.Info
	if info.FilterLen > 0 {
		if _, err := t.readFilter(ctx, false); err != nil {
			return err
		}
	}
	_, err := t.Stats(ctx)
	return err
}

// decodeIndex decodes the index and keeps it if fill says so.
func (t *Table) decodeIndex(part []byte, fill bool) (*format.Index, error) {
	info := &t.sst.Info
	raw, err := t.unseal(part)
	if err != nil {
		return nil, t.fail(info.IndexOffset, err)
	}
	x, err := format.DecodeIndex(raw, info.FilterOffset)
	if err != nil {
		return nil, t.strange(info.IndexOffset, err)
	}
	if x.Len() == 0 {
		return nil, t.fail(info.IndexOffset, &format.DecodeError{Reason: "index without blocks"})
	}
	if fill {
		t.index.Store(t.store.cache.set(t.sst.ID, info.IndexOffset, x))
	}
	return x, nil
}

// decodeFilter decodes the filter and keeps it if fill says so. A block without
// a filter that we know counts as one that may contain every key.
func (t *Table) decodeFilter(part []byte, fill bool) (*filter, error) {
	info := &t.sst.Info
	raw, err := t.unseal(part)
	if err != nil {
		return nil, t.fail(info.FilterOffset, err)
	}
	if info.Codec == format.None {
		raw = append(make([]byte, 0, len(raw)), raw...) // it was read together with the index
	}
	bloom, err := format.DecodeFilter(raw, info.FilterFormat)
	if err != nil {
		return nil, t.strange(info.FilterOffset, err)
	}
	if bloom == nil {
		bloom = format.AnyKey
	}
	f := &filter{bloom: bloom, prefixes: t.store.witnesses != nil && bloom.Announces(t.store.witnesses)}
	if fill {
		t.filter.Store(t.store.cache.set(t.sst.ID, info.FilterOffset, f))
	}
	return f, nil
}
