// Package interop runs the real SlateDB, as its npm package brings it, against
// package slate, both ways: each opens, reads, continues and fences what the
// other wrote. It holds tests only; its README says which, and how to run them.
package interop
