package aptindex

import (
	"cmp"
	"slices"
)

// Query asks for packages. Its zero value selects all of them, in the order of
// their names; every field that is set narrows it.
type Query struct {
	Section    string
	Maintainer string
	Depends    string // the name of a package that they depend on
	MinSize    *int64 // KiB installed, included
	MaxSize    *int64 // KiB installed, included
	BySize     bool   // order by installed size, equals by name
	Reverse    bool   // the whole order turned round
	Limit      int    // 0: no limit
}

// Find answers q by looking at every package.
func Find(packages []Package, q Query) []Package {
	var out []Package
	for _, p := range packages {
		if q.matches(&p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Package) int {
		c := cmp.Compare(a.Name, b.Name)
		if q.BySize {
			c = cmp.Or(cmp.Compare(a.InstalledSize, b.InstalledSize), c)
		}
		if q.Reverse {
			return -c
		}
		return c
	})
	if q.Limit > 0 && len(out) > q.Limit {
		out = out[:q.Limit]
	}
	return out
}

func (q *Query) matches(p *Package) bool {
	size := int64(p.InstalledSize)
	return (q.Section == "" || p.Section == q.Section) &&
		(q.Maintainer == "" || p.Maintainer == q.Maintainer) &&
		(q.Depends == "" || slices.Contains(p.Depends, q.Depends)) &&
		(q.MinSize == nil || size >= *q.MinSize) &&
		(q.MaxSize == nil || size <= *q.MaxSize)
}
