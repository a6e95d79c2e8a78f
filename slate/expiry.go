package slate

import (
	"math"
	"time"
)

// Expiry says when a row expires. The zero value is what Options.DefaultTTL
// says, which is never if it says nothing.
//
// SlateDB shows an expired row until a flush or compaction rewrites it, and so
// do reads here unless Options.HideExpired says otherwise. A flush or
// compaction makes a tombstone of an expired value and drops an expired
// operand.
type Expiry struct {
	kind expiryKind
	ms   int64
}

type expiryKind uint8

const (
	expiresByDefault expiryKind = iota
	expiresNever
	expiresAfter
	expiresAt
)

// ExpireNever is never, whatever Options.DefaultTTL says.
func ExpireNever() Expiry { return Expiry{kind: expiresNever} }

// ExpireAfter is d after the write, rounded up to the millisecond.
func ExpireAfter(d time.Duration) Expiry {
	ms := d.Milliseconds()
	if d > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return Expiry{expiresAfter, ms}
}

// ExpireAt is at t, rounded down to the millisecond.
func ExpireAt(t time.Time) Expiry { return Expiry{expiresAt, t.UnixMilli()} }

// or is e, or def if e leaves it to the default.
func (e Expiry) or(def Expiry) Expiry {
	if e.kind == expiresByDefault {
		return def
	}
	return e
}

// at is the time (ms) of expiry of a row written at now, if it has one; one
// beyond the end of time is none.
func (e Expiry) at(now int64) (ms int64, expires bool) {
	switch {
	case e.kind == expiresAt:
		return e.ms, true
	case e.kind == expiresAfter && (e.ms <= 0 || now <= math.MaxInt64-e.ms):
		return now + e.ms, true
	}
	return 0, false
}
