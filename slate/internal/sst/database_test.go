package sst

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
)

// expected is what the engine that wrote a database read back from it.
type expected struct {
	Live []struct {
		K, V     []byte
		Seq      uint64
		CreateTS int64  `json:"create_ts"`
		ExpireTS *int64 `json:"expire_ts"`
	}
	Merge    string `json:"merge_operator"`
	WALStore string `json:"wal_store"`
}

// What a database holds, put together in the plainest way from its newest
// manifest, the SSTs that it names and the WAL after it, is what SlateDB read.
func TestDatabases(t *testing.T) {
	dirs, err := filepath.Glob(fixtures + "/*/expected.json")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no fixtures", err)
	}
	total := 0
	for _, path := range dirs {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var want expected
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			got := live(t, allRows(t, dir, want.WALStore))
			if len(got) != len(want.Live) {
				t.Fatalf("%d rows, want %d", len(got), len(want.Live))
			}
			for i, w := range want.Live {
				g := got[i]
				if !bytes.Equal(g.Key, w.K) || !bytes.Equal(g.Value, w.V) || g.Seq != w.Seq || g.CreateTS != w.CreateTS ||
					g.HasExpire != (w.ExpireTS != nil) || g.HasExpire && g.ExpireTS != *w.ExpireTS {
					t.Errorf("row %d is %.40q seq %d, want %.40q seq %d", i, g.Key, g.Seq, w.K, w.Seq)
				}
			}
			total += len(got)
		})
	}
	t.Logf("%d databases, %d rows", len(dirs), total)
}

// allRows returns every row of a database, in no order.
func allRows(t *testing.T, dir, walStore string) []format.Row {
	t.Helper()
	b := bucket.NewInMemBucket()
	load := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
		return data
	}
	names, err := filepath.Glob(dir + "/db/manifest/*.manifest")
	if err != nil || len(names) == 0 {
		t.Fatal("no manifest", err)
	}
	m, err := format.DecodeManifest(load("db/manifest/" + filepath.Base(names[len(names)-1])))
	if err != nil {
		t.Fatal(err)
	}
	ssts := m.L0
	for _, r := range m.Runs {
		ssts = append(ssts, r.SSTs...)
	}
	var rows []format.Row
	store := NewStore(b, NewCache(1<<20), StoreOptions{})
	for _, s := range ssts {
		name := "db/compacted/" + s.ID.String() + ".sst"
		load(name)
		info, version, err := ReadInfo(t.Context(), b, name)
		if err != nil || version != s.Version || fmt.Sprintf("%+v", info) != fmt.Sprintf("%+v", s.Info) {
			t.Errorf("%s: %v: info %+v of version %d, manifest says %+v of version %d", name, err, info, version, s.Info, s.Version)
		}
		table := store.Open(name, s)
		part := drain(t, table.Iter(IterOptions{}))
		for i := range part {
			var r format.Row
			if found, err := table.Get(t.Context(), lookup(part[i].Key, part[i].Seq), &r); !found || err != nil || !same(r, part[i]) {
				t.Fatalf("%s: get %.40q at %d: %v %v", name, part[i].Key, part[i].Seq, found, err)
			}
		}
		rows = append(rows, part...)
	}
	for id := m.ReplayAfterWAL + 1; ; id++ {
		data, err := os.ReadFile(filepath.Join(dir, walStore, "db/wal", fmt.Sprintf("%020d.sst", id)))
		if os.IsNotExist(err) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		part, err := ReadWAL(data, nil)
		if err != nil {
			t.Fatalf("WAL %d: %v", id, err)
		}
		if has, err := HasRows(data); err != nil || has != (len(part) > 0) {
			t.Fatalf("WAL %d of %d rows has rows: %v, %v", id, len(part), has, err)
		}
		for _, r := range part {
			if r.Seq > m.LastL0Seq {
				rows = append(rows, r)
			}
		}
	}
}

// live returns the newest value of every key, operands appended to what is
// older, as the merge operator of the fixtures does.
func live(t *testing.T, rows []format.Row) []format.Row {
	t.Helper()
	sort.SliceStable(rows, func(i, j int) bool {
		if c := bytes.Compare(rows[i].Key, rows[j].Key); c != 0 {
			return c < 0
		}
		return rows[i].Seq > rows[j].Seq
	})
	var out []format.Row
	for i := 0; i < len(rows); {
		r, j := rows[i], i
		for ; j < len(rows) && bytes.Equal(rows[j].Key, r.Key); j++ {
		}
		versions := rows[i:j]
		i = j
		if r.Kind == format.Tombstone {
			continue
		}
		var value []byte
		for k := range versions {
			v := &versions[k]
			if v.Kind != format.Tombstone {
				value = append(bytes.Clone(v.Value), value...)
				r.CreateTS = max(r.CreateTS, v.CreateTS)
			}
			if v.Kind != format.Merge {
				break
			}
		}
		r.Value = value
		out = append(out, r)
	}
	return out
}
