//go:build !unix

package bucket

import "io/fs"

// knowsFiles: identify works.
const knowsFiles = false

// identify knows files on Unix only; elsewhere a lost reply of a folder stays
// without an answer, which is ErrUnknownOutcome.
func identify(fs.FileInfo) (fileID, bool) { return fileID{}, false }
