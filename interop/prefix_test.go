package interop

import (
	"testing"

	"github.com/stele-db/stele/slate"
)

// threeBytes says that the first three bytes of a key are its prefix.
type threeBytes struct{}

func (threeBytes) Name() string    { return "interop.three" }
func (threeBytes) Version() uint32 { return 1 }

func (threeBytes) PrefixLen(key []byte) int {
	if len(key) < 3 {
		return 0
	}
	return 3
}

// Stele's filters hold prefixes and the witnesses that announce them beside
// whole keys: SlateDB finds every key by them, and none that is not there. It
// rewrites them without prefixes, and Stele asks only those for prefixes that
// have them.
func TestPrefixFilters(t *testing.T) {
	n := startSlateDB(t)
	rounds := workload(59, 5)
	o := forms[0].steleOptions()
	o.Prefixes = threeBytes{}
	stele := func(t *testing.T, dir string) *steleWriter {
		db := openOurs(t, dir, o)
		return &steleWriter{ours: ours{db}, dir: dir, db: db}
	}
	read := func(t *testing.T, dir string, m model) {
		t.Helper()
		b, path := open(t, dir)
		r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{MergeOperator: operator, Prefixes: threeBytes{}})
		must(t, err)
		check(t, ours{r}, m)
		checkPrefixes(t, ours{r}, m)
		must(t, r.Close())
		reading(t, n, dir, command{}, func(r engine) { check(t, r, m); checkPrefixes(t, r, m) })
	}
	for half, by := range []string{"Stele", "SlateDB"} {
		t.Run("written by "+by, func(t *testing.T) {
			cell(t, "prefix filters", half, []string{"read, compacted away", "added to databases without"}[half])
			dir, m := newDir(t), model{}
			for i := range 4 { // SSTs with prefixes and without, by turns
				var w writer
				if i%2 == half {
					w = stele(t, dir)
				} else {
					w = newSlateDBWriter(t, n, dir, forms[0])
				}
				put(t, w, m, rounds[i])
				w.flushMemtable(t)
				l0 := manifest(t, dir).L0[0]
				if holds := l0.FilterBytes > filterBytes(t, dir, l0.ID); holds != (i%2 == half) {
					t.Fatalf("turn %d: a filter of %d bytes", i, l0.FilterBytes)
				}
				if i == 3 {
					w.compact(t)
				}
				check(t, w, m)
				checkPrefixes(t, w, m)
				w.close(t)
				read(t, dir, m)
			}
		})
	}
}

// filterBytes is the most that a filter takes that holds the keys of an SST and
// nothing else: probes, bits, checksum, and the frame of a composite one.
func filterBytes(t *testing.T, dir, id string) uint64 {
	t.Helper()
	rows := uint64(0)
	b, path := open(t, dir)
	_, err := slate.ReadSST(t.Context(), path, b, id, slate.InspectOptions{}, func(slate.RowInfo) error { rows++; return nil })
	must(t, err)
	return 2 + (rows*10+7)/8 + 4 + 15
}

// checkPrefixes scans within every fourth prefix of three bytes that m has, and
// some that it has not.
func checkPrefixes(t *testing.T, e engine, m model) {
	t.Helper()
	want := map[string][]string{"zzz": nil, "k9": nil, "k9x": nil, "\x00\x00\x02": nil, "p\x00\x01": nil, long + "9": nil}
	for _, k := range m.sorted() {
		if len(k) >= 3 && k[2]%4 == 0 {
			want[k[:3]] = append(want[k[:3]], k)
		}
	}
	for p, keys := range want {
		equal(t, e, "scan of prefix "+show(p), e.prefix(t, p), m, keys)
	}
}
