package server

import (
	"bytes"
	"testing"

	"github.com/stele-db/stele"
	"github.com/stele-db/stele/kv/memkv"
)

const indexedDogSchema = `syntax = "proto3";
package database;

import "stele/options.proto";

message Dog {
  string pk = 1;
  string name = 2;
  uint32 age = 3;
  string breed = 4 [(stele.index) = true];
}
`

type dog struct {
	PK    string `stele:"key"`
	Name  string
	Age   uint32
	Breed string `stele:"index"`
}

// A Go struct and a gRPC client share one table: each finds by the index what
// the other wrote, and both write equal bytes for equal records.
func TestTypedAndServedAreOneTable(t *testing.T) {
	ctx := t.Context()
	store := memkv.New()
	r := start(t, indexedDogSchema, Options{}, store)
	dogs := stele.NewTable[dog, string]("Dog")
	breed := stele.FieldOf[string](dogs, "breed")
	db, err := stele.OpenStore(ctx, store, stele.Options{Tables: []stele.Model{dogs}})
	if err != nil {
		t.Fatal(err)
	}
	if err := dogs.Put(ctx, db, &dog{"DOG#1", "Rover", 3, "Poodle"}); err != nil {
		t.Fatal(err)
	}
	r.want("GetDogsByBreed", `{"eq":"Poodle"}`, `{"dogs":[{"pk":"DOG#1","name":"Rover","age":3,"breed":"Poodle"}]}`)
	bytesOf := func() []byte {
		t.Helper()
		table, err := r.db.Table(ctx, "Dog")
		if err != nil {
			t.Fatal(err)
		}
		key, err := table.Schema().ParseKey("DOG#1")
		if err != nil {
			t.Fatal(err)
		}
		rec, err := table.Get(ctx, store, key)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	fromGo := bytesOf()

	r.want("DeleteDogsByPk", `{"eq":"DOG#1"}`, `{}`)
	r.want("PutDog", `{"pk":"DOG#1","name":"Rover","age":3,"breed":"Poodle"}`, `{}`)
	if fromClient := bytesOf(); !bytes.Equal(fromGo, fromClient) {
		t.Errorf("Go wrote %x, the client %x", fromGo, fromClient)
	}
	found := 0
	for d, err := range dogs.Where(breed.Eq("Poodle")).Rows(ctx, db) {
		if err != nil {
			t.Fatal(err)
		}
		if d != (dog{"DOG#1", "Rover", 3, "Poodle"}) {
			t.Errorf("found %+v", d)
		}
		found++
	}
	if found != 1 {
		t.Errorf("found %d dogs by the client's index entry", found)
	}
}
