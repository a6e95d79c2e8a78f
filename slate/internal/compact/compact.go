package compact

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/merge"
	"github.com/stele-db/stele/slate/internal/sst"
)

// Spec names the sources of a compaction, in the manifest's order, and the
// sorted run they become.
type Spec struct {
	L0          []format.ULID // view ids, newest first
	Runs        []uint32      // descending
	Destination uint32
}

// Empty reports whether there is nothing to compact.
func (s Spec) Empty() bool { return len(s.L0) == 0 && len(s.Runs) == 0 }

// Full returns the spec that merges everything into one run.
func Full(m *format.Manifest) Spec {
	var s Spec
	for _, t := range m.L0 {
		s.L0 = append(s.L0, t.ViewID)
	}
	for _, r := range m.Runs {
		s.Runs = append(s.Runs, r.ID)
		s.Destination = r.ID
	}
	return s
}

// Tables is where a compaction's sources are read.
type Tables interface {
	// Iter returns the rows of an SST.
	Iter(t format.SST) merge.Iterator
	// IterRun returns the rows of a sorted run.
	IterRun(r format.SortedRun) merge.Iterator
}

// Job is one compaction's work.
type Job struct {
	Bucket  bucket.Bucket
	Root    layout.Root
	Tables  Tables
	SST     sst.WriterOptions
	MaxSST  int64 // size at which an output SST ends
	NewID   func() (format.ULID, error)
	MinSeq  uint64            // see merge.Policy
	Advance func(bytes int64) // told the bytes of every SST written; may be nil

	Operator merge.Operator // folds operands; nil: they are refused
}

// Run merges the spec's sources as they stand in m and returns the SSTs of the
// new run, written but named by no manifest yet.
func (j *Job) Run(ctx context.Context, m *format.Manifest, s Spec) ([]format.SST, error) {
	var sources []merge.Iterator
	for _, id := range s.L0 {
		i := slices.IndexFunc(m.L0, func(t format.SST) bool { return t.ViewID == id })
		if i < 0 {
			return nil, fmt.Errorf("compaction source %s is not in L0", id)
		}
		sources = append(sources, j.Tables.Iter(m.L0[i]))
	}
	for _, id := range s.Runs {
		i := slices.IndexFunc(m.Runs, func(r format.SortedRun) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("compaction source run %d is not in the manifest", id)
		}
		sources = append(sources, j.Tables.IterRun(m.Runs[i]))
	}
	bottom := len(m.Runs) == 0 || s.Destination == m.Runs[len(m.Runs)-1].ID
	it := merge.Retain(merge.Sorted(sources, false), merge.Policy{
		MinSeq: j.MinSeq, Tick: m.LastL0ClockTick, Bottom: bottom, Operator: j.Operator,
	})
	defer it.Close()
	return j.write(ctx, it)
}

// write turns rows into SSTs. An SST ends only between keys, so that all
// versions of a key lie in one.
func (j *Job) write(ctx context.Context, it merge.Iterator) ([]format.SST, error) {
	var (
		out  []format.SST
		w    = sst.NewWriter(j.SST)
		last []byte
	)
	for {
		r, err := it.Next(ctx)
		if err != nil {
			return out, err
		}
		full := int64(w.Size()) >= j.MaxSST
		if w.Rows() > 0 && (r == nil || full && !bytes.Equal(r.Key, last)) {
			t, size, err := WriteSST(ctx, j.Bucket, j.Root, w, j.NewID)
			if err != nil {
				return out, err
			}
			out = append(out, t)
			if j.Advance != nil {
				j.Advance(size)
			}
			opts := j.SST
			opts.Size = size // the next one is likely to be as large
			w = sst.NewWriter(opts)
		}
		if r == nil {
			return out, nil
		}
		if err := w.Add(r); err != nil {
			return out, err
		}
		last = append(last[:0], r.Key...)
	}
}

// WriteSST finishes w and puts it under a new id.
func WriteSST(ctx context.Context, b bucket.Bucket, root layout.Root, w *sst.Writer, newID func() (format.ULID, error)) (format.SST, int64, error) {
	data, info, err := w.Finish()
	if err != nil {
		return format.SST{}, 0, err
	}
	id, err := newID()
	if err != nil {
		return format.SST{}, 0, err
	}
	if err := b.Put(ctx, root.SST(id), data); err != nil {
		return format.SST{}, 0, err
	}
	return format.SST{ID: id, ViewID: id, Info: info, Version: format.SSTVersion2}, int64(len(data)), nil
}

// Apply returns m with the spec's sources replaced by the finished run. It
// fails if a source is gone, which means that somebody else compacted it.
func Apply(m *format.Manifest, s Spec, run []format.SST) (*format.Manifest, error) {
	next := *m
	next.L0 = nil
	for _, t := range m.L0 {
		if !slices.Contains(s.L0, t.ViewID) {
			next.L0 = append(next.L0, t)
		}
	}
	next.Runs = nil
	for _, r := range m.Runs {
		if !slices.Contains(s.Runs, r.ID) {
			next.Runs = append(next.Runs, r)
		}
	}
	if len(m.L0)-len(next.L0) != len(s.L0) || len(m.Runs)-len(next.Runs) != len(s.Runs) {
		return nil, fmt.Errorf("sources of the compaction into run %d are gone from the manifest", s.Destination)
	}
	at := slices.IndexFunc(next.Runs, func(r format.SortedRun) bool { return r.ID < s.Destination })
	if at < 0 {
		at = len(next.Runs)
	}
	next.Runs = slices.Insert(next.Runs, at, format.SortedRun{ID: s.Destination, SSTs: run})
	if len(s.L0) > 0 {
		i := slices.IndexFunc(m.L0, func(t format.SST) bool { return t.ViewID == s.L0[0] })
		newest := m.L0[i]
		next.LastCompactedL0 = &newest.ID
		next.LastCompactedL0View = &newest.ViewID
	}
	return &next, nil
}
