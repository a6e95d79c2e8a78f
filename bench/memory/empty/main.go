// Command empty does nothing but print the peak of its resident memory in
// bytes: what any Go program has.
package main

import (
	"os"
	"strconv"
	"strings"
)

func main() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		os.Exit(1)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(kb<<10) + "\n")
}
