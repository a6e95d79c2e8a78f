package overlay

import (
	"context"
	"errors"
	"testing"

	"github.com/stele-db/stele/kv"
)

func TestLock(t *testing.T) {
	l := NewLock()
	if err := l.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- l.Acquire(ctx) }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire with an ended context = %v", err)
	}
	go func() { result <- l.Acquire(t.Context()) }()
	l.Release()
	if err := <-result; err != nil {
		t.Errorf("Acquire after Release = %v", err)
	}
	go func() { result <- l.Acquire(t.Context()) }()
	if !l.Close() || l.Close() {
		t.Error("Close does not report the first call alone")
	}
	if err := <-result; !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Acquire during Close = %v", err)
	}
	l.Release()
	if err := l.Acquire(t.Context()); !errors.Is(err, kv.ErrClosed) || !l.Closed() {
		t.Errorf("Acquire after Close = %v", err)
	}
}
