package structs_test

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/stele-db/stele/record/structs"
)

// A struct's record is a Protobuf message like any other.
func Example() {
	type Dog struct {
		Name   string `stele:"key"`
		Breed  string `stele:"index"`
		Age    int32
		Tricks []string
	}
	codec, err := structs.Compile(reflect.TypeFor[Dog](), structs.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	rec, err := codec.Append(nil, &Dog{Name: "Rex", Breed: "Boxer", Age: 4, Tricks: []string{"sit"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", rec)

	m := dynamicpb.NewMessage(codec.Message())
	if err := proto.Unmarshal(rec, m); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Get(codec.Message().Fields().ByName("breed")))

	var back Dog
	if err := codec.Unmarshal(rec, &back); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%+v\n", back)
	// Output:
	// "\n\x03Rex\x12\x05Boxer\x18\x04\"\x03sit"
	// Boxer
	// {Name:Rex Breed:Boxer Age:4 Tricks:[sit]}
}

// Everything that is wrong with a type is reported at once.
func ExampleCompile_faults() {
	type Bad struct {
		Any   any
		Pairs map[string]int
	}
	_, err := structs.Compile(reflect.TypeFor[Bad](), structs.Options{})
	fmt.Println(err)
	// Output:
	// type structs_test.Bad has 2 faults:
	// 	Bad.Any: interface {} cannot be stored in a record; leave it out by the tag -
	// 	Bad.Pairs: map[string]int: maps are not supported; use a slice of structs
}
