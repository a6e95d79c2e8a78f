package server_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stele-db/stele/kv/memkv"
	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/server"
)

const schema = `syntax = "proto3";
package database;

import "stele/options.proto";

message Dog {
  string pk = 1;
  string breed = 2 [(stele.index) = true];
}
`

// What a schema's server can do is known before there is one.
func ExampleCompile() {
	api, err := server.Compile(context.Background(), "schema.proto", map[string]string{"schema.proto": schema})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range api.Methods() {
		fmt.Println(m.Plan())
	}
	// Output:
	// GetDogsByPk: read Dog by one range of the primary key
	// DeleteDogsByPk: delete Dog in one range of the primary key, in one transaction
	// PutDog: put one Dog by its primary key
	// BatchPutDogs: put many Dog in one transaction
	// GetDogsByBreed: read Dog by one range of the index on breed
}

// A server is a database, a schema and a listener.
func ExampleNew() {
	ctx := context.Background()
	api, err := server.Compile(ctx, "schema.proto", map[string]string{"schema.proto": schema})
	if err != nil {
		log.Fatal(err)
	}
	db, err := record.Open(ctx, memkv.New(), record.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv, err := server.New(ctx, db, api, server.Options{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	reply, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "database.Database"})
	fmt.Println(reply.GetStatus(), err)

	// Stop in the opposite order.
	fmt.Println(conn.Close(), srv.Shutdown(ctx), <-served, db.Close())
	// Output:
	// SERVING <nil>
	// <nil> <nil> <nil> <nil>
}
