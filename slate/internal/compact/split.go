package compact

import (
	"bytes"
	"context"
	"slices"
	"sort"

	"github.com/stele-db/stele/slate/internal/format"
)

// keyRange is the keys k with lower <= k < upper that one worker compacts. A nil
// upper is no bound.
type keyRange struct {
	lower, upper []byte
	bytes        int64 // about the size of the sources' part
}

// overlapping returns the SSTs that may hold keys of r.
func overlapping(ssts []format.SST, r keyRange) []format.SST {
	from := sort.Search(len(ssts), func(i int) bool { return len(r.lower) == 0 || !endsBefore(&ssts[i], r.lower) })
	to := sort.Search(len(ssts), func(i int) bool {
		return r.upper != nil && bytes.Compare(ssts[i].Range().Start.Key, r.upper) >= 0
	})
	return ssts[from:max(from, to)]
}

// sample is a key from which on a source has so many bytes, up to its next
// sample.
type sample struct {
	key   []byte
	bytes int64
}

// samplesPerSST is how finely an SST is divided: its index has an entry for
// every block, far more than are needed.
const samplesPerSST = 64

// split divides the keys from the key from on into ranges of about Split bytes
// of the sources, at the boundaries of their SSTs and blocks.
func (j *Job) split(ctx context.Context, levels [][]format.SST, from []byte) ([]keyRange, error) {
	all := keyRange{lower: from}
	var total int64
	var in []format.SST
	for _, ssts := range levels {
		for _, t := range overlapping(ssts, all) {
			in = append(in, t)
			total += int64(t.Info.Size())
		}
	}
	all.bytes = total
	limit := max(j.Split, j.MaxSST)
	if total < 2*limit {
		return []keyRange{all}, nil
	}
	var samples []sample
	for i := range in {
		more, err := j.samples(ctx, &in[i], limit)
		if err != nil {
			return nil, err
		}
		samples = append(samples, more...)
	}
	return divide(samples, from, limit), nil
}

// samples divides an SST. A small one is not worth reading its index for.
func (j *Job) samples(ctx context.Context, t *format.SST, limit int64) ([]sample, error) {
	start, size := t.Range().Start.Key, int64(t.Info.Size())
	if size < limit/8 {
		return []sample{{start, size}}, nil
	}
	index, err := j.open(*t).Index(ctx)
	if err != nil {
		return nil, err
	}
	n := index.Len()
	step := max(1, n/samplesPerSST)
	var out []sample
	for i := 0; i < n; i += step {
		key := start // the separator before the first block is empty
		if i > 0 {
			key = bytes.Clone(index.Separator(i))
		}
		out = append(out, sample{key, int64(index.Offset(min(i+step, n)) - index.Offset(i))})
	}
	return out, nil
}

// divide cuts the keys from the key from on wherever the samples add up to
// limit bytes.
func divide(samples []sample, from []byte, limit int64) []keyRange {
	slices.SortFunc(samples, func(a, b sample) int { return bytes.Compare(a.key, b.key) })
	out := []keyRange{{lower: from}}
	for _, s := range samples {
		last := &out[len(out)-1]
		if last.bytes >= limit && bytes.Compare(s.key, last.lower) > 0 {
			last.upper = s.key
			out = append(out, keyRange{lower: s.key})
			last = &out[len(out)-1]
		}
		last.bytes += s.bytes
	}
	return out
}
