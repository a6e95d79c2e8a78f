package aptindex

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Sample returns n of the packages, ordered by name: those that every system
// has, and of the rest those whose names hash lowest, so that the choice
// depends on nothing but the names.
func Sample(packages []Package, n int) []Package {
	type ranked struct {
		Package
		rank uint64
	}
	all := make([]ranked, len(packages))
	for i, p := range packages {
		all[i].Package = p
		if p.Priority != "required" && p.Priority != "important" {
			h := fnv.New64a()
			_, _ = h.Write([]byte(p.Name)) // never fails
			all[i].rank = h.Sum64() | 1
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]Package, min(n, len(all)))
	for i := range out {
		out[i] = all[i].Package
	}
	slices.SortFunc(out, func(a, b Package) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
