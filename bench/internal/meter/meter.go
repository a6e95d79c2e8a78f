//go:build unix

package meter

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Usage is what the process has used since it began.
type Usage struct {
	Wall    time.Time
	CPU     time.Duration // user and system, of all threads
	Mallocs uint64
	Bytes   uint64 // allocated
}

// Now returns the usage until now. It stops the world for a moment.
func Now() Usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails for a bad pointer only
	return Usage{time.Now(), time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs, m.TotalAlloc}
}

// Resident returns the resident memory now and its peak since the process
// began or ResetPeak was called, in bytes. It needs Linux.
func Resident() (now, peak int64) {
	status, _ := os.ReadFile("/proc/self/status")
	return field(status, "VmRSS:"), field(status, "VmHWM:")
}

// ResetPeak begins a new peak.
func ResetPeak() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // where that is refused the peak is that of the process
}

// field reads a line "name  n kB".
func field(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	words := bytes.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	kb, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return kb << 10
}
