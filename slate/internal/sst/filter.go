package sst

import "github.com/stele-db/stele/slate/internal/format"

// Prefixer says which part of a key is its prefix; see slate.PrefixExtractor.
type Prefixer interface {
	Name() string
	Version() uint32
	PrefixLen(key []byte) int
}

// filter is a filter block as the cache keeps it.
type filter struct {
	bloom    *format.Bloom
	prefixes bool // it may be asked for the prefixes of the store's Prefixer
}

// mayContain reports whether the SST may hold the key with this hash.
func (f *filter) mayContain(hash uint64) bool { return f == nil || f.bloom.MayContainHash(hash) }

// mayContainPrefix reports whether the SST may hold a key whose prefix has this
// hash.
func (f *filter) mayContainPrefix(hash uint64) bool {
	return f == nil || !f.prefixes || f.bloom.MayContainHash(hash)
}

// prefixHasher adds the hashes to a filter that prefixes need.
type prefixHasher struct {
	prefixer Prefixer
	last     []byte // the last key's prefix
}

// add appends the hash of the prefix of key, unless the key before had the same
// or the prefix is the key itself, whose hash is there anyway.
func (p *prefixHasher) add(hashes []uint64, key []byte) []uint64 {
	if p.prefixer == nil {
		return hashes
	}
	n := min(p.prefixer.PrefixLen(key), len(key))
	if n <= 0 || n == len(key) || string(key[:n]) == string(p.last) {
		return hashes
	}
	p.last = append(p.last[:0], key[:n]...)
	return append(hashes, format.BloomHash(p.last))
}

// finish appends what announces the prefixes.
func (p *prefixHasher) finish(hashes []uint64) []uint64 {
	if p.prefixer == nil {
		return hashes
	}
	w := format.PrefixWitnesses(p.prefixer.Name(), p.prefixer.Version())
	return append(hashes, w[:]...)
}
