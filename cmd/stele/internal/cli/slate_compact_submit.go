package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// submitPoll is how often --wait looks, which costs two to four requests.
const submitPoll = time.Second

// submit asks the compactor at work for a compaction of everything.
func (c *slateCompactCmd) submit(e *env) error {
	return c.withBucket(e, func(b bucket.Bucket, path string) error {
		id, err := slate.SubmitCompaction(e.ctx, path, b, slate.SubmitOptions{})
		if err != nil {
			return err
		}
		info, err := slate.ReadCompaction(e.ctx, path, b, id)
		if err != nil {
			return fmt.Errorf("submitted %s: %w", id, err)
		}
		if err := c.tell(e, info); err != nil || !c.Wait {
			return err
		}
		for !info.Ended() {
			if err := clock.Sleep(e.ctx, clock.System, submitPoll); err != nil {
				return err
			}
			if info, err = slate.ReadCompaction(e.ctx, path, b, id); err != nil {
				return err
			}
		}
		if info.State == "failed" {
			err = fmt.Errorf("compaction %s failed: the compactor's log says why; its sources may have been compacted before", id)
		}
		return errors.Join(c.tell(e, info), err)
	})
}

// tell prints how far the compaction has come.
func (c *slateCompactCmd) tell(e *env, info *slate.CompactionInfo) error {
	if c.JSON {
		return writeJSON(e.stdout, info)
	}
	_, err := fmt.Fprintf(e.stdout, "%s %s: %s\n", info.ID, info.State, sourcesText(len(info.L0), info.Runs))
	return err
}
