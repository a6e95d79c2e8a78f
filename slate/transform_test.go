package slate_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func cipherOf(key byte) slate.BlockTransformer {
	c, err := newEncrypted(bytes.Repeat([]byte{key}, 32), rand.Reader)
	if err != nil {
		panic(err)
	}
	return c
}

// inverted keeps every length and cannot tell what it did not make.
type inverted struct{}

func (inverted) Encode(block []byte) ([]byte, error) {
	out := make([]byte, len(block))
	for i, c := range block {
		out[i] = ^c
	}
	return out, nil
}

func (t inverted) Decode(block []byte) ([]byte, error) { return t.Encode(block) }

// doubled makes blocks twice as long.
type doubled struct{}

func (doubled) Encode(block []byte) ([]byte, error) { return hex.AppendEncode(nil, block), nil }
func (doubled) Decode(block []byte) ([]byte, error) { return hex.AppendDecode(nil, block) }

// halves makes most blocks shorter: it stores zeros as their number. It returns
// parts of its argument where it can.
type halves struct{}

func (halves) Encode(block []byte) ([]byte, error) {
	rest := bytes.TrimRight(block, "\x00")
	if len(block)-len(rest) < 4 {
		return append(block[:len(block):len(block)], 0, 0, 0, 0), nil
	}
	return binary.BigEndian.AppendUint32(rest[:len(rest):len(rest)], uint32(len(block)-len(rest))), nil
}

func (halves) Decode(block []byte) ([]byte, error) {
	n := len(block) - 4
	if n < 0 {
		return nil, errors.New("too short")
	}
	zeros := binary.BigEndian.Uint32(block[n:])
	if zeros == 0 {
		return block[:n], nil
	}
	return append(block[:n:n], make([]byte, zeros)...), nil
}

var transformers = map[string]slate.BlockTransformer{
	"encrypted": cipherOf(1), "inverted": inverted{}, "doubled": doubled{}, "trimmed": halves{},
}

func withTransformer(t slate.BlockTransformer) slate.ReaderOptions {
	return slate.ReaderOptions{BlockTransformer: t, MergeOperator: slate.Concat}
}

// secret is a value that is found in no object by chance. Its zeros make blocks
// that transformers can shorten.
func secret(i int) string { return fmt.Sprintf("secret %d %s", i, strings.Repeat("\x00", i%90)) }

// transformed makes a database with rows in a run, in L0 and in the log, whose
// writer ended without a flush.
func transformed(t testing.TB, opts slate.Options) (bucket.Bucket, model) {
	t.Helper()
	b, m := bucket.NewInMemBucket(), model{}
	opts.CompactL0, opts.MinFilterKeys, opts.BlockBytes, opts.MaxSSTBytes = -1, 1, 1<<10, 4<<10
	opts.ReaderGrace = -1
	db := open(t, b, opts)
	write := func(from, to int) {
		var batch slate.Batch
		for i := from; i < to; i++ {
			m[string(key(i))] = secret(i)
			batch.Put(key(i), []byte(secret(i)))
		}
		if _, err := db.Write(t.Context(), &batch, slate.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		write(100*i, 100*i+150)
	}
	must(t, db.Compact(t.Context()))
	for i := range 2 {
		write(50*i, 50*i+80)
		must(t, db.FlushMemtable(t.Context()))
	}
	write(320, 370)
	must(t, db.CloseWith(slate.CloseAtOnce))
	return b, m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func contents(t testing.TB, b bucket.Bucket) objects {
	t.Helper()
	all := objects{}
	for o, err := range b.List(context.Background(), "", "") {
		must(t, err)
		data, err := b.Get(context.Background(), o.Key)
		must(t, err)
		all[o.Key] = data
	}
	return all
}

// Whatever a transformer makes of the blocks, in every codec: what is read is
// what was written, from the log, L0 and runs, by readers, by the next writers,
// by tools, and after compactions, also of a compactor elsewhere; and no value
// can be read in the bucket.
func TestTransformedDatabases(t *testing.T) {
	for name, transformer := range transformers {
		for _, codec := range []slate.Codec{slate.NoCompression, slate.Snappy, slate.Zlib, slate.LZ4, slate.Zstd} {
			if testing.Short() && codec != slate.NoCompression && codec != slate.Zstd {
				continue
			}
			t.Run(fmt.Sprint(name, ", ", codec), func(t *testing.T) {
				ctx := t.Context()
				opts := slate.Options{BlockTransformer: transformer, Compression: codec}
				b, m := transformed(t, opts)
				hidden := func(when string) {
					for k, data := range contents(t, b) {
						if name != "trimmed" && bytes.Contains(data, []byte("secret")) {
							t.Errorf("%s: %s shows values", when, k)
						}
					}
				}
				hidden("written")
				everything(t, "a reader", reader(t, b, withTransformer(transformer)), m)
				everything(t, "a reader without a cache", reader(t, b, slate.ReaderOptions{BlockTransformer: transformer, CacheBytes: -1}), m)
				toolsRead(t, b, transformer, m)

				db := open(t, b, opts)
				everything(t, "the next writer", db, m)
				must(t, db.Compact(ctx))
				everything(t, "compacted", db, m)
				must(t, db.Close())
				hidden("compacted")
				collect(t, b, slate.GCOptions{MinAge: -1, BlockTransformer: transformer})
				opts.CompactL0 = -1
				db = open(t, b, opts)
				everything(t, "collected and reopened", db, m)
				for i := range 4 {
					m[string(key(i))] = secret(i + 1)
					put(t, db, string(key(i)), secret(i+1))
					must(t, db.FlushMemtable(ctx))
				}
				must(t, db.Close())
				var seen events
				opts.CompactL0, opts.Compaction.Each = 4, seen.each
				if !compactOnce(t, b, opts) {
					t.Errorf("a compactor elsewhere: %v", seen.states())
				}
				hidden("compacted elsewhere")
				everything(t, "compacted elsewhere", reader(t, b, withTransformer(transformer)), m)
				toolsRead(t, b, transformer, m)
			})
		}
	}
}

// toolsRead reads every object of the log and tree as tools do, and compares
// the newest versions with the model.
func toolsRead(t *testing.T, b bucket.Bucket, transformer slate.BlockTransformer, m model) {
	t.Helper()
	newest, seqs := model{}, map[string]uint64{}
	add := func(r slate.RowInfo) error {
		if k := string(r.Key); r.Seq >= seqs[k] {
			newest[k], seqs[k] = string(r.Value), r.Seq
		}
		return nil
	}
	must(t, eachObject(b, slate.InspectOptions{BlockTransformer: transformer}, add))
	if !maps.Equal(newest, m) {
		t.Errorf("tools see %d keys, want %d", len(newest), len(m))
	}
	s, err := slate.ReadShape(t.Context(), "db", b, slate.ShapeOptions{BlockTransformer: transformer})
	must(t, err)
	if s.Total.Uncounted > 0 || s.Total.Rows.Values == 0 {
		t.Errorf("the shape counts %+v", s.Total)
	}
}

// eachObject gives the rows of all SSTs and log objects to each.
func eachObject(b bucket.Bucket, opts slate.InspectOptions, each func(slate.RowInfo) error) error {
	ctx := context.Background()
	m, err := slate.ReadManifest(ctx, "db", b, 0)
	if err != nil {
		return err
	}
	ssts := m.L0
	for _, r := range m.Runs {
		ssts = append(ssts, r.SSTs...)
	}
	for _, s := range ssts {
		if _, err := slate.ReadSST(ctx, "db", b, s.ID, opts, each); err != nil {
			return err
		}
	}
	ids, err := slate.WALObjects(ctx, "db", b)
	if err != nil {
		return err
	}
	for _, id := range ids {
		rows, err := slate.ReadWAL(ctx, "db", b, id, opts)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// suspects reports whether err names an object and says that the transformer
// may be the reason.
func suspects(err error) bool {
	object := ""
	if c, ok := errors.AsType[*slate.CorruptError](err); ok {
		object = c.Object
	}
	if c, ok := errors.AsType[*slate.TransformError](err); ok {
		object = c.Object
	}
	return object != "" && strings.Contains(err.Error(), object) && strings.Contains(err.Error(), "block transformer") &&
		(errors.Is(err, slate.ErrCorrupt) != errors.Is(err, slate.ErrTransform))
}

// A database that is opened without its transformer, with one where there is
// none, or with another, is refused: by a writer before anything is written,
// whatever there is to see it by. Readers and tools get errors and no answers,
// and compactors change nothing.
func TestWrongTransformer(t *testing.T) {
	states := map[string]func(t *testing.T, opts slate.Options) bucket.Bucket{
		"run, L0, log": func(t *testing.T, opts slate.Options) bucket.Bucket {
			b, _ := transformed(t, opts)
			return b
		},
		"a log": func(t *testing.T, opts slate.Options) bucket.Bucket {
			b := bucket.NewInMemBucket()
			db := open(t, b, opts)
			put(t, db, "k", secret(1))
			must(t, db.CloseWith(slate.CloseAtOnce))
			return b
		},
		"a fence": func(t *testing.T, opts slate.Options) bucket.Bucket {
			b := bucket.NewInMemBucket()
			must(t, open(t, b, opts).CloseWith(slate.CloseAtOnce))
			return b
		},
		"nothing to replay": func(t *testing.T, opts slate.Options) bucket.Bucket {
			b := bucket.NewInMemBucket()
			opts.MinFilterKeys = 1
			db := open(t, b, opts)
			put(t, db, "k", secret(1))
			must(t, db.Close())
			return b
		},
	}
	wrong := []struct{ was, is slate.BlockTransformer }{
		{cipherOf(1), nil}, {cipherOf(1), cipherOf(2)}, {cipherOf(1), inverted{}}, {inverted{}, nil}, {inverted{}, doubled{}},
		{nil, cipherOf(1)}, {nil, inverted{}}, {doubled{}, nil},
	}
	for state, make := range states {
		for _, w := range wrong {
			for _, codec := range []slate.Codec{slate.NoCompression, slate.Zstd} {
				t.Run(fmt.Sprintf("%s, %T instead of %T, %s", state, w.is, w.was, codec), func(t *testing.T) {
					b := make(t, slate.Options{BlockTransformer: w.was, Compression: codec})
					before := contents(t, b)
					err := openErr(b, slate.Options{BlockTransformer: w.is, Compression: codec})
					if !suspects(err) {
						t.Errorf("a writer: %v", err)
					}
					if !maps.EqualFunc(contents(t, b), before, bytes.Equal) {
						t.Error("a writer changed something")
					}
					r, err := slate.OpenReader(t.Context(), "db", b, withTransformer(w.is))
					if state == "nothing to replay" {
						must(t, err)
						for range 2 { // what the first has cached must not answer the second
							if v, err := r.Get(t.Context(), []byte("k")); !suspects(err) {
								t.Errorf("get: %q, %v", v, err)
							}
							for kv, err := range r.Scan(t.Context(), slate.Range{}) {
								if !suspects(err) {
									t.Errorf("scan: %q, %v", kv.Key, err)
								}
							}
						}
					} else if !suspects(err) {
						t.Errorf("a reader: %v", err)
					}
					if err := eachObject(b, slate.InspectOptions{BlockTransformer: w.is}, func(slate.RowInfo) error { return nil }); !suspects(err) {
						t.Errorf("a tool: %v", err)
					}
					if state != "run, L0, log" {
						return
					}
					if _, err := slate.ReadShape(t.Context(), "db", b, slate.ShapeOptions{BlockTransformer: w.is}); !suspects(err) {
						t.Errorf("the shape: %v", err)
					}
					var seen events
					opts := slate.Options{BlockTransformer: w.is, Compression: codec}
					opts.Compaction.Each, opts.Compaction.Scheduler = seen.each, slate.SizeTiered{MinL0: 1}
					if compactOnce(t, b, opts) || seen.states()["failed"] == 0 {
						t.Errorf("a compactor: %v", seen.states())
					}
					after := contents(t, b)
					if len(after.in("compacted")) != len(before.in("compacted")) {
						t.Errorf("a compactor left %d SSTs, there were %d", len(after.in("compacted")), len(before.in("compacted")))
					}
				})
			}
		}
	}
}

// A collector needs no transformer to tell fences from rows, and to leave what
// is needed.
func TestCollectionWithoutTransformer(t *testing.T) {
	opts := slate.Options{BlockTransformer: cipherOf(1)}
	b, m := transformed(t, opts)
	for range 2 {
		db := open(t, b, opts)
		must(t, db.Compact(t.Context()))
		must(t, db.Close())
	}
	twin := contents(t, b).bucket(t)
	report := collect(t, b, slate.GCOptions{MinAge: -1})
	if report.WAL.Deleted.Objects == 0 || report.SSTs.Deleted.Objects == 0 || report.WAL.KeptFor["it has no rows: it fences older writers"].Objects == 0 {
		t.Errorf("collected %+v", report)
	}
	if with := collect(t, twin, slate.GCOptions{MinAge: -1, BlockTransformer: cipherOf(1)}); fmt.Sprint(with) != fmt.Sprint(report) {
		t.Errorf("without transformer %+v, with it %+v", report, with)
	}
	everything(t, "collected", open(t, b, opts), m)
}

// moody is a transformer that fails on request.
type moody struct {
	slate.BlockTransformer
	encode, decode atomic.Pointer[error]
}

func (m *moody) Encode(block []byte) ([]byte, error) {
	if err := m.encode.Load(); err != nil {
		return nil, *err
	}
	return m.BlockTransformer.Encode(block)
}

func (m *moody) Decode(block []byte) ([]byte, error) {
	if err := m.decode.Load(); err != nil {
		return nil, *err
	}
	return m.BlockTransformer.Decode(block)
}

// What a transformer says reaches the caller and means nothing to the engine,
// whatever it matches. A read that failed by it can be repeated; a writer that
// cannot flush ends.
func TestTransformerThatFails(t *testing.T) {
	for _, cause := range []error{errors.New("no key"), bucket.ErrNotFound, bucket.ErrExists, slate.ErrCorrupt, slate.ErrFenced} {
		tr := &moody{BlockTransformer: cipherOf(1)}
		b, m := transformed(t, slate.Options{BlockTransformer: tr})
		said := func(what string, err error) {
			t.Helper()
			got, ok := errors.AsType[*slate.TransformError](err)
			if !ok || !errors.Is(err, slate.ErrTransform) || errors.Is(err, cause) || !errors.Is(got.Err, cause) {
				t.Errorf("%s: %v", what, err)
			}
		}
		r := reader(t, b, withTransformer(tr))
		db := open(t, b, slate.Options{BlockTransformer: tr})
		tr.decode.Store(&cause)
		_, err := r.Get(t.Context(), key(7))
		said("get", err)
		for _, err := range r.Scan(t.Context(), slate.Range{}) {
			if err != nil {
				said("scan", err)
			}
		}
		said("open", openErr(b, slate.Options{BlockTransformer: tr}))
		said("open a reader", openReaderErr(b, withTransformer(tr)))
		tr.decode.Store(nil)
		everything(t, "the reader, again", r, m)
		everything(t, "the writer, that nobody has fenced", db, m)
		tr.encode.Store(&cause)
		said("put", db.Put(t.Context(), []byte("k"), nil))
		said("open", openErr(b, slate.Options{BlockTransformer: tr}))
		tr.encode.Store(nil)
		everything(t, "reopened", open(t, b, slate.Options{BlockTransformer: tr}), m)
	}
}

// Damage is ErrCorrupt, for the checksum tells it before the transformer; what
// a hand has changed, checksum and all, is the transformer's to tell.
func TestDamageUnderATransformer(t *testing.T) {
	tr := cipherOf(1)
	b, _ := transformed(t, slate.Options{BlockTransformer: tr})
	opts := slate.InspectOptions{BlockTransformer: tr}
	inspect := func(b bucket.Bucket, k string) error {
		name, _, _ := strings.Cut(path.Base(k), ".")
		if id, err := strconv.ParseUint(name, 10, 64); err == nil {
			_, err := slate.ReadWAL(t.Context(), "db", b, id, opts)
			return err
		}
		_, err := slate.ReadSST(t.Context(), "db", b, name, opts, func(slate.RowInfo) error { return nil })
		return err
	}
	all := contents(t, b)
	for _, k := range append(all.in("compacted"), all.in("wal")...) {
		must(t, inspect(b, k))
		data := all[k]
		for i := 0; i < len(data)-10; i += stride() * 7 {
			err := inspect(all.with(k, flipped(data, i, i%8)).bucket(t), k)
			if c, ok := errors.AsType[*slate.CorruptError](err); !ok || c.Object != k || errors.Is(err, slate.ErrTransform) {
				t.Fatalf("%s: byte %d: %v", k, i, err)
			}
		}
	}
	small := bucket.NewInMemBucket()
	db := open(t, small, slate.Options{BlockTransformer: tr})
	put(t, db, "k", "v")
	must(t, db.Close())
	m, err := slate.ReadManifest(t.Context(), "db", small, 0)
	must(t, err)
	all = contents(t, small)
	k := all.in("compacted")[0]
	forged := flipped(all[k], 20, 0)
	end := m.L0[0].DataBytes - 4
	binary.BigEndian.PutUint32(forged[end:], crc32.ChecksumIEEE(forged[:end]))
	err = inspect(all.with(k, forged).bucket(t), k)
	if c, ok := errors.AsType[*slate.TransformError](err); !ok || c.Object != k || c.Offset != 0 {
		t.Errorf("forged: %v", err)
	}
}
