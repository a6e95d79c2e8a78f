package stele_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/stele-db/stele"
)

// A Book is one row. Its tags say what is the key and what is indexed.
type Book struct {
	ISBN   string   `stele:"key"`
	Author string   `stele:"index"`
	Year   int64    `stele:"index"`
	Tags   []string `stele:"index"` // one entry per element
	Note   *string  // nil is null
}

// Tables and handles are variables; they know no database.
var (
	Books      = stele.NewTable[Book, string]("book")
	BookAuthor = stele.FieldOf[string](Books, "author")
	BookYear   = stele.FieldOf[int64](Books, "year")
	BookTags   = stele.FieldOf[string](Books, "tags")
)

func run(ctx context.Context) error {
	// file://./data and s3://bucket/app take the same code.
	db, err := stele.Open(ctx, "mem://readme/app", stele.Options{Tables: []stele.Model{Books}})
	if err != nil {
		return err
	}
	for _, b := range []Book{
		{ISBN: "0-201-89683-4", Author: "Knuth", Year: 1997, Tags: []string{"algorithms"}},
		{ISBN: "0-201-89685-0", Author: "Knuth", Year: 1998, Tags: []string{"algorithms", "sorting"}},
		{ISBN: "0-13-110362-8", Author: "Kernighan", Year: 1988, Tags: []string{"c"}},
	} {
		// Durable when it returns: the row, and its index entries with it.
		if err := Books.Insert(ctx, db, &b); err != nil {
			return err
		}
	}

	b, err := Books.Get(ctx, db, "0-13-110362-8")
	if err != nil {
		return err
	}
	fmt.Println(b.Author, b.Year)

	// The planner picks an index; a wrong type in a condition does not compile.
	q := Books.Where(BookAuthor.Eq("Knuth"), BookTags.Has("sorting"), BookYear.Gt(1990)).OrderBy(BookYear).Limit(10)
	for b, err := range q.Rows(ctx, db) {
		if err != nil {
			return err
		}
		fmt.Println(b.ISBN, b.Year)
	}

	// All of it or nothing. Run again by itself if it conflicts.
	err = db.Update(ctx, func(tx *stele.Tx) error {
		b, err := Books.Get(ctx, tx, "0-13-110362-8")
		if err != nil {
			return err
		}
		b.Tags = append(b.Tags, "classic")
		return Books.Update(ctx, tx, &b)
	})
	if err != nil {
		return err
	}
	_, err = Books.Get(ctx, db, "none")
	fmt.Println(errors.Is(err, stele.ErrNotFound))
	return db.Close()
}

func Example_readme() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Kernighan 1988
	// 0-201-89685-0 1998
	// true
}
