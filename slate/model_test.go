package slate_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
)

// model is what the engine should be: a sorted map.
type model map[string]string

func (m model) scan(r slate.Range) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if inside(r, k) {
			out = append(out, k+"="+m[k])
		}
	}
	if r.Reverse {
		slices.Reverse(out)
	}
	return out
}

type reads interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
}

func drain(t rapid.TB, seq func(func(slate.KV, error) bool)) []string {
	t.Helper()
	var out []string
	for kv, err := range seq {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		out = append(out, string(kv.Key)+"="+string(kv.Value))
	}
	return out
}

func checkGet(t rapid.TB, db reads, m model, key string) {
	t.Helper()
	v, err := db.Get(context.Background(), []byte(key))
	want, ok := m[key]
	switch {
	case ok && (err != nil || string(v) != want):
		t.Fatalf("get %q: %q, %v; want %q", key, v, err, want)
	case !ok && !errors.Is(err, slate.ErrNotFound):
		t.Fatalf("get %q: %q, %v; want not found", key, v, err)
	}
}

// settings are small, so that a short history crosses every boundary.
func drawOptions(t *rapid.T) slate.Options {
	return slate.Options{
		L0Bytes:           rapid.SampledFrom([]int64{200, 2000, 1 << 20}).Draw(t, "l0"),
		MaxUnflushedBytes: rapid.SampledFrom([]int64{1000, 1 << 20}).Draw(t, "cap"),
		MaxSSTBytes:       rapid.SampledFrom([]int64{100, 5000, 1 << 20}).Draw(t, "sst"),
		BlockBytes:        rapid.SampledFrom([]int{1 << 10, 4 << 10}).Draw(t, "block"),
		MinFilterKeys:     rapid.SampledFrom([]int{1, 1000}).Draw(t, "filter"),
		CompactL0:         rapid.SampledFrom([]int{2, 4}).Draw(t, "compact"),
		MaxWALObjects:     rapid.SampledFrom([]int{3, 4096}).Draw(t, "wals"),
		CacheBytes:        rapid.SampledFrom([]int64{-1, 3000, 1 << 20}).Draw(t, "cache"),
		MergeOperator:     slate.Concat,
		Compression: rapid.SampledFrom([]slate.Codec{
			slate.NoCompression, slate.Snappy, slate.Zlib, slate.LZ4, slate.Zstd}).Draw(t, "codec"),
		BlockTransformer: rapid.SampledFrom([]slate.BlockTransformer{nil, transformers["encrypted"], doubled{}}).Draw(t, "transformer"),
		ReaderGrace:      rapid.SampledFrom([]time.Duration{-1, time.Hour}).Draw(t, "grace"),
		GCMinAge:         rapid.SampledFrom([]time.Duration{-1, 30 * time.Second, 0}).Draw(t, "garbage age"),
		Compaction: slate.CompactionOptions{
			MaxJobs: rapid.SampledFrom([]int{1, 4}).Draw(t, "jobs"),
			Workers: rapid.SampledFrom([]int{1, 3}).Draw(t, "workers"),
			Scheduler: rapid.SampledFrom([]slate.Scheduler{nil, slate.SizeTiered{MinSources: 2, MinL0: 1},
				slate.SizeTiered{MinSources: 2, MaxSources: 3, IncludeThreshold: 1.5}}).Draw(t, "scheduler"),
		},
		DisableWAL:       rapid.SampledFrom([]bool{false, false, true}).Draw(t, "no log"),
		HideExpired:      rapid.Bool().Draw(t, "hide expired"),
		MinFlushInterval: rapid.SampledFrom([]time.Duration{-1, time.Second}).Draw(t, "interval"),
	}
}

// Under any history of writes, reads, flushes, compactions, collections,
// restarts, crashes and other writers the engine answers as a sorted map does.
func TestEngineIsASortedMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		opts, p := drawOptions(rt), drawProgram(rt, true)
		if _, err := p.execute(t, opts, false); err != nil {
			rt.Fatalf("%+v\n%s%v", opts, p, err)
		}
	})
}

// So it does when the steps do not wait for what goes on in the background.
// What fails may not fail again, so it is shortened here: STELE_SEED runs one
// seed alone.
func TestHastyHistories(t *testing.T) {
	type drawn struct {
		opts slate.Options
		p    program
	}
	gen := rapid.Custom(func(t *rapid.T) drawn { return drawn{drawOptions(t), drawProgram(t, true)} })
	for _, seed := range seeds(t, checks(t)) {
		d := gen.Example(seed)
		if _, err := d.p.execute(t, d.opts, true); err != nil {
			p, err := d.p.shorten(t, d.opts, err)
			t.Fatalf("STELE_SEED=%d: %+v\n%s%v", seed, d.opts, p, err)
		}
	}
}

// checks is how many histories or races are wanted: the number of rapid.Check.
func checks(t *testing.T) int {
	n, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		n /= 5
	}
	return n
}

// seeds are the first n, or the one in STELE_SEED.
func seeds(t *testing.T, n int) []int {
	if text := os.Getenv("STELE_SEED"); text != "" {
		seed, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("STELE_SEED: %v", err)
		}
		return []int{seed}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// withCompactor is the setting with a compactor beside the writer.
const withCompactor = "a standalone compactor"

// settings change what the engine does and not what it answers.
var settings = []struct {
	name string
	set  func(o *slate.Options)
}{
	{"all in one memtable", func(*slate.Options) {}},
	{"blocks of 1 KiB", func(o *slate.Options) { o.BlockBytes = 1 << 10; o.L0Bytes = 20_000 }},
	{"blocks of 64 KiB", func(o *slate.Options) { o.BlockBytes = 64 << 10; o.L0Bytes = 20_000 }},
	{"snappy", func(o *slate.Options) { o.Compression = slate.Snappy; o.L0Bytes = 500 }},
	{"zlib", func(o *slate.Options) { o.Compression = slate.Zlib; o.L0Bytes = 500 }},
	{"lz4", func(o *slate.Options) { o.Compression = slate.LZ4; o.L0Bytes = 500 }},
	{"zstd", func(o *slate.Options) { o.Compression = slate.Zstd; o.L0Bytes = 500 }},
	{"encrypted", func(o *slate.Options) { o.BlockTransformer = transformers["encrypted"]; o.L0Bytes = 500 }},
	{"twice as long", func(o *slate.Options) { o.BlockTransformer = doubled{}; o.Compression = slate.Snappy; o.L0Bytes = 500 }},
	{"an L0 for every write", func(o *slate.Options) { o.L0Bytes = 1 }},
	{"L0s of 2 kB", func(o *slate.Options) { o.L0Bytes = 2000 }},
	{"a cap of 500 bytes", func(o *slate.Options) { o.MaxUnflushedBytes = 500 }},
	{"an SST for every key", func(o *slate.Options) { o.MaxSSTBytes = 1; o.L0Bytes = 1000 }},
	{"SSTs of 2 kB", func(o *slate.Options) { o.MaxSSTBytes = 2000; o.L0Bytes = 1000 }},
	{"compaction at one L0", func(o *slate.Options) { o.CompactL0 = 1; o.L0Bytes = 500 }},
	{"compaction at eight L0s", func(o *slate.Options) { o.CompactL0 = 8; o.L0Bytes = 200 }},
	{"no compaction unasked", func(o *slate.Options) { o.CompactL0 = -1; o.MaxL0 = 1 << 20; o.L0Bytes = 200 }},
	{"flushes wait before compaction is due", func(o *slate.Options) { o.CompactL0 = 4; o.MaxL0 = 2; o.L0Bytes = 200 }},
	{"flushes wait at two L0s", func(o *slate.Options) { o.CompactL0 = 2; o.MaxL0 = 2; o.L0Bytes = 200 }},
	{"no cache", func(o *slate.Options) { o.CacheBytes = -1; o.L0Bytes = 500 }},
	{"a cache of 2 kB", func(o *slate.Options) { o.CacheBytes = 2000; o.L0Bytes = 500 }},
	{"filters always", func(o *slate.Options) { o.MinFilterKeys = 1; o.L0Bytes = 500 }},
	{"filters of one bit", func(o *slate.Options) { o.MinFilterKeys = 1; o.FilterBitsPerKey = 1; o.L0Bytes = 500 }},
	{"filters never", func(o *slate.Options) { o.MinFilterKeys = 1 << 30; o.L0Bytes = 500 }},
	{"a flush a second", func(o *slate.Options) { o.MinFlushInterval = time.Second }},
	{"flushes delayed by a minute", func(o *slate.Options) { o.MaxFlushDelay = time.Minute }},
	{"a memtable per log object", func(o *slate.Options) { o.MaxWALObjects = 1 }},
	{"no log", func(o *slate.Options) { o.DisableWAL = true }},
	{"no log, flushes wait at two L0s", func(o *slate.Options) { o.DisableWAL = true; o.CompactL0 = 2; o.MaxL0 = 2; o.L0Bytes = 200 }},
	{"no grace for readers", func(o *slate.Options) { o.ReaderGrace = -1; o.CompactL0 = 2; o.L0Bytes = 200 }},
	{"no collection unasked", func(o *slate.Options) { o.GCMinAge = -1; o.ReaderGrace = -1; o.L0Bytes = 200 }},
	{"collection after 30 s", func(o *slate.Options) { o.GCMinAge = 30 * time.Second; o.ReaderGrace = -1; o.L0Bytes = 200 }},
	{"many runs", func(o *slate.Options) {
		o.Compaction.Scheduler = slate.SizeTiered{MinSources: 8, MinL0: 1}
		o.L0Bytes = 200
	}},
	{"few runs, of one worker", func(o *slate.Options) {
		o.Compaction = slate.CompactionOptions{Scheduler: slate.SizeTiered{MinSources: 2, MinL0: 1}, MaxJobs: 1, Workers: 1}
		o.L0Bytes, o.MaxSSTBytes = 200, 500
	}},
	{"parallel compactions of ranges", func(o *slate.Options) {
		o.Compaction = slate.CompactionOptions{Scheduler: slate.SizeTiered{MinSources: 2, MinL0: 2, MaxSources: 2}, MaxJobs: 4, Workers: 4}
		o.L0Bytes, o.MaxSSTBytes = 200, 300
	}},
	{"slow compactions", func(o *slate.Options) { o.Compaction.BytesPerSecond = 2000; o.L0Bytes = 200 }},
	{withCompactor, func(o *slate.Options) { o.CompactL0 = -1; o.L0Bytes, o.MaxSSTBytes = 200, 500 }},
	{"a long grace for readers", func(o *slate.Options) { o.ReaderGrace = 1000 * time.Hour; o.CompactL0 = 2; o.L0Bytes = 200 }},
}

// The same history gives the same answers under all settings.
func TestSettingsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawProgram(rt, false)
		var want []string
		for _, s := range settings {
			opts := slate.Options{MergeOperator: slate.Concat, HideExpired: true}
			s.set(&opts)
			first := step(nothing{})
			if s.name == withCompactor {
				first = compactor{on: true}
			}
			p := append(program{first}, p...)
			answers, err := p.execute(t, opts, true)
			if err != nil {
				rt.Fatalf("%s:\n%s%v", s.name, p, err)
			}
			if want == nil {
				want = answers
			}
			for i := range want {
				if want[i] != answers[i] {
					rt.Fatalf("%s, against %s:\n%s\n got %s\nwant %s", s.name, settings[0].name, p, answers[i], want[i])
				}
			}
		}
	})
}

// drawProgram draws a program; only a lossy one may lose what was not durable.
// A step may be none, so that a failing program can lose any of its steps.
func drawProgram(t *rapid.T, lossy bool) program {
	n := rapid.SampledFrom([]int{5, 20, 60}).Draw(t, "length")
	all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step { return drawStep(t, lossy, true) }), n, n).Draw(t, "program")
	return slices.DeleteFunc(all, func(s step) bool { return s == nothing{} })
}

func drawKey(t *rapid.T) string {
	return string(rapid.SliceOfN(rapid.SampledFrom([]byte{'a', 'b', 'c', 0, 0xff}), 1, 3).Draw(t, "key"))
}

func drawValue(t *rapid.T) string {
	n := rapid.SampledFrom([]int{0, 0, 10, 100, 300, 2000}).Draw(t, "padding")
	return fmt.Sprint(rapid.IntRange(0, 99).Draw(t, "value")) + strings.Repeat(".", n)
}

// drawLife ends between two full hours.
func drawLife(t *rapid.T) time.Duration {
	if h := rapid.SampledFrom([]int{-1, -1, -1, 0, 1, 3}).Draw(t, "life"); h >= 0 {
		return time.Duration(h)*time.Hour + 30*time.Minute
	}
	return 0
}

func drawWrite(t *rapid.T, life time.Duration) write {
	kind := rapid.SampledFrom([]string{"put", "put", "merge", "delete"}).Draw(t, "kind")
	w := write{kind: kind, key: drawKey(t)}
	if kind != "delete" {
		w.value, w.life = drawValue(t), life
	}
	return w
}

func drawRange(t *rapid.T) slate.Range {
	var r slate.Range
	switch rapid.SampledFrom([]string{"all", "bounds", "bounds", "prefix"}).Draw(t, "range") {
	case "bounds":
		if rapid.Bool().Draw(t, "lower") {
			r.Lower = []byte(drawKey(t))
		}
		if rapid.Bool().Draw(t, "upper") {
			r.Upper = []byte(drawKey(t))
		}
	case "prefix":
		r = slate.Prefix([]byte(drawKey(t)))
	}
	r.Reverse = rapid.Bool().Draw(t, "reverse")
	return r
}

func drawScan(t *rapid.T) scan {
	return scan{drawRange(t), rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "limit")}
}

func drawTransaction(t *rapid.T, lossy bool) transaction {
	life := drawLife(t)
	return transaction{
		isolation: rapid.SampledFrom([]slate.Isolation{slate.Serializable, slate.Serializable, slate.SnapshotIsolation}).Draw(t, "isolation"),
		rollback:  rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "roll back"),
		ops: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			switch rapid.SampledFrom([]string{"write", "write", "get", "scan", "beside", "beside"}).Draw(t, "op") {
			case "write":
				return op{step: batch{writes: []write{drawWrite(t, life)}}}
			case "get":
				return op{step: get{drawKey(t)}}
			case "scan":
				return op{step: drawScan(t)}
			}
			return op{step: drawBeside(t, lossy), beside: true}
		}), 1, 8).Draw(t, "ops"),
	}
}

// drawBeside draws what others do beside a transaction. No hours pass: until
// the commit, a life is counted from when the transaction first looks at it. No
// range is deleted: which keys that writes depends on when what has expired was
// rewritten, and with them what it conflicts with.
func drawBeside(t *rapid.T, lossy bool) step {
	all := rapid.Custom(func(t *rapid.T) step { return drawStep(t, lossy, false) })
	return all.Filter(func(s step) bool {
		_, long := s.(pass)
		_, some := s.(deletion)
		return !long && !some
	}).Draw(t, "beside")
}

func drawStep(t *rapid.T, lossy, outer bool) step {
	kinds := []string{"nothing", "write", "write", "write", "write", "batch", "batch", "delete range", "parallel", "get", "get", "scan", "scan",
		"snapshot", "old", "flush", "memtable", "memtable", "memtable", "compact", "collect", "pass"}
	if outer {
		kinds = append(kinds, "during", "transaction", "transaction", "release", "beside", "reopen", "take over", "crash")
	}
	if lossy {
		kinds = append(kinds, "crash at", "crash at")
	}
	if lossy && outer {
		kinds = append(kinds, "compactor", "log")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "step") {
	case "nothing":
		return nothing{}
	case "write":
		return batch{[]write{drawWrite(t, drawLife(t))}, rapid.Bool().Draw(t, "volatile")}
	case "batch":
		life := drawLife(t) // one for all: merges of a key in a batch must agree
		writes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) write { return drawWrite(t, life) }), 1, 12).Draw(t, "batch")
		return batch{writes, rapid.Bool().Draw(t, "volatile")}
	case "parallel":
		writes := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) write { return drawWrite(t, 0) }), 2, 5,
			func(w write) string { return w.key }).Draw(t, "parallel")
		return parallel{writes}
	case "delete range":
		return deletion{drawRange(t), rapid.Bool().Draw(t, "volatile")}
	case "get":
		return get{drawKey(t)}
	case "scan":
		return drawScan(t)
	case "during":
		inner := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step { return drawStep(t, lossy, false) }), 1, 5)
		return during{drawScan(t), rapid.IntRange(0, 5).Draw(t, "row"), inner.Draw(t, "during")}
	case "transaction":
		return drawTransaction(t, lossy)
	case "snapshot":
		return snapshot{}
	case "old":
		return old{drawRange(t), drawKey(t)}
	case "release":
		return release{}
	case "beside":
		return beside{drawRange(t)}
	case "flush":
		return flush{}
	case "memtable":
		return flushMemtable{}
	case "compact":
		return compact{}
	case "log":
		return withLog{rapid.Bool().Draw(t, "on")}
	case "compactor":
		return compactor{rapid.Bool().Draw(t, "on")}
	case "collect":
		return collectGarbage{}
	case "pass":
		return pass{rapid.IntRange(1, 2).Draw(t, "hours")}
	case "reopen":
		return reopen{}
	case "take over":
		return takeOver{flush: !lossy || rapid.Bool().Draw(t, "flush")}
	case "crash at":
		return crash{at: rapid.IntRange(1, 12).Draw(t, "request"), behind: rapid.Bool().Draw(t, "behind")}
	}
	return crash{flush: !lossy || rapid.Bool().Draw(t, "flush")}
}
