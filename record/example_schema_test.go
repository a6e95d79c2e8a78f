package record_test

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
)

// A schema comes from the text of a .proto file.
func ExampleCompileProto() {
	schemas, err := record.CompileProto(context.Background(), "dog.proto", map[string]string{"dog.proto": `
		syntax = "proto3";
		import "stele/options.proto";
		message Dog {
			string name = 1 [(stele.key) = true];
			string breed = 2 [(stele.index) = true];
			uint32 age = 3;
		}`})
	if err != nil {
		fmt.Println(err)
		return
	}
	dog := schemas[0]
	rec, err := dog.FromJSON([]byte(`{"name": "Rover", "age": 3}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	key, _ := dog.KeyOf(rec)
	json, _ := dog.ToJSON(rec)
	fmt.Println(dog.Table(), dog.FormatKey(key), dog.Indexes()[0].Name(), string(json))
	// Output: Dog Rover breed {"name":"Rover","age":3}
}

// Everything that is wrong with a schema is reported at once.
func ExampleSchemaError() {
	_, err := record.CompileProto(context.Background(), "house.proto", map[string]string{"house.proto": `syntax = "proto3";
import "stele/options.proto";
message House {
  int32 pk = 1;
}
message Street {
  string pk = 1;
  map<string, int32> numbers = 2 [(stele.index) = true];
}`})
	fmt.Println(err)
	// Output:
	// house.proto:4:3: model does not include `string pk = 1;`: the field pk of message House is another; make it so, or mark it with [(stele.key) = true]
	// house.proto:8:3: field "numbers" cannot be indexed: it is a map, which has no order; keep what shall be found in a field of its own, or in a repeated one
}

// A database knows its tables: whoever opens it needs no schema.
func ExampleOpen() {
	ctx := context.Background()
	store := memkv.New()
	db, err := record.Open(ctx, store, record.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	schemas, err := record.CompileProto(ctx, "dog.proto", map[string]string{"dog.proto": "syntax = \"proto3\";\nmessage Dog {\n  string pk = 1;\n}\n"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := db.Define(ctx, schemas...); err != nil {
		fmt.Println(err)
		return
	}

	reader, err := record.Open(ctx, store.ReadOnly(), record.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	dog, err := reader.Table(ctx, "Dog")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(dog.Schema().Text())
	_, err = reader.Table(ctx, "Cat")
	fmt.Println(err)
	// Output:
	// syntax = "proto3";
	// message Dog {
	//   string pk = 1;
	// }
	// no table Cat
}
