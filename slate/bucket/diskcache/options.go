package diskcache

import (
	"errors"
	"fmt"
	"log/slog"
)

// Options configures New. The zero value is the default.
type Options struct {
	// MaxBytes caps the files of the cache, in bytes. Default 16 GiB, as SlateDB;
	// at least one part. More: disk space, and a New that looks at more files.
	// Less: parts leave sooner and are requested again.
	MaxBytes int64
	// PartBytes is the size of a part. Default 4 MiB, as SlateDB; 1 KiB to 1 GiB.
	// More: a first read waits for more bytes, and fewer requests fill the cache.
	// Less: more requests and more files. New removes parts of another size.
	PartBytes int64
	// SkipPuts keeps objects that are put out of the cache; they enter when they
	// are read. Default: what a flush or a compaction writes enters at once, for
	// it replaces what was read until now. A wrapper cannot tell the two apart.
	// Set it where a process writes and others read.
	SkipPuts bool
	// Logger is told, once, that the disk cannot be written. Default: nobody.
	Logger *slog.Logger
}

const (
	minPartBytes = 1 << 10
	maxPartBytes = 1 << 30
)

// withDefaults returns o with every default filled in, or all faults at once.
func (o Options) withDefaults() (Options, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 16 << 30
	}
	if o.PartBytes == 0 {
		o.PartBytes = 4 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var faults []error
	if o.PartBytes < minPartBytes || o.PartBytes > maxPartBytes {
		faults = append(faults, fmt.Errorf("PartBytes is %d, must be %d to %d", o.PartBytes, minPartBytes, maxPartBytes))
	} else if least := fileBytes(o.PartBytes); o.MaxBytes < least {
		faults = append(faults, fmt.Errorf("MaxBytes is %d, must be at least a part with its checksums, %d", o.MaxBytes, least))
	}
	return o, errors.Join(faults...)
}

// Stats is what a cache did since New, and what it holds.
type Stats struct {
	// Hits are the parts that reads found in the cache, or on their way into it
	// for another read; Misses those that they had to request. Several misses
	// may share a request.
	Hits   int64 `json:"hits"`
	Misses int64 `json:"misses"`
	// Passed are the reads of SSTs that went to the bucket without the cache:
	// because the disk cannot be written, or for more than 1024 parts at once.
	Passed    int64 `json:"passed"`
	Bytes     int64 `json:"bytes"` // of the files, now
	Parts     int   `json:"parts"` // as many files, now
	Evictions int64 `json:"evictions"`
	Damaged   int64 `json:"damaged"`   // parts that were dropped because their files had changed or could not be read
	Unwritten int64 `json:"unwritten"` // parts that the disk did not take
}
