package compact

import (
	"bytes"
	"context"
	"slices"

	"github.com/stele-db/stele/slate/internal/format"
)

// Move returns the SSTs of the spec's sources in the order of their keys, if
// they can become the new run as they are, and false if they must be merged. It
// is right to move them if
//
//   - no two of them share a key: nothing in one hides anything in another;
//   - they hold values only, as their statistics say: there is no tombstone that
//     could be dropped and no operand to fold;
//   - they are no smaller than a quarter of MaxSST on average: many small SSTs
//     would cost every later read more than rewriting them does now;
//   - and no rule of the caller's wants to see the rows (Policy.Edit).
//
// What a move does not drop are values that have expired, and older versions
// that a snapshot needed when they were flushed. The next merge does.
//
// A move is safe whenever a merge is: the manifest that names the SSTs as a run
// is the one that stops naming them as sources.
func (j *Job) Move(ctx context.Context, m *format.Manifest, s Spec) ([]format.SST, bool, error) {
	levels, err := sources(m, s)
	if err != nil || j.Policy.Edit != nil {
		return nil, false, err
	}
	all := slices.Concat(levels...)
	var size int64
	for i := range all {
		size += int64(all[i].Info.Size())
	}
	if len(all) == 0 || size < int64(len(all))*j.MaxSST/4 {
		return nil, false, nil
	}
	slices.SortFunc(all, func(a, b format.SST) int { return bytes.Compare(a.Range().Start.Key, b.Range().Start.Key) })
	for i := 1; i < len(all); i++ {
		if !endsBefore(&all[i-1], all[i].Range().Start.Key) {
			return nil, false, nil
		}
	}
	for i := range all {
		stats, err := j.open(all[i]).Stats(ctx)
		if err != nil || stats == nil || stats.Deletes > 0 || stats.Merges > 0 {
			return nil, false, err
		}
	}
	return all, true, nil
}
