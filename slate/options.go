package slate

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/sst"
)

// Codec names how blocks are compressed. It is a property of each SST: a
// database may be opened with another one at any time.
type Codec = format.Codec

// The codecs of SlateDB.
const (
	NoCompression = format.None
	Snappy        = format.Snappy
	Zlib          = format.Zlib
	LZ4           = format.LZ4
	Zstd          = format.Zstd
)

// Clock is time as a component; see Options.
type Clock = clock.Clock

// Options are the settings and components of a writer. The zero value is the
// default everywhere.
type Options struct {
	// DisableWAL makes this a writer without a write-ahead log, SlateDB's
	// wal_enabled = false: a row becomes durable with its memtable, when a manifest
	// names that as an SST of L0. It is a setting of the writer, not of the
	// database: writers with a log and without may follow one another.
	//
	// It saves the log's requests and bytes, and is for loads: writes that do not
	// wait (WriteOptions.Volatile), and a DB.Flush now and then. Each row is put
	// once before compaction, not twice. A write that waits costs more than with a
	// log: it flushes the memtable, which takes two puts, one after the other, and
	// adds an SST to L0, however small. All who wait meanwhile share the next
	// flush; but with few at a time L0 soon has CompactL0 SSTs and compaction more
	// to do, and at MaxL0 durable writes wait for it. A Reader sees nothing before
	// it is in L0. Default: with a log.
	DisableWAL bool
	// MaxFlushDelay is how long a row that nobody waits for stays in memory
	// before its WAL put starts, or without a log the flush of its memtable.
	// Default 100 ms, and a minute without a log. More: more rows are lost in a
	// crash. Less: more puts per second under writes that do not wait.
	MaxFlushDelay time.Duration
	// MinFlushInterval is the time between the starts of two WAL puts, or without
	// a log of two flushes for those who wait. Default 0 on a folder and in memory,
	// 50 ms on a remote bucket; negative means 0. More: durable writes wait longer
	// under load. Less: more puts, which are billed.
	MinFlushInterval time.Duration
	// L0Bytes is the size at which a memtable is flushed to an L0 SST. Default
	// 64 MiB. More: more memory and replay. Less: more SSTs and compaction.
	L0Bytes int64
	// MaxUnflushedBytes caps the memtables that are not in L0 yet; writers wait
	// at the cap, and below it where the compaction of L0 falls behind, for as
	// long as it needs for what they write. Default 256 MiB. A larger batch is let
	// in alone.
	MaxUnflushedBytes int64
	// MaxWALObjects is the number of WAL objects after which a memtable is
	// flushed whatever its size. Default 4096. More: opening replays more.
	MaxWALObjects int
	// MaxBatchBytes is the largest batch. Default 64 MiB, at most 1 GiB.
	MaxBatchBytes int64
	// MaxTxHistoryBytes caps the memory for the keys that are written while
	// transactions are open, which their commits are compared with. A transaction
	// that is open while more is written cannot commit and gets a *ConflictError
	// without a key. Default 16 MiB. More: memory, and longer commits of long
	// transactions.
	MaxTxHistoryBytes int64
	// MaxL0 is the number of L0 SSTs at which memtable flushes wait for a
	// compaction. Default 8. More: reads look into more SSTs.
	MaxL0 int
	// MaxL0PerKey is the number of L0 SSTs with one key in their ranges at which
	// memtable flushes wait for a compaction. Default and at most MaxL0. Less than
	// that bounds what a get looks into where writes are in the order of their
	// keys, and L0 may have many SSTs.
	MaxL0PerKey int
	// CompactL0 is the number of L0 SSTs that starts a compaction. Default 4, at
	// most MaxL0PerKey; negative: this writer never compacts by itself, as it must
	// not where RunCompactor does. More than half of MaxL0: writers that outpace
	// compaction may wait for longer than a flush takes.
	CompactL0 int
	// MaxSSTBytes is the size at which a compaction starts its next SST. Default
	// 64 MiB. More: fewer objects, more memory; see CompactionOptions.
	MaxSSTBytes int64
	// Compaction is how compactions are done.
	Compaction CompactionOptions
	// ReaderGrace is the lifetime of the checkpoint that every compaction leaves
	// for running readers. Default 15 minutes; negative: none.
	ReaderGrace time.Duration
	// GCMinAge is how old an object must be for this writer to delete it once
	// nothing needs it. Default 5 minutes, as SlateDB; at least 30 s; negative:
	// this writer deletes nothing. Log objects in a folder or in memory go after
	// 30 s in any case. More: more garbage is kept. Less: readers without a
	// checkpoint lose an old view sooner. A collection costs some ten requests,
	// and one for each deleted object; there is one in that time under load, and
	// none in an idle database.
	GCMinAge time.Duration
	// BlockBytes is the size of a block before compression. Default 4096.
	BlockBytes int
	// Compression is the codec of new SSTs and WAL objects. Default none.
	Compression Codec
	// BlockTransformer changes every block between compression and bucket, to
	// encrypt it for example. It is decided when the database is created and holds
	// for every writer, compactor and reader. Default: none.
	BlockTransformer BlockTransformer
	// FilterBitsPerKey sizes the Bloom filters. Default 10.
	FilterBitsPerKey int
	// MinFilterKeys is the number of rows from which on an SST has a filter.
	// Default 1000.
	MinFilterKeys int
	// CacheBytes is the budget of the block cache. Default 64 MiB; negative: no
	// cache.
	CacheBytes int64
	// CacheNew is what of the SSTs that this writer makes enters the block cache
	// at once. Default: CacheMetadata.
	CacheNew CachePolicy
	// MaxReads is the number of requests for parts of SSTs that are under way at
	// once; further ones wait. Default 64; negative: no limit. More: more memory
	// when many readers meet a cold cache. Less: they wait longer.
	MaxReads int
	// Prefixes says what part of a key scans share; it lets them pass over SSTs
	// that have nothing for them. Default: none.
	Prefixes PrefixExtractor

	// MergeOperator folds operands written with Merge, here or by SlateDB.
	// Default: none; then merges are refused, and so are reads of operands that
	// are there. Flushes and compactions keep those one by one.
	MergeOperator MergeOperator
	// HideExpired hides rows from the moment at which they expire. Default: they
	// are seen, as in SlateDB, until a flush or compaction rewrites them.
	HideExpired bool

	// DefaultTTL is how long after its write a put or merge expires that says
	// nothing of it, rounded up to the millisecond; see Expiry. It is a setting
	// of this writer and is stored with each row, not with the database: what was
	// written before stays as it is. Default 0: never.
	DefaultTTL time.Duration

	// WALBucket holds the log, and nothing else, if it is not nil: a bucket that
	// answers sooner makes durable writes faster. It is decided when the database
	// is created and holds for every writer and reader, SlateDB's included:
	// opening without it, or with one where there was none, is ErrInvalid. The
	// caller keeps it and closes it after the database.
	WALBucket bucket.Bucket
	// WALPath is the path in WALBucket under which the folder wal lies. Default:
	// the database's own path, where SlateDB looks for it; "/" is the bucket's
	// root.
	WALPath string

	// Clock is where time comes from. Default: the machine's.
	Clock Clock
	// Random is where ids and tokens come from. Default: crypto/rand. It must be
	// safe for concurrent use.
	Random io.Reader
	// Logger is told of background errors that do not end the writer. Default:
	// none.
	Logger *slog.Logger
}

// maxBatchBytes is what a memtable has room for that is not full.
const maxBatchBytes = 1 << 30

// withDefaults returns o with every default filled in, or all faults at once.
func (o Options) withDefaults(caps bucket.Capabilities) (Options, error) {
	var faults []error
	atLeast := func(name string, v, low int64) {
		if v < low {
			faults = append(faults, fmt.Errorf("%s is %d, must be at least %d", name, v, low))
		}
	}
	if o.DisableWAL {
		set(&o.MaxFlushDelay, time.Minute)
	}
	set(&o.MaxFlushDelay, 100*time.Millisecond)
	if o.MinFlushInterval == 0 && caps.Remote {
		o.MinFlushInterval = 50 * time.Millisecond
	}
	o.MinFlushInterval = max(o.MinFlushInterval, 0)
	set(&o.L0Bytes, 64<<20)
	set(&o.MaxUnflushedBytes, 256<<20)
	set(&o.MaxWALObjects, 4096)
	set(&o.MaxBatchBytes, 64<<20)
	set(&o.MaxTxHistoryBytes, 16<<20)
	set(&o.MaxL0, 8)
	set(&o.MaxL0PerKey, o.MaxL0)
	o.MaxL0PerKey = min(o.MaxL0PerKey, o.MaxL0)
	set(&o.CompactL0, 4)
	o.CompactL0 = min(o.CompactL0, o.MaxL0PerKey) // flushes that wait for room wait for a compaction
	set(&o.MaxSSTBytes, 64<<20)
	set(&o.ReaderGrace, 15*time.Minute)
	set(&o.GCMinAge, 5*time.Minute)
	set(&o.BlockBytes, 4096)
	set(&o.FilterBitsPerKey, 10)
	set(&o.MinFilterKeys, 1000)
	set(&o.CacheBytes, 64<<20)
	set(&o.MaxReads, defaultMaxReads)
	if o.GCMinAge > 0 {
		atLeast("GCMinAge", int64(o.GCMinAge), int64(folderWALAge))
	}
	if o.WALPath != "" && o.WALBucket == nil {
		faults = append(faults, fmt.Errorf("WALPath is %q, and there is no WALBucket", o.WALPath))
	}
	atLeast("DefaultTTL", int64(o.DefaultTTL), 0)
	atLeast("MaxFlushDelay", int64(o.MaxFlushDelay), 0)
	atLeast("L0Bytes", o.L0Bytes, 1)
	atLeast("MaxUnflushedBytes", o.MaxUnflushedBytes, 1)
	atLeast("MaxWALObjects", int64(o.MaxWALObjects), 1)
	atLeast("MaxBatchBytes", o.MaxBatchBytes, 1)
	atLeast("MaxTxHistoryBytes", o.MaxTxHistoryBytes, 1)
	atLeast("MaxL0", int64(o.MaxL0), 1)
	atLeast("MaxL0PerKey", int64(o.MaxL0PerKey), 1)
	atLeast("MaxSSTBytes", o.MaxSSTBytes, 1)
	atLeast("FilterBitsPerKey", int64(o.FilterBitsPerKey), 1)
	if o.MaxBatchBytes > maxBatchBytes {
		faults = append(faults, fmt.Errorf("MaxBatchBytes is %d, must be at most %d", o.MaxBatchBytes, maxBatchBytes))
	}
	if o.BlockBytes < 1<<10 || o.BlockBytes > 64<<10 {
		faults = append(faults, fmt.Errorf("BlockBytes is %d, must be from 1024 to 65536", o.BlockBytes))
	}
	faults = append(faults, o.Compaction.withDefaults(o.CompactL0, o.MaxL0PerKey)...)
	if o.Compression > format.Zstd {
		faults = append(faults, fmt.Errorf("codec %d of Compression is unknown", o.Compression))
	}
	if o.CacheNew > CacheNothing {
		faults = append(faults, fmt.Errorf("policy %d of CacheNew is unknown", o.CacheNew))
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(faults) > 0 {
		return o, fmt.Errorf("options: %w: %w", ErrInvalid, errors.Join(faults...))
	}
	return o, nil
}

func set[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// expiry is that of rows which say nothing of it.
func (o *Options) expiry() Expiry {
	if o.DefaultTTL > 0 {
		return ExpireAfter(o.DefaultTTL)
	}
	return ExpireNever()
}

const defaultMaxReads = 64

func (o *Options) store() sst.StoreOptions {
	return sst.StoreOptions{Reads: o.MaxReads, Prefixer: o.Prefixes, Transformer: o.BlockTransformer}
}

func (o *Options) sst() sst.WriterOptions {
	return sst.WriterOptions{
		Prefixer:  o.Prefixes,
		BlockSize: o.BlockBytes, Codec: o.Compression, Transformer: o.BlockTransformer,
		BitsPerKey: o.FilterBitsPerKey, MinFilterKeys: o.MinFilterKeys,
	}
}

// WriteOptions say how one write is done. The zero value is durable.
type WriteOptions struct {
	// Volatile lets the write return when it is visible, before it is durable.
	// WriteHandle.AwaitDurable waits for the rest.
	Volatile bool
	// Seq is the write's place in the order of all writes, for a copy that is to
	// have the places of another log. It must be greater than that of every write
	// so far, and at most MaxSeq; else the write is ErrInvalid and changes
	// nothing. Default: the next one.
	Seq uint64
}

// MaxSeq is the greatest sequence number that a write may ask for. There are as
// many behind it, so that the database never runs out of them.
const MaxSeq = 1 << 61

// Range selects the keys k with Lower <= k < Upper, bytewise. A nil bound is no
// bound. Reverse yields them in descending order.
type Range struct {
	Lower, Upper []byte
	Reverse      bool
}

// Prefix is the range of the keys that begin with p.
func Prefix(p []byte) Range {
	r := Range{Lower: p}
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			r.Upper = append(append([]byte{}, p[:i]...), p[i]+1)
			break
		}
	}
	return r
}

// retryAttempts is how often the engine sends a request before it gives up:
// with the bucket wrapper's waits some five minutes, SlateDB's limit for a
// manifest update. A caller's context may end it sooner.
const retryAttempts = 64
