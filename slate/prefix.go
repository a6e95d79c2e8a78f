package slate

// PrefixExtractor says which part of a key is its prefix: what the keys of a
// typical scan have in common. Filters then hold prefixes beside whole keys, so
// that a scan whose range lies within one prefix passes over the SSTs that have
// no such key, without reading a block of them.
//
// Filters announce the extractor by name and version, and one made by another,
// or by a SlateDB, is not asked for prefixes. So a database may be opened with
// another extractor, or none, at any time, and merely loses the speed until its
// SSTs are rewritten; a reader gains it with the writer's extractor.
//
// Its methods must be safe for concurrent use.
type PrefixExtractor interface {
	// Name and Version tell this extractor from all others. What changes
	// PrefixLen changes the version.
	Name() string
	Version() uint32
	// PrefixLen returns how many bytes of key are its prefix, 0 if it has none.
	// The prefix must depend on nothing that follows it: if PrefixLen(k) is n > 0,
	// then it is n for every key that begins with k[:n], and for k[:n] itself.
	// Scans that an extractor does not keep to this for may miss rows.
	PrefixLen(key []byte) int
}
