package gc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
	"github.com/stele-db/stele/slate/internal/sst"
	"github.com/stele-db/stele/slate/internal/wal"
)

// parallel is the number of requests in flight.
const parallel = 16

// Collector is one collection's work.
type Collector struct {
	Bucket bucket.Bucket
	Root   layout.Root
	Log    wal.Place // where WAL objects lie
	Clock  clock.Clock
	Random io.Reader
	MinAge time.Duration // 0 or less: any age will do
	// WALMinAge is the same of WAL objects.
	WALMinAge time.Duration
	DryRun    bool // write and delete nothing
	// Transformer is the one that the database is written with; nil: none. Where it
	// is missing, what needs a look into an SST stays.
	Transformer format.Transformer
	// HasRows, if not nil, knows of WAL objects that they hold rows, which saves
	// a look.
	HasRows func(id uint64) bool
	// Accept refuses a manifest that must not be collected by.
	Accept func(context.Context, *format.Manifest) error
	// Each is told of every object: what stays, and what goes once it is gone
	// (in a dry run: what would go). It is called by one goroutine at a time.
	Each func(Decision)

	walContent map[uint64]Content // what earlier runs have seen
}

// Result says what a collection worked by and did beside deleting.
type Result struct {
	Manifest   uint64 // id of the latest manifest
	Expired    int    // checkpoints that were removed because they had expired
	Boundaries bool   // boundary files can be kept up to date
	// Next is when another run would find more, if nothing else happens; the
	// zero time is never.
	Next time.Time
}

// Run collects; it may be called again and again, by one goroutine at a time. After an error it has deleted a part; what is left is found
// the next time.
func (c *Collector) Run(ctx context.Context) (Result, error) {
	s, expired, err := c.load(ctx)
	res := Result{Expired: expired, Boundaries: c.Bucket.Capabilities().Match}
	if err != nil {
		return res, err
	}
	res.Manifest = s.LatestID
	if c.HasRows != nil {
		for _, o := range s.WAL {
			if c.HasRows(o.ID) {
				s.WALContent[o.ID] = Content{Rows: true}
			}
		}
	}
	if err := c.look(ctx, s); err != nil {
		return res, err
	}
	c.walContent = map[uint64]Content{}
	for _, o := range s.WAL {
		if content, ok := s.WALContent[o.ID]; ok && !content.Bad {
			c.walContent[o.ID] = content
		}
	}
	all := Mark(s)
	res.Next = Next(s, all)
	return res, c.sweep(ctx, all)
}

// load reads the state, in the order that the package comment gives.
func (c *Collector) load(ctx context.Context) (*State, int, error) {
	s := &State{
		MinAge: c.MinAge, WALMinAge: c.WALMinAge, Now: c.Clock.Now(),
		WALContent: maps.Clone(c.walContent), SSTContent: map[format.ULID]Content{},
	}
	if s.WALContent == nil {
		s.WALContent = map[uint64]Content{}
	}
	compactions, err := manifest.NewStore(c.Bucket, c.Root, c.Clock, c.Random, manifest.Compactions).Latest(ctx)
	if err != nil && !errors.Is(err, bucket.ErrNotFound) {
		return nil, 0, err
	}
	s.CompactionsID, s.Compactions = compactions.ID, compactions.Value
	if err := c.list(ctx, s); err != nil {
		return nil, 0, err
	}
	expired, err := c.manifests(ctx, s)
	return s, expired, err
}

func (c *Collector) list(ctx context.Context, s *State) error {
	err := each(ctx, c.Bucket, c.Root.Dir(layout.CompactedDir), func(o bucket.Object) {
		if id, ok := layout.SSTID(o.Key); ok && c.Root.SST(id) == o.Key {
			s.SSTs = append(s.SSTs, Table{o, id})
		}
	})
	if err != nil {
		return err
	}
	numbered := []struct {
		bucket bucket.Bucket
		dir    string
		id     func(string) (uint64, bool)
		key    func(uint64) string
		into   *[]Numbered
	}{
		{c.Log.Bucket, c.Log.Root.Dir(layout.WALDir), layout.WALID, c.Log.Key, &s.WAL},
		{c.Bucket, c.Root.Dir(layout.CompactionsDir), layout.CompactionsID, c.Root.Compactions, &s.CompactionFiles},
		{c.Bucket, c.Root.Dir(layout.ManifestDir), layout.ManifestID, c.Root.Manifest, &s.Manifests},
	}
	for _, n := range numbered {
		err := each(ctx, n.bucket, n.dir, func(o bucket.Object) {
			if id, ok := n.id(o.Key); ok && n.key(id) == o.Key {
				*n.into = append(*n.into, Numbered{o, id})
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func each(ctx context.Context, b bucket.Bucket, dir string, f func(bucket.Object)) error {
	for o, err := range b.List(ctx, dir, "") {
		if err != nil {
			return err
		}
		f(o)
	}
	return nil
}

// manifests reads the active manifests, after it has removed checkpoints that
// have expired. It returns how many those were.
func (c *Collector) manifests(ctx context.Context, s *State) (int, error) {
	store := manifest.NewStore(c.Bucket, c.Root, c.Clock, c.Random, manifest.Manifests)
	for {
		v, err := store.Latest(ctx)
		if err != nil {
			return 0, err
		}
		expired := 0
		v, err = store.Update(ctx, v, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
			if err := c.Accept(ctx, m); err != nil {
				return nil, err
			}
			live := withoutExpired(m, s.Now)
			expired = len(m.Checkpoints) - len(live.Checkpoints)
			s.Latest = live
			if c.DryRun {
				return m, nil
			}
			return live, nil
		})
		if err != nil {
			return 0, err
		}
		s.LatestID, s.Pinned = v.ID, map[uint64]*format.Manifest{}
		missing, err := c.pinned(ctx, store, s)
		if err != nil || missing == nil {
			return expired, err
		}
		// Another collector may have removed it, with its checkpoint.
		if now, err := store.Latest(ctx); err != nil {
			return expired, err
		} else if now.ID == v.ID {
			return expired, &format.ObjectError{Object: c.Root.Manifest(missing.ManifestID),
				Reason: fmt.Sprintf("checkpoint %s of manifest %d names it, and it is missing", missing.ID, v.ID)}
		}
	}
}

// pinned reads the manifests that the latest one's checkpoints name. It returns
// the first checkpoint whose manifest is missing.
func (c *Collector) pinned(ctx context.Context, store *manifest.Store[format.Manifest], s *State) (*format.Checkpoint, error) {
	for i := range s.Latest.Checkpoints {
		cp := &s.Latest.Checkpoints[i]
		if _, ok := s.Pinned[cp.ManifestID]; ok || cp.ManifestID == s.LatestID {
			continue
		}
		v, err := store.Read(ctx, cp.ManifestID)
		if errors.Is(err, bucket.ErrNotFound) {
			return cp, nil
		}
		if err == nil {
			err = c.Accept(ctx, v.Value)
		}
		if err != nil {
			return nil, err
		}
		s.Pinned[v.ID] = v.Value
	}
	return nil, nil
}

// withoutExpired returns m without the checkpoints that have expired, which is
// m itself if none has.
func withoutExpired(m *format.Manifest, now time.Time) *format.Manifest {
	live := slices.DeleteFunc(slices.Clone(m.Checkpoints), func(cp format.Checkpoint) bool {
		return cp.ExpireSec != 0 && int64(cp.ExpireSec) <= now.Unix()
	})
	if len(live) == len(m.Checkpoints) {
		return m
	}
	next := *m
	next.Checkpoints = live
	return &next
}

// look reads what Mark needs to know of single objects.
func (c *Collector) look(ctx context.Context, s *State) error {
	unknown := slices.DeleteFunc(Mark(s), func(d Decision) bool { return d.Keep != Unknown })
	found := make([]Content, len(unknown))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, d := range unknown {
		g.Go(func() (err error) {
			if d.Kind == WAL {
				found[i], err = c.lookWAL(ctx, d.Number)
			} else {
				found[i], err = c.lookSST(ctx, d)
			}
			if errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrTransform) || errors.Is(err, format.ErrNewer) || errors.Is(err, bucket.ErrNotFound) {
				found[i], err = Content{Bad: true}, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, d := range unknown {
		if d.Kind == WAL {
			s.WALContent[d.Number] = found[i]
		} else {
			s.SSTContent[d.ID] = found[i]
		}
	}
	return nil
}

func (c *Collector) lookWAL(ctx context.Context, id uint64) (Content, error) {
	rows, err := c.Log.HasRows(ctx, id)
	return Content{Rows: rows}, err
}

func (c *Collector) lookSST(ctx context.Context, d Decision) (Content, error) {
	info, version, err := sst.ReadInfo(ctx, c.Bucket, d.Object.Key)
	if err != nil {
		return Content{}, err
	}
	it := sst.NewStore(c.Bucket, nil, sst.StoreOptions{Transformer: c.Transformer}).
		Open(d.Object.Key, format.SST{ID: d.ID, ViewID: d.ID, Info: info, Version: version}).
		Iter(sst.IterOptions{NoFill: true})
	defer it.Close()
	r, err := it.Next(ctx)
	if err != nil || r == nil {
		return Content{}, err
	}
	return Content{Rows: true, FirstSeq: r.Seq}, nil
}

// sweep deletes what is garbage, kind by kind.
func (c *Collector) sweep(ctx context.Context, all []Decision) error {
	for kind := SST; kind <= Manifest; kind++ {
		var garbage []Decision
		for _, d := range all {
			switch {
			case d.Kind != kind:
			case d.Keep == Garbage:
				garbage = append(garbage, d)
			default:
				c.Each(d)
			}
		}
		if !c.DryRun {
			if err := c.advance(ctx, kind, garbage); err != nil {
				return err
			}
		}
		if err := c.remove(ctx, garbage); err != nil {
			return err
		}
	}
	return nil
}

// holder is the bucket that holds objects of a kind.
func (c *Collector) holder(k Kind) bucket.Bucket {
	if k == WAL {
		return c.Log.Bucket
	}
	return c.Bucket
}

// remove deletes in the order of the list, some at a time.
func (c *Collector) remove(ctx context.Context, garbage []Decision) error {
	for part := range slices.Chunk(garbage, parallel) {
		if err := ctx.Err(); err != nil {
			return err
		}
		gone := make([]bool, len(part))
		var g errgroup.Group
		for i, d := range part {
			g.Go(func() (err error) {
				if !c.DryRun {
					err = c.holder(d.Kind).Delete(ctx, d.Object.Key)
				}
				gone[i] = err == nil
				return err
			})
		}
		err := g.Wait()
		for i, d := range part {
			if gone[i] {
				c.Each(d)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// advance raises the boundary file of a kind to the greatest number that is
// about to be deleted. SlateDB from 0.13.1 on takes a version at or below the
// boundary for one that was written too late. A bucket that cannot replace
// conditionally has no boundaries.
func (c *Collector) advance(ctx context.Context, kind Kind, garbage []Decision) error {
	name, ok := boundaryNames[kind]
	if !ok || len(garbage) == 0 || !c.Bucket.Capabilities().Match {
		return nil
	}
	key := c.Root.Dir("gc") + name
	for {
		err := c.raise(ctx, key, garbage[len(garbage)-1].Number)
		if !errors.Is(err, bucket.ErrExists) && !errors.Is(err, bucket.ErrChanged) {
			return err
		}
	}
}

var boundaryNames = map[Kind]string{Manifest: "manifest.boundary", Compactions: "compactions.boundary"}

// raise writes the boundary if the one there is lower. It returns ErrExists or
// ErrChanged if another collector came between.
func (c *Collector) raise(ctx context.Context, key string, to uint64) error {
	body := []byte(strconv.FormatUint(to, 10))
	head, err := c.Bucket.Head(ctx, key) // before Get: its tag is at most as new as what Get returns
	if errors.Is(err, bucket.ErrNotFound) {
		token, err := layout.Token(c.Random)
		if err != nil {
			return err
		}
		return c.Bucket.PutIfAbsent(ctx, key, body, token)
	}
	if err != nil {
		return err
	}
	old, err := c.Bucket.Get(ctx, key)
	if err != nil {
		return err
	}
	at, err := strconv.ParseUint(strings.TrimSpace(string(old)), 10, 64)
	if err != nil {
		return &format.ObjectError{Object: key, Reason: fmt.Sprintf("%q is no number", old)}
	}
	if at >= to {
		return nil
	}
	return c.Bucket.PutIfMatch(ctx, key, body, head.Tag)
}
