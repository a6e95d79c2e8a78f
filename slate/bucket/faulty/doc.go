// Package faulty wraps a bucket so that it fails, waits, repeats itself and
// loses its replies on cue, and counts what is asked of it. It is for tests
// and benchmarks of whatever stands on a bucket.
//
// Rules say which requests a fault befalls. They are deterministic: given the
// same requests in the same order, the same ones fail.
//
//	f := faulty.New(bucket.NewInMemBucket(), faulty.Options{})
//	f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Keys: "*/wal/*", Skip: 2, Times: 1, Lose: true})
//
// The reply to the third WAL object is lost, though the object is written.
package faulty
