package format

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// annotation labels the bytes of a file with their meaning. Ranges may be
// added in any order; what no range covers shows as padding, or as unexplained
// if it is not zero.
type annotation struct {
	data   []byte
	ranges []labelled
}

type labelled struct {
	from, n int
	text    string
}

func (a *annotation) add(from, n int, format string, args ...any) {
	a.ranges = append(a.ranges, labelled{from, n, fmt.Sprintf(format, args...)})
}

func (a *annotation) String() string {
	sort.SliceStable(a.ranges, func(i, j int) bool { return a.ranges[i].from < a.ranges[j].from })
	var out strings.Builder
	pos := 0
	line := func(from, n int, text string) {
		shown := a.data[from : from+min(n, 16)]
		hex := fmt.Sprintf("% x", shown)
		if n > 16 {
			hex += fmt.Sprintf(" .. (%d)", n)
		}
		fmt.Fprintf(&out, "%04x  %-56s %s\n", from, hex, text)
	}
	gap := func(to int) {
		if pos < to {
			text := "padding"
			if len(bytes.Trim(a.data[pos:to], "\x00")) > 0 {
				text = "UNEXPLAINED"
			}
			line(pos, to-pos, text)
		}
	}
	for _, r := range a.ranges {
		if r.from < pos {
			if r.from+r.n > pos {
				fmt.Fprintf(&out, "%04x  OVERLAP %s\n", r.from, r.text)
			}
			continue // a shared vtable, met again
		}
		gap(r.from)
		line(r.from, r.n, r.text)
		pos = r.from + r.n
	}
	gap(len(a.data))
	return out.String()
}

// shape describes a FlatBuffers table to the annotator.
type shape struct {
	name   string
	fields []field
}

type field struct {
	name string
	kind string // u64 u32 u16 u8 bytes text words table tables
	sub  *shape
}

var (
	idShape    = &shape{"Ulid", []field{{"high", "u64", nil}, {"low", "u64", nil}}}
	indexShape = &shape{"SsTableIndex", []field{{"block_meta", "tables", &shape{"BlockMeta", []field{{"offset", "u64", nil}, {"first_key", "bytes", nil}}}}}}
	statsShape = &shape{"SstStats", []field{{"num_puts", "u64", nil}, {"num_deletes", "u64", nil}, {"num_merges", "u64", nil},
		{"raw_key_size", "u64", nil}, {"raw_val_size", "u64", nil},
		{"block_stats", "tables", &shape{"BlockStats", []field{{"num_puts", "u16", nil}, {"num_deletes", "u16", nil}, {"num_merges", "u16", nil}}}}}}
	infoShape = &shape{"SsTableInfo", []field{{"first_entry", "bytes", nil}, {"index_offset", "u64", nil}, {"index_len", "u64", nil},
		{"filter_offset", "u64", nil}, {"filter_len", "u64", nil}, {"compression_format", "u8", nil}, {"sst_type", "u8", nil},
		{"last_entry", "bytes", nil}, {"stats_offset", "u64", nil}, {"stats_len", "u64", nil}, {"filter_format", "u8", nil}}}
	rangeShape = &shape{"BytesRange", []field{{"start_bound", "table", boundShape}, {"end_bound", "table", boundShape}}}
	boundShape = &shape{"BytesBound", []field{{"key", "bytes", nil}, {"bound_type", "u8", nil}}}
	sstShape   = &shape{"CompactedSsTable", []field{{"id", "table", idShape}, {"info", "table", infoShape}, {"visible_range", "table", rangeShape}, {"format_version", "u16", nil}}}
	runShape   = &shape{"SortedRun", []field{{"id", "u32", nil}, {"ssts", "tables", sstShape}}}
	checkShape = &shape{"Checkpoint", []field{{"id", "table", idShape}, {"manifest_id", "u64", nil}, {"expire_s", "u32", nil}, {"create_s", "u32", nil},
		{"metadata_type", "u8", nil}, {"metadata", "u32", nil}, {"name", "text", nil}}}
	manifestShape = &shape{"ManifestV1", []field{{"manifest_id", "u64", nil}, {"external_dbs", "u32", nil}, {"initialized", "u8", nil}, {"writer_epoch", "u64", nil},
		{"compactor_epoch", "u64", nil}, {"replay_after_wal_id", "u64", nil}, {"wal_id_last_seen", "u64", nil}, {"l0_last_compacted", "table", idShape},
		{"l0", "tables", sstShape}, {"compacted", "tables", runShape}, {"last_l0_clock_tick", "u64", nil}, {"checkpoints", "tables", checkShape},
		{"last_l0_seq", "u64", nil}, {"wal_object_store_uri", "text", nil}, {"recent_snapshot_min_seq", "u64", nil}, {"sequence_tracker", "bytes", nil}}}
	specShape        = &shape{"TieredCompactionSpec", []field{{"ssts", "u32", nil}, {"sorted_runs", "words", nil}, {"l0_view_ids", "tables", idShape}}}
	compactionShape  = &shape{"Compaction", []field{{"id", "table", idShape}, {"spec_type", "u8", nil}, {"spec", "table", specShape}, {"status", "u8", nil}, {"output_ssts", "tables", sstShape}}}
	compactionsShape = &shape{"CompactionsV1", []field{{"compactor_epoch", "u64", nil}, {"recent_compactions", "tables", compactionShape}}}
)

// flat annotates the FlatBuffer from..to with its shape.
func (a *annotation) flat(from, to int, s *shape) {
	b := newFlatbuf(a.data[from:to], 0)
	root := b.follow(0)
	a.add(from, 4, "root: %s at +%#x", s.name, root)
	a.table(from, b, root, s.name, s)
}

func (a *annotation) table(base int, b *flatbuf, pos int, path string, s *shape) {
	t := b.table(pos)
	var slots []uint16
	for i := 4; i < t.vtLen; i += 2 {
		slots = append(slots, binary.LittleEndian.Uint16(b.buf[t.vt+i:]))
	}
	a.add(base+t.vt, t.vtLen, "vtable of %s: table of %d bytes, slots %v", s.name, t.size, slots)
	a.add(base+pos, 4, "%s: table, vtable at %+d", path, t.vt-pos)
	for i, f := range s.fields {
		if t.has(i) {
			a.field(base, b, t, i, path+"."+f.name, f)
		}
	}
	for i := len(s.fields); i < len(slots); i++ {
		if t.has(i) {
			a.add(base+t.slot(i, 1), 1, "%s: unknown slot %d", path, i)
		}
	}
}

func (a *annotation) field(base int, b *flatbuf, t table, i int, path string, f field) {
	switch f.kind {
	case "u64":
		a.add(base+t.slot(i, 8), 8, "%s = %d", path, t.u64(i))
		return
	case "u32":
		a.add(base+t.slot(i, 4), 4, "%s = %d", path, t.u32(i))
		return
	case "u16":
		a.add(base+t.slot(i, 2), 2, "%s = %d", path, t.u16(i, 0))
		return
	case "u8":
		a.add(base+t.slot(i, 1), 1, "%s = %d", path, t.u8(i))
		return
	}
	at := t.slot(i, 4)
	to := b.follow(at)
	a.add(base+at, 4, "%s -> +%d", path, to-at)
	switch f.kind {
	case "table":
		a.table(base, b, to, path, f.sub)
	case "tables":
		v, _ := t.vector(i, 4)
		a.add(base+to, 4, "%s: vector of %d", path, v.n)
		for j := range v.n {
			at := v.pos + 4*j
			item := fmt.Sprintf("%s[%d]", path, j)
			a.add(base+at, 4, "%s -> +%d", item, b.follow(at)-at)
			a.table(base, b, b.follow(at), item, f.sub)
		}
	case "words":
		v, _ := t.vector(i, 4)
		a.add(base+to, 4, "%s: vector of %d", path, v.n)
		for j := range v.n {
			a.add(base+v.pos+4*j, 4, "%s[%d] = %d", path, j, v.u32(j))
		}
	case "bytes", "text":
		p, _ := t.bytes(i)
		a.add(base+to, 4, "%s: %d bytes", path, len(p))
		if len(p) > 0 {
			a.add(base+to+4, len(p), "%s = %q", path, p)
		}
		if f.kind == "text" {
			a.add(base+to+4+len(p), 1, "%s: end of text", path)
		}
	}
}

// block annotates a data block of version 2 without its checksum.
func (a *annotation) block(from, to int) error {
	b, err := DecodeBlock(a.data[from:to], SSTVersion2)
	if err != nil {
		return err
	}
	var key []byte
	for pos := 0; pos < len(b.rows); {
		var r Row
		shared, suffix, next, err := b.parseRow(pos, &r)
		if err != nil {
			return err
		}
		key = append(key[:shared], suffix...)
		at := from + pos
		head := next - pos - len(suffix) - len(r.Value) - 9
		if r.HasExpire {
			head -= 8
		}
		if r.HasCreate {
			head -= 8
		}
		a.add(at, head, "row: shared %d, unshared %d, value_len %d", shared, len(suffix), len(r.Value))
		at += head
		a.add(at, len(suffix), "key suffix; the key is %q", key)
		at += len(suffix)
		if len(r.Value) > 0 {
			a.add(at, len(r.Value), "value %q", r.Value)
			at += len(r.Value)
		}
		a.add(at, 8, "seq %d", r.Seq)
		a.add(at+8, 1, "flags %04b", a.data[at+8])
		at += 9
		if r.HasExpire {
			a.add(at, 8, "expire_ts %d", r.ExpireTS)
			at += 8
		}
		if r.HasCreate {
			a.add(at, 8, "create_ts %d", r.CreateTS)
		}
		pos = next
	}
	for i, r := range b.restarts {
		a.add(from+len(b.rows)+2*i, 2, "restart[%d] = %d", i, r)
	}
	a.add(to-2, 2, "number of restarts %d", len(b.restarts))
	return nil
}

// annotateSST explains an uncompressed SST.
func annotateSST(data []byte) (string, error) {
	a := &annotation{data: data}
	end := len(data) - FooterLen
	meta, _, err := DecodeFooter(data[end:], int64(len(data)))
	if err != nil {
		return "", err
	}
	info, err := DecodeInfo(data[meta : end-checksumLen])
	if err != nil {
		return "", err
	}
	index, err := DecodeIndex(data[info.IndexOffset:info.IndexOffset+info.IndexLen-checksumLen], info.FilterOffset)
	if err != nil {
		return "", err
	}
	sum := func(of string, end uint64) { a.add(int(end)-checksumLen, checksumLen, "CRC-32 of the %s", of) }
	for i := range index.Len() {
		if err := a.block(int(index.Offset(i)), int(index.Offset(i+1))-checksumLen); err != nil {
			return "", err
		}
		sum("block", index.Offset(i+1))
	}
	if info.FilterLen > 0 {
		end := info.FilterOffset + info.FilterLen
		a.add(int(info.FilterOffset), 2, "filter: number of probes %d", binary.BigEndian.Uint16(data[info.FilterOffset:]))
		a.add(int(info.FilterOffset)+2, int(info.FilterLen)-2-checksumLen, "filter: bits")
		sum("filter", end)
	}
	a.flat(int(info.IndexOffset), int(info.IndexOffset+info.IndexLen)-checksumLen, indexShape)
	sum("index", info.IndexOffset+info.IndexLen)
	if info.StatsLen > 0 {
		a.flat(int(info.StatsOffset), int(info.StatsOffset+info.StatsLen)-checksumLen, statsShape)
		sum("statistics", info.StatsOffset+info.StatsLen)
	}
	a.flat(int(meta), end-checksumLen, infoShape)
	sum("info", uint64(end))
	a.add(end, 8, "the info begins at %#x", meta)
	a.add(end+8, 2, "SST format version %d", binary.BigEndian.Uint16(data[end+8:]))
	return a.String(), nil
}

// annotateVersioned explains a manifest or compactions file.
func annotateVersioned(s *shape) func([]byte) (string, error) {
	return func(data []byte) (string, error) {
		a := &annotation{data: data}
		a.add(0, 2, "format version %d", binary.BigEndian.Uint16(data))
		a.flat(2, len(data), s)
		return a.String(), nil
	}
}

// Each byte of one small file of each kind, as SlateDB wrote it, and as this
// package writes it too (see the tests that write the fixtures anew), stands
// explained in testdata/annotated.
func TestAnnotated(t *testing.T) {
	for _, c := range []struct {
		golden, pattern string
		annotate        func([]byte) (string, error)
	}{
		{"wal", "annotated/db/wal/00000000000000000002.sst", annotateSST},
		{"fence", "annotated/db/wal/00000000000000000001.sst", annotateSST},
		{"l0", "annotated/db/compacted/*.sst", annotateSST},
		{"manifest", "annotated/db/manifest/00000000000000000003.manifest", annotateVersioned(manifestShape)},
		{"manifest-runs", "empty-run/db/manifest/*.manifest", annotateVersioned(manifestShape)},
		{"compactions", "checkpoint/db/compactions/*.compactions", annotateVersioned(compactionsShape)},
	} {
		t.Run(c.golden, func(t *testing.T) {
			names, err := filepath.Glob(filepath.Join(fixtures, c.pattern))
			if err != nil || len(names) == 0 {
				t.Fatal("no file", err)
			}
			data, err := os.ReadFile(names[len(names)-1])
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.annotate(data)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got, "UNEXPLAINED") || strings.Contains(got, "OVERLAP") {
				t.Errorf("not every byte is explained once:\n%s", got)
			}
			golden := filepath.Join("testdata", "annotated", c.golden+".txt")
			if *rewrite {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("bytes moved; -rewrite writes %s anew. They are:\n%s", golden, got)
			}
		})
	}
}
