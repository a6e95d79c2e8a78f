// Package kv is the one seam below records: an ordered, transactional store of
// bytes. slatekv implements it on the engine, memkv in memory, and kvtest is
// the suite that every driver passes.
package kv
