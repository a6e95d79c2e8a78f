//go:build !linux

package bucket

// fsName describes the file system of path for an error, where the system
// tells it in a portable way.
func fsName(string) string { return "" }
