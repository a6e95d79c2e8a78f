package sst

import (
	"context"

	"github.com/stele-db/stele/slate/internal/format"
)

// Index returns the table's index. Errors are those of Get.
func (t *Table) Index(ctx context.Context) (*format.Index, error) { return t.indexOnly(ctx, true) }

// CheckTransformer reads the index, into the cache, and returns an error if its
// checksum is right and yet it cannot be decoded: it was written with another
// transformer than the store's. What else is wrong is the business of who needs
// it.
func (t *Table) CheckTransformer(ctx context.Context) error {
	info := &t.sst.Info
	data, err := t.store.read(ctx, t.object, info.IndexOffset, info.IndexLen)
	if err == nil {
		_, err = format.Intact(data)
	}
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	_, err = t.decodeIndex(data, true)
	return err
}

// Stats reads the table's statistics in one request; nil if it has none, as is
// true of some that SlateDB wrote. Errors are those of Get.
func (t *Table) Stats(ctx context.Context) (*format.Stats, error) {
	info := &t.sst.Info
	if info.StatsLen == 0 {
		return nil, nil
	}
	data, err := t.store.read(ctx, t.object, info.StatsOffset, info.StatsLen)
	if err != nil {
		return nil, err
	}
	raw, err := t.unseal(data)
	if err != nil {
		return nil, t.fail(info.StatsOffset, err)
	}
	s, err := format.DecodeStats(raw)
	if err != nil {
		return nil, t.strange(info.StatsOffset, err)
	}
	return s, nil
}
