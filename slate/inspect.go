package slate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

// ManifestInfo is a manifest for people and programs to look at.
type ManifestInfo struct {
	ID              uint64           `json:"id"`
	FormatVersion   uint16           `json:"formatVersion"`
	Initialized     bool             `json:"initialized"`
	WriterEpoch     uint64           `json:"writerEpoch"`
	CompactorEpoch  uint64           `json:"compactorEpoch"`
	ReplayAfterWAL  uint64           `json:"replayAfterWal"`
	WALLastSeen     uint64           `json:"walLastSeen"`
	LastL0Seq       uint64           `json:"lastL0Seq"`
	MinSnapshotSeq  uint64           `json:"minSnapshotSeq"`
	LastCompactedL0 string           `json:"lastCompactedL0,omitempty"`
	L0              []SSTInfo        `json:"l0"`   // newest first
	Runs            []RunInfo        `json:"runs"` // newest first
	Checkpoints     []CheckpointInfo `json:"checkpoints"`
	SeparateWAL     bool             `json:"separateWal,omitempty"`
	Segments        int              `json:"segments,omitempty"`
}

// RunInfo is a sorted run of a manifest.
type RunInfo struct {
	ID   uint32    `json:"id"`
	SSTs []SSTInfo `json:"ssts"` // ascending keys
}

// SSTInfo says what lies where in an SST. Offsets and lengths are in bytes.
type SSTInfo struct {
	ID            string `json:"id,omitempty"`
	FormatVersion uint16 `json:"formatVersion"`
	FirstKey      []byte `json:"firstKey"`
	LastKey       []byte `json:"lastKey,omitempty"`
	Compression   string `json:"compression"`
	DataBytes     uint64 `json:"dataBytes"`
	FilterBytes   uint64 `json:"filterBytes"`
	IndexBytes    uint64 `json:"indexBytes"`
	StatsBytes    uint64 `json:"statsBytes"`
}

// CheckpointInfo is a checkpoint of a manifest.
type CheckpointInfo struct {
	ID         string     `json:"id"`
	ManifestID uint64     `json:"manifestId"`
	Created    time.Time  `json:"created"`
	Expires    *time.Time `json:"expires,omitempty"` // nil: never
	Name       string     `json:"name,omitempty"`
}

// RowInfo is one version of one key as an SST, a WAL object or a memtable holds it.
type RowInfo struct {
	Key     []byte     `json:"key"`
	Value   []byte     `json:"value,omitempty"`
	Seq     uint64     `json:"seq"`
	Kind    string     `json:"kind"` // value, tombstone or merge
	Created *time.Time `json:"created,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // nil: never; like Created, within the years 0 to 9999
}

// Manifests returns the ids of the manifests of the database at path, in
// ascending order. It returns ErrNoDatabase if there is none.
func Manifests(ctx context.Context, path string, b bucket.Bucket) ([]uint64, error) {
	ids, err := inspector(path, b).List(ctx, 0)
	if err == nil && len(ids) == 0 {
		err = ErrNoDatabase
	}
	return ids, err
}

// ReadManifest reads one manifest, the latest if id is 0. It returns
// ErrNoDatabase if there is none.
func ReadManifest(ctx context.Context, path string, b bucket.Bucket, id uint64) (*ManifestInfo, error) {
	store := inspector(path, b)
	var (
		v   manifestVersion
		err error
	)
	if id == 0 {
		v, err = store.Latest(ctx)
	} else {
		v, err = store.Read(ctx, id)
	}
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNoDatabase, err)
	}
	if err != nil {
		return nil, err
	}
	return describeManifest(v.ID, v.Value), nil
}

func inspector(path string, b bucket.Bucket) *manifest.Store[format.Manifest] {
	o, _ := Options{}.withDefaults(b.Capabilities())
	return manifest.NewStore(bucket.WithRetry(b, bucket.RetryOptions{}), layout.NewRoot(path), o.Clock, o.Random, manifest.Manifests)
}

func describeManifest(id uint64, m *format.Manifest) *ManifestInfo {
	out := &ManifestInfo{
		ID: id, FormatVersion: m.FromVersion, Initialized: m.Initialized,
		WriterEpoch: m.WriterEpoch, CompactorEpoch: m.CompactorEpoch,
		ReplayAfterWAL: m.ReplayAfterWAL, WALLastSeen: m.WALLastSeen,
		LastL0Seq: m.LastL0Seq, MinSnapshotSeq: m.RecentSnapshotMinSeq,
		L0: describeSSTs(m.L0), Runs: []RunInfo{}, Checkpoints: []CheckpointInfo{},
		SeparateWAL: m.WALStoreURI != nil, Segments: len(m.Segments),
	}
	if m.LastCompactedL0 != nil {
		out.LastCompactedL0 = m.LastCompactedL0.String()
	}
	for _, r := range m.Runs {
		out.Runs = append(out.Runs, RunInfo{ID: r.ID, SSTs: describeSSTs(r.SSTs)})
	}
	for _, c := range m.Checkpoints {
		info := CheckpointInfo{ID: c.ID.String(), ManifestID: c.ManifestID, Name: c.Name,
			Created: time.Unix(int64(c.CreateSec), 0).UTC()}
		if c.ExpireSec != 0 {
			t := time.Unix(int64(c.ExpireSec), 0).UTC()
			info.Expires = &t
		}
		out.Checkpoints = append(out.Checkpoints, info)
	}
	return out
}

func describeSSTs(ssts []format.SST) []SSTInfo {
	out := make([]SSTInfo, len(ssts))
	for i := range ssts {
		out[i] = describeSST(&ssts[i].Info, ssts[i].Version)
		out[i].ID = ssts[i].ID.String()
	}
	return out
}

func describeSST(i *format.SSTInfo, version uint16) SSTInfo {
	return SSTInfo{
		FormatVersion: version, FirstKey: i.FirstKey, LastKey: i.LastKey, Compression: i.Codec.String(),
		DataBytes: i.FilterOffset, FilterBytes: i.FilterLen, IndexBytes: i.IndexLen, StatsBytes: i.StatsLen,
	}
}

// InspectOptions describe the database that an object belongs to.
type InspectOptions struct {
	// BlockTransformer is the one that the database is written with; see Options.
	BlockTransformer BlockTransformer
}

// ReadSST describes the SST object of the database at path with this id, a
// ULID in its text form, and calls each with its rows in key order; a nil each
// reads none, and needs no BlockTransformer. The bytes of a row are valid during
// the call. Whoever reads the rows has every part of the object verified, filter
// and statistics included.
func ReadSST(ctx context.Context, path string, b bucket.Bucket, id string, opts InspectOptions, each func(RowInfo) error) (*SSTInfo, error) {
	root := layout.NewRoot(path)
	ulid, ok := layout.SSTID(id + ".sst")
	if !ok {
		return nil, fmt.Errorf("%w: %q is not the id of an SST, 26 characters such as 01ARZ3NDEKTSV4RRFFQ69G5FAV", ErrInvalid, id)
	}
	b = bucket.WithRetry(b, bucket.RetryOptions{})
	key := root.SST(ulid)
	info, version, err := sst.ReadInfo(ctx, b, key)
	if err != nil {
		return nil, err
	}
	out := describeSST(&info, version)
	out.ID = id
	if each == nil {
		return &out, nil
	}
	table := sst.NewStore(b, nil, sst.StoreOptions{Transformer: opts.BlockTransformer}).Open(key, format.SST{ID: ulid, ViewID: ulid, Info: info, Version: version})
	if err := table.Check(ctx); err != nil {
		return nil, err
	}
	it := table.Iter(sst.IterOptions{NoFill: true})
	defer it.Close()
	for {
		r, err := it.Next(ctx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return &out, nil
		}
		if err := each(describeRow(r)); err != nil {
			return nil, err
		}
	}
}

// WALObjects returns the ids of the log's objects, in ascending order. Where the
// log lies in another bucket, that bucket is meant, and the path in it.
func WALObjects(ctx context.Context, path string, b bucket.Bucket) ([]uint64, error) {
	return inspectedLog(path, b).List(ctx, 0)
}

// ReadWAL returns the rows of one object of the log in the order they were
// written; none for a fence. Where the log lies in another bucket, that bucket
// is meant, and the path in it.
func ReadWAL(ctx context.Context, path string, b bucket.Bucket, id uint64, opts InspectOptions) ([]RowInfo, error) {
	log := inspectedLog(path, b)
	log.Transformer = opts.BlockTransformer
	rows, err := log.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]RowInfo, len(rows))
	for i := range rows {
		out[i] = describeRow(&rows[i])
	}
	return out, nil
}

func inspectedLog(path string, b bucket.Bucket) wal.Place {
	return wal.Place{Bucket: bucket.WithRetry(b, bucket.RetryOptions{}), Root: layout.NewRoot(path)}
}

var kindNames = map[format.Kind]string{format.Value: "value", format.Tombstone: "tombstone", format.Merge: "merge"}

func describeRow(r *format.Row) RowInfo {
	out := RowInfo{Key: r.Key, Value: r.Value, Seq: r.Seq, Kind: kindNames[r.Kind]}
	if r.HasCreate {
		out.Created = date(r.CreateTS)
	}
	if r.HasExpire {
		out.Expires = date(r.ExpireTS)
	}
	return out
}

// The first and last millisecond that JSON has a date for.
var (
	firstDate = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastDate  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

// date is the moment so many milliseconds after 1970, or the nearest one that
// JSON has a date for.
func date(ms int64) *time.Time {
	t := time.UnixMilli(min(max(ms, firstDate), lastDate)).UTC()
	return &t
}
