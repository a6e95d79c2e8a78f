package stele_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/stele-db/stele"
)

// show prints the names of a query's rows.
func show(ctx context.Context, r stele.Reader, q stele.Query[Package]) {
	var names []string
	for p, err := range q.Rows(ctx, r) {
		if err != nil {
			fmt.Println(err)
			return
		}
		names = append(names, p.Name)
	}
	fmt.Println(strings.Join(names, " "))
}

func ExampleTable_Where() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	show(ctx, db, Packages.Where(PackageSection.Eq("shells")))
	show(ctx, db, Packages.Where(PackageSection.Eq("shells"), PackageSize.Lt(1000)))
	show(ctx, db, Packages.Where(PackageSize.Between(500, 4000)).OrderBy(PackageSize))
	show(ctx, db, Packages.All().Reverse())
	// Output:
	// bash dash zsh
	// dash
	// curl zsh wget
	// zsh wget dash curl bash
}

func ExampleField_Has() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	show(ctx, db, Packages.Where(PackageDepends.Has("libc6")))
	show(ctx, db, Packages.Where(PackageDepends.Has("libcurl4")))
	// Output:
	// bash curl dash wget
	// curl
}

func ExampleField_HasPrefix() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	show(ctx, db, Packages.Where(PackageSection.HasPrefix("sh")))
	// Output:
	// bash dash zsh
}

func ExampleField_In() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	show(ctx, db, Packages.Where(PackageSize.In(191, 522, 1)))
	// Output:
	// curl dash
}

// A pointer that is nil is null: it is neither equal to a value nor different
// from it.
func ExampleField_IsNull() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	note := "the one true shell"
	if err := Packages.Update(ctx, db, &Package{Name: "zsh", Section: "shells", Note: &note}); err != nil {
		fmt.Println(err)
	}
	show(ctx, db, Packages.Where(PackageNote.IsNull()))
	show(ctx, db, Packages.Where(PackageNote.Ne("x")))
	// Output:
	// bash curl dash wget
	// zsh
}

func ExampleOr() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	big := PackageSize.Gt(5000)
	web := PackageSection.Eq("web")
	show(ctx, db, Packages.Where(stele.Or(big, web)))
	show(ctx, db, Packages.Where(stele.Not(stele.Or(big, web))))
	fmt.Println(stele.Or(big, web))
	// Output:
	// bash curl wget
	// dash zsh
	// size > 5000 OR section = "web"
}

// An index over two fields finds rows by the first or by both, and has them in
// the order of the second.
func ExampleNewIndex2() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	show(ctx, db, Packages.Where(PackageSectionSize.Prefix("shells")).Using(PackageSectionSize))
	show(ctx, db, Packages.Where(PackageSectionSize.Eq("shells", 191)).Using(PackageSectionSize))
	show(ctx, db, Packages.Where(PackageSection.Eq("shells")).OrderBy(PackageSize).Reverse())
	// Output:
	// dash zsh bash
	// dash
	// bash zsh dash
}

func ExampleQuery_First() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	p, err := Packages.Where(PackageSHA.Eq("e4")).First(ctx, db)
	fmt.Println(p.Name, err)
	_, err = Packages.Where(PackageSHA.Eq("none")).First(ctx, db)
	fmt.Println(err)
	// Output:
	// wget <nil>
	// query package: no row: not found
}

func ExampleQuery_Explain() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	plan, err := Packages.Where(PackageSection.Eq("web"), PackageDepends.Has("libpcre2")).Using(PackageSection).Explain(db)
	fmt.Print(plan)
	fmt.Println(err)
	// Output:
	// scan of package by index section
	//   bounds    section = "web"
	//   fetch     rows by primary key
	//   residual  depends:"libpcre2"
	// <nil>
}
