package sst

import (
	"context"

	"github.com/stele-db/stele/slate/internal/format"
)

// Index returns the table's index. Errors are those of Get.
func (t *Table) Index(ctx context.Context) (*format.Index, error) { return t.indexOnly(ctx, true) }

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
	raw, err := format.Unseal(data, info.Codec)
	if err != nil {
		return nil, t.fail(info.StatsOffset, err)
	}
	s, err := format.DecodeStats(raw)
	if err != nil {
		return nil, t.fail(info.StatsOffset, err)
	}
	return s, nil
}
