// Package kvtest is the suite that every kv.Store passes. A driver's test calls
// it with a function that opens an empty store:
//
//	func TestStore(t *testing.T) {
//		kvtest.Run(t, func(t *testing.T) kv.Store { return memkv.New() })
//	}
//
// It tests what package kv promises and nothing more: a store may count more as
// read than was read, but may not refuse a transaction beside which nothing was
// committed. What outlives the process is for the driver's own tests, as it
// takes opening a store again. No test depends on time.
package kvtest
