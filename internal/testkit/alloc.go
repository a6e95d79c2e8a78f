package testkit

import (
	"runtime/metrics"
	"testing"
)

// Frugal runs f and fails the test if more than limit bytes were allocated
// meanwhile, freed or not. Whatever else runs in the process counts too, so
// limits are generous: they find what damaged bytes can inflate, not waste.
func Frugal(t testing.TB, limit uint64, what string, f func()) {
	t.Helper()
	before := allocated()
	f()
	if n := allocated() - before; n > limit {
		t.Errorf("%s: %d bytes were allocated, want at most %d", what, n, limit)
	}
}

// allocated is how many bytes the process has allocated so far; small ones may
// be counted late.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
