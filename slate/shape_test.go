package slate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

func shape(t testing.TB, b bucket.Bucket) *slate.Shape {
	t.Helper()
	s, err := slate.ReadShape(context.Background(), "db", b, slate.ShapeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A database is looked at in every state that it goes through; looking changes
// nothing.
func TestReadShape(t *testing.T) {
	b := bucket.NewInMemBucket()
	if _, err := slate.ReadShape(t.Context(), "db", b, slate.ShapeOptions{}); !errors.Is(err, slate.ErrNoDatabase) {
		t.Fatalf("without a database: %v", err)
	}
	db := open(t, b, slate.Options{CompactL0: -1, GCMinAge: -1})
	put(t, db, "a", "1")
	put(t, db, "m", "2")
	s := shape(t, b)
	if len(s.Levels) != 1 || s.Levels[0].SSTs != 0 || s.Objects.Log.Objects != 3 || s.Objects.Log.Bytes == 0 { // two puts and a fence
		t.Errorf("before the first flush: %+v", s)
	}
	flush := func() {
		t.Helper()
		mustFlush(t, db)
	}
	flush()
	if err := db.Delete(t.Context(), []byte("m")); err != nil {
		t.Fatal(err)
	}
	put(t, db, "z", "3")
	flush()
	s = shape(t, b)
	if want := (slate.RowCounts{Values: 3, Tombstones: 1, KeyBytes: 4, ValueBytes: 3}); s.Total.Rows != want || s.Total.SSTs != 2 {
		t.Errorf("two SSTs in L0: %+v", s.Total)
	}
	if a := s.Amplification; a.Get != 2 || a.Scan != 2 || a.Space != 0 || s.Objects.Log.Objects != 0 || s.Objects.OldLog.Objects != 5 {
		t.Errorf("two SSTs in L0: %+v, %+v", a, s.Objects)
	}
	mustCompact(t, db)
	before := keys(t, b)
	s = shape(t, b)
	if a := s.Amplification; a.Get != 1 || a.Scan != 1 || a.Space != 1 || a.Bucket <= 1 || len(s.Checkpoints) != 1 || s.Objects.Pinned.Objects != 2 {
		t.Errorf("one run: %+v, %+v", a, s.Objects)
	}
	run := s.Levels[1]
	if run.Run == nil || string(run.FirstKey) != "a" || string(run.LastKey) != "z" || run.Rows.All() != 2 || len(run.Tables) != 1 || run.Tables[0].Rows.Values != 2 {
		t.Errorf("the run: %+v", run)
	}
	mustClose(t, db)
	if all, listed := s.Objects.All(), count(t, b, "db/compacted/")+count(t, b, "db/wal/"); all.Objects != listed {
		t.Errorf("%d objects of %d", all.Objects, listed)
	}
	if after := keys(t, b); !slices.Equal(before, after) {
		t.Errorf("the objects were\n%v\nand are\n%v", before, after)
	}
}

// SSTs that no manifest names are counted as what collection may take.
func TestShapeFindsGarbage(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{ReaderGrace: -1, GCMinAge: -1})
	for i := range 3 {
		put(t, db, fmt.Sprint(i), "v")
		mustCompact(t, db)
	}
	mustClose(t, db)
	s := shape(t, b)
	report := collect(t, b, slate.GCOptions{MinAge: -1, DryRun: true})
	kept := 0 // the newest L0 that was compacted
	for reason, sum := range report.SSTs.KeptFor {
		if reason != "an active manifest names it" {
			kept += sum.Objects
		}
	}
	if got, want := s.Objects.Unnamed.Objects, report.SSTs.Deleted.Objects+kept; got != want || got == 0 {
		t.Errorf("%d SSTs without a manifest, collection finds %d", got, want)
	}
}

// Every database that SlateDB wrote has a shape: its rows are those that the
// SSTs hold.
func TestShapesOfSlateDBsDatabases(t *testing.T) {
	dirs, err := os.ReadDir(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		name := dir.Name()
		if !dir.IsDir() || name == "annotated" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b, _ := load(t, name)
			s, err := slate.ReadShape(t.Context(), "db", b, slate.ShapeOptions{})
			if name == "separate-wal-store" {
				if !errors.Is(err, slate.ErrInvalid) {
					t.Errorf("without its log: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var rows slate.RowCounts
			for _, l := range s.Levels {
				for _, sst := range l.Tables {
					_, err := slate.ReadSST(t.Context(), "db", b, sst.ID, slate.InspectOptions{}, func(r slate.RowInfo) error {
						switch r.Kind {
						case "tombstone":
							rows.Tombstones++
						case "merge":
							rows.Operands++
						default:
							rows.Values++
						}
						rows.KeyBytes += uint64(len(r.Key))
						rows.ValueBytes += uint64(len(r.Value))
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if s.Total.Uncounted > 0 || s.Total.Rows != rows {
				t.Errorf("rows are %+v, and said to be %+v", rows, s.Total)
			}
		})
	}
}

// An SST that is missing although the latest manifest names it is damage.
func TestShapeOfADamagedDatabase(t *testing.T) {
	b := bucket.NewInMemBucket()
	db := open(t, b, slate.Options{})
	put(t, db, "a", "1")
	mustClose(t, db)
	id := shape(t, b).Levels[0].Tables[0].ID
	if err := b.Delete(t.Context(), "db/compacted/"+id+".sst"); err != nil {
		t.Fatal(err)
	}
	if _, err := slate.ReadShape(t.Context(), "db", b, slate.ShapeOptions{}); !errors.Is(err, slate.ErrCorrupt) {
		t.Errorf("with an SST missing: %v", err)
	}
}

func ExampleReadShape() {
	ctx := context.Background()
	b := bucket.NewInMemBucket()
	db, err := slate.Open(ctx, "shop", b, slate.Options{CompactL0: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	for _, price := range []string{"3", "4", "5"} {
		_ = db.Put(ctx, []byte("apple"), []byte(price))
		_ = db.FlushMemtable(ctx)
	}
	show := func() {
		s, err := slate.ReadShape(ctx, "shop", b, slate.ShapeOptions{})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, l := range s.Levels {
			if l.Run == nil {
				fmt.Printf("L0: %d SSTs, %d rows\n", l.SSTs, l.Rows.All())
			} else {
				fmt.Printf("run %d: %d SSTs, %d rows\n", *l.Run, l.SSTs, l.Rows.All())
			}
		}
		fmt.Println("a get looks into", s.Amplification.Get)
	}
	show()
	_ = db.Compact(ctx)
	show()
	// Output:
	// L0: 3 SSTs, 3 rows
	// a get looks into 3
	// L0: 0 SSTs, 0 rows
	// run 0: 1 SSTs, 1 rows
	// a get looks into 1
}
