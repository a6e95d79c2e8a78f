package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// Probe finds out whether a bucket honours the condition of PutIfAbsent, by
// trying: some stores that speak the language of S3 take the request and
// ignore it, and two writers would overwrite each other. It creates an object
// prefix/.stele-probe-RANDOM, puts it a second time, reads and deletes it: four
// requests, worth making once, before a database is created.
//
// It returns ErrUnsupported with the reason if the bucket cannot be written
// safely, or the error of the request that failed.
func Probe(ctx context.Context, b Bucket, prefix string) error {
	name := b.Capabilities().Name
	key := ".stele-probe-" + rand.Text()
	if prefix != "" {
		key = prefix + "/" + key
	}
	refuse := func(why string) error {
		return &Error{Bucket: name, Verb: "probe", Key: key, Kind: ErrUnsupported, Err: errors.New(why)}
	}
	if c := b.Capabilities(); !c.ConditionalPut {
		return refuse(c.Reason)
	}
	first, second := []byte("first"), []byte("second")
	if err := b.PutIfAbsent(ctx, key, first, rand.Text()); err != nil {
		return fmt.Errorf("probe for conditional put: %w", err)
	}
	err := b.PutIfAbsent(ctx, key, second, rand.Text())
	body, gerr := b.Get(ctx, key)
	derr := b.Delete(ctx, key)
	switch {
	case err == nil:
		return refuse("a put-if-absent of an object that exists succeeded: the store ignores conditions, and writers would overwrite each other")
	case !errors.Is(err, ErrExists):
		return fmt.Errorf("probe for conditional put: %w", err)
	case gerr != nil:
		return fmt.Errorf("probe for conditional put: %w", gerr)
	case string(body) != string(first):
		return refuse("a put-if-absent that was refused changed the object all the same")
	case derr != nil:
		return fmt.Errorf("probe for conditional put: %w", derr)
	}
	return nil
}
