package main

import (
	"math/bits"
	"sync"
	"time"
)

// timed runs op in so many goroutines for the configured time.
func (t *turn) timed(workload string, goroutines int, op func(*worker) error) error {
	return t.measure(workload, func() (int64, map[string]float64, error) { return t.loop(goroutines, op) })
}

func (t *turn) loop(goroutines int, op func(*worker) error) (int64, map[string]float64, error) {
	workers := make([]*worker, goroutines)
	end := time.Now().Add(t.Time)
	var running sync.WaitGroup
	for i := range workers {
		w := newWorker(i)
		workers[i] = w
		running.Go(func() {
			for last := time.Now(); last.Before(end); {
				if w.err = op(w); w.err != nil {
					return
				}
				now := time.Now()
				w.times.add(now.Sub(last))
				last = now
			}
		})
	}
	running.Wait()
	var all histogram
	for _, w := range workers {
		if w.err != nil {
			return 0, nil, w.err
		}
		all.merge(&w.times)
	}
	return all.n, map[string]float64{median: micros(all.quantile(0.5)), slowest: micros(all.quantile(0.99))}, nil
}

// besideRate is how many rows a millisecond the writer beside the gets puts.
const besideRate = 10

// besideWriter times gets while a goroutine puts rows.
func (t *turn) besideWriter(hit func(*worker) error) error {
	return t.measure(getBeside, func() (int64, map[string]float64, error) {
		stop, done := make(chan struct{}), make(chan error, 1)
		wrote := 0
		began := time.Now()
		go func() {
			w := newWorker(1000)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					done <- nil
					return
				case <-tick.C:
				}
				// What the engine was too slow for is made up, up to a tick's worth.
				due := int(time.Since(began).Milliseconds()) * besideRate
				for range min(due-wrote, 2*besideRate) {
					if err := t.put(w); err != nil {
						done <- err
						return
					}
					wrote++
				}
			}
		}()
		ops, own, err := t.loop(1, hit)
		close(stop)
		if werr := <-done; err == nil {
			err = werr
		}
		if err == nil {
			own[beside] = float64(wrote) / time.Since(began).Seconds()
		}
		return ops, own, err
	})
}

// histogram counts durations in buckets that are a sixteenth of a power of two
// wide.
type histogram struct {
	counts [64 * 16]int64
	n      int64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.n++
}

// bucketOf numbers the buckets: the place of the highest bit, and the four bits
// behind it.
func bucketOf(ns uint64) int {
	if ns < 16 {
		return int(ns)
	}
	shift := bits.Len64(ns) - 5
	return shift*16 + int(ns>>shift)
}

// lowest is the least duration of a bucket.
func lowest(bucket int) uint64 {
	if bucket < 32 {
		return uint64(bucket)
	}
	shift := bucket/16 - 1
	return uint64(bucket-shift*16) << shift
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// quantile returns a duration that q of all do not exceed, but for the width
// of a bucket.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := int64(q*float64(h.n)), int64(0)
	for i, c := range h.counts {
		if seen += c; seen > rank {
			return time.Duration(lowest(i))
		}
	}
	return 0
}
