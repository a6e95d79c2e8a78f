package manifest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/internal/format"
	"github.com/stele-db/stele/slate/internal/layout"
	"github.com/stele-db/stele/slate/internal/manifest"
)

func newStore(b bucket.Bucket) *manifest.Store[format.Manifest] {
	return manifest.NewStore(b, layout.NewRoot("db"), clock.System, rand.Reader, manifest.Manifests)
}

func bump(m *format.Manifest, _ uint64) (*format.Manifest, error) {
	next := *m
	next.WriterEpoch++
	return &next, nil
}

// Publishers that race lose no edit: each runs again on what won, or finds
// itself done there when it was overtaken before it knew that it had won.
func TestUpdatesAreSerial(t *testing.T) {
	b := bucket.NewInMemBucket()
	first, err := newStore(b).Create(t.Context(), manifest.Version[format.Manifest]{}, &format.Manifest{Initialized: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for publisher := range 8 {
		wg.Go(func() {
			s, v := newStore(b), first
			for edit := range 10 {
				checkpoint := format.Checkpoint{ID: format.UUID{byte(publisher), byte(edit)}, ManifestID: 1}
				var err error
				v, err = s.Update(context.Background(), v, func(m *format.Manifest, _ uint64) (*format.Manifest, error) {
					if slices.Contains(m.Checkpoints, checkpoint) {
						return m, nil
					}
					next := *m
					next.Checkpoints = append(slices.Clip(m.Checkpoints), checkpoint)
					return &next, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last, err := newStore(b).Latest(t.Context())
	if err != nil || last.ID != 81 || len(last.Value.Checkpoints) != 80 {
		t.Errorf("after 80 edits: version %d, %d checkpoints, %v", last.ID, len(last.Value.Checkpoints), err)
	}
}

// An edit that returns what it got publishes nothing.
func TestNothingToPublish(t *testing.T) {
	s := newStore(bucket.NewInMemBucket())
	v, err := s.Create(t.Context(), manifest.Version[format.Manifest]{}, &format.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	same, err := s.Update(t.Context(), v, func(m *format.Manifest, _ uint64) (*format.Manifest, error) { return m, nil })
	if err != nil || same.ID != v.ID {
		t.Errorf("version %d, %v", same.ID, err)
	}
}

// A publisher sleeps while others publish and a collector removes the version
// that it is about to write. Its put succeeds, and still it has not won.
func TestSleeperDoesNotWinACollectedId(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket.NewInMemBucket()
		s := newStore(b)
		old, err := s.Create(t.Context(), manifest.Version[format.Manifest]{}, &format.Manifest{})
		if err != nil {
			t.Fatal(err)
		}
		v := old
		for range 3 {
			if v, err = s.Update(t.Context(), v, bump); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(301 * time.Second)
		for id := old.ID; id < v.ID; id++ {
			if err := b.Delete(t.Context(), layout.NewRoot("db").Manifest(id)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Create(t.Context(), old, old.Value); !errors.Is(err, bucket.ErrExists) {
			t.Errorf("publish of a collected id: %v", err)
		}
		after, err := s.Update(t.Context(), old, bump)
		if err != nil || after.ID != v.ID+1 || after.Value.WriterEpoch != 4 {
			t.Errorf("update from an old base: version %d, epoch %d, %v", after.ID, after.Value.WriterEpoch, err)
		}
	})
}

// A confirmation grows old by either clock: the monotonic one stands still while
// a machine is suspended, the wall clock may be set.
func TestStale(t *testing.T) {
	at := time.Now()
	after := func(wall, monotonic time.Duration) time.Time {
		now := at.Add(wall)
		*(*int64)(unsafe.Add(unsafe.Pointer(&now), 8)) += int64(monotonic - wall) // the monotonic reading; package time lets nobody set it alone
		if now.Round(0).Sub(at.Round(0)) != wall || now.Sub(at) != monotonic {
			t.Fatalf("a time of %v, %v is %v, %v later", wall, monotonic, now.Round(0).Sub(at.Round(0)), now.Sub(at))
		}
		return now
	}
	for _, c := range []struct {
		wall, monotonic time.Duration
		stale           bool
	}{
		{0, 0, false}, {manifest.Fresh, manifest.Fresh, false}, {manifest.Fresh + 1, manifest.Fresh + 1, true},
		{time.Hour, time.Second, true}, {-time.Hour, 3 * time.Minute, true}, {-time.Hour, time.Minute, false},
	} {
		if got := manifest.Stale(at, after(c.wall, c.monotonic)); got != c.stale {
			t.Errorf("after %v, %v by the monotonic clock: stale %v", c.wall, c.monotonic, got)
		}
	}
}

// Damage names the object; names that are no manifest are ignored.
func TestDamagedAndForeignObjects(t *testing.T) {
	b := bucket.NewInMemBucket()
	s := newStore(b)
	if _, err := s.Latest(t.Context()); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("latest of nothing: %v", err)
	}
	if _, err := s.Create(t.Context(), manifest.Version[format.Manifest]{}, &format.Manifest{}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"db/manifest/notes.txt", "db/manifest/zzz.manifest"} {
		if err := b.Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Latest(t.Context()); err != nil || v.ID != 1 {
		t.Errorf("latest beside foreign names: %d, %v", v.ID, err)
	}
	if err := b.Put(t.Context(), layout.NewRoot("db").Manifest(2), []byte{0, 1, 9, 9}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Latest(t.Context()); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "00002.manifest") {
		t.Errorf("latest of damage: %v", err)
	}
}
