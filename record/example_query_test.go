package record_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
)

// Rows are written as Protobuf bytes and found by a filter, its order and its
// limit; Explain says how.
func ExampleTable_Query() {
	ctx := context.Background()
	schemas, err := record.CompileProto(ctx, "dog.proto", map[string]string{"dog.proto": `
		syntax = "proto3";
		import "stele/options.proto";

		message Dog {
		  string name = 1 [(stele.key) = true];
		  string breed = 2 [(stele.index) = true];
		  int32 age = 3;
		}`})
	if err != nil {
		log.Fatal(err)
	}
	db, err := record.Open(ctx, memkv.New(), record.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	tables, err := db.Define(ctx, schemas...)
	if err != nil {
		log.Fatal(err)
	}
	dogs := tables[0]

	err = db.Update(ctx, func(tx *record.Tx) error {
		for _, json := range []string{
			`{"name": "Rex", "breed": "boxer", "age": 3}`,
			`{"name": "Ada", "breed": "boxer", "age": 7}`,
			`{"name": "Ida", "breed": "poodle", "age": 5}`,
			`{"name": "Bob", "breed": "boxer"}`,
		} {
			rec, err := dogs.Schema().FromJSON([]byte(json))
			if err != nil {
				return err
			}
			if err := dogs.Insert(ctx, tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	where, err := record.ParseFilter(dogs.Schema(), `breed = "boxer" AND age > 0`)
	if err != nil {
		log.Fatal(err)
	}
	q := record.Query{Where: where, OrderBy: []record.Order{{Field: "name"}}, Limit: 10}
	plan, err := dogs.Explain(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(plan)
	err = db.View(ctx, func(r kv.Reader) error {
		for row, err := range dogs.Query(ctx, r, q) {
			if err != nil {
				return err
			}
			json, err := dogs.Schema().ToJSON(row.Record)
			if err != nil {
				return err
			}
			fmt.Println(string(json))
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// scan of Dog by index breed
	//   bounds    breed = "boxer"
	//   fetch     rows by primary key
	//   residual  age > 0
	//   order     name: as read
	//   limit     10
	// {"name":"Ada","breed":"boxer","age":7}
	// {"name":"Rex","breed":"boxer","age":3}
}
