package sst

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// counting counts the ranged gets of a bucket, and can hold them up.
type counting struct {
	bucket.Bucket
	gets, bytes atomic.Int64
	hold        func(ctx context.Context) error
}

func (c *counting) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	c.gets.Add(1)
	c.bytes.Add(length)
	if c.hold != nil {
		if err := c.hold(ctx); err != nil {
			return nil, err
		}
	}
	return c.Bucket.GetRange(ctx, key, offset, length)
}

const object = "compacted/01.sst"

// put writes rows as an SST into a new bucket and returns its record.
func put(t testing.TB, rows []format.Row, opts WriterOptions) (*counting, format.SST) {
	t.Helper()
	w := NewWriter(opts)
	for i := range rows {
		if err := w.Add(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	data, info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	b := &counting{Bucket: bucket.NewInMemBucket()}
	if err := b.Put(t.Context(), object, data); err != nil {
		t.Fatal(err)
	}
	id := ulid.MustNew(1, bytes.NewReader(make([]byte, 10)))
	return b, format.SST{ID: id, ViewID: id, Info: info, Version: format.SSTVersion2}
}

// sequence returns n rows of ascending keys.
func sequence(n int) []format.Row {
	rows := make([]format.Row, n)
	for i := range rows {
		rows[i] = format.Row{Key: fmt.Appendf(nil, "key%06d", i), Value: fmt.Appendf(nil, "value %d", i), Seq: uint64(i + 1), HasCreate: true, CreateTS: int64(i)}
	}
	return rows
}

func drain(t testing.TB, it *Iter) []format.Row {
	t.Helper()
	var out []format.Row
	for {
		r, err := it.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			it.Close()
			return out
		}
		c := *r
		c.Key = bytes.Clone(r.Key)
		out = append(out, c)
	}
}

func same(a, b format.Row) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Seq == b.Seq && a.Kind == b.Kind &&
		a.HasCreate == b.HasCreate && a.CreateTS == b.CreateTS && a.HasExpire == b.HasExpire && a.ExpireTS == b.ExpireTS
}

func wantRows(t interface{ Fatalf(string, ...any) }, got, want []format.Row) {
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Fatalf("row %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// genRows draws the rows of an SST: few keys with many versions, in order.
func genRows(t *rapid.T) []format.Row {
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 1, 5)
	rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) format.Row {
		r := format.Row{Key: key.Draw(t, "key"), Seq: rapid.Uint64Range(1, 40).Draw(t, "seq"), Kind: format.Kind(rapid.IntRange(0, 2).Draw(t, "kind"))}
		if r.Kind != format.Tombstone {
			r.Value = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value")
		}
		if r.HasCreate = rapid.Bool().Draw(t, "create"); r.HasCreate {
			r.CreateTS = rapid.Int64().Draw(t, "create_ts")
		}
		if r.HasExpire = rapid.Bool().Draw(t, "expire"); r.HasExpire {
			r.ExpireTS = rapid.Int64().Draw(t, "expire_ts")
		}
		return r
	}), 1, 200).Draw(t, "rows")
	order := func(a, b format.Row) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return -compare(a.Seq, b.Seq)
	}
	slices.SortFunc(rows, order)
	return slices.CompactFunc(rows, func(a, b format.Row) bool { return order(a, b) == 0 })
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Whatever the settings, a table is the sorted list of its rows.
func TestTableIsSortedRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := genRows(rt)
		b, rec := put(t, rows, WriterOptions{
			BlockSize:     rapid.SampledFrom([]int{1, 60, 200, 4096}).Draw(rt, "block size"),
			Codec:         format.Codec(rapid.IntRange(0, 4).Draw(rt, "codec")),
			MinFilterKeys: rapid.SampledFrom([]int{-1, 1, 50}).Draw(rt, "min filter keys"),
		})
		bound := rapid.Custom(func(t *rapid.T) []byte {
			return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 0xff}), 0, 5).Draw(t, "bound")
		})
		visible := func(key []byte) bool { return true }
		if rapid.Bool().Draw(rt, "cut") {
			r := format.KeyRange{
				Start: format.Bound{Kind: format.Included, Key: bound.Draw(rt, "from")},
				End:   format.Bound{Kind: format.BoundKind(rapid.IntRange(1, 2).Draw(rt, "end")), Key: bound.Draw(rt, "to")},
			}
			rec.Visible, visible = &r, r.Contains
		}
		cache := NewCache(rapid.SampledFrom([]int64{0, 2000, 1 << 20}).Draw(rt, "cache"))
		table := NewStore(b, cache, StoreOptions{ReadAhead: rapid.SampledFrom([]int{-1, 0, 300}).Draw(rt, "store read-ahead")}).Open(object, rec)
		for range 4 {
			opts := IterOptions{
				Lower:     bound.Draw(rt, "lower"),
				Reverse:   rapid.Bool().Draw(rt, "reverse"),
				NoFill:    rapid.Bool().Draw(rt, "no fill"),
				ReadAhead: rapid.SampledFrom([]int{-1, 0, 100, 1 << 20}).Draw(rt, "read-ahead"),
			}
			if rapid.Bool().Draw(rt, "bounded") {
				opts.Upper = bound.Draw(rt, "upper")
			}
			var want []format.Row
			for _, r := range rows {
				if bytes.Compare(r.Key, opts.Lower) >= 0 && (opts.Upper == nil || bytes.Compare(r.Key, opts.Upper) < 0) && visible(r.Key) {
					want = append(want, r)
				}
			}
			if opts.Reverse {
				slices.Reverse(want)
			}
			wantRows(rt, drain(t, table.Iter(opts)), want)

			key := rows[rapid.IntRange(0, len(rows)-1).Draw(rt, "row")].Key
			if rapid.Bool().Draw(rt, "absent") {
				key = append(bytes.Clone(key), 'z')
			}
			checkGet(rt, table, rows, key, rapid.Uint64Range(0, 41).Draw(rt, "max seq"), visible)
		}
	})
}

func checkGet(t *rapid.T, table *Table, rows []format.Row, key []byte, maxSeq uint64, visible func([]byte) bool) {
	i := slices.IndexFunc(rows, func(r format.Row) bool { return bytes.Equal(r.Key, key) && r.Seq <= maxSeq && visible(key) })
	var got format.Row
	found, err := table.Get(context.Background(), lookup(key, maxSeq), &got)
	if err != nil {
		t.Fatal(err)
	}
	if found != (i >= 0) || found && !same(got, rows[i]) {
		t.Fatalf("get %q at %d: %v %+v, want row %d of %+v", key, maxSeq, found, got, i, rows)
	}
}

// A cold get costs two requests, a get after it one, a warm get none; an SST
// of a few blocks comes with one.
func TestRequestsOfGet(t *testing.T) {
	rows := sequence(20000)
	b, rec := put(t, rows, WriterOptions{})
	get := func(table *Table, i int) int64 {
		before := b.gets.Load()
		var r format.Row
		found, err := table.Get(t.Context(), lookup(rows[i].Key, math.MaxUint64), &r)
		if err != nil || !found || !same(r, rows[i]) {
			t.Fatalf("get %q: %v %v %+v", rows[i].Key, found, err, r)
		}
		return b.gets.Load() - before
	}
	for _, c := range []struct {
		name  string
		cache *Cache
		want  [3]int64
	}{
		{"cache", NewCache(64 << 20), [3]int64{2, 1, 0}},
		{"no cache", nil, [3]int64{2, 2, 2}},
	} {
		table := NewStore(b, c.cache, StoreOptions{}).Open(object, rec)
		if got := [3]int64{get(table, 10000), get(table, 500), get(table, 500)}; got != c.want {
			t.Errorf("%s: requests %v, want %v", c.name, got, c.want)
		}
	}
	table := NewStore(b, NewCache(64<<20), StoreOptions{}).Open(object, rec)
	for i := range rows {
		if n := get(table, i); i > 0 && n > 1 {
			t.Fatalf("get of row %d took %d requests", i, n)
		}
	}
	b, rec = put(t, rows[:1000], WriterOptions{})
	table = NewStore(b, NewCache(64<<20), StoreOptions{}).Open(object, rec)
	if n := get(table, 10) + get(table, 900); n != 1 {
		t.Errorf("two gets of a small SST took %d requests, want 1", n)
	}
	var r format.Row
	if found, err := table.Get(t.Context(), lookup([]byte("zzz"), math.MaxUint64), &r); found || err != nil || b.gets.Load() != 1 {
		t.Errorf("get of a key beyond the last: %v, %v, %d requests", found, err, b.gets.Load())
	}
}

// A whole scan fetches many blocks a request and leaves the cache alone if
// told so.
func TestRequestsOfScan(t *testing.T) {
	rows := sequence(20000)
	b, rec := put(t, rows, WriterOptions{})
	cache := NewCache(64 << 20)
	table := NewStore(b, cache, StoreOptions{}).Open(object, rec)
	wantRows(t, drain(t, table.Iter(IterOptions{NoFill: true})), rows)
	if n := b.gets.Load(); n > 12 {
		t.Errorf("scan took %d requests for %d bytes", n, b.bytes.Load())
	}
	if n := cache.Bytes(); n > 0 {
		t.Errorf("scan without filling left %d bytes in the cache", n)
	}
	for i, want := range []int64{2, 0} { // the index and all blocks of the range
		before := b.gets.Load()
		wantRows(t, drain(t, table.Iter(IterOptions{Lower: []byte("key010000"), Upper: []byte("key010300")})), rows[10000:10300])
		if n := b.gets.Load() - before; n != want {
			t.Errorf("short bounded scan %d took %d requests, want %d", i, n, want)
		}
	}
	wantRows(t, drain(t, table.Iter(IterOptions{})), rows)
	before := b.gets.Load()
	wantRows(t, drain(t, table.Iter(IterOptions{})), rows)
	if n := b.gets.Load() - before; n != 0 {
		t.Errorf("second scan through the cache took %d requests", n)
	}
}

// A get that finds everything in the cache allocates nothing.
func TestGetAllocatesNothing(t *testing.T) {
	rows := sequence(5000)
	b, rec := put(t, rows, WriterOptions{})
	table := NewStore(b, NewCache(64<<20), StoreOptions{}).Open(object, rec)
	var r format.Row
	ctx, i := t.Context(), 0
	get := func() {
		i = (i + 37) % len(rows)
		if found, err := table.Get(ctx, lookup(rows[i].Key, math.MaxUint64), &r); !found || err != nil {
			t.Fatal(found, err)
		}
	}
	for range rows {
		get()
	}
	if n := testing.AllocsPerRun(2000, get); n >= 1 {
		t.Errorf("%v allocations a get", n)
	}
}

// Callers that miss together make one request together; if the one who makes
// it gives up, another does.
func TestSingleFlight(t *testing.T) {
	rows := sequence(20000)
	b, rec := put(t, rows, WriterOptions{})
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		b.hold = func(ctx context.Context) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		table := NewStore(b, NewCache(64<<20), StoreOptions{}).Open(object, rec)
		first, cancel := context.WithCancel(t.Context())
		results := make(chan error, 16)
		get := func(ctx context.Context) {
			var r format.Row
			_, err := table.Get(ctx, lookup(rows[77].Key, math.MaxUint64), &r)
			results <- err
		}
		go get(first)
		synctest.Wait()
		for range 15 {
			go get(t.Context())
		}
		synctest.Wait()
		if n := b.gets.Load(); n != 1 {
			t.Errorf("%d requests under way, want 1", n)
		}
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled get: %v", err)
		}
		close(gate)
		for range 15 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		// The canceled request, filter and index, and the block.
		if n := b.gets.Load(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
	})
}

// An error is everybody's, a timeout of the bucket's own too: one request fails,
// and not one after the other.
func TestSingleFlightFails(t *testing.T) {
	rows := sequence(20000)
	b, rec := put(t, rows, WriterOptions{})
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		b.hold = func(context.Context) error {
			<-gate
			return fmt.Errorf("the bucket does not answer: %w", context.DeadlineExceeded)
		}
		table := NewStore(b, NewCache(64<<20), StoreOptions{}).Open(object, rec)
		results := make(chan error, 16)
		for range 16 {
			go func() {
				_, err := table.Get(t.Context(), lookup(rows[77].Key, math.MaxUint64), &format.Row{})
				results <- err
			}()
		}
		synctest.Wait()
		close(gate)
		for range 16 {
			if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("get of a bucket that does not answer: %v", err)
			}
		}
		if n := b.gets.Load(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

// Every byte of an SST that a reader sees is under a checksum: changing it is
// an error that names the object, or changes nothing.
func TestFlippedBytes(t *testing.T) {
	rows := sequence(120)
	for codec := format.None; codec <= format.Zstd; codec++ {
		b, rec := put(t, rows, WriterOptions{BlockSize: 512, MinFilterKeys: 1, Codec: codec})
		data, err := b.Get(t.Context(), object)
		if err != nil {
			t.Fatal(err)
		}
		covered := int(rec.Info.IndexOffset + rec.Info.IndexLen)
		for i := range covered {
			data[i] ^= 0x10
			if err := b.Put(t.Context(), object, data); err != nil {
				t.Fatal(err)
			}
			data[i] ^= 0x10
			err := readAll(NewStore(b, nil, StoreOptions{}).Open(object, rec), rows)
			var o *format.ObjectError
			if !errors.As(err, &o) || !errors.Is(err, format.ErrCorrupt) || o.Object != object || o.Offset > int64(i) {
				t.Fatalf("%s: byte %d flipped: %v", codec, i, err)
			}
		}
		for i := range len(data) - covered {
			data[covered+i] ^= 0x10
			if _, err := Parse(data, nil); err == nil {
				if f, _ := Parse(data, nil); f != nil {
					if _, err = f.Stats(); err == nil {
						t.Fatalf("%s: byte %d flipped in the tail: no error", codec, covered+i)
					}
				}
			}
			data[covered+i] ^= 0x10
		}
	}
}

// readAll gets one key and scans the rest.
func readAll(table *Table, rows []format.Row) error {
	var r format.Row
	if _, err := table.Get(context.Background(), lookup(rows[len(rows)/2].Key, math.MaxUint64), &r); err != nil {
		return err
	}
	it := table.Iter(IterOptions{NoFill: true})
	defer it.Close()
	for {
		r, err := it.Next(context.Background())
		if r == nil || err != nil {
			return err
		}
	}
}

func TestTruncatedAndMissing(t *testing.T) {
	rows := sequence(300)
	b, rec := put(t, rows, WriterOptions{BlockSize: 512})
	data, err := b.Get(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < int(rec.Info.IndexOffset+rec.Info.IndexLen); n += 7 {
		if err := b.Put(t.Context(), object, data[:n]); err != nil {
			t.Fatal(err)
		}
		if err := readAll(NewStore(b, NewCache(1<<20), StoreOptions{}).Open(object, rec), rows); !errors.Is(err, format.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		if _, _, err := ReadInfo(t.Context(), b, object); !errors.Is(err, format.ErrCorrupt) && !errors.Is(err, format.ErrNewer) {
			t.Fatalf("info of an object cut to %d bytes: %v", n, err)
		}
	}
	if err := readAll(NewStore(b, nil, StoreOptions{}).Open("missing", rec), rows); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("missing object: %v", err)
	}
	if _, _, err := ReadInfo(t.Context(), b, "missing"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("info of a missing object: %v", err)
	}
}

func TestReadInfo(t *testing.T) {
	rows := sequence(100)
	rows[0].Key = bytes.Repeat([]byte("k"), 3*format.MaxKey) // as SlateDB takes it, with an info longer than the first request
	b, rec := put(t, rows[:1], WriterOptions{})
	info, version, err := ReadInfo(t.Context(), b, object)
	if err != nil || version != 2 || info.Size() != rec.Info.Size() || !bytes.Equal(info.LastKey, rows[0].Key) {
		t.Errorf("%v, version %d, %d bytes, last key of %d", err, version, info.Size(), len(info.LastKey))
	}
}

func TestWriterRefuses(t *testing.T) {
	row := func(key string, seq uint64) format.Row { return format.Row{Key: []byte(key), Seq: seq} }
	for _, c := range []struct {
		name string
		wal  bool
		rows []format.Row
	}{
		{"an empty key", false, []format.Row{row("", 1)}},
		{"a key too long", false, []format.Row{{Key: make([]byte, format.MaxStoredKey+1), Seq: 1}}},
		{"descending keys", false, []format.Row{row("b", 1), row("a", 2)}},
		{"ascending versions", false, []format.Row{row("a", 1), row("a", 2)}},
		{"a version twice", false, []format.Row{row("a", 1), row("a", 1)}},
		{"a tombstone with a value", false, []format.Row{{Key: []byte("a"), Value: []byte("v"), Kind: format.Tombstone}}},
		{"an unknown kind", false, []format.Row{{Key: []byte("a"), Kind: 3}}},
		{"seqs that go back in a WAL", true, []format.Row{row("a", 2), row("b", 1)}},
	} {
		w := NewWriter(WriterOptions{WAL: c.wal})
		var err error
		for i := range c.rows {
			err = w.Add(&c.rows[i])
		}
		if err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if _, _, err := w.Finish(); err == nil {
			t.Errorf("%s: finished", c.name)
		}
	}
}

func lookup(key []byte, maxSeq uint64) *Lookup {
	return &Lookup{Key: key, Hash: format.BloomHash(key), MaxSeq: maxSeq}
}
