package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stele-db/stele/bench/internal/meter"
	"github.com/stele-db/stele/bench/internal/rows"
)

// sample is what one workload cost one engine in one round. Its JSON is what a
// turn's process prints, one in a line.
type sample struct {
	Engine   string             `json:"engine"`
	Round    int                `json:"round"`
	Workload string             `json:"workload"`
	Values   map[string]float64 `json:"values"`
}

// The values of samples: of one operation unless said.
const (
	cpuTime  = "cpu_us"
	wallTime = "wall_us"
	allocs   = "allocs"
	heap     = "alloc_bytes"
	puts     = "write_requests"
	gets     = "read_requests"
	median   = "p50_us"
	slowest  = "p99_us"
	flushed  = "wall_flushed_us" // as wallTime, until the rows are on disk
	beside   = "writes_per_s"    // of the writer beside the reads
	peak     = "peak_mib"        // resident memory, in all
	disk     = "disk_mib"        // of all files
)

// config is what a turn is told.
type config struct {
	Engine    string        `json:"engine"`
	Round     int           `json:"round"`
	Rows      uint64        `json:"rows"`
	Time      time.Duration `json:"time"`
	Pause     time.Duration `json:"pause"`
	Workloads []string      `json:"workloads"` // groups
	Dir       string        `json:"dir"`
	Profile   string        `json:"profile"`
}

func (c config) wants(group string) bool { return slices.Contains(c.Workloads, group) }

// The names of workloads, by group, in the order of the tables.
var groups = []struct {
	name      string
	workloads []string
}{
	{"load", []string{loadOrdered, loadRandom}},
	{"put", []string{put1, put16, putSynced}},
	{"open", []string{openOnly, openGet}},
	{"scan", []string{scanFirst, scanForward, scanReverse, scanPrefix}},
	{"get", []string{getHit1, getHit16, getMiss1, getMiss16, getBeside}},
}

func groupNames() (all []string) {
	for _, g := range groups {
		all = append(all, g.name)
	}
	return all
}

const (
	loadOrdered = "load in order, per row"
	loadRandom  = "load in random order, per row"
	put1        = "put, not synced, 1 goroutine"
	put16       = "put, not synced, 16 goroutines"
	putSynced   = "put, synced, 64 goroutines"
	openOnly    = "open"
	openGet     = "open and first get"
	scanFirst   = "full scan, first after open, per row"
	scanForward = "full scan, per row"
	scanReverse = "full scan, reverse, per row"
	scanPrefix  = "scan of 100 rows by prefix"
	getHit1     = "get, 1 goroutine"
	getHit16    = "get, 16 goroutines"
	getMiss1    = "get of a missing row, 1 goroutine"
	getMiss16   = "get of a missing row, 16 goroutines"
	getBeside   = "get beside a writer"
	reading     = "reading" // all of scan and get, for peak memory
	calibration = "calibration loop"
)

const (
	batchRows  = 1000
	openRounds = 5
)

// turn is one engine's run of one round.
type turn struct {
	config
	engine  engine
	emit    func(sample) error
	store   store // the open one
	shuffle rows.Shuffle
}

// run goes through the workloads that the config wants and gives emit a sample
// of each.
func (c config) run(emit func(sample) error) error {
	e, err := engineNamed(c.Engine)
	if err != nil {
		return err
	}
	t := &turn{config: c, engine: e, emit: emit, shuffle: rows.NewShuffle(c.Rows)}
	err = t.all()
	if t.store != nil {
		err = errors.Join(err, t.store.Close())
	}
	return err
}

func (t *turn) all() error {
	if t.wants("load") {
		if err := t.load("ordered", loadOrdered, func(i uint64) uint64 { return i }); err != nil {
			return err
		}
	}
	if t.wants("load") || t.wants("open") || t.wants("scan") || t.wants("get") {
		if err := t.load("random", loadRandom, t.shuffle.At); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		group string
		run   func() error
	}{{"open", t.opens}, {"scan", t.reads}, {"get", t.reads}, {"put", t.puts}} {
		if part.group == "get" && t.wants("scan") {
			continue // done with the scans
		}
		if t.wants(part.group) {
			if err := part.run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// calibrate times a loop that takes the same work whatever the engine, so that
// a round beside other work can be told.
func (t *turn) calibrate() error {
	from := meter.Now()
	x := uint64(1)
	for range 10_000_000 {
		x = x*6364136223846793005 + 1442695040888963407
	}
	to := meter.Now()
	values := map[string]float64{cpuTime: micros(to.CPU - from.CPU), wallTime: micros(to.Wall.Sub(from.Wall))}
	if x == 0 {
		return errors.New("the loop went nowhere")
	}
	return t.emit(sample{t.Engine, t.Round, calibration, values})
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// measure runs a workload, which returns how many operations it was and values
// of its own, and emits what each operation cost.
func (t *turn) measure(workload string, run func() (ops int64, own map[string]float64, err error)) error {
	if err := t.calibrate(); err != nil {
		return err
	}
	stop, err := t.startProfile(workload)
	if err != nil {
		return err
	}
	asked, _ := t.store.(requester)
	var w0, r0 int64
	if asked != nil {
		w0, r0 = asked.Requests()
	}
	from := meter.Now()
	ops, own, err := run()
	to := meter.Now()
	if err := errors.Join(err, stop()); err != nil {
		return fmt.Errorf("%s: %w", workload, err)
	}
	n := float64(max(ops, 1))
	values := map[string]float64{
		cpuTime:  micros(to.CPU-from.CPU) / n,
		wallTime: micros(to.Wall.Sub(from.Wall)) / n,
		allocs:   float64(to.Mallocs-from.Mallocs) / n,
		heap:     float64(to.Bytes-from.Bytes) / n,
	}
	if again, ok := t.store.(requester); ok {
		if again != asked {
			w0, r0 = 0, 0 // the workload opened it
		}
		w, r := again.Requests()
		values[puts], values[gets] = float64(w-w0)/n, float64(r-r0)/n
	}
	for k, v := range own {
		values[k] = v
	}
	return t.emit(sample{t.Engine, t.Round, workload, values})
}

// startProfile begins a profile of the processor, if one is wanted.
func (t *turn) startProfile(workload string) (stop func() error, err error) {
	if t.Profile == "" {
		return func() error { return nil }, nil
	}
	name := strings.NewReplacer(" ", "-", ",", "").Replace(t.Engine + "-" + workload)
	f, err := os.Create(filepath.Join(t.Profile, name+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// open opens the store in a folder of the turn's.
func (t *turn) open(name string, synced bool) (err error) {
	dir := filepath.Join(t.Dir, name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	t.store, err = t.engine.open(dir, synced)
	return err
}

func (t *turn) close() error {
	s := t.store
	t.store = nil
	return s.Close()
}

// load fills a new store with all rows in the order that row gives.
func (t *turn) load(name, workload string, row func(uint64) uint64) error {
	if err := t.open(name, false); err != nil {
		return err
	}
	freshPeak()
	batch := make([]pair, 0, batchRows)
	err := t.measure(workload, func() (int64, map[string]float64, error) {
		began := time.Now()
		for i := range t.Rows {
			if batch = batch[:len(batch)+1]; batch[len(batch)-1].key == nil {
				batch[len(batch)-1] = pair{make([]byte, 0, rows.KeyLen), make([]byte, 0, rows.ValueLen)}
			}
			p, j := &batch[len(batch)-1], row(i)
			p.key, p.value = rows.Key(p.key[:0], j), rows.Value(p.value[:0], j)
			if len(batch) == batchRows || i == t.Rows-1 {
				if err := t.store.Load(batch); err != nil {
					return 0, nil, err
				}
				batch = batch[:0]
			}
		}
		acked := time.Since(began)
		err := t.store.Flush()
		n := float64(t.Rows)
		return int64(t.Rows), map[string]float64{
			wallTime: micros(acked) / n, flushed: micros(time.Since(began)) / n, peak: peakMiB(),
		}, err
	})
	if err != nil {
		return err
	}
	time.Sleep(t.Pause) // compactions
	if err := t.close(); err != nil {
		return err
	}
	size, err := diskMiB(filepath.Join(t.Dir, name))
	if err != nil {
		return err
	}
	return t.emit(sample{t.Engine, t.Round, workload, map[string]float64{disk: size}})
}

func freshPeak() {
	debug.FreeOSMemory()
	meter.ResetPeak()
}

func peakMiB() float64 {
	_, peak := meter.Resident()
	return float64(peak) / (1 << 20)
}

// diskMiB is what the files of a folder take of the disk.
func diskMiB(dir string) (float64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && d.Type().IsRegular() {
			total += s.Blocks * 512
		}
		return nil
	})
	return float64(total) / (1 << 20), err
}

// opens opens the store of the random load a few times.
func (t *turn) opens() error {
	for _, workload := range []string{openOnly, openGet} {
		for range openRounds {
			err := t.measure(workload, func() (int64, map[string]float64, error) {
				if err := t.open("random", false); err != nil {
					return 0, nil, err
				}
				if workload == openGet {
					return 1, nil, t.get(newWorker(0), t.Rows/2)
				}
				return 1, nil, nil
			})
			if err != nil {
				return err
			}
			if err := t.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// reads scans and gets in the store of the random load. The first scan warms
// the caches, also if only gets are wanted.
func (t *turn) reads() error {
	freshPeak()
	if err := t.open("random", false); err != nil {
		return err
	}
	if !t.wants("scan") {
		if _, _, err := t.forward(); err != nil {
			return err
		}
	} else if err := t.scans(); err != nil {
		return err
	}
	if t.wants("get") {
		if err := t.allGets(); err != nil {
			return err
		}
	}
	if err := t.emit(sample{t.Engine, t.Round, reading, map[string]float64{peak: peakMiB()}}); err != nil {
		return err
	}
	return t.close()
}

func (t *turn) scans() error {
	for _, s := range []struct {
		workload string
		run      func() (int64, map[string]float64, error)
	}{{scanFirst, t.forward}, {scanForward, t.forward}, {scanReverse, t.backward}} {
		if err := t.measure(s.workload, s.run); err != nil {
			return err
		}
	}
	return t.timed(scanPrefix, 1, func(w *worker) error {
		g := w.rng.Uint64N((t.Rows + rows.PerGroup - 1) / rows.PerGroup)
		w.key, w.upper = rows.Prefix(w.key[:0], g), rows.Prefix(w.upper[:0], g)
		w.upper[len(w.upper)-1]++
		i := g * rows.PerGroup
		err := t.store.Scan(w.key, w.upper, func(k, v []byte) bool {
			w.buf = rows.Key(w.buf[:0], i)
			if !bytes.Equal(k, w.buf) {
				return false
			}
			i++
			return true
		})
		if err == nil && i != min((g+1)*rows.PerGroup, t.Rows) {
			err = fmt.Errorf("group %d ends at row %d", g, i)
		}
		return err
	})
}

func (t *turn) forward() (int64, map[string]float64, error) {
	var key []byte
	i := uint64(0)
	err := t.store.Scan(nil, nil, func(k, v []byte) bool {
		key = rows.Key(key[:0], i)
		i++
		return bytes.Equal(k, key) && (i%1000 != 0 || rows.Check(v, i-1))
	})
	if err == nil && i != t.Rows {
		err = fmt.Errorf("the scan went wrong at row %d", i-1)
	}
	return int64(i), nil, err
}

func (t *turn) backward() (int64, map[string]float64, error) {
	var key []byte
	i := t.Rows
	err := t.store.Reverse(func(k, v []byte) bool {
		i--
		key = rows.Key(key[:0], i)
		return bytes.Equal(k, key) && (i%1000 != 0 || rows.Check(v, i))
	})
	if err == nil && i != 0 {
		err = fmt.Errorf("the scan went wrong at row %d", i)
	}
	return int64(t.Rows), nil, err
}

func (t *turn) allGets() error {
	hit := func(w *worker) error { return t.get(w, w.rng.Uint64N(t.Rows)) }
	miss := func(w *worker) error {
		w.key = rows.Missing(w.key[:0], w.rng.Uint64N(t.Rows))
		value, err := t.store.Get(w.key, w.buf[:0])
		switch {
		case errors.Is(err, errMissing):
			return nil
		case err == nil:
			err = fmt.Errorf("it is %q", value)
		}
		return fmt.Errorf("get of %q, which is missing: %w", w.key, err)
	}
	for _, g := range []struct {
		workload   string
		goroutines int
		op         func(*worker) error
	}{{getHit1, 1, hit}, {getHit16, 16, hit}, {getMiss1, 1, miss}, {getMiss16, 16, miss}} {
		if err := t.timed(g.workload, g.goroutines, g.op); err != nil {
			return err
		}
	}
	return t.besideWriter(hit)
}

func (t *turn) get(w *worker, i uint64) error {
	w.key = rows.Key(w.key[:0], i)
	value, err := t.store.Get(w.key, w.buf[:0])
	if err != nil {
		return fmt.Errorf("get of %q: %w", w.key, err)
	}
	if !rows.Check(value, i) {
		return fmt.Errorf("get of %q: value is %q", w.key, value)
	}
	w.buf = value
	return nil
}

func (t *turn) put(w *worker) error {
	i := w.rng.Uint64N(t.Rows)
	w.key, w.buf = rows.Key(w.key[:0], i), rows.Value(w.buf[:0], i)
	return t.store.Put(w.key, w.buf)
}

// puts writes single rows, each time into a new store.
func (t *turn) puts() error {
	for _, p := range []struct {
		workload   string
		goroutines int
		synced     bool
	}{{put1, 1, false}, {put16, 16, false}, {putSynced, 64, true}} {
		dir := fmt.Sprintf("put-%d", p.goroutines)
		if err := t.open(dir, p.synced); err != nil {
			return err
		}
		if err := t.timed(p.workload, p.goroutines, t.put); err != nil {
			return err
		}
		if err := t.close(); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(t.Dir, dir)); err != nil {
			return err
		}
	}
	return nil
}

// worker is what one goroutine needs for its operations.
type worker struct {
	rng             *rand.Rand
	key, upper, buf []byte
	times           histogram
	err             error
}

func newWorker(n int) *worker { return &worker{rng: rand.New(rand.NewPCG(uint64(n), 1))} }
