package stele_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele"
)

func ExampleTable_Insert() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	err := Packages.Insert(ctx, db, &Package{Name: "bash"})
	fmt.Println(err, errors.Is(err, stele.ErrExists))

	// Another row has this value in a unique index.
	err = Packages.Insert(ctx, db, &Package{Name: "rbash", SHA: "b1"})
	unique, ok := errors.AsType[*stele.UniqueError](err)
	fmt.Println(ok, unique.Index, unique.Value)
	// Output:
	// insert package bash: already exists true
	// true sha ("b1")
}

func ExampleTable_Put() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	// Put replaces the whole row, and its index entries with it.
	err := Packages.Put(ctx, db, &Package{Name: "dash", Section: "base", SHA: "d4"})
	fmt.Println(err)
	for p, err := range Packages.Where(PackageSection.Eq("shells")).Rows(ctx, db) {
		fmt.Println(p.Name, err)
	}
	// Output:
	// <nil>
	// bash <nil>
	// zsh <nil>
}

func ExampleTable_Update() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	err := Packages.Update(ctx, db, &Package{Name: "fish", Section: "shells"})
	fmt.Println(errors.Is(err, stele.ErrNotFound))
	// Output:
	// true
}

func ExampleTable_Get() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	p, err := Packages.Get(ctx, db, "bash")
	fmt.Println(p.Name, p.Depends, err)
	_, err = Packages.Get(ctx, db, "fish")
	fmt.Println(err)
	// Output:
	// bash [libc6 base-files] <nil>
	// get package fish: not found
}

func ExampleTable_Delete() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	fmt.Println(Packages.Delete(ctx, db, "bash"))
	fmt.Println(Packages.Delete(ctx, db, "bash"))
	// Output:
	// true <nil>
	// false <nil>
}

// A key of several parts is a struct. Embedded in the row and tagged key, its
// fields are the row's.
func ExampleTable_compositeKey() {
	type LineKey struct {
		Order int64
		Line  int32
	}
	type Line struct {
		LineKey `stele:"key"`
		Article string
	}
	lines := stele.NewTable[Line, LineKey]("line")
	order := stele.FieldOf[int64](lines, "order")

	ctx := context.Background()
	db, err := stele.Open(ctx, memURL(), stele.Options{Tables: []stele.Model{lines}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeDB(db)
	for _, l := range []Line{{LineKey{7, 10}, "nails"}, {LineKey{7, 2}, "hammer"}, {LineKey{8, 1}, "saw"}} {
		if err := lines.Insert(ctx, db, &l); err != nil {
			fmt.Println(err)
		}
	}
	l, err := lines.Get(ctx, db, LineKey{Order: 7, Line: 2})
	fmt.Println(l.Article, err)
	for l, err := range lines.Where(order.Eq(7)).Rows(ctx, db) { // a range of the primary key
		fmt.Println(l.Line, l.Article, err)
	}
	// Output:
	// hammer <nil>
	// 2 hammer <nil>
	// 10 nails <nil>
}

// Fields are known by name: a struct may be rearranged and extended, and old
// rows stay readable. This is what a later version of a program opens.
func ExampleOpen_evolution() {
	ctx := context.Background()
	url := memURL()
	writeOldPerson(ctx, url)

	type Person struct {
		Age  int64  `stele:"index"` // wider, indexed, and in another place
		City string // new
		ID   string `stele:"key"`
		// Name is gone from the struct, and stays in the schema
	}
	people := stele.NewTable[Person, string]("person")
	age := stele.FieldOf[int64](people, "age")
	db, err := stele.Open(ctx, url, stele.Options{Tables: []stele.Model{people}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeDB(db)
	for p, err := range people.Where(age.Ge(40)).Using(age).Rows(ctx, db) {
		fmt.Printf("%+v %v\n", p, err)
	}
	text, err := db.Records().SchemaText(ctx, "person")
	fmt.Print(text, err)
	// Output:
	// {Age:41 City: ID:p1} <nil>
	// syntax = "proto3";
	//
	// import "stele/options.proto";
	//
	// message Person {
	//   option (stele.table) = "person";
	//
	//   string id = 1 [(stele.key) = true];
	//   string name = 2;
	//   int64 age = 3 [(stele.index) = true];
	//   string city = 4;
	// }
	// <nil>
}

func writeOldPerson(ctx context.Context, url string) {
	type Person struct {
		ID   string `stele:"key"`
		Name string
		Age  int32
	}
	people := stele.NewTable[Person, string]("person")
	db, err := stele.Open(ctx, url, stele.Options{Tables: []stele.Model{people}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeDB(db)
	if err := people.Insert(ctx, db, &Person{ID: "p1", Name: "Ann", Age: 41}); err != nil {
		fmt.Println(err)
	}
}
