// Package clock is time as a component: everything in Stele that reads the
// time or waits for it does so through a Clock, so that a whole database can
// run in simulated time.
package clock

import "time"

// Clock tells the time and waits. Its methods may be called concurrently.
type Clock interface {
	// Now returns the current time, with a monotonic reading where the clock
	// has one.
	Now() time.Time
	// After returns a channel that receives once d has passed, and a function
	// that stops the wait and frees its resources. A d of zero or less fires
	// at once.
	After(d time.Duration) (<-chan time.Time, func())
}

// System is the machine's clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
