package backoff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-db/stele/internal/backoff"
	"github.com/stele-db/stele/internal/clock"
)

var errBusy = errors.New("busy")

func busy(err error) bool { return errors.Is(err, errBusy) }

// fixed is randomness that is always the same; 0 draws the shortest waits.
type fixed byte

func (f fixed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

func TestWaitsDouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := backoff.Policy{Attempts: 6, First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Clock: clock.System, Random: fixed(0)}
		var at []time.Duration
		began := time.Now()
		err := p.Do(t.Context(), busy, func() error {
			at = append(at, time.Since(began))
			return fmt.Errorf("attempt %d: %w", len(at), errBusy)
		})
		if got, want := fmt.Sprint(at), "[0s 5ms 15ms 35ms 60ms 85ms]"; got != want {
			t.Errorf("attempts at %s, want %s", got, want)
		}
		if !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "6 attempts") {
			t.Error(err)
		}
		began = time.Now()
		p.Random = bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
		if err := p.Wait(t.Context(), 40); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d < 25*time.Millisecond || d > 50*time.Millisecond {
			t.Errorf("a late wait took %v", d)
		}
		if err := p.Wait(t.Context(), 1); !errors.Is(err, io.EOF) {
			t.Errorf("without randomness: %v", err)
		}
	})
}

func TestDoEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := backoff.Policy{Attempts: 100, First: time.Second, Max: time.Second, Clock: clock.System, Random: fixed(0)}
		other := errors.New("other")
		for want, result := range map[int][]error{1: {nil}, 2: {errBusy, nil}, 3: {errBusy, errBusy, other}} {
			n := 0
			err := p.Do(t.Context(), busy, func() error { n++; return result[n-1] })
			if n != want || err != result[want-1] { //nolint:errorlint // the very same
				t.Errorf("%d attempts: %v; want %d", n, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		n := 0
		err := p.Do(ctx, busy, func() error { n++; return errBusy })
		if n != 3 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "busy") {
			t.Errorf("%d attempts: %v", n, err)
		}
	})
}
