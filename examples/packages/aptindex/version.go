package aptindex

import (
	"cmp"
	"slices"
	"strings"
)

// Newest returns one package per name, ordered by name: where several indexes
// offer one (a release and its security updates), the one with the highest
// version.
func Newest(packages []Package) []Package {
	sorted := slices.Clone(packages)
	slices.SortStableFunc(sorted, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), CompareVersions(b.Version, a.Version))
	})
	return slices.CompactFunc(sorted, func(a, b Package) bool { return a.Name == b.Name })
}

// CompareVersions orders Debian versions by Debian's rules: first the epoch as
// a number, then the upstream version, then the revision, each compared as
// alternating runs of text and digits, where "~" sorts before even the end.
func CompareVersions(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	return cmp.Or(compareRuns(ea, eb), compareRuns(ua, ub), compareRuns(ra, rb))
}

func splitVersion(v string) (epoch, upstream, revision string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, v = e, rest
	}
	if at := strings.LastIndexByte(v, '-'); at >= 0 {
		v, revision = v[:at], v[at+1:]
	}
	return epoch, v, revision
}

func compareRuns(a, b string) int {
	for a != "" || b != "" {
		for nonDigit(a) || nonDigit(b) {
			if c := cmp.Compare(weight(a), weight(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // equal weights: neither was at its end
		}
		var na, nb string
		na, a = digits(a)
		nb, b = digits(b)
		if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
			return c
		}
	}
	return 0
}

func nonDigit(s string) bool { return s != "" && (s[0] < '0' || s[0] > '9') }

// weight orders the first character: "~", then the end or a digit, then
// letters, then everything else.
func weight(s string) int {
	switch {
	case s == "":
		return 0
	case s[0] == '~':
		return -1
	case s[0] >= '0' && s[0] <= '9':
		return 0
	case s[0] >= 'A' && s[0] <= 'Z' || s[0] >= 'a' && s[0] <= 'z':
		return int(s[0])
	default:
		return int(s[0]) + 256
	}
}

// digits cuts off the leading number, without its leading zeros.
func digits(s string) (number, rest string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return strings.TrimLeft(s[:end], "0"), s[end:]
}
