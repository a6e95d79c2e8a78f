package faulty

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Verb is a method of a bucket that sends requests.
type Verb string

// The verbs, by the names of their methods.
const (
	PutIfAbsent Verb = "PutIfAbsent"
	PutIfMatch  Verb = "PutIfMatch"
	Put         Verb = "Put"
	Get         Verb = "Get"
	GetRange    Verb = "GetRange"
	Head        Verb = "Head"
	List        Verb = "List"
	Delete      Verb = "Delete"
)

// Writes are the verbs that change something.
var Writes = []Verb{PutIfAbsent, PutIfMatch, Put, Delete}

// Request is what a hook is told of a request.
type Request struct {
	Verb Verb
	Key  string // of a List: the prefix
	Body []byte // of a put; not to be changed
}

// Rule is a fault and the requests that it befalls. Of several rules that
// match a request all take effect, in the order in which they were added. The
// zero value matches every request and does nothing.
type Rule struct {
	// Verbs limits the rule to these; none means all.
	Verbs []Verb
	// Keys limits the rule to keys of this pattern, in which * stands for any
	// run of characters, slashes included. Empty means all.
	Keys string
	// When limits the rule to requests for which it returns true, asked once for
	// each that Verbs and Keys let in. It must not use the bucket. Nil means all.
	When func(Request) bool
	// Skip lets that many matching requests pass first.
	Skip int
	// Times ends the rule after it took effect so often; 0 means never.
	Times int

	// Before runs before the request is sent; its error is returned and the
	// request is not sent. It may block.
	Before func(context.Context, Request) error
	// Delay waits, on the injected clock, before the request is sent.
	Delay time.Duration
	// Err is returned in place of sending the request.
	Err error
	// Hold keeps a write back and answers ErrUnavailable; Release sends it, as
	// a network does that delivers late. Reads fail the same way and are gone.
	Hold bool
	// Duplicate sends a write twice; the caller sees the first reply.
	Duplicate bool
	// Lose sends the request and answers ErrUnavailable whatever the reply.
	Lose bool
	// After runs when the reply has come and may put another in its place. A
	// List has none: its objects are seen one by one.
	After func(context.Context, Request, error) error
}

// active is a rule in force and how often it matched.
type active struct {
	Rule
	id      int
	matched int
}

// takes counts a request that the rule matches, and reports whether the rule
// takes effect.
func (r *active) takes(q Request) bool {
	if len(r.Verbs) > 0 && !slices.Contains(r.Verbs, q.Verb) || !matches(r.Keys, q.Key) {
		return false
	}
	if r.When != nil && !r.When(q) {
		return false
	}
	r.matched++
	return r.matched > r.Skip && (r.Times == 0 || r.matched <= r.Skip+r.Times)
}

// matches reports whether key fits the pattern.
func matches(pattern, key string) bool {
	if pattern == "" {
		return true
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return key == pattern
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(key, first) {
		return false
	}
	key = key[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(key, part)
		if i < 0 {
			return false
		}
		key = key[i+len(part):]
	}
	return strings.HasSuffix(key, last)
}
