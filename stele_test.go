package stele_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
)

type User struct {
	ID     string   `stele:"key"`
	City   string   `stele:"index"`
	Age    int64    `stele:"index"`
	Email  *string  `stele:"unique"`
	Tags   []string `stele:"index"`
	Joined time.Time
}

var (
	Users      = stele.NewTable[User, string]("user")
	UserCity   = stele.FieldOf[string](Users, "city")
	UserAge    = stele.FieldOf[int64](Users, "age")
	UserEmail  = stele.FieldOf[string](Users, "email")
	UserTags   = stele.FieldOf[string](Users, "tags")
	UserJoined = stele.FieldOf[time.Time](Users, "joined")

	UserCityAge = stele.NewIndex2("city_age", UserCity, UserAge)
)

// open opens a database in memory, and checks it when the test ends.
func open(t testing.TB, tables ...stele.Model) *stele.DB {
	t.Helper()
	db, err := stele.OpenStore(t.Context(), memkv.New(), stele.Options{Tables: tables})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkAndClose(t, db) })
	return db
}

// checkAndClose closes a database after checking that the rows and index
// entries of every table agree.
func checkAndClose(t reporter, db *stele.DB) {
	t.Helper()
	ctx := context.Background() // the test's own is cancelled by now
	tables, err := db.Records().Tables(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, table := range tables {
		found, err := record.VerifyTable(ctx, db.Records().Store(), table)
		if err != nil {
			t.Error(err)
		} else if !found.OK() {
			t.Errorf("table %s: %v", table.Name(), found.First)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// reporter is what a *testing.T and a *rapid.T have in common.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
}

// ids runs a query and joins the ids of the rows.
func ids(t testing.TB, r stele.Reader, q stele.Query[User]) string {
	t.Helper()
	var out []string
	for u, err := range q.Rows(t.Context(), r) {
		if err != nil {
			return "error: " + err.Error()
		}
		out = append(out, u.ID)
	}
	return strings.Join(out, " ")
}

func fill(t testing.TB, db *stele.DB) {
	t.Helper()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	mail := func(s string) *string { return &s }
	for _, u := range []User{
		{"u1", "Oslo", 41, mail("a@x"), []string{"go", "db"}, day(1)},
		{"u2", "Bergen", 20, nil, []string{"go"}, day(2)},
		{"u3", "Oslo", 33, mail("c@x"), nil, day(3)},
		{"u4", "", 0, nil, []string{"db", "db"}, day(4)},
		{"u5", "Oslo", -7, mail(""), []string{""}, day(5)},
	} {
		if err := Users.Insert(t.Context(), db, &u); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQueries(t *testing.T) {
	db := open(t, Users)
	fill(t, db)
	day3 := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		q    stele.Query[User]
		want string
	}{
		{"all", Users.All(), "u1 u2 u3 u4 u5"},
		{"reverse", Users.All().Reverse(), "u5 u4 u3 u2 u1"},
		{"eq", Users.Where(UserCity.Eq("Oslo")).OrderBy(UserCity), "u1 u3 u5"},
		{"zero is a value", Users.Where(UserCity.Eq("")), "u4"},
		{"ne", Users.Where(UserCity.Ne("Oslo")), "u2 u4"},
		{"range", Users.Where(UserAge.Gt(0), UserAge.Le(33)).OrderBy(UserAge), "u2 u3"},
		{"between", Users.Where(UserAge.Between(0, 33)).OrderBy(UserAge).Reverse(), "u3 u2 u4"},
		{"order", Users.All().OrderBy(UserAge), "u5 u4 u2 u3 u1"},
		{"limit", Users.All().OrderBy(UserAge).Reverse().Limit(2), "u1 u3"},
		{"residual", Users.Where(UserCity.Eq("Oslo"), UserAge.Gt(30), UserJoined.Lt(day3)), "u1"},
		{"prefix", Users.Where(UserCity.HasPrefix("Os")), "u1 u3 u5"},
		{"has", Users.Where(UserTags.Has("go")), "u1 u2"},
		{"has twice", Users.Where(UserTags.Has("db")), "u1 u4"},
		{"has the empty string", Users.Where(UserTags.Has("")), "u5"},
		{"in", Users.Where(UserCity.In("Bergen", "")).OrderBy(UserCity).Limit(9), "u4 u2"},
		{"in nothing", Users.Where(UserCity.In()), ""},
		{"null", Users.Where(UserEmail.IsNull()), "u2 u4"},
		{"empty is not null", Users.Where(UserEmail.Eq("")), "u5"},
		{"not null", Users.Where(stele.Not(UserEmail.IsNull())), "u5 u1 u3"},
		{"no element", Users.Where(UserTags.IsNull()), "u3"},
		{"or", Users.Where(stele.Or(UserAge.Eq(20), UserCity.Eq(""))), "u2 u4"},
		{"not", Users.Where(stele.Not(stele.And(UserCity.Eq("Oslo"), UserAge.Gt(0)))), "u2 u4 u5"},
		{"or of true", Users.Where(stele.Or(UserAge.Eq(20), stele.Cond[User]{})), "u1 u2 u3 u4 u5"},
		{"not of true", Users.Where(stele.Not(stele.Cond[User]{})), ""},
		{"composite", Users.Where(UserCityAge.Eq("Oslo", 33)).Using(UserCityAge), "u3"},
		{"composite prefix", Users.Where(UserCityAge.Prefix("Oslo")).Using(UserCityAge), "u5 u3 u1"},
		{"composite range", Users.Where(UserCityAge.Prefix("Oslo"), UserAge.Ge(33)).Using(UserCityAge).Reverse(), "u1 u3"},
		{"extended", Users.Where(UserCity.Eq("Oslo")).Where(UserAge.Lt(0)), "u5"},
		{"by time", Users.Where(UserJoined.Ge(day3)).OrderBy(UserJoined).Limit(2), "u3 u4"},
	} {
		if got := ids(t, db, tc.q); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestQueryErrors(t *testing.T) {
	type Dog struct {
		Name string `stele:"key"`
	}
	dogs := stele.NewTable[Dog, string]("dog")
	users := stele.NewTable[User, string]("user")
	db := open(t, users, dogs)
	// Made after the database was opened, so that only queries can report them.
	city := stele.FieldOf[string](users, "city")
	age := stele.FieldOf[int64](users, "age")
	joined := stele.FieldOf[time.Time](users, "joined")
	tags := stele.FieldOf[string](users, "tags")
	late := stele.FieldOf[int64](users, "citty")
	typed := stele.FieldOf[int32](users, "age")
	for name, tc := range map[string]struct {
		q    stele.Query[User]
		want string
	}{
		"no such field":   {users.Where(late.Eq(1)), "has no field citty"},
		"wrong type":      {users.Where(typed.Eq(1)), "field age of stele_test.User is a int64; FieldOf says int32"},
		"other table":     {users.Where(UserAge.Eq(1)), `field "age" is not one of this table`},
		"limit":           {users.All().Limit(0), "the limit is 0"},
		"unindexed order": {users.All().OrderBy(joined), "imit"},
		"no such index":   {users.All().Using(joined), "joined"},
		"late index":      {users.All().Using(stele.NewIndex2("late", city, age)), "late"},
		"ne of repeated":  {users.Where(tags.Ne("x")), "repeated"},
		"number prefix":   {users.Where(age.HasPrefix(1)), "prefix"},
		"not UTF-8":       {users.Where(city.Eq("\xff")), "UTF-8"},
	} {
		n := 0
		for _, err := range tc.q.Rows(t.Context(), db) {
			n++
			if !errors.Is(err, stele.ErrInvalid) || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("%s: got %v, want %s", name, err, tc.want)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results", name, n)
		}
	}
	other := open(t, dogs)
	if _, err := users.Get(t.Context(), other, "u1"); !errors.Is(err, stele.ErrInvalid) || !strings.Contains(err.Error(), "not among Options.Tables") {
		t.Errorf("got %v", err)
	}
	if err := users.Insert(t.Context(), other, &User{ID: "x"}); !errors.Is(err, stele.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := dogs.All().First(t.Context(), db); !errors.Is(err, stele.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestRows(t *testing.T) {
	db := open(t, Users)
	fill(t, db)
	ctx := t.Context()
	mail := "a@x"
	for name, tc := range map[string]struct{ got, want error }{
		"insert again":  {Users.Insert(ctx, db, &User{ID: "u1"}), stele.ErrExists},
		"insert unique": {Users.Insert(ctx, db, &User{ID: "u9", Email: &mail}), stele.ErrExists},
		"put unique":    {Users.Put(ctx, db, &User{ID: "u2", Email: &mail}), stele.ErrExists},
		"update absent": {Users.Update(ctx, db, &User{ID: "u9"}), stele.ErrNotFound},
		"no key":        {Users.Put(ctx, db, &User{}), stele.ErrInvalid},
		"not UTF-8":     {Users.Put(ctx, db, &User{ID: "x", City: "\xff"}), stele.ErrInvalid},
		"put":           {Users.Put(ctx, db, &User{ID: "u6", City: "Oslo"}), nil},
		"update":        {Users.Update(ctx, db, &User{ID: "u4", City: "Oslo"}), nil},
	} {
		if !errors.Is(tc.got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, tc.got, tc.want)
		}
	}
	var unique *stele.UniqueError
	if err := Users.Put(ctx, db, &User{ID: "u2", Email: &mail}); !errors.As(err, &unique) || unique.Index != "email" {
		t.Errorf("got %v", err)
	}
	if _, err := Users.Get(ctx, db, "u9"); !errors.Is(err, stele.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for _, want := range []bool{true, false} {
		if existed, err := Users.Delete(ctx, db, "u1"); err != nil || existed != want {
			t.Errorf("delete: %v, %v", existed, err)
		}
	}
	if got := ids(t, db, Users.Where(UserCity.Eq("Oslo"))); got != "u3 u4 u5 u6" {
		t.Errorf("got %s", got)
	}
}

// A transaction commits while another is open, which then runs again, for it has
// read what the first changed; a third, which has not, commits as it is.
func TestUpdatesDoNotWaitForEachOther(t *testing.T) {
	db := open(t, Users)
	fill(t, db)
	ctx := t.Context()
	var cities []string
	apart := 0
	err := db.Update(ctx, func(tx *stele.Tx) error {
		u1, err := Users.Get(ctx, tx, "u1")
		if err != nil {
			return err
		}
		if cities = append(cities, u1.City); len(cities) == 1 {
			err := db.Update(ctx, func(other *stele.Tx) error {
				apart++
				if err := Users.Put(ctx, tx, &User{ID: "new", City: "Rome"}); err != nil {
					return err
				}
				return Users.Put(ctx, other, &User{ID: "u1", City: "Bergen"})
			})
			if err != nil {
				return err
			}
		}
		u1.Age = 50
		return Users.Update(ctx, tx, &u1)
	})
	if err != nil || strings.Join(cities, " ") != "Oslo Bergen" || apart != 1 {
		t.Errorf("%v after attempts that saw %q, %d of the other", err, cities, apart)
	}
	if u, err := Users.Get(ctx, db, "u1"); err != nil || u.City != "Bergen" || u.Age != 50 {
		t.Errorf("it left %+v, %v", u, err)
	}
	if got := ids(t, db, Users.Where(UserCity.Eq("Rome"))); got != "" {
		t.Errorf("of its first attempt is left %q", got)
	}
}

func TestTransactions(t *testing.T) {
	db := open(t, Users)
	fill(t, db)
	ctx := t.Context()
	boom := errors.New("boom")
	err := db.Update(ctx, func(tx *stele.Tx) error {
		if err := Users.Put(ctx, tx, &User{ID: "u1", City: "Rome"}); err != nil {
			return err
		}
		if got := ids(t, tx, Users.Where(UserCity.Eq("Rome"))); got != "u1" {
			t.Errorf("a transaction does not see its write: %q", got)
		}
		if got := ids(t, db, Users.Where(UserCity.Eq("Rome"))); got != "" {
			t.Errorf("another reader sees it: %q", got)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	snap, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if _, err := Users.Delete(ctx, db, "u1"); err != nil {
		t.Fatal(err)
	}
	if u, err := Users.Get(ctx, snap, "u1"); err != nil || u.City != "Oslo" {
		t.Errorf("got %+v, %v", u, err)
	}
	if got := ids(t, snap, Users.Where(UserTags.Has("go"))); got != "u1 u2" {
		t.Errorf("got %q", got)
	}
	err = db.View(ctx, func(s *stele.Snapshot) error {
		_, err := Users.Get(ctx, s, "u1")
		return err
	})
	if !errors.Is(err, stele.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestCompositeKeys(t *testing.T) {
	type LineKey struct {
		Order int64
		Line  int32
	}
	type Line struct {
		LineKey `stele:"key"`
		Text    string
	}
	lines := stele.NewTable[Line, LineKey]("line")
	db := open(t, lines)
	ctx := t.Context()
	for _, k := range []LineKey{{2, 1}, {1, 2}, {1, -1}, {1, 10}} {
		if err := lines.Insert(ctx, db, &Line{LineKey: k, Text: fmt.Sprint(k)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for l, err := range lines.Where(stele.FieldOf[int64](lines, "order").Eq(1)).Rows(ctx, db) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Text)
	}
	if want := []string{"{1 -1}", "{1 2}", "{1 10}"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l, err := lines.Get(ctx, db, LineKey{1, 10}); err != nil || l.Text != "{1 10}" {
		t.Errorf("got %+v, %v", l, err)
	}
}

type UUID [16]byte

func TestKeyTypes(t *testing.T) {
	keyType(t, UUID{1}, UUID{0xff})
	keyType(t, int64(-5), 5)
	keyType(t, uint16(5), 500)
	keyType(t, []byte{1}, []byte{1, 0})
	keyType(t, time.Unix(0, 1).UTC(), time.Unix(0, 2).UTC())
	keyType(t, time.Second, time.Minute)
	keyType(t, false, true)
}

// keyType keeps two rows under keys of type K, the first before the second.
func keyType[K any](t *testing.T, a, b K) {
	type row struct {
		Key K `stele:"key"`
		N   int
	}
	rows := stele.NewTable[row, K]("row")
	db := open(t, rows)
	ctx := t.Context()
	for n, k := range []K{b, a} {
		if err := rows.Insert(ctx, db, &row{Key: k, N: n}); err != nil {
			t.Fatalf("%T: %v", k, err)
		}
	}
	var order []int
	for r, err := range rows.All().Rows(ctx, db) {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, r.N)
	}
	if !slices.Equal(order, []int{1, 0}) {
		t.Errorf("%T: order %v", a, order)
	}
	if r, err := rows.Get(ctx, db, b); err != nil || r.N != 0 || fmt.Sprint(r.Key) != fmt.Sprint(b) {
		t.Errorf("%T: got %+v, %v", b, r, err)
	}
	f := stele.FieldOf[K](rows, "key")
	if r, err := rows.Where(f.Gt(a)).First(ctx, db); err != nil || r.N != 0 {
		t.Errorf("%T: got %+v, %v", b, r, err)
	}
}

func TestDefinitionFaults(t *testing.T) {
	type broken struct {
		A any
		B chan int
	}
	type keyless struct{ Name string }
	type two struct {
		A string `stele:"key"`
		B int    `stele:"key"`
	}
	brokens := stele.NewTable[broken, string]("broken")
	keylesses := stele.NewTable[keyless, string]("keyless")
	stele.FieldOf[string](keylesses, "nome")
	stele.FieldOf[int](keylesses, "name")
	twos := stele.NewTable[two, string]("two")
	a := stele.FieldOf[string](twos, "a")
	b := stele.FieldOf[int](twos, "b")
	stele.NewIndex2("ab", a, b)
	stele.NewIndex3("ab", a, b, a)
	again := stele.NewTable[two, two]("two")
	_, err := stele.Open(context.Background(), "nowhere://at/all", stele.Options{Tables: []stele.Model{brokens, keylesses, twos, again}})
	var def *stele.DefinitionError
	if !errors.Is(err, stele.ErrInvalid) || !errors.As(err, &def) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"broken.A: interface {} cannot be stored",
		"broken.B: chan int cannot be stored",
		"table keyless: stele_test.keyless has no field nome",
		"field name of stele_test.keyless is a string; FieldOf says int",
		"type stele_test.keyless has no key",
		"table two: there are two indexes ab",
		"table two: there are two tables of this name",
		"key type string has no field for the key's part a",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
}

func TestPermanentNumbers(t *testing.T) {
	ctx := t.Context()
	store := memkv.New()
	// reopen opens the same store with other definitions.
	reopen := func(tables ...stele.Model) (*stele.DB, error) {
		return stele.OpenStore(ctx, keepOpen{store}, stele.Options{Tables: tables})
	}
	type V1 struct {
		ID    string `stele:"key"`
		Email string `stele:"unique"`
		Age   int32  `stele:"index"`
		City  string
	}
	type V2 struct {
		City string `stele:"index"` // newly indexed, moved
		Nick *string
		Age  int64  `stele:"index"` // widened
		ID   string `stele:"key"`
		// Email removed
	}
	v1 := stele.NewTable[V1, string]("person")
	db, err := reopen(v1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []V1{{"p1", "a@x", 30, "Oslo"}, {"p2", "b@x", -4, "Rome"}} {
		if err := v1.Insert(ctx, db, &p); err != nil {
			t.Fatal(err)
		}
	}
	v2 := stele.NewTable[V2, string]("person")
	age := stele.FieldOf[int64](v2, "age")
	city := stele.FieldOf[string](v2, "city")
	if db, err = reopen(v2); err != nil {
		t.Fatal(err)
	}
	nick := "nick"
	for _, id := range []string{"p3", "p4"} { // two rows without an email
		if err := v2.Insert(ctx, db, &V2{ID: id, Nick: &nick, Age: 1 << 40, City: "Oslo"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for p, err := range v2.Where(city.Eq("Oslo")).Using(city).Rows(ctx, db) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.ID, p.Age, p.City))
	}
	for p, err := range v2.Where(age.Lt(0)).Using(age).Rows(ctx, db) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.ID, p.Age, p.City))
	}
	if want := "[p130Oslo p31099511627776Oslo p41099511627776Oslo p2-4Rome]"; strings.ReplaceAll(fmt.Sprint(got), " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %v", got)
	}
	table, err := db.Records().Table(ctx, "person")
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"id": 1, "email": 2, "age": 3, "city": 4, "nick": 5} {
		if f := table.Schema().Field(name); f == nil || f.Number() != n {
			t.Errorf("%s: %v", name, f)
		}
	}
	version := table.Schema().Version()
	if db, err = reopen(v2); err != nil {
		t.Fatal(err)
	}
	if table, err = db.Records().Table(ctx, "person"); err != nil || table.Schema().Version() != version {
		t.Errorf("opening again made version %d of %d, %v", table.Schema().Version(), version, err)
	}
	type V3 struct {
		ID  string `stele:"key"`
		Age string
	}
	if _, err = reopen(stele.NewTable[V3, string]("person")); !errors.Is(err, stele.ErrInvalid) || !strings.Contains(err.Error(), "V3.Age: is stored as int64") {
		t.Errorf("got %v", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// keepOpen is a store that outlives the databases in it.
type keepOpen struct{ kv.Store }

func (keepOpen) Close() error { return nil }
