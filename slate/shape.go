package slate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

// Shape is what a database consists of at one moment: the levels of its tree,
// its log, its checkpoints, the objects in its folder, and what that costs.
// Sizes are in bytes.
type Shape struct {
	Manifest       uint64           `json:"manifest"` // the id
	WriterEpoch    uint64           `json:"writerEpoch"`
	CompactorEpoch uint64           `json:"compactorEpoch"`
	LastL0Seq      uint64           `json:"lastL0Seq"`      // rows up to here are in the tree
	ReplayAfterWAL uint64           `json:"replayAfterWal"` // log objects from the next on are not
	Levels         []LevelShape     `json:"levels"`         // L0, then the sorted runs, newest first
	Total          LevelSum         `json:"total"`          // of all levels
	Objects        ShapeObjects     `json:"objects"`
	Checkpoints    []CheckpointInfo `json:"checkpoints"`
	Amplification  Amplification    `json:"amplification"`
}

// LevelShape is L0 or one sorted run. A database that keeps segments has them
// once for each.
type LevelShape struct {
	Run     *uint32 `json:"run,omitempty"` // the run's id; nil: L0
	Segment []byte  `json:"segment,omitempty"`
	LevelSum
	// FirstKey and LastKey bound the keys of the level; no LastKey: there is no
	// bound, or no SST.
	FirstKey []byte `json:"firstKey,omitempty"`
	LastKey  []byte `json:"lastKey,omitempty"`
	// Tables are the SSTs: of L0 newest first, of a run by ascending keys.
	Tables []SSTShape `json:"tables"`
}

// SSTShape is one SST.
type SSTShape struct {
	SSTInfo
	// Rows is nil if the SST does not say what it holds.
	Rows *RowCounts `json:"rows,omitempty"`
}

// LevelSum counts SSTs and what they hold. Of every version of a key that is
// stored each counts.
type LevelSum struct {
	SSTs int `json:"ssts"`
	// Bytes are those of data, filters, indexes and statistics. With each SST
	// comes a description of it, of some 100 bytes and two keys.
	Bytes       uint64    `json:"bytes"`
	DataBytes   uint64    `json:"dataBytes"`
	FilterBytes uint64    `json:"filterBytes"`
	IndexBytes  uint64    `json:"indexBytes"`
	Filters     int       `json:"filters"` // SSTs that have a filter
	Rows        RowCounts `json:"rows"`
	// Uncounted are the SSTs that do not say what they hold, and so are not in
	// Rows.
	Uncounted int `json:"uncounted,omitempty"`
}

// RowCounts counts rows by their kind.
type RowCounts struct {
	Values     uint64 `json:"values"`
	Tombstones uint64 `json:"tombstones"`
	Operands   uint64 `json:"operands"`
	// KeyBytes and ValueBytes are the lengths of all keys and values, before
	// compression.
	KeyBytes   uint64 `json:"keyBytes"`
	ValueBytes uint64 `json:"valueBytes"`
}

// All is the number of rows of every kind.
func (c RowCounts) All() uint64 { return c.Values + c.Tombstones + c.Operands }

func (c *RowCounts) add(o RowCounts) {
	c.Values += o.Values
	c.Tombstones += o.Tombstones
	c.Operands += o.Operands
	c.KeyBytes += o.KeyBytes
	c.ValueBytes += o.ValueBytes
}

// ShapeObjects are the SSTs and log objects in the bucket, as it lists them.
type ShapeObjects struct {
	Tree   ObjectSum `json:"tree"`   // SSTs that the manifest names, but for those of a clone's parent
	Pinned ObjectSum `json:"pinned"` // SSTs that only a checkpoint keeps
	// Unnamed are SSTs that no manifest needs. Most are garbage, which goes once
	// it is old enough. The newest L0 that was compacted stays, for collectors to
	// go by, and some may be on their way into a manifest.
	Unnamed ObjectSum `json:"unnamed"`
	Log     ObjectSum `json:"log"`    // log objects that are replayed when the database opens
	OldLog  ObjectSum `json:"oldLog"` // those whose rows are in the tree: garbage, but for fences
}

// All is the sum of all of them.
func (o *ShapeObjects) All() (sum ObjectSum) {
	for _, s := range []ObjectSum{o.Tree, o.Pinned, o.Unnamed, o.Log, o.OldLog} {
		sum.Objects += s.Objects
		sum.Bytes += s.Bytes
	}
	return sum
}

// Amplification is how much more a database stores and reads than the rows that
// are seen would need, as far as its shape tells. How much more is written is
// known to the writer alone: see Stats.WriteAmplification.
type Amplification struct {
	// Space is the bytes of all levels over those of the oldest sorted runs, one
	// in each segment: the estimate of RocksDB's universal compaction. It is
	// exact if every row above the oldest run replaces one in it; new keys make it
	// too high, deleted ones too low. Zero: there is no sorted run.
	Space float64 `json:"space,omitempty"`
	// Bucket is the same for all of ShapeObjects: with the log, with what
	// checkpoints keep and with garbage.
	Bucket float64 `json:"bucket,omitempty"`
	// Get is the number of SSTs that a get looks into if filters and luck do not
	// help: the most whose key ranges share a key.
	Get int `json:"get"`
	// Scan is the number of sorted sequences that a scan of everything merges:
	// the SSTs of L0 and the sorted runs. Memtables come on top of both.
	Scan int `json:"scan"`
}

// ShapeOptions describe the database.
type ShapeOptions struct {
	// WALBucket and WALPath say where the log of a database lies that was created
	// with them; see Options.
	WALBucket bucket.Bucket
	WALPath   string
	// BlockTransformer is the one that the database is written with; see Options.
	BlockTransformer BlockTransformer
}

// ReadShape describes the database at path in b as its newest manifest has it.
// It writes nothing and works beside a writer. It costs a request for each SST,
// two listings, and a request for the manifest of each checkpoint.
//
// It returns ErrNoDatabase if there is none, ErrNewerFormat or ErrCorrupt for
// files it cannot read, and ErrInvalid for a log that lies elsewhere than the
// options say.
func ReadShape(ctx context.Context, path string, b bucket.Bucket, opts ShapeOptions) (*Shape, error) {
	retry := bucket.RetryOptions{}
	b = bucket.WithRetry(b, retry)
	root := layout.NewRoot(path)
	r := shapeReader{
		bucket: b, root: root, log: logPlace(b, root, opts.WALBucket, opts.WALPath, retry, opts.BlockTransformer),
		manifests: manifest.NewStore(b, root, clock.System, rand.Reader, manifest.Manifests),
	}
	s, err := r.read(ctx, opts.WALBucket)
	if errors.Is(err, ErrNoDatabase) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("shape of %q: %w", path, err)
	}
	return s, nil
}

// shapeReader reads what a shape is computed from.
type shapeReader struct {
	bucket    bucket.Bucket
	root      layout.Root
	log       wal.Place
	manifests *manifest.Store[format.Manifest]
}

// read starts again when an SST has gone and a newer manifest does without it.
func (r *shapeReader) read(ctx context.Context, walBucket bucket.Bucket) (*Shape, error) {
	for last := uint64(0); ; {
		v, err := r.manifests.Latest(ctx)
		switch {
		case errors.Is(err, bucket.ErrNotFound):
			return nil, ErrNoDatabase
		case err != nil:
			return nil, err
		case v.ID == last:
			return nil, &CorruptError{Object: r.root.Manifest(v.ID), Reason: "an SST that the manifest names is missing"}
		}
		if err := checkLog(ctx, v.Value, walBucket, r.log); err != nil {
			return nil, err
		}
		rows, err := r.rows(ctx, v.Value)
		if errors.Is(err, bucket.ErrNotFound) {
			last = v.ID
			continue
		}
		if err != nil {
			return nil, err
		}
		objects, err := r.objects(ctx, v.Value)
		if err != nil {
			return nil, err
		}
		return newShape(v.ID, v.Value, rows, objects), nil
	}
}

// statsReads is how many SSTs are asked for their statistics at a time.
const statsReads = 16

// rows reads the statistics of the SSTs that m names.
func (r *shapeReader) rows(ctx context.Context, m *format.Manifest) (map[format.ULID]RowCounts, error) {
	store := sst.NewStore(r.bucket, nil, sst.StoreOptions{Transformer: r.log.Transformer})
	var mu sync.Mutex
	rows := map[format.ULID]RowCounts{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(statsReads)
	key := sstKeys(m, r.root)
	for t := range treeSSTs(m) {
		g.Go(func() error {
			s, err := store.Open(key(t.ID), *t).Stats(ctx)
			if err != nil || s == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			rows[t.ID] = RowCounts{
				Values: s.Puts, Tombstones: s.Deletes, Operands: s.Merges, KeyBytes: s.RawKeySize, ValueBytes: s.RawValueSize,
			}
			return nil
		})
	}
	return rows, g.Wait()
}

// objects lists the bucket and sorts what is there by who needs it.
func (r *shapeReader) objects(ctx context.Context, m *format.Manifest) (*ShapeObjects, error) {
	named, pinned := named(m), map[format.ULID]bool{}
	seen := map[uint64]bool{}
	for _, c := range m.Checkpoints {
		if seen[c.ManifestID] {
			continue
		}
		seen[c.ManifestID] = true
		v, err := r.manifests.Read(ctx, c.ManifestID)
		if errors.Is(err, bucket.ErrNotFound) {
			continue // it has expired and was collected
		}
		if err != nil {
			return nil, err
		}
		for t := range treeSSTs(v.Value) {
			pinned[t.ID] = true
		}
	}
	o := &ShapeObjects{}
	for obj, err := range r.bucket.List(ctx, r.root.Dir(layout.CompactedDir), "") {
		if err != nil {
			return nil, err
		}
		id, ok := layout.SSTID(obj.Key)
		switch {
		case !ok:
		case named[id]:
			o.Tree.add(obj.Size)
		case pinned[id]:
			o.Pinned.add(obj.Size)
		default:
			o.Unnamed.add(obj.Size)
		}
	}
	for obj, err := range r.log.Bucket.List(ctx, r.log.Root.Dir(layout.WALDir), "") {
		if err != nil {
			return nil, err
		}
		id, ok := layout.WALID(obj.Key)
		switch {
		case !ok:
		case id > m.ReplayAfterWAL:
			o.Log.add(obj.Size)
		default:
			o.OldLog.add(obj.Size)
		}
	}
	return o, nil
}

func named(m *format.Manifest) map[format.ULID]bool {
	all := map[format.ULID]bool{}
	for t := range treeSSTs(m) {
		all[t.ID] = true
	}
	return all
}

// treeSSTs yields every SST of every segment.
func treeSSTs(m *format.Manifest) func(yield func(*format.SST) bool) {
	return func(yield func(*format.SST) bool) {
		for _, s := range segments(m) {
			for i := range s.L0 {
				if !yield(&s.L0[i]) {
					return
				}
			}
			for _, r := range s.Runs {
				for i := range r.SSTs {
					if !yield(&r.SSTs[i]) {
						return
					}
				}
			}
		}
	}
}

// segments are the trees of a manifest: one, unless the database keeps segments.
func segments(m *format.Manifest) []format.Segment {
	return append([]format.Segment{{L0: m.L0, Runs: m.Runs}}, m.Segments...)
}

// newShape computes the shape from a manifest, from what its SSTs say of their
// rows, and from the objects that were found; objects may be nil.
func newShape(id uint64, m *format.Manifest, rows map[format.ULID]RowCounts, objects *ShapeObjects) *Shape {
	info := describeManifest(id, m)
	s := &Shape{
		Manifest: id, WriterEpoch: m.WriterEpoch, CompactorEpoch: m.CompactorEpoch,
		LastL0Seq: m.LastL0Seq, ReplayAfterWAL: m.ReplayAfterWAL, Checkpoints: info.Checkpoints,
	}
	if objects != nil {
		s.Objects = *objects
	}
	var oldest uint64
	for _, seg := range segments(m) {
		if len(seg.Prefix) > 0 || len(seg.L0) > 0 || len(m.Segments) == 0 {
			s.Levels = append(s.Levels, newLevel(seg.Prefix, nil, seg.L0, rows))
		}
		for _, r := range seg.Runs {
			s.Levels = append(s.Levels, newLevel(seg.Prefix, &r.ID, r.SSTs, rows))
		}
		if len(seg.Runs) > 0 {
			oldest += s.Levels[len(s.Levels)-1].Bytes
		}
		s.Amplification.Get = max(s.Amplification.Get, deepest(seg))
		s.Amplification.Scan += len(seg.L0) + len(seg.Runs)
	}
	for i := range s.Levels {
		s.Total.add(s.Levels[i].LevelSum)
	}
	if oldest > 0 {
		s.Amplification.Space = float64(s.Total.Bytes) / float64(oldest)
		if objects != nil {
			s.Amplification.Bucket = float64(objects.All().Bytes) / float64(oldest)
		}
	}
	return s
}

func newLevel(segment []byte, run *uint32, ssts []format.SST, rows map[format.ULID]RowCounts) LevelShape {
	l := LevelShape{Run: run, Segment: segment, Tables: make([]SSTShape, len(ssts))}
	unbounded := false
	for i, info := range describeSSTs(ssts) {
		t := SSTShape{SSTInfo: info}
		sum := LevelSum{
			SSTs: 1, DataBytes: info.DataBytes, FilterBytes: info.FilterBytes, IndexBytes: info.IndexBytes,
			Bytes: info.DataBytes + info.FilterBytes + info.IndexBytes + info.StatsBytes,
		}
		if info.FilterBytes > 0 {
			sum.Filters = 1
		}
		if c, ok := rows[ssts[i].ID]; ok {
			t.Rows, sum.Rows = &c, c
		} else {
			sum.Uncounted = 1
		}
		l.add(sum)
		l.Tables[i] = t
		if i == 0 || bytes.Compare(info.FirstKey, l.FirstKey) < 0 {
			l.FirstKey = info.FirstKey
		}
		if bytes.Compare(info.LastKey, l.LastKey) > 0 {
			l.LastKey = info.LastKey
		}
		unbounded = unbounded || !ssts[i].Info.HasLast
	}
	if unbounded {
		l.LastKey = nil
	}
	return l
}

func (s *LevelSum) add(o LevelSum) {
	s.SSTs += o.SSTs
	s.Bytes += o.Bytes
	s.DataBytes += o.DataBytes
	s.FilterBytes += o.FilterBytes
	s.IndexBytes += o.IndexBytes
	s.Filters += o.Filters
	s.Rows.add(o.Rows)
	s.Uncounted += o.Uncounted
}

// deepest is the greatest number of SSTs whose key ranges have a key in common.
func deepest(s format.Segment) int {
	var ends []rangeEnd
	for i := range s.L0 {
		ends = appendEnds(ends, s.L0[i].Range())
	}
	for _, r := range s.Runs {
		for i := range r.SSTs {
			keys := r.SSTs[i].Range()
			if keys.End.Kind == format.Unbounded && i+1 < len(r.SSTs) { // of a run only the last one goes on
				keys.End = format.Bound{Kind: format.Excluded, Key: r.SSTs[i+1].Info.FirstKey}
			}
			ends = appendEnds(ends, keys)
		}
	}
	slices.SortFunc(ends, func(a, b rangeEnd) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(a.order, b.order))
	})
	most, open := 0, 0
	for _, e := range ends {
		open += e.step
		most = max(most, open)
	}
	return most
}

// rangeEnd is where a range begins (step 1) or ends (step -1). At one key, order
// says which comes first.
type rangeEnd struct {
	key         []byte
	order, step int
}

func appendEnds(ends []rangeEnd, r format.KeyRange) []rangeEnd {
	if r.Empty() {
		return ends
	}
	start, end := rangeEnd{r.Start.Key, 1, 1}, rangeEnd{r.End.Key, 2, -1}
	if r.Start.Kind == format.Excluded {
		start.order = 3
	}
	if r.End.Kind == format.Excluded {
		end.order = 0
	}
	ends = append(ends, start)
	if r.End.Kind != format.Unbounded {
		ends = append(ends, end)
	}
	return ends
}
