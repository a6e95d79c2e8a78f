package sst

import (
	"errors"

	"github.com/stele-db/stele/slate/internal/format"
)

// File is a whole SST object in memory, for who reads all of it: WAL replay
// and tools. It may be shared.
type File struct {
	Info    format.SSTInfo
	Version uint16
	// MetaOffset is where the info begins in the object.
	MetaOffset int64
	Index      *format.Index
	data       []byte
	transform  format.Transformer
}

// Parse reads an SST object of any version and codec, written through t unless
// it is nil, but for its blocks. It keeps data. Errors match format.ErrCorrupt, as
// *format.DecodeError with an offset in data, format.ErrTransform likewise, or
// format.ErrNewer.
func Parse(data []byte, t format.Transformer) (*File, error) {
	f, err := parseInfo(data)
	if err != nil {
		return nil, err
	}
	f.transform = t
	raw, err := f.part(f.Info.IndexOffset, f.Info.IndexLen)
	if err != nil {
		return nil, err
	}
	f.Index, err = format.DecodeIndex(raw, f.Info.FilterOffset)
	if err != nil {
		return nil, f.strange(err, f.Info.IndexOffset)
	}
	return f, nil
}

// HasRows reports whether a WAL object holds rows, by what its info says, which
// is neither compressed nor transformed. Errors are those of Parse.
func HasRows(data []byte) (bool, error) {
	if len(data) == 0 {
		return false, nil
	}
	f, err := parseInfo(data)
	return err == nil && f.Info.FilterOffset > 0, err
}

// parseInfo reads the end of an SST object.
func parseInfo(data []byte) (*File, error) {
	size := int64(len(data))
	if size < format.FooterLen {
		return nil, &format.DecodeError{Reason: "object is too short for an SST"}
	}
	meta, version, err := format.DecodeFooter(data[size-format.FooterLen:], size)
	if err != nil {
		return nil, err
	}
	info, err := decodeInfo(data[meta:size-format.FooterLen], meta)
	if err != nil {
		return nil, err
	}
	f := &File{Info: info, Version: version, MetaOffset: meta, data: data}
	if end := max(info.IndexOffset+info.IndexLen, info.StatsOffset+info.StatsLen); end > uint64(meta) {
		return nil, &format.DecodeError{Offset: meta, Reason: "parts of the SST reach beyond its info"}
	}
	return f, nil
}

// decodeInfo reads a sealed info that begins at offset meta of its object.
func decodeInfo(sealed []byte, meta int64) (format.SSTInfo, error) {
	raw, err := format.Unseal(sealed, format.None, nil)
	if err != nil {
		return format.SSTInfo{}, shift(err, meta)
	}
	info, err := format.DecodeInfo(raw)
	return info, shift(err, meta)
}

// part returns a part of the object as it was before transformer and codec.
func (f *File) part(offset, length uint64) ([]byte, error) {
	raw, err := format.Unseal(f.data[offset:offset+length], f.Info.Codec, f.transform)
	return raw, shift(err, int64(offset))
}

// strange is shift for an error in decoding a part whose checksum is right.
func (f *File) strange(err error, base uint64) error {
	return shift(format.Strange(err, f.transform), int64(base))
}

// Block decodes data block i.
func (f *File) Block(i int) (*format.Block, error) {
	from, to := f.Index.Offset(i), f.Index.Offset(i+1)
	raw, err := f.part(from, to-from)
	if err != nil {
		return nil, err
	}
	b, err := format.DecodeBlock(raw, f.Version)
	return b, f.strange(err, from)
}

// Filter decodes the Bloom filter, nil if there is none.
func (f *File) Filter() (*format.Bloom, error) {
	if f.Info.FilterLen == 0 {
		return nil, nil
	}
	raw, err := f.part(f.Info.FilterOffset, f.Info.FilterLen)
	if err != nil {
		return nil, err
	}
	b, err := format.DecodeFilter(raw, f.Info.FilterFormat)
	return b, f.strange(err, f.Info.FilterOffset)
}

// Stats decodes the statistics, nil if there are none.
func (f *File) Stats() (*format.Stats, error) {
	if f.Info.StatsLen == 0 {
		return nil, nil
	}
	raw, err := f.part(f.Info.StatsOffset, f.Info.StatsLen)
	if err != nil {
		return nil, err
	}
	s, err := format.DecodeStats(raw)
	return s, f.strange(err, f.Info.StatsOffset)
}

// Rows decodes every row of block i, in its order. Keys and values belong to
// the rows or alias the object.
func (f *File) Rows(i int, dst []format.Row) ([]format.Row, error) {
	b, err := f.Block(i)
	if err != nil {
		return nil, err
	}
	var it format.BlockIter
	it.First(b)
	var arena []byte
	for {
		var r format.Row
		ok, err := it.Next(&r)
		if err != nil {
			return nil, shift(err, int64(f.Index.Offset(i)))
		}
		if !ok {
			return dst, nil
		}
		if cap(arena)-len(arena) < len(r.Key) {
			arena = make([]byte, 0, max(4096, len(r.Key)))
		}
		from := len(arena)
		arena = append(arena, r.Key...)
		r.Key = arena[from:len(arena):len(arena)]
		dst = append(dst, r)
	}
}

// ReadWAL decodes a WAL object of any version and codec, written through t unless
// it is nil, checksums verified. A fence has no rows: that is an object without
// any, or of zero bytes. Values may alias data. Errors are those of Parse.
func ReadWAL(data []byte, t format.Transformer) ([]format.Row, error) {
	if len(data) == 0 {
		return nil, nil
	}
	f, err := Parse(data, t)
	if err != nil {
		return nil, err
	}
	if _, err := f.Stats(); err != nil { // old fences have some, of nothing
		return nil, err
	}
	var rows []format.Row
	for i := range f.Index.Len() {
		if rows, err = f.Rows(i, rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// shift moves an error from a part to the object, in which the part
// begins at base. Within a compressed part the offset means little: it is then
// counted in the decompressed part.
func shift(err error, base int64) error {
	if d, ok := errors.AsType[*format.DecodeError](err); ok {
		return &format.DecodeError{Offset: base + d.Offset, Reason: d.Reason}
	}
	if t, ok := errors.AsType[*format.TransformError](err); ok {
		return &format.TransformError{Offset: base + t.Offset, Err: t.Err}
	}
	return err
}
