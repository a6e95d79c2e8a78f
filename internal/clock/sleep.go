package clock

import (
	"context"
	"time"
)

// Sleep returns once d has passed by c, or with ctx's error when that is done
// before.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	passed, stop := c.After(d)
	defer stop()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
