package conflict

import (
	"io"
	"time"

	"github.com/stele-db/stele/internal/backoff"
	"github.com/stele-db/stele/internal/clock"
)

// Again is how a function runs again whose transaction was refused: up to 32
// times in all, after waits that double from 1 ms to 200 ms and are shortened at
// random by up to half.
func Again(c clock.Clock, random io.Reader) backoff.Policy {
	return backoff.Policy{Attempts: 32, First: time.Millisecond, Max: 200 * time.Millisecond, Clock: c, Random: random}
}
