package stele_test

import (
	"errors"
	"testing"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv/memkv"
)

// Seat is found by hall, row and number, and no two seats of a hall and row have
// the same number or guest.
type Seat struct {
	ID     string `stele:"key"`
	Hall   string
	Row    string
	Number int64
	Guest  *string
}

var (
	Seats      = stele.NewTable[Seat, string]("seat")
	SeatHall   = stele.FieldOf[string](Seats, "hall")
	SeatRow    = stele.FieldOf[string](Seats, "row")
	SeatNumber = stele.FieldOf[int64](Seats, "number")
	SeatGuest  = stele.FieldOf[string](Seats, "guest")
	SeatPlace  = stele.NewUniqueIndex3("place", SeatHall, SeatRow, SeatNumber)
	SeatOf     = stele.NewUniqueIndex2("seat_of", SeatHall, SeatGuest)
)

// Unique indexes over several fields refuse equal values, except nulls, and find
// rows by any number of their first fields, in their order; a store that is only
// read has them too.
func TestUniqueCompositeIndexes(t *testing.T) {
	ctx, store := t.Context(), memkv.New()
	opts := stele.Options{Tables: []stele.Model{Seats}}
	if _, err := stele.OpenReadStore(ctx, store.ReadOnly(), opts); !errors.Is(err, stele.ErrNoTable) {
		t.Errorf("reading before there is a table: %v, want ErrNoTable", err)
	}
	db, err := stele.OpenStore(ctx, keepOpen{store}, opts)
	if err != nil {
		t.Fatal(err)
	}
	ann, bob := "ann", "bob"
	for _, s := range []Seat{
		{"s1", "main", "A", 2, &ann}, {"s2", "main", "A", 1, nil}, {"s3", "main", "B", 1, nil},
		{"s4", "side", "A", 1, &ann}, {"s5", "main", "A", 3, &bob},
	} {
		if err := Seats.Insert(ctx, db, &s); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []Seat{{"s6", "main", "A", 1, nil}, {"s7", "main", "C", 1, &bob}} {
		if err := Seats.Insert(ctx, db, &s); !errors.Is(err, stele.ErrExists) {
			t.Errorf("seat %s: %v, want ErrExists", s.ID, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	r, err := stele.OpenReadStore(ctx, store.ReadOnly(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    stele.Query[Seat]
		want string
	}{
		{Seats.Where(SeatPlace.Eq("main", "A", 2)).Using(SeatPlace), "s1"},
		{Seats.Where(SeatPlace.Prefix2("main", "A")).Using(SeatPlace), "s2 s1 s5"},
		{Seats.Where(SeatPlace.Prefix("main")).Using(SeatPlace), "s2 s1 s5 s3"},
		{Seats.Where(SeatOf.Eq("main", "ann")).Using(SeatOf), "s1"},
		{Seats.Where(SeatOf.Prefix("side")).Using(SeatOf), "s4"},
	} {
		got := ""
		for s, err := range c.q.Rows(ctx, r) {
			if err != nil {
				t.Fatal(err)
			}
			got += " " + s.ID
		}
		if got != " "+c.want {
			t.Errorf("rows%s, want %s", got, c.want)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
