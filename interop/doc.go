// Package interop runs the real SlateDB, as its npm package brings it, or the
// newest from crates.io, against package slate, both ways: each opens, reads,
// continues, compacts, collects and fences what the other wrote. It holds tests
// only, which print a matrix; its README shows it, and says how to run them.
package interop
