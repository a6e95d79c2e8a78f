//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package diskcache

import (
	"errors"
	"os"
)

func lockFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
