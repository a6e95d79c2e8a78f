// Package memkv is a kv.Store in memory: for tests, for examples, and as the
// plain model that other stores are compared with. It keeps every promise of
// package kv but survival: what it holds is gone when the process is.
//
// Snapshots take the same time whatever the size of the store. Pairs yielded by
// a scan are overwritten as soon as it goes on, so that a caller who keeps one
// without copying it notices here rather than on another store.
package memkv
