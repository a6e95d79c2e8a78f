package slate_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/internal/testkit"
	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// objects is what a bucket holds, by key.
type objects map[string][]byte

func (o objects) bucket(t testing.TB) bucket.Bucket {
	t.Helper()
	b := bucket.NewInMemBucket()
	for k, data := range o {
		if err := b.Put(context.Background(), k, data); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// with returns the objects with one of them changed, gone if data is nil.
func (o objects) with(key string, data []byte) objects {
	out := maps.Clone(o)
	if out[key] = data; data == nil {
		delete(out, key)
	}
	return out
}

func (o objects) in(dir string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(o)), func(k string) bool { return !strings.HasPrefix(k, "db/"+dir+"/") })
}

// latest is the key of the newest object in a folder.
func (o objects) latest(dir string) string {
	all := o.in(dir)
	return all[len(all)-1]
}

// smallDatabase is a database with a bit of everything: L0s and a run of several
// SSTs, a log with rows, compactions files, a checkpoint; puts, deletes, merges
// and rows that expire. It is the same every time.
func smallDatabase(t *testing.T, codec slate.Codec) objects {
	makeZstdCodecs()
	all := objects{}
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := bucket.NewInMemBucket()
		opts := damageOptions
		opts.Compression, opts.Random = codec, &seeded{r: rand.NewChaCha8([32]byte{1})}
		db := open(t, b, opts)
		write := func(from, to int) {
			for i := from; i < to; i++ {
				var batch slate.Batch
				k := fmt.Appendf(nil, "key%02d", i)
				switch i % 5 {
				case 0:
					batch.PutExpiring(k, []byte("short"), slate.ExpireAt(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))
				case 1:
					batch.Merge(k, []byte("operand"))
				case 2:
					batch.Delete(fmt.Appendf(nil, "key%02d", i-1))
				}
				batch.Put(fmt.Appendf(nil, "other%02d", i), bytes.Repeat([]byte{byte('a' + i%26)}, 20))
				if _, err := db.Write(ctx, &batch, slate.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		write(0, 20)
		must(db.Compact(ctx))
		time.Sleep(2 * time.Minute) // a second entry in the sequence tracker
		write(18, 24)
		must(db.FlushMemtable(ctx))
		write(22, 26)
		must(db.FlushMemtable(ctx))
		write(25, 28)
		for o, err := range b.List(ctx, "", "") {
			must(err)
			data, err := b.Get(ctx, o.Key)
			must(err)
			all[o.Key] = data
		}
		must(db.Close())
	})
	return all
}

var damageOptions = slate.Options{
	MergeOperator: slate.Concat, CompactL0: -1, GCMinAge: -1, CacheBytes: -1,
	MinFilterKeys: 1, BlockBytes: 1 << 10, MaxSSTBytes: 600, ReaderGrace: 1000 * time.Hour,
	Compaction: slate.CompactionOptions{Workers: 1, MaxJobs: 1}, // whatever the machine
}

// read answers what a reader sees, by all ways of reading.
func read(b bucket.Bucket) (string, error) {
	ctx := context.Background()
	r, err := slate.OpenReader(ctx, "db", b, slate.ReaderOptions{MergeOperator: slate.Concat, CacheBytes: -1})
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	var out strings.Builder
	for _, rng := range []slate.Range{{}, {Reverse: true}} {
		for kv, err := range r.Scan(ctx, rng) {
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%s=%s\n", kv.Key, kv.Value)
		}
	}
	for i := range 30 {
		for _, name := range []string{"key", "other"} {
			v, err := r.Get(ctx, fmt.Appendf(nil, "%s%02d", name, i))
			if err != nil && !errors.Is(err, slate.ErrNotFound) {
				return "", err
			}
			fmt.Fprintf(&out, "%s%02d: %s\n", name, i, v)
		}
	}
	return out.String(), nil
}

// rewrite opens the database, adds a row, compacts all there is, and answers what
// is there.
func rewrite(b bucket.Bucket) (string, error) {
	ctx := context.Background()
	db, err := slate.Open(ctx, "db", b, damageOptions)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	if err := errors.Join(db.Put(ctx, []byte("new"), nil), db.Compact(ctx)); err != nil {
		return "", err
	}
	return read(b)
}

// inspect reads one object as tools do.
func inspect(b bucket.Bucket, key string) error {
	ctx := context.Background()
	name, _, _ := strings.Cut(path.Base(key), ".")
	id, _ := strconv.ParseUint(name, 10, 64)
	switch path.Base(path.Dir(key)) {
	case "compacted":
		_, err := slate.ReadSST(ctx, "db", b, name, slate.InspectOptions{}, func(slate.RowInfo) error { return nil })
		return err
	case "wal":
		_, err := slate.ReadWAL(ctx, "db", b, id, slate.InspectOptions{})
		return err
	case "manifest":
		_, err := slate.ReadManifest(ctx, "db", b, id)
		return err
	}
	return nil
}

// told reports whether err tells of damage.
func told(err error) bool {
	return errors.Is(err, slate.ErrCorrupt) || errors.Is(err, slate.ErrNewerFormat)
}

// frugal runs f, which reads a few kilobytes, and fails if it allocates much.
func frugal(t *testing.T, what string, f func()) {
	t.Helper()
	testkit.Frugal(t, 64<<20, what, f)
}

// stride is how many bytes or bits a test goes on at a time: one in
// STELE_DAMAGE=all (make damage), many under the race detector.
func stride() int {
	switch {
	case os.Getenv("STELE_DAMAGE") == "all":
		return 1
	case testing.Short():
		return 61
	}
	return 11
}

// Each byte of each SST and log object is changed in turn. All but the footers
// lie under checksums: whoever reads them gets an error that names the object
// and an offset that is not behind the byte.
func TestFlippedBytesOfSSTsAndLog(t *testing.T) {
	for _, codec := range []slate.Codec{slate.NoCompression, slate.Zstd} {
		all := smallDatabase(t, codec)
		want, err := read(all.bucket(t))
		if err != nil {
			t.Fatal(err)
		}
		harmless := map[string]int{}
		for _, key := range append(all.in("compacted"), all.in("wal")...) {
			data := all[key]
			for i := range data {
				if i%stride() != 0 && i < len(data)-format.FooterLen {
					continue
				}
				what := fmt.Sprintf("%s: byte %d of %d", key, i, len(data))
				b := all.with(key, flipped(data, i, i%8)).bucket(t)
				frugal(t, what, func() {
					seen := inspect(b, key)
					got, err := read(b)
					for _, err := range []error{seen, err} {
						var c *slate.CorruptError
						if err != nil && !errors.Is(err, slate.ErrNewerFormat) && (!errors.As(err, &c) || c.Object != key || c.Offset > int64(i)) {
							t.Errorf("%s: %v", what, err)
						}
					}
					if err == nil && got != want {
						t.Errorf("%s: other answers and no error", what)
					}
					if seen == nil && err == nil {
						if from := len(data) - i; from > 2 {
							t.Errorf("%s: tools do not see it", what)
						}
						harmless[path.Dir(key)+": format version in the footer"]++
					}
				})
			}
		}
		t.Logf("%s: unseen and without effect: %v", codec, harmless)
	}
}

func flipped(data []byte, i, bit int) []byte {
	out := bytes.Clone(data)
	out[i] ^= 1 << bit
	return out
}

// Each bit of the latest manifest and compactions file is changed in turn. They
// have no checksum: what contradicts itself or the bucket is ErrCorrupt. What
// does not is one of the fields in testdata/undetectable.txt, which FORMAT.md
// explains.
func TestFlippedBitsOfManifests(t *testing.T) {
	all := smallDatabase(t, slate.NoCompression)
	want, err := read(all.bucket(t))
	if err != nil {
		t.Fatal(err)
	}
	wantRewritten, err := rewrite(all.bucket(t))
	if err != nil {
		t.Fatal(err)
	}
	unseen := map[string]map[string]bool{} // field: consequences
	seen, total := 0, 0
	for _, dir := range []string{"manifest", "compactions"} {
		key := all.latest(dir)
		for i := range all[key] {
			for bit := range 8 {
				if (i*8+bit)%stride() != 0 {
					continue
				}
				bad := flipped(all[key], i, bit)
				total++
				came := consequence(t, all.with(key, bad), want, wantRewritten)
				if came == "told" {
					seen++
					continue
				}
				for _, f := range changedFields(t, dir, all[key], bad) {
					if unseen[f] == nil {
						unseen[f] = map[string]bool{}
					}
					unseen[f][came] = true
				}
			}
		}
	}
	t.Logf("%d of %d changed bits are told", seen, total)
	held(t, "testdata/undetectable.txt", unseen)
}

// held compares what was found with a file that holds it: lines of a name and
// what came of it. With a stride a part is found only. -rewrite writes the file anew.
func held(t *testing.T, file string, found map[string]map[string]bool) {
	t.Helper()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		lines = append(lines, fmt.Sprintf("%s: %s", name, strings.Join(slices.Sorted(maps.Keys(found[name])), "; ")))
	}
	t.Log("\n" + strings.Join(lines, "\n"))
	if *rewriteGolden && stride() == 1 {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{}
	for l := range strings.Lines(string(data)) {
		name, came, _ := strings.Cut(strings.TrimSuffix(l, "\n"), ": ")
		known[name] = strings.Split(came, "; ")
	}
	for name, came := range found {
		for c := range came {
			if !slices.Contains(known[name], c) {
				t.Errorf("%s has not: %s: %s", file, name, c)
			}
		}
	}
	if stride() > 1 {
		return
	}
	for name, came := range known {
		for _, c := range came {
			if !found[name][c] {
				t.Errorf("%s has, and it is no more so: %s: %s", file, name, c)
			}
		}
	}
}

var rewriteGolden = flag.Bool("rewrite", false, "write golden files anew")

// consequence says what comes of reading and rewriting a damaged database.
func consequence(t *testing.T, damaged objects, want, wantRewritten string) string {
	t.Helper()
	out := ""
	frugal(t, "damaged database", func() {
		got, err := read(damaged.bucket(t))
		rewritten := ""
		if err == nil {
			rewritten, err = rewrite(damaged.bucket(t))
		}
		switch {
		case told(err):
			out = "told"
		case err != nil:
			out = "error: " + lastPart(err)
		case got != want:
			out = "other answers"
		case rewritten != wantRewritten:
			out = "other answers once rewritten"
		default:
			out = "none"
		}
	})
	return out
}

// Objects are missing, cut short, exchanged and copied over one another.
// testdata/mangled.txt holds what comes of each; where that is not "told" and
// not "none", FORMAT.md says why.
func TestMangledObjects(t *testing.T) {
	all := smallDatabase(t, slate.NoCompression)
	b := all.bucket(t)
	want, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	m, err := slate.ReadManifest(t.Context(), "db", b, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, s := range m.L0 {
		named[s.ID] = true
	}
	for _, r := range m.Runs {
		for _, s := range r.SSTs {
			named[s.ID] = true
		}
	}
	wantRewritten, err := rewrite(b)
	if err != nil {
		t.Fatal(err)
	}
	role := func(key string) string {
		name, _, _ := strings.Cut(path.Base(key), ".")
		id, _ := strconv.ParseUint(name, 10, 64)
		dir := path.Base(path.Dir(key))
		switch {
		case dir == "compacted" && !named[name]:
			return "SST that is not named"
		case dir == "compacted":
			return "SST"
		case dir == "wal" && id <= m.ReplayAfterWAL:
			return "log object that is not replayed"
		case key == all.latest("wal"):
			return "last log object"
		case dir == "wal":
			return "log object"
		case key == all.latest(dir):
			return "latest " + dir
		}
		return "older " + dir
	}
	found := map[string]map[string]bool{}
	note := func(what string, damaged objects) {
		if found[what] == nil {
			found[what] = map[string]bool{}
		}
		found[what][consequence(t, damaged, want, wantRewritten)] = true
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		note(role(key)+" missing", all.with(key, nil))
		for n := range all[key] {
			if n%(3*stride()-2) == 0 {
				note(fmt.Sprintf("%s cut to %s", role(key), map[bool]string{true: "nothing", false: "a part"}[n == 0]), all.with(key, all[key][:n]))
			}
		}
	}
	pairs := 0
	for _, dir := range []string{"compacted", "wal", "manifest", "compactions"} {
		keys := all.in(dir)
		for i, key := range keys {
			for _, other := range keys[:i] {
				if pairs++; pairs%(stride()/2+1) != 0 {
					continue
				}
				note(role(key)+" exchanged with "+role(other), all.with(key, all[other]).with(other, all[key]))
				note(role(other)+" copied over "+role(key), all.with(key, all[other]))
				note(role(key)+" copied over "+role(other), all.with(other, all[key]))
			}
			if dir != "compacted" {
				next := strings.Replace(all.latest(dir), path.Base(all.latest(dir)), fmt.Sprintf("%020d%s", len(keys)+1, path.Ext(key)), 1)
				note(role(key)+" copied behind the last", all.with(next, all[key]))
			}
		}
	}
	held(t, "testdata/mangled.txt", found)
}

// lastPart is the last part of an error's text, which has no names in it.
func lastPart(err error) string {
	parts := strings.Split(err.Error(), ": ")
	return parts[len(parts)-1]
}

// changedFields are the fields in which two versions of an object differ.
func changedFields(t *testing.T, dir string, a, b []byte) []string {
	t.Helper()
	var was, is any
	var err, err2 error
	if dir == "manifest" {
		was, err = format.DecodeManifest(a)
		is, err2 = format.DecodeManifest(b)
	} else {
		was, err = format.DecodeCompactions(a)
		is, err2 = format.DecodeCompactions(b)
	}
	if err = errors.Join(err, err2); err != nil {
		t.Fatalf("what can be used cannot be decoded: %v", err)
	}
	fields := map[string]bool{}
	differ(dir, reflect.ValueOf(was), reflect.ValueOf(is), fields)
	if len(fields) == 0 {
		return []string{dir + " (bytes that no field uses)"}
	}
	return slices.Sorted(maps.Keys(fields))
}

// differ adds the paths of the fields in which a and b differ.
func differ(name string, a, b reflect.Value, fields map[string]bool) {
	switch {
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		differ(name, a.Elem(), b.Elem(), fields)
	case a.Kind() == reflect.Struct:
		for i := range a.NumField() {
			differ(name+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i), fields)
		}
	case a.Kind() == reflect.Slice && a.Type().Elem().Kind() == reflect.Struct && a.Len() == b.Len():
		for i := range a.Len() {
			differ(name, a.Index(i), b.Index(i), fields)
		}
	case !reflect.DeepEqual(a.Interface(), b.Interface()):
		fields[name] = true
	}
}
