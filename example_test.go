package stele_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/stele-db/stele"
)

// A Package is one row of the table of the examples. Its tags say what is the
// primary key and what is indexed.
type Package struct {
	Name    string   `stele:"key"`
	Section string   `stele:"index"`
	Size    int64    `stele:"index"`
	SHA     string   `stele:"unique"`
	Depends []string `stele:"index"` // one entry per element
	Note    *string  // nil is null
}

// Tables and handles are variables; they know no database.
var (
	Packages       = stele.NewTable[Package, string]("package")
	PackageSection = stele.FieldOf[string](Packages, "section")
	PackageSize    = stele.FieldOf[int64](Packages, "size")
	PackageSHA     = stele.FieldOf[string](Packages, "sha")
	PackageDepends = stele.FieldOf[string](Packages, "depends")
	PackageNote    = stele.FieldOf[string](Packages, "note")

	PackageSectionSize = stele.NewIndex2("section_size", PackageSection, PackageSize)
)

// openPackages opens a database in memory with a few rows.
func openPackages(ctx context.Context) *stele.DB {
	return openPackagesAt(ctx, memURL())
}

func openPackagesAt(ctx context.Context, url string) *stele.DB {
	db, err := stele.Open(ctx, url, stele.Options{Tables: []stele.Model{Packages}})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range []Package{
		{Name: "bash", Section: "shells", Size: 7163, SHA: "b1", Depends: []string{"libc6", "base-files"}},
		{Name: "curl", Section: "web", Size: 522, SHA: "c2", Depends: []string{"libc6", "libcurl4"}},
		{Name: "dash", Section: "shells", Size: 191, SHA: "d3", Depends: []string{"libc6"}},
		{Name: "wget", Section: "web", Size: 3632, SHA: "e4", Depends: []string{"libc6", "libpcre2"}},
		{Name: "zsh", Section: "shells", Size: 2582, SHA: "f5"},
	} {
		if err := Packages.Insert(ctx, db, &p); err != nil {
			log.Fatal(err)
		}
	}
	return db
}

func closeDB(db *stele.DB) {
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
}

// A program with one table: it opens a database, writes rows, reads one by its
// key and others by a field.
func Example() {
	type User struct {
		ID    string   `stele:"key"`
		City  string   `stele:"index"`
		Age   int64    `stele:"index"`
		Email string   `stele:"unique"`
		Tags  []string `stele:"index"`
	}
	var (
		users    = stele.NewTable[User, string]("user")
		userCity = stele.FieldOf[string](users, "city")
		userAge  = stele.FieldOf[int64](users, "age")
	)
	ctx := context.Background()

	// file:///var/lib/app and s3://bucket/app take the same code.
	db, err := stele.Open(ctx, "mem://example/app", stele.Options{Tables: []stele.Model{users}})
	if err != nil {
		log.Fatal(err)
	}
	defer closeDB(db)

	for _, u := range []User{
		{ID: "u1", City: "Oslo", Age: 41, Email: "ann@example.org"},
		{ID: "u2", City: "Bergen", Age: 29, Email: "bo@example.org"},
		{ID: "u3", City: "Oslo", Age: 35, Email: "cy@example.org"},
	} {
		if err := users.Put(ctx, db, &u); err != nil {
			log.Fatal(err)
		}
	}

	u, err := users.Get(ctx, db, "u2")
	fmt.Println(u.City, err)

	for u, err := range users.Where(userCity.Eq("Oslo"), userAge.Gt(30)).OrderBy(userAge).Reverse().Limit(10).Rows(ctx, db) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(u.ID, u.Age)
	}
	// Output:
	// Bergen <nil>
	// u1 41
	// u3 35
}

// What is wrong with definitions is reported by Open, all at once and before
// anything is opened.
func ExampleOpen_faults() {
	type Broken struct {
		ID    string `stele:"key"`
		Extra any
	}
	brokens := stele.NewTable[Broken, string]("broken")
	packages := stele.NewTable[Package, int64]("package")
	stele.FieldOf[string](packages, "size")
	stele.FieldOf[string](packages, "sise")

	_, err := stele.Open(context.Background(), "mem://faults/app", stele.Options{Tables: []stele.Model{brokens, packages}})
	fmt.Println(errors.Is(err, stele.ErrInvalid))
	fmt.Println(err)
	// Output:
	// true
	// 4 faults in definitions:
	// 	table broken: type stele_test.Broken: Broken.Extra: interface {} cannot be stored in a record; leave it out by the tag -
	// 	table package: field size of stele_test.Package is a int64; FieldOf says string
	// 	table package: stele_test.Package has no field sise
	// 	table package: type stele_test.Package: key type int64 says that name is a int64, the record's field is a string
}

// A reader sees the newest durable state, beside the writer and in any process.
func ExampleOpenReader() {
	ctx := context.Background()
	url := memURL() // or file:///var/lib/app, s3://bucket/app
	db := openPackagesAt(ctx, url)
	defer closeDB(db)

	r, err := stele.OpenReader(ctx, url, stele.Options{Tables: []stele.Model{Packages}})
	if err != nil {
		log.Fatal(err)
	}
	p, err := Packages.Get(ctx, r, "curl")
	fmt.Println(p.Section, p.Size, err)
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}

	_, err = stele.OpenReader(ctx, "mem://nothing/here", stele.Options{Tables: []stele.Model{Packages}})
	fmt.Println(errors.Is(err, stele.ErrNotFound))
	// Output:
	// web 522 <nil>
	// true
}
