package compact

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
)

// Rate lets bytes pass at a bounded rate. Its methods may be called
// concurrently.
type Rate struct {
	clock clock.Clock

	mu        sync.Mutex
	perSecond int64     // 0: no bound
	paid      time.Time // until then everything that has passed is paid for
}

// NewRate returns a Rate of so many bytes per second; 0 is no bound.
func NewRate(c clock.Clock, perSecond int64) *Rate { return &Rate{clock: c, perSecond: perSecond} }

// Set changes the rate for what passes from now on.
func (r *Rate) Set(perSecond int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.perSecond = perSecond
}

// Take waits until n bytes more may pass: what passed before must be paid for
// by time.
func (r *Rate) Take(ctx context.Context, n int64) error {
	r.mu.Lock()
	if r.perSecond <= 0 {
		r.mu.Unlock()
		return nil
	}
	now := r.clock.Now()
	begin := now
	if r.paid.After(now) {
		begin = r.paid
	}
	r.paid = begin.Add(time.Duration(float64(n) / float64(r.perSecond) * float64(time.Second)))
	r.mu.Unlock()
	if !begin.After(now) {
		return nil
	}
	return clock.Sleep(ctx, r.clock, begin.Sub(now))
}

// metered is a bucket whose SSTs pass at a bounded rate and are counted.
type metered struct {
	bucket.Bucket
	rate          *Rate
	read, written *atomic.Int64
	advanced      func()
}

func (m *metered) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := m.rate.Take(ctx, length); err != nil {
		return nil, err
	}
	data, err := m.Bucket.GetRange(ctx, key, offset, length)
	m.read.Add(int64(len(data)))
	m.advanced()
	return data, err
}

func (m *metered) Put(ctx context.Context, key string, body []byte) error {
	if err := m.rate.Take(ctx, int64(len(body))); err != nil {
		return err
	}
	err := m.Bucket.Put(ctx, key, body)
	if err == nil {
		m.written.Add(int64(len(body)))
		m.advanced()
	}
	return err
}
