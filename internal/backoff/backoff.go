// Package backoff runs again what may succeed later, with waits that grow and
// that chance spreads, so that callers who failed together do not return
// together.
package backoff

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/stele-db/stele/internal/clock"
)

// Policy says how often something is tried and how long the waits between are.
type Policy struct {
	// Attempts is how often it is tried, at least 1.
	Attempts int
	// First bounds the wait before the second attempt; the bound doubles with
	// each further one up to Max. A wait is drawn between half its bound and the
	// bound.
	First, Max time.Duration
	// Clock waits.
	Clock clock.Clock
	// Random draws the waits.
	Random io.Reader
}

// Do calls fn until it returns an error that again does not want, or none. The
// last error is returned after the last attempt, and the context's error if it
// ends during a wait.
func (p Policy) Do(ctx context.Context, again func(error) bool, fn func() error) error {
	for attempt := 1; ; attempt++ {
		err := fn()
		if err == nil || !again(err) {
			return err
		}
		if attempt >= p.Attempts {
			return fmt.Errorf("gave up after %d attempts: %w", attempt, err)
		}
		if werr := p.Wait(ctx, attempt); werr != nil {
			return fmt.Errorf("%w after %d attempts (%s)", werr, attempt, err.Error())
		}
	}
}

// Wait waits before the attempt after the given one, counted from 1. It returns
// the context's error if that ends first.
func (p Policy) Wait(ctx context.Context, attempt int) error {
	bound := p.Max
	if shift := attempt - 1; shift < 30 && p.First<<shift < bound {
		bound = p.First << shift
	}
	var b [8]byte
	if _, err := io.ReadFull(p.Random, b[:]); err != nil {
		return fmt.Errorf("random wait: %w", err)
	}
	half := bound / 2
	return clock.Sleep(ctx, p.Clock, half+time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(half+1)))
}
