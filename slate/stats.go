package slate

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/layout"
)

// Stats is what a writer has done since it was opened, and what it holds in
// memory. Sizes are in bytes.
type Stats struct {
	// Batches, Rows and Bytes are what was written: batches that took effect,
	// their rows, the keys and values of those. Of several writes of one key in a
	// batch one counts.
	Batches int64 `json:"batches"`
	Rows    int64 `json:"rows"`
	Bytes   int64 `json:"bytes"`

	WAL        ObjectSum      `json:"wal"`        // log objects, with the fence
	L0         ObjectSum      `json:"l0"`         // SSTs that memtables became
	Compaction CompactionWork `json:"compaction"` // by this writer's own compactor
	Stalls     StallStats     `json:"stalls"`
	Requests   RequestStats   `json:"requests"`
	Cache      CacheStats     `json:"cache"`

	// Unflushed is the size of the memtables, Frozen how many of them wait to
	// become an SST.
	Unflushed int64 `json:"unflushed"`
	Frozen    int   `json:"frozen"`
}

// StallStats tells of the writes that had to wait before they could take effect,
// because too much was in memory that was not in L0 yet. What a durable write
// waits for its log object, or without a log for its SST, is no stall.
type StallStats struct {
	Writes  int64         `json:"writes"`    // that waited
	Time    time.Duration `json:"timeNs"`    // of all of them together
	Longest time.Duration `json:"longestNs"` // of one
}

// RequestStats counts the requests to the database's bucket and to that of its
// log. One that is repeated after an error counts once; so does a listing,
// though a bucket may serve, and bill, it in pages.
type RequestStats struct {
	Puts         int64 `json:"puts"` // of every kind
	Gets         int64 `json:"gets"` // of whole objects or of parts
	Heads        int64 `json:"heads"`
	Lists        int64 `json:"lists"`
	Deletes      int64 `json:"deletes"`
	BytesRead    int64 `json:"bytesRead"`
	BytesWritten int64 `json:"bytesWritten"`
}

// CacheStats tells of the block cache; all is 0 if there is none. Filters and
// indexes are in Bytes only.
type CacheStats struct {
	Hits   int64 `json:"hits"`   // blocks that were found in it
	Misses int64 `json:"misses"` // requests for blocks that were not; each brings one or several
	Bytes  int64 `json:"bytes"`  // that it holds now
}

// WriteAmplification is how many bytes of rows this writer has put into the
// bucket for each byte of keys and values: log, flushes and compactions over
// Bytes. Manifests are not counted, nor is what a compactor elsewhere writes.
// It is 0 before the first write.
func (s *Stats) WriteAmplification() float64 {
	if s.Bytes == 0 {
		return 0
	}
	return float64(s.WAL.Bytes+s.L0.Bytes+s.Compaction.Written) / float64(s.Bytes)
}

// Stats returns the counters as they are now. They are not of one moment: work
// goes on while they are read. It sends no request and may be called at any
// time, also after Close.
func (db *DB) Stats() Stats {
	c := db.counters
	s := Stats{
		Batches: c.batches.Load(), Rows: c.rows.Load(), Bytes: c.bytes.Load(),
		WAL: c.wal.sum(), L0: c.l0.sum(), Compaction: db.CompactionWork(),
		Stalls: StallStats{Writes: c.stalls.Load(), Time: time.Duration(c.stallTime.Load()), Longest: time.Duration(c.longestStall.Load())},
		Requests: RequestStats{
			Puts: c.puts.Load(), Gets: c.gets.Load(), Heads: c.heads.Load(), Lists: c.lists.Load(), Deletes: c.deletes.Load(),
			BytesRead: c.read.Load(), BytesWritten: c.written.Load(),
		},
	}
	cache := db.tables.Cache()
	s.Cache = CacheStats{Hits: cache.Hits(), Misses: cache.Misses(), Bytes: cache.Bytes()}
	db.mu.Lock()
	defer db.mu.Unlock()
	s.Frozen = len(db.state.frozen)
	s.Unflushed = db.state.active.Size()
	for _, f := range db.state.frozen {
		s.Unflushed += f.table.Size()
	}
	return s
}

// counters are what Stats tells. They are written without a lock.
type counters struct {
	batches, rows, bytes              atomic.Int64
	wal, l0                           objectCounter
	puts, gets, heads, lists, deletes atomic.Int64
	read, written                     atomic.Int64
	stalls, stallTime, longestStall   atomic.Int64
}

// stalled counts a write that had to wait.
func (c *counters) stalled(d time.Duration) {
	c.stalls.Add(1)
	c.stallTime.Add(int64(d))
	for longest := c.longestStall.Load(); int64(d) > longest; longest = c.longestStall.Load() {
		if c.longestStall.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

// applied counts a batch of rows that took effect.
func (c *counters) applied(ops []op) {
	bytes := 0
	for _, o := range ops {
		bytes += o.keyLen + o.valLen
	}
	c.batches.Add(1)
	c.rows.Add(int64(len(ops)))
	c.bytes.Add(int64(bytes))
}

type objectCounter struct{ objects, bytes atomic.Int64 }

func (c *objectCounter) add(bytes int) {
	c.objects.Add(1)
	c.bytes.Add(int64(bytes))
}

func (c *objectCounter) sum() ObjectSum {
	return ObjectSum{Objects: int(c.objects.Load()), Bytes: c.bytes.Load()}
}

// counted is a bucket whose requests are counted.
type counted struct {
	bucket.Bucket
	c *counters
}

func (b counted) put(body []byte, err error) error {
	b.c.puts.Add(1)
	if err == nil {
		b.c.written.Add(int64(len(body)))
	}
	return err
}

func (b counted) got(body []byte, err error) ([]byte, error) {
	b.c.gets.Add(1)
	b.c.read.Add(int64(len(body)))
	return body, err
}

func (b counted) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	return b.put(body, b.Bucket.PutIfAbsent(ctx, key, body, token))
}

func (b counted) PutIfMatch(ctx context.Context, key string, body []byte, tag string) error {
	return b.put(body, b.Bucket.PutIfMatch(ctx, key, body, tag))
}

func (b counted) Put(ctx context.Context, key string, body []byte) error {
	return b.put(body, b.Bucket.Put(ctx, key, body))
}

func (b counted) Get(ctx context.Context, key string) ([]byte, error) {
	return b.got(b.Bucket.Get(ctx, key))
}

func (b counted) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	return b.got(b.Bucket.GetRange(ctx, key, offset, length))
}

func (b counted) Head(ctx context.Context, key string) (bucket.Object, error) {
	b.c.heads.Add(1)
	return b.Bucket.Head(ctx, key)
}

func (b counted) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	b.c.lists.Add(1)
	return b.Bucket.List(ctx, prefix, after)
}

func (b counted) Delete(ctx context.Context, key string) error {
	b.c.deletes.Add(1)
	return b.Bucket.Delete(ctx, key)
}

// countedLog is the bucket of the log; the probe of a new database goes to it
// as well.
type countedLog struct {
	bucket.Bucket
	c *counters
}

func (b countedLog) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	err := b.Bucket.PutIfAbsent(ctx, key, body, token)
	if _, ok := layout.WALID(key); ok && err == nil {
		b.c.wal.add(len(body))
	}
	return err
}
