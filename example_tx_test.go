package stele_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele"
)

// Rows and index entries of a transaction change together or not at all.
func ExampleDB_Update() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	err := db.Update(ctx, func(tx *stele.Tx) error {
		p, err := Packages.Get(ctx, tx, "dash")
		if err != nil {
			return err
		}
		p.Size *= 2
		if err := Packages.Update(ctx, tx, &p); err != nil {
			return err
		}
		_, err = Packages.Delete(ctx, tx, "bash")
		return err
	})
	fmt.Println(err)
	show(ctx, db, Packages.Where(PackageSize.Eq(382)))

	err = db.Update(ctx, func(tx *stele.Tx) error {
		if _, err := Packages.Delete(ctx, tx, "zsh"); err != nil {
			return err
		}
		return errors.New("changed my mind")
	})
	fmt.Println(err)
	show(ctx, db, Packages.All())
	// Output:
	// <nil>
	// dash
	// changed my mind
	// curl dash wget zsh
}

// Transactions wait for nobody. One that has read what another changes before it
// commits runs again, and sees the change.
func ExampleDB_Update_conflict() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	attempt := 0
	err := db.Update(ctx, func(tx *stele.Tx) error {
		p, err := Packages.Get(ctx, tx, "dash")
		if err != nil {
			return err
		}
		if attempt++; attempt == 1 { // somebody else, just now
			rebuilt := p
			rebuilt.Size = 200
			if err := Packages.Put(ctx, db, &rebuilt); err != nil {
				return err
			}
		}
		fmt.Printf("attempt %d: %d\n", attempt, p.Size)
		p.Size++
		return Packages.Update(ctx, tx, &p)
	})
	fmt.Println(err)
	dash, err := Packages.Get(ctx, db, "dash")
	fmt.Println(dash.Size, err)
	// Output:
	// attempt 1: 191
	// attempt 2: 200
	// <nil>
	// 201 <nil>
}

func ExampleDB_View() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	err := db.View(ctx, func(s *stele.Snapshot) error {
		// Both reads see one state, whatever is written meanwhile.
		p, err := Packages.Get(ctx, s, "bash")
		if err != nil {
			return err
		}
		show(ctx, s, Packages.Where(PackageSection.Eq(p.Section)))
		return nil
	})
	fmt.Println(err)
	// Output:
	// bash dash zsh
	// <nil>
}

func ExampleDB_Snapshot() {
	ctx := context.Background()
	db := openPackages(ctx)
	defer closeDB(db)

	before, err := db.Snapshot(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer before.Close()
	if _, err := Packages.Delete(ctx, db, "bash"); err != nil {
		fmt.Println(err)
	}
	show(ctx, before, Packages.Where(PackageSection.Eq("shells")))
	show(ctx, db, Packages.Where(PackageSection.Eq("shells")))
	// Output:
	// bash dash zsh
	// dash zsh
}
