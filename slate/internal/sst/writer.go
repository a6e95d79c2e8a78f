package sst

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/stele-db/stele/slate/internal/format"
)

// Defaults of WriterOptions, which are SlateDB's.
const (
	DefaultBlockSize     = 4096
	DefaultBitsPerKey    = 10
	DefaultMinFilterKeys = 1000
)

// maxBlockSize is the largest block size whose restarts fit in 16 bits.
const maxBlockSize = 1 << 16

// WriterOptions are the settings of a Writer; zero means SlateDB's default.
type WriterOptions struct {
	// BlockSize is the bytes of a data block before compression, default 4096,
	// at most 65536; a larger row gets a block of its own. Larger blocks compress
	// better and make the index smaller; smaller ones cost less to read for one
	// row.
	BlockSize int
	// Codec compresses everything but the info; default none.
	Codec format.Codec
	// Transformer changes what the codec has made; nil: nothing does.
	Transformer format.Transformer
	// BitsPerKey is the size of the Bloom filter, default 10 bits a row, which
	// lets through about one in a hundred; at most 255.
	BitsPerKey int
	// MinFilterKeys is the number of rows from which on there is a filter,
	// default 1000; negative: there is none.
	MinFilterKeys int
	// Prefixer: the filter holds the prefixes that it takes from keys, too; nil:
	// none.
	Prefixer Prefixer
	// WAL: rows come in order of arrival; there is no filter and no statistics.
	WAL bool
	// Size is about how many bytes the rows will be before compression; memory
	// for the object is taken at once. Default: it grows, which copies it some
	// four times.
	Size int64
}

// Writer builds one SST in memory. Its methods may not be called concurrently,
// nor after Finish, but for Reset.
type Writer struct {
	opts   WriterOptions
	out    []byte // finished blocks
	block  *format.BlockBuilder
	index  format.IndexBuilder
	stats  format.Stats
	part   format.BlockStats // of the current block
	hashes []uint64          // of every row's key, and of every prefix
	prefix prefixHasher
	sep    []byte // separator of the current block
	first  []byte // first key, or seq if WAL
	last   []byte // last key
	seq    uint64 // of the last row
	rows   int
	err    error // ends the Writer
}

// NewWriter returns a Writer of one SST.
func NewWriter(opts WriterOptions) *Writer {
	if opts.BlockSize <= 0 {
		opts.BlockSize = DefaultBlockSize
	}
	if opts.BitsPerKey <= 0 {
		opts.BitsPerKey = DefaultBitsPerKey
	}
	if opts.MinFilterKeys == 0 {
		opts.MinFilterKeys = DefaultMinFilterKeys
	}
	opts.BlockSize = min(opts.BlockSize, maxBlockSize)
	opts.BitsPerKey = min(opts.BitsPerKey, 255)
	return &Writer{opts: opts, block: format.NewBlockBuilder(opts.BlockSize), prefix: prefixHasher{prefixer: opts.Prefixer}}
}

// Reset makes w ready for another SST with the same settings, which it builds in
// the memory of buf. What Finish has returned is the caller's.
func (w *Writer) Reset(buf []byte) {
	w.out = buf[:0]
	w.block.Reset()
	w.index.Reset()
	w.stats = format.Stats{Blocks: w.stats.Blocks[:0]}
	w.part = format.BlockStats{}
	w.hashes, w.sep = w.hashes[:0], w.sep[:0]
	w.prefix.last = w.prefix.last[:0]
	w.first, w.last = nil, nil
	w.seq, w.rows, w.err = 0, 0, nil
}

// Add appends a row, which it copies. In a WAL SST rows come in order of
// their seqs; otherwise in order of their keys and, for equal keys, from the
// highest seq to the lowest. A row out of order or outside the format's limits
// is an error, after which the Writer is of no further use.
func (w *Writer) Add(r *format.Row) error {
	if w.err != nil {
		return w.err
	}
	if err := w.check(r); err != nil {
		w.err = err
		return err
	}
	if w.rows == 0 {
		w.begin(r)
	}
	if !w.block.Add(r) {
		if err := w.cut(); err != nil {
			return err
		}
		if w.opts.WAL {
			w.sep = binary.BigEndian.AppendUint64(w.sep[:0], r.Seq)
		} else {
			w.sep = append(w.sep[:0], format.Separator(w.last, r.Key)...)
		}
		w.block.Add(r)
	}
	w.stats.Count(&w.part, r)
	if !w.opts.WAL && w.opts.MinFilterKeys > 0 {
		w.hashes = append(w.prefix.add(w.hashes, r.Key), format.BloomHash(r.Key))
	}
	w.last = append(w.last[:0], r.Key...)
	w.seq = r.Seq
	w.rows++
	return nil
}

// begin notes what the first row decides. The separator before the first block
// is its seq in a WAL SST, empty otherwise.
func (w *Writer) begin(r *format.Row) {
	if cap(w.out) == 0 {
		const around = 1 << 10 // what a small object has beside its rows
		size := w.opts.Size
		if w.opts.Codec != format.None {
			size /= 2
		}
		w.out = make([]byte, 0, size+around)
	}
	if w.opts.WAL {
		w.first = binary.BigEndian.AppendUint64(nil, r.Seq)
		w.sep = append(w.sep, w.first...)
		return
	}
	w.first = bytes.Clone(r.Key)
}

// check returns why a row cannot be stored next.
func (w *Writer) check(r *format.Row) error {
	switch {
	case len(r.Key) == 0 || len(r.Key) > format.MaxStoredKey:
		return fmt.Errorf("add row: key of %d bytes, must be 1 to %d", len(r.Key), format.MaxStoredKey)
	case len(r.Value) > format.MaxRowValue:
		return fmt.Errorf("add row %q: value of %d bytes, must be at most %d", r.Key, len(r.Value), format.MaxRowValue)
	case r.Kind > format.Merge:
		return fmt.Errorf("add row %q: unknown kind %d", r.Key, r.Kind)
	case r.Kind == format.Tombstone && len(r.Value) > 0:
		return fmt.Errorf("add row %q: tombstone with a value", r.Key)
	case w.rows == 0:
		return nil
	case w.opts.WAL && r.Seq < w.seq:
		return fmt.Errorf("add row %q: seq %d after %d", r.Key, r.Seq, w.seq)
	case w.opts.WAL:
		return nil
	}
	if c := bytes.Compare(w.last, r.Key); c > 0 || c == 0 && r.Seq >= w.seq {
		return fmt.Errorf("add row %q, seq %d: out of order after %q, seq %d", r.Key, r.Seq, w.last, w.seq)
	}
	return nil
}

// cut ends the current block.
func (w *Writer) cut() error {
	w.index.Add(uint64(len(w.out)), w.sep)
	w.stats.Blocks = append(w.stats.Blocks, w.part)
	w.part = format.BlockStats{}
	err := w.seal(w.block.Finish())
	w.block.Reset()
	return err
}

// seal appends a part to the object.
func (w *Writer) seal(raw []byte) error {
	out, err := format.Seal(w.out, raw, w.opts.Codec, w.opts.Transformer)
	if err != nil {
		w.err = err
		return err
	}
	w.out = out
	return nil
}

// Rows returns how many rows were added.
func (w *Writer) Rows() int { return w.rows }

// Size returns the bytes of the finished blocks, as they will be stored, and
// of the current one, as it is before compression.
func (w *Writer) Size() int {
	if w.block.Rows() == 0 {
		return len(w.out)
	}
	return len(w.out) + w.block.Len()
}

// Finish returns the whole object and its info. Without rows the object is a
// fence. Both belong to the caller.
func (w *Writer) Finish() ([]byte, format.SSTInfo, error) {
	if w.err != nil {
		return nil, format.SSTInfo{}, w.err
	}
	if w.block.Rows() > 0 {
		if err := w.cut(); err != nil {
			return nil, format.SSTInfo{}, err
		}
	}
	info := format.SSTInfo{Codec: w.opts.Codec, FirstKey: w.first}
	if w.opts.WAL {
		info.Type = format.WAL
	} else if w.rows > 0 {
		info.LastKey, info.HasLast = w.last, true
	}
	if err := w.finishParts(&info); err != nil {
		return nil, format.SSTInfo{}, err
	}
	meta := uint64(len(w.out))
	if err := w.sealInfo(&info); err != nil {
		return nil, format.SSTInfo{}, err
	}
	w.err = fmt.Errorf("writer of an SST used after Finish")
	return format.AppendFooter(w.out, meta), info, nil
}

// finishParts appends filter, index and statistics.
func (w *Writer) finishParts(info *format.SSTInfo) error {
	info.FilterOffset = uint64(len(w.out))
	if w.opts.MinFilterKeys > 0 && w.rows >= w.opts.MinFilterKeys {
		if f := format.BuildBloom(w.prefix.finish(w.hashes), w.opts.BitsPerKey); f != nil {
			if err := w.seal(f.Append(nil)); err != nil {
				return err
			}
		}
	}
	info.FilterLen = uint64(len(w.out)) - info.FilterOffset
	info.IndexOffset = uint64(len(w.out))
	if err := w.seal(w.index.Encode()); err != nil {
		return err
	}
	info.IndexLen = uint64(len(w.out)) - info.IndexOffset
	if w.opts.WAL {
		return nil
	}
	info.StatsOffset = uint64(len(w.out))
	if err := w.seal(format.EncodeStats(&w.stats)); err != nil {
		return err
	}
	info.StatsLen = uint64(len(w.out)) - info.StatsOffset
	return nil
}

// sealInfo appends the info, which is never compressed or transformed.
func (w *Writer) sealInfo(info *format.SSTInfo) error {
	out, err := format.Seal(w.out, format.EncodeInfo(info), format.None, nil)
	w.out = out
	return err
}

// EncodeFence returns a WAL object without rows, by which a writer takes a WAL
// id from those before it, in the form that every SlateDB from 0.12 on reads. Its
// index and statistics, of nothing, go through t unless it is nil, whose error is
// the only one there is.
func EncodeFence(t format.Transformer) ([]byte, error) {
	data, _, err := NewWriter(WriterOptions{Transformer: t}).Finish()
	return data, err
}
