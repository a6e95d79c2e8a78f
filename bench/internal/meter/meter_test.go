//go:build unix

package meter

import (
	"runtime"
	"testing"
)

func TestUsageGrows(t *testing.T) {
	before := Now()
	kept := make([][]byte, 0, 100)
	for range 100 {
		kept = append(kept, make([]byte, 1<<20))
	}
	for i := range kept {
		for j := 0; j < len(kept[i]); j += 4096 {
			kept[i][j] = 1
		}
	}
	after := Now()
	if n := after.Mallocs - before.Mallocs; n < 100 {
		t.Errorf("%d allocations, made 100", n)
	}
	if n := after.Bytes - before.Bytes; n < 100<<20 {
		t.Errorf("%d bytes allocated, made 100 MiB", n)
	}
	if after.CPU <= before.CPU {
		t.Errorf("processor time went from %v to %v", before.CPU, after.CPU)
	}
	now, peak := Resident()
	if runtime.GOOS == "linux" && (now < 100<<20 || peak < now) {
		t.Errorf("resident %d bytes, peak %d, with 100 MiB in use", now, peak)
	}
	runtime.KeepAlive(kept)
}
