package format

import "fmt"

// A compactions file:
//
//	version u16 BE, 1 or 2 | FlatBuffer CompactionsV1
//
//	CompactionsV1        { 0 compactor_epoch u64; 1 recent_compactions [Compaction] }
//	Compaction           { 0 id Ulid; 1 spec_type u8; 2 spec; 3 status i8; 4 output_ssts [CompactedSsTable];
//	                       version 2: 5 worker WorkerSpec; 6 ctx_type u8; 7 ctx }
//	TieredCompactionSpec { 0 ssts, unused; 1 sorted_runs [u32]; 2 l0_view_ids [Ulid];
//	                       version 2: 3 segment [u8]; 4 destination u32 }                     spec_type 1
//	DrainSegmentSpec     { 0 segment [u8]; 1 l0_view_ids [Ulid]; 2 sorted_runs [u32] }         spec_type 2
//	WorkerSpec           { 0 worker_id string; 1 last_heartbeat_ms u64 }
//	TieredCompactionContext { 0 subcompactions [Subcompaction]; 1 retention_min_seq u64 }      ctx_type 1
//	Subcompaction        { 0 range BytesRange; 1 output_ssts [CompactedSsTable] }
const (
	specTiered = 1
	specDrain  = 2
	ctxTiered  = 1
)

// EncodeCompactions returns c as a compactions file of version 1, which stores
// neither a destination nor the fields of version 2.
func EncodeCompactions(c *Compactions) []byte {
	b := newBuilder(1024)
	recent := putAll(b, c.Recent, putCompaction)
	b.begin()
	b.u64(0, c.CompactorEpoch)
	b.child(1, recent)
	return versioned(CompactionsVersion1, b.finish(b.end()))
}

func putCompaction(b *builder, c *Compaction) ref {
	id := putID(b, c.ID)
	var l0, runs, output ref
	if len(c.L0) > 0 {
		l0 = putAll(b, c.L0, func(b *builder, id *ULID) ref { return putID(b, *id) })
	}
	if len(c.Runs) > 0 {
		runs = b.words(c.Runs)
	}
	b.begin()
	b.child(2, l0)
	b.child(1, runs)
	spec := b.end()
	if len(c.Output) > 0 {
		output = putAll(b, c.Output, putSST)
	}
	b.begin()
	b.child(4, output)
	b.child(2, spec)
	b.child(0, id)
	b.u8(3, uint8(c.Status))
	b.u8(1, specTiered)
	return b.end()
}

// DecodeCompactions reads a compactions file of version 1 or 2. Errors match
// ErrCorrupt, as *DecodeError, or ErrNewer. The result does not alias data.
func DecodeCompactions(data []byte) (*Compactions, error) {
	version, fb, err := unversioned("compactions file", data, CompactionsVersion2)
	if err != nil {
		return nil, err
	}
	t := fb.root()
	c := &Compactions{CompactorEpoch: t.u64(0), FromVersion: version}
	c.Recent = readNeeded(t, 1, "recent_compactions", func(t table) Compaction { return readCompaction(t, version) })
	if fb.err != nil {
		return nil, fb.err
	}
	seen := map[ULID]bool{}
	for i := range c.Recent {
		if id := c.Recent[i].ID; seen[id] {
			return nil, corrupt(2, "compaction %s is listed twice", id)
		} else {
			seen[id] = true
		}
	}
	return c, nil
}

func readCompaction(t table, version uint16) Compaction {
	c := Compaction{ID: t.need(0, "id of a compaction").id(), Status: CompactionStatus(t.u8(3))}
	if c.Status > CompactionScheduled {
		t.b.fault(t.pos, "compaction of status %d", c.Status)
	}
	spec := t.need(2, "spec of a compaction")
	switch kind := t.u8(1); kind {
	case specTiered:
		c.readTiered(spec, version)
	case specDrain:
		c.Drain = true
		c.Segment = spec.copied(0)
		c.L0 = readAll(spec, 1, func(t table) ULID { return t.id() })
		c.Runs = readWords(spec, 2)
	default:
		t.b.fault(t.pos, "compaction of spec type %d", kind)
	}
	c.Output = readAll(t, 4, readSST)
	if w, ok := t.child(5); ok {
		id, _ := w.bytes(0)
		c.Worker, c.HeartbeatMS = string(id), w.u64(1)
	}
	if ctx, ok := t.child(7); ok && t.u8(6) == ctxTiered {
		c.HasSubcontext, c.RetentionSeq = true, ctx.u64(1)
		c.Subs = readAll(ctx, 0, func(t table) Subcompaction {
			return Subcompaction{Range: readRange(t.need(0, "range of a subcompaction")), Output: readAll(t, 1, readSST)}
		})
	}
	if fault := c.check(); fault != "" {
		t.b.fault(t.pos, "compaction %s: %s", c.ID, fault)
	}
	return c
}

func (c *Compaction) readTiered(spec table, version uint16) {
	c.Runs = readWords(spec, 1)
	c.L0 = readAll(spec, 2, func(t table) ULID { return t.id() })
	c.Segment = spec.copied(3)
	switch {
	case version >= CompactionsVersion2:
		c.Destination, c.DestinationKnown = spec.u32(4), true
	case len(c.Runs) > 0:
		c.Destination, c.DestinationKnown = c.Runs[len(c.Runs)-1], true
	}
}

// check returns what the compaction contradicts, empty if nothing.
func (c *Compaction) check() string {
	for i := 1; i < len(c.Runs); i++ {
		if c.Runs[i] >= c.Runs[i-1] {
			return fmt.Sprintf("sorted run %d after %d", c.Runs[i], c.Runs[i-1])
		}
	}
	return ""
}

func readWords(t table, i int) []uint32 {
	v, _ := t.vector(i, 4)
	if v.n == 0 {
		return nil
	}
	out := make([]uint32, v.n)
	for i := range out {
		out[i] = v.u32(i)
	}
	return out
}
