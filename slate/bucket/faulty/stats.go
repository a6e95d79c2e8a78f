package faulty

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Count is what was asked with one verb.
type Count struct {
	Requests int64 // sent by the caller, failed ones included; each further 1000 listed objects are one
	Errors   int64 // answered with an error, ErrNotFound and ErrExists included
	Sent     int64 // bytes of bodies handed in
	Received int64 // bytes of bodies handed out
}

func (c Count) plus(d Count) Count {
	return Count{c.Requests + d.Requests, c.Errors + d.Errors, c.Sent + d.Sent, c.Received + d.Received}
}

// Stats are the counts by verb; what was never asked is missing.
type Stats map[Verb]Count

// Total sums up the verbs, or all if none is named.
func (s Stats) Total(verbs ...Verb) Count {
	var sum Count
	for v, c := range s {
		if len(verbs) == 0 || slices.Contains(verbs, v) {
			sum = sum.plus(c)
		}
	}
	return sum
}

// Since returns what was asked after earlier, an older result of Stats.
func (s Stats) Since(earlier Stats) Stats {
	out := Stats{}
	for v, c := range s {
		e := earlier[v]
		d := Count{c.Requests - e.Requests, c.Errors - e.Errors, c.Sent - e.Sent, c.Received - e.Received}
		if d != (Count{}) {
			out[v] = d
		}
	}
	return out
}

// String lists requests by verb, in alphabetical order.
func (s Stats) String() string {
	var out []string
	for _, v := range slices.Sorted(maps.Keys(s)) {
		out = append(out, fmt.Sprintf("%s %d", v, s[v].Requests))
	}
	return strings.Join(out, ", ")
}
