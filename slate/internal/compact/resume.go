package compact

import (
	"bytes"
	"context"
	"errors"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/sst"
)

// Resume returns how much of the output that another attempt has recorded can
// stay: SSTs from its beginning on, the last of which ends with everything that
// is needed of its last key. The output may be SlateDB's, which may end an SST
// among the versions of a key and has kept what was needed at its time. Since
// then less is needed, never more, so what it has kept is enough if the oldest
// version of that key is one at which a reader at MinSeq stops.
func (j *Job) Resume(ctx context.Context, output []format.SST) ([]format.SST, error) {
	n := 0
	for ; n < len(output); n++ {
		t := &output[n]
		if !t.Info.HasLast || n > 0 && !endsBefore(&output[n-1], t.Range().Start.Key) {
			break
		}
		_, err := j.Bucket.Head(ctx, j.Root.SST(t.ID))
		if errors.Is(err, bucket.ErrNotFound) {
			break // collected; what is behind it may be there and is written anew
		}
		if err != nil {
			return nil, err
		}
	}
	for ; n > 0; n-- {
		complete, err := j.complete(ctx, output[n-1])
		if err != nil || complete {
			return output[:n], err
		}
	}
	return nil, nil
}

// complete reports whether the SST ends with a version of its last key that
// hides all older ones.
func (j *Job) complete(ctx context.Context, t format.SST) (bool, error) {
	it := j.open(t).Iter(sst.IterOptions{Lower: t.Info.LastKey, NoFill: true})
	defer it.Close()
	last := format.Row{Kind: format.Merge}
	for {
		r, err := it.Next(ctx)
		if err != nil {
			return false, err
		}
		if r == nil {
			return last.Kind != format.Merge && last.Seq <= j.Policy.MinSeq, nil
		}
		if bytes.Equal(r.Key, t.Info.LastKey) {
			last = *r
		}
	}
}
