package diskcache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/diskcache"
)

// child is a second process, when the test binary runs itself: it fills a cache
// until it is killed.
func child() bool {
	dir := os.Getenv("STELE_TEST_CACHE")
	if dir == "" {
		return false
	}
	ctx := context.Background()
	c, err := diskcache.New(bucket.NewInMemBucket(), dir, diskcache.Options{PartBytes: 64 << 10, MaxBytes: 4 << 20})
	if err != nil {
		panic(err)
	}
	body := bodyOf(300_000)
	for i := 0; ; i++ {
		if err := c.Put(ctx, sstKey(i%40), body); err != nil {
			panic(err)
		}
		if i == 20 {
			fmt.Println("busy")
		}
	}
}

// A directory has one owner, in this process or another, and is free as soon as
// the owner is gone, however that came; what it left is whole.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	b := bucket.NewInMemBucket()
	opts := diskcache.Options{PartBytes: 64 << 10}
	c := newCache(t, b, dir, opts)
	refused := func() {
		t.Helper()
		if _, err := diskcache.New(b, dir, opts); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("a directory in use: %v", err)
		}
	}
	refused()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	body := string(bodyOf(300_000))
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "STELE_TEST_CACHE="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if !bufio.NewScanner(out).Scan() {
			t.Fatal("the other process ended")
		}
		refused()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()

		b := bucket.NewInMemBucket()
		for i := range 40 {
			if err := b.Put(t.Context(), sstKey(i), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		c := newCache(t, b, dir, opts)
		partFiles(t, dir)
		if s := c.Stats(); s.Parts < 40 {
			t.Errorf("%+v", s)
		}
		for i := range 40 {
			got, err := c.GetRange(t.Context(), sstKey(i), 0, 300_000)
			if err != nil || string(got) != body {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		if s := c.Stats(); s.Hits < 40 || s.Damaged > 0 {
			t.Errorf("%+v", s)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
