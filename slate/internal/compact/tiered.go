package compact

import "math"

// Tiered is SlateDB's size-tiered scheduling: L0 becomes a new run as soon as
// it has enough SSTs, and neighbouring runs of similar size become one. A row
// is rewritten about once for every factor of MinSources by which the database
// outgrows L0. The zero value is SlateDB's default.
type Tiered struct {
	// MinSources is the least number of runs that are merged. Default 4. More:
	// less is rewritten, reads have more runs to look into.
	MinSources int
	// MinL0 is MinSources for L0. Default: MinSources.
	MinL0 int
	// MaxSources is the most sources of one compaction. Default 8.
	MaxSources int
	// IncludeThreshold: a run joins newer ones if it is at most so many times as
	// large as the smallest of them. Default 4.
	IncludeThreshold float64
}

func (c Tiered) withDefaults() Tiered {
	if c.MinSources <= 0 {
		c.MinSources = 4
	}
	if c.MinL0 <= 0 {
		c.MinL0 = c.MinSources
	}
	if c.MaxSources <= 0 {
		c.MaxSources = 8
	}
	if c.IncludeThreshold <= 0 {
		c.IncludeThreshold = 4
	}
	return c
}

// LeastL0 is the number of SSTs of L0 from which on they are compacted.
func (c Tiered) LeastL0() int { return c.withDefaults().MinL0 }

// Propose returns the compactions that are due, L0 first. They may all be under
// way at the same time.
func (c Tiered) Propose(t Tree) []Plan {
	c = c.withDefaults()
	var out []Plan
	for {
		p, ok := c.next(&t)
		if !ok {
			return out
		}
		out = append(out, p)
		t.Active = append(t.Active[:len(t.Active):len(t.Active)], p)
	}
}

func (c Tiered) next(t *Tree) (Plan, bool) {
	if len(t.L0) >= c.MinL0 && !t.l0Busy() {
		p := Plan{L0: min(len(t.L0), max(c.MaxSources, 1)), Destination: t.NextRun()}
		if !c.crowded(t, p.L0) {
			return p, true
		}
	}
	for start := range t.Runs {
		if chain := c.chain(t, start); len(chain) >= max(c.MinSources, 2) {
			chain = chain[max(0, len(chain)-max(c.MaxSources, 2)):]
			p := Plan{}
			for _, r := range chain {
				p.Runs, p.Destination = append(p.Runs, r.ID), r.ID
			}
			return p, true
		}
	}
	return Plan{}, false
}

// crowded reports whether the run that the oldest n SSTs of L0 would become has
// to wait until the runs of its size are merged, of which there are as many as
// one compaction can take.
func (c Tiered) crowded(t *Tree, n int) bool {
	if len(t.Runs) == 0 {
		return false
	}
	var sum uint64
	for _, size := range t.L0[len(t.L0)-n:] {
		sum += size
	}
	return float64(t.Runs[0].Bytes) <= c.IncludeThreshold*float64(sum) && len(c.chain(t, 0)) >= c.MaxSources
}

// chain returns the runs from start on that may be merged together now: those
// of similar size, up to the first that is busy.
func (c Tiered) chain(t *Tree, start int) []Run {
	runs := c.similar(t, start)
	for i, r := range runs {
		if t.busy(r.ID) {
			return runs[:i]
		}
	}
	return runs
}

// similar returns the runs from start on of which each is not too large for the
// smallest before it. Runs without rows join any others.
func (c Tiered) similar(t *Tree, start int) []Run {
	least := math.Inf(1)
	for i, r := range t.Runs[start:] {
		if size := float64(r.Bytes); size > 0 {
			if size > c.IncludeThreshold*least {
				return t.Runs[start : start+i]
			}
			least = min(least, size)
		}
	}
	return t.Runs[start:]
}
