// Package server serves a database over gRPC, to clients that know nothing of
// this program but one generated file, database.proto.
//
// A schema's messages with a key are its models. Each model Dog is served by
// four methods: GetDogsByPk and DeleteDogsByPk take an IndexQuery, PutDog
// takes the record itself, BatchPutDogs the list message Dogs. Each field with
// an index adds one more, such as GetDogsByBreed. The plural is always the
// name and an s, so that no method is ever renamed. [Compile] makes the file and
// its descriptor from a schema, with no I/O. Messages without a key are parts of
// models; those that no model needs are skipped, and [API.Skipped] says so.
//
// An IndexQuery holds one of four expressions over the primary key or the
// index, their values as text ([record.Field.ParseText]; a composite primary
// key is a JSON array):
//
//   - eq: the records with that value. None is not an error but an empty list.
//   - gte: the records from that value up, ascending.
//   - lte: the records from that value down, descending.
//   - begins_with: the records whose string or bytes begin so, ascending; the
//     empty string means all records.
//
// Deleting takes the same query and runs in one transaction; a batch is stored
// whole or not at all. A put replaces the record with the same key.
//
// [New] serves these methods on a [record.DB] by descriptors, with no
// generated code. The bytes of a request are the record: they are validated
// and stored as they came, unknown fields included, and the rows of a reply
// are spliced together as they lie. What comes from Go and what comes over
// gRPC is therefore the same table with the same indexes.
//
// Errors are gRPC status codes with google.rpc details; one table in status.go
// maps the sentinels of package kv. Reflection (v1 and v1alpha) and health
// checks are always there. Encryption, identities and streaming replies are
// not part of this package yet: listen on loopback or a private network.
package server
