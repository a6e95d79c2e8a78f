package conflict

import (
	"bytes"
	"slices"
	"sort"
)

// Keys is a set of keys and ranges of keys that takes a bounded amount of
// memory: see the package. The zero value is empty and has no limit. It is used
// by one goroutine at a time.
type Keys struct {
	// Limit is the number of bytes that the set may take, about; 0 is none.
	Limit int

	spans   []span // the first settled ones ascend and are disjoint
	settled int
	used    int    // bytes of all spans with their bounds
	arena   []byte // where the next bounds are copied to
}

// span is the keys k with lower <= k < upper, or lower alone.
type span struct {
	lower, upper []byte // a nil upper is none
	single       bool
}

const (
	spanBytes   = 56
	settleAfter = 64 // spans that wait to be settled, at least
	firstArena  = 256
	lastArena   = 16 << 10
)

// Add adds a key. It keeps a copy.
func (s *Keys) Add(key []byte) { s.add(span{lower: s.copy(key), single: true}) }

// AddRange adds the keys k with lower <= k < upper; a nil bound is no bound. It
// keeps copies.
func (s *Keys) AddRange(lower, upper []byte) {
	switch {
	case upper == nil:
		s.add(span{lower: s.copy(lower)})
	case bytes.Compare(lower, upper) < 0:
		s.add(span{lower: s.copy(lower), upper: s.copy(upper)})
	}
}

// Contains reports whether key is in the set.
func (s *Keys) Contains(key []byte) bool {
	s.Settle()
	i := sort.Search(len(s.spans), func(i int) bool { return bytes.Compare(s.spans[i].lower, key) > 0 })
	return i > 0 && s.spans[i-1].contains(key)
}

// contains is for a key that is not below lower.
func (p span) contains(key []byte) bool {
	if p.single {
		return bytes.Equal(p.lower, key)
	}
	return p.upper == nil || bytes.Compare(key, p.upper) < 0
}

// end is the first key behind the span, nil if there is none.
func (p span) end() []byte {
	if p.single {
		return append(slices.Clip(p.lower), 0)
	}
	return p.upper
}

// to is the least span that has all of p and of q, which does not begin before
// p.
func (p span) to(q span) span {
	if p.single && q.single && bytes.Equal(p.lower, q.lower) {
		return p
	}
	upper, other := p.end(), q.end()
	if upper != nil && (other == nil || bytes.Compare(upper, other) < 0) {
		upper = other
	}
	return span{lower: p.lower, upper: upper}
}

func (p span) size() int { return spanBytes + len(p.lower) + len(p.upper) }

func (s *Keys) add(p span) {
	s.spans = append(s.spans, p)
	s.used += p.size()
	waiting := len(s.spans) - s.settled
	if waiting > max(s.settled, settleAfter) || s.Limit > 0 && s.used > s.Limit {
		s.Settle()
	}
}

func (s *Keys) copy(b []byte) []byte {
	if len(s.arena)+len(b) > cap(s.arena) {
		s.arena = make([]byte, 0, max(len(b), min(max(2*cap(s.arena), firstArena), lastArena)))
	}
	at := len(s.arena)
	s.arena = append(s.arena, b...)
	return s.arena[at:len(s.arena):len(s.arena)]
}

// Settle does now what the next Contains would have to: it sorts the set and
// makes one span of those that overlap or touch; of neighbours too, if the set
// has become too large.
func (s *Keys) Settle() {
	if s.settled == len(s.spans) {
		return
	}
	all := len(s.spans)
	slices.SortFunc(s.spans, func(a, b span) int { return bytes.Compare(a.lower, b.lower) })
	s.join(func(_ int, last, p span) bool {
		return last.contains(p.lower) || !last.single && bytes.Equal(last.upper, p.lower)
	})
	if s.Limit > 0 && s.used > s.Limit {
		for s.used > s.Limit/2 && len(s.spans) > 1 {
			s.join(func(i int, _, _ span) bool { return i%2 == 1 })
		}
	}
	s.settled = len(s.spans)
	if s.settled < all {
		s.renew()
	}
}

// join makes one of neighbouring spans where the rule, asked with the place of
// the second, says so.
func (s *Keys) join(rule func(i int, last, p span) bool) {
	kept := s.spans[:0]
	s.used = 0
	for i, p := range s.spans {
		if last := len(kept) - 1; last >= 0 && rule(i, kept[last], p) {
			s.used -= kept[last].size()
			kept[last] = kept[last].to(p)
			s.used += kept[last].size()
			continue
		}
		kept = append(kept, p)
		s.used += p.size()
	}
	clear(s.spans[len(kept):])
	s.spans = kept
}

// renew copies what is left to memory of its own, so that the rest is freed.
func (s *Keys) renew() {
	s.arena = make([]byte, 0, s.used)
	for i, p := range s.spans {
		s.spans[i].lower = s.copy(p.lower)
		if p.upper != nil {
			s.spans[i].upper = s.copy(p.upper)
		}
	}
	s.spans = slices.Clip(s.spans)
}

// Bytes is about the memory that the set takes.
func (s *Keys) Bytes() int { return s.used }
