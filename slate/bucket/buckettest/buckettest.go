package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/faulty"
)

// Run checks that buckets behave as bucket.Bucket says. open returns an empty
// bucket, which nothing else uses, for each of some twenty subtests; the suite
// closes it.
func Run(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, bucket.Bucket)
	}{
		{"Missing", testMissing},
		{"PutAndGet", testPutAndGet},
		{"PutIfAbsent", testPutIfAbsent},
		{"PutIfMatch", testPutIfMatch},
		{"Token", testToken},
		{"GetRange", testGetRange},
		{"List", testList},
		{"ListPages", testListPages},
		{"ListWhileWriting", testListWhileWriting},
		{"Delete", testDelete},
		{"Names", testNames},
		{"InvalidArguments", testInvalidArguments},
		{"LargeObject", testLargeObject},
		{"BytesAreTheCallers", testBytesAreTheCallers},
		{"WholeObjects", testWholeObjects},
		{"ContextDone", testContextDone},
		{"Race", func(t *testing.T, b bucket.Bucket) { Race(t, b, 20, 16) }},
		{"LostReplies", testLostReplies},
		{"Probe", testProbe},
		{"Capabilities", testCapabilities},
		{"Closed", testClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t)
			tt.test(t, b)
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

const token = "token-of-the-test"

func want(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want %v", what, err, kind)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, b bucket.Bucket, key, body string) {
	t.Helper()
	must(t, b.Put(t.Context(), key, []byte(body)))
}

func wantBody(t *testing.T, b bucket.Bucket, key, body string) {
	t.Helper()
	got, err := b.Get(t.Context(), key)
	must(t, err)
	if string(got) != body {
		t.Fatalf("get %s: got %q, want %q", key, clip(string(got)), clip(body))
	}
}

func clip(s string) string { return s[:min(len(s), 40)] }

// list returns the keys of a listing.
func list(t *testing.T, b bucket.Bucket, prefix, after string) []string {
	t.Helper()
	keys := []string{}
	for o, err := range b.List(t.Context(), prefix, after) {
		must(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

func testMissing(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	_, err := b.Get(ctx, "no/such")
	want(t, "get", err, bucket.ErrNotFound)
	if err == nil || !strings.Contains(err.Error(), "no/such") {
		t.Errorf("the error %v does not name the key", err)
	}
	_, err = b.GetRange(ctx, "no/such", 0, 1)
	want(t, "get range", err, bucket.ErrNotFound)
	_, err = b.GetRange(ctx, "no/such", 0, 0)
	want(t, "get empty range", err, bucket.ErrNotFound)
	_, err = b.Head(ctx, "no/such")
	want(t, "head", err, bucket.ErrNotFound)
	must(t, b.Delete(ctx, "no/such"))
	if keys := list(t, b, "", ""); len(keys) > 0 {
		t.Errorf("an empty bucket lists %q", keys)
	}
	put(t, b, "there/deep/object", "x")
	for _, key := range []string{"there", "there/deep", "there/deep/objec", "there/deep/object/below"} {
		_, err = b.Get(ctx, key)
		want(t, "get "+key, err, bucket.ErrNotFound)
		_, err = b.Head(ctx, key)
		want(t, "head "+key, err, bucket.ErrNotFound)
		must(t, b.Delete(ctx, key))
	}
	wantBody(t, b, "there/deep/object", "x")
}

func testPutAndGet(t *testing.T, b bucket.Bucket) {
	for _, body := range []string{"first", "a second, longer one", "3", "", "\x00\xff\r\n"} {
		put(t, b, "a/b", body)
		wantBody(t, b, "a/b", body)
		o, err := b.Head(t.Context(), "a/b")
		must(t, err)
		if o.Key != "a/b" || o.Size != int64(len(body)) || o.Modified.IsZero() {
			t.Errorf("head after putting %d bytes: %+v", len(body), o)
		}
	}
	must(t, b.Put(t.Context(), "nil", nil))
	wantBody(t, b, "nil", "")
}

func testPutIfAbsent(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	must(t, b.PutIfAbsent(ctx, "m/1", []byte("mine"), token))
	wantBody(t, b, "m/1", "mine")
	want(t, "other bytes", b.PutIfAbsent(ctx, "m/1", []byte("theirs"), "another"), bucket.ErrExists)
	want(t, "equal bytes", b.PutIfAbsent(ctx, "m/1", []byte("mine"), "another"), bucket.ErrExists)
	wantBody(t, b, "m/1", "mine")
	put(t, b, "m/2", "put")
	want(t, "after a put", b.PutIfAbsent(ctx, "m/2", []byte("theirs"), token), bucket.ErrExists)
	must(t, b.Delete(ctx, "m/1"))
	must(t, b.PutIfAbsent(ctx, "m/1", nil, "again"))
	wantBody(t, b, "m/1", "")
}

func testPutIfMatch(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	put(t, b, "k", "1")
	o, err := b.Head(ctx, "k")
	must(t, err)
	if !b.Capabilities().Match {
		want(t, "put if match", b.PutIfMatch(ctx, "k", []byte("2"), "tag"), bucket.ErrUnsupported)
		return
	}
	must(t, b.PutIfMatch(ctx, "k", []byte("2"), o.Tag))
	wantBody(t, b, "k", "2")
	want(t, "stale tag", b.PutIfMatch(ctx, "k", []byte("3"), o.Tag), bucket.ErrChanged)
	want(t, "no object", b.PutIfMatch(ctx, "other", []byte("3"), o.Tag), bucket.ErrChanged)
	wantBody(t, b, "k", "2")
	o, err = b.Head(ctx, "k")
	must(t, err)
	if n := winners(16, func(i int) error {
		return b.PutIfMatch(ctx, "k", fmt.Appendf(nil, "winner %d", i), o.Tag)
	}, bucket.ErrChanged, t); n != 1 {
		t.Errorf("%d of 16 puts with one tag succeeded", n)
	}
}

func testToken(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	must(t, b.PutIfAbsent(ctx, "k", []byte("x"), token))
	_ = b.PutIfAbsent(ctx, "k", []byte("x"), "loser")
	o, err := b.Head(ctx, "k")
	must(t, err)
	switch {
	case b.Capabilities().Token && o.Token != token:
		t.Errorf("head returns token %q, want %q", o.Token, token)
	case !b.Capabilities().Token && o.Token != "":
		t.Errorf("head returns token %q, though capabilities have none", o.Token)
	}
	put(t, b, "k", "y")
	o, err = b.Head(ctx, "k")
	must(t, err)
	if o.Token != "" && !b.Capabilities().Remote { // gofakes3 keeps the old object's metadata
		t.Errorf("after a put: token %q", o.Token)
	}
}

func testGetRange(t *testing.T, b bucket.Bucket) {
	const body = "0123456789"
	put(t, b, "k", body)
	put(t, b, "empty", "")
	for _, r := range []struct {
		offset, length int64
		want           string
	}{
		{0, 10, body}, {0, 1, "0"}, {3, 4, "3456"}, {9, 1, "9"}, {8, 5, "89"}, {0, 1 << 62, body},
		{5, 1<<63 - 1, "56789"}, {10, 1, ""}, {10, 0, ""}, {4, 0, ""}, {0, 0, ""},
	} {
		got, err := b.GetRange(t.Context(), "k", r.offset, r.length)
		if err != nil || string(got) != r.want {
			t.Errorf("%d bytes at %d: got %q, %v; want %q", r.length, r.offset, got, err, r.want)
		}
	}
	if got, err := b.GetRange(t.Context(), "empty", 0, 7); err != nil || len(got) != 0 {
		t.Errorf("range of an empty object: %q, %v", got, err)
	}
	for _, r := range [][2]int64{{11, 1}, {11, 0}, {1 << 40, 1}, {-1, 1}, {0, -1}} {
		_, err := b.GetRange(t.Context(), "k", r[0], r[1])
		want(t, fmt.Sprintf("%d bytes at %d", r[1], r[0]), err, bucket.ErrInvalid)
	}
}

func testList(t *testing.T, b bucket.Bucket) {
	// Sorted bytewise: "-" and "." sort before "/", digits after.
	keys := []string{"a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a/c/e", "a0", "ab", "b/a", "b/\u00e9"}
	for i := range keys {
		put(t, b, keys[(i*7)%len(keys)], "12345"[:i%5])
	}
	prefixes := []string{"", "a", "a/", "a/b", "a/c", "a/c/", "a/c/d", "a/c/d/", "b", "c", "a-", "aa"}
	afters := append([]string{"", "a", "a/", "a/b/", "a/c", "a/c/", "a/d", "zz", "a/c/dd"}, keys...)
	for _, prefix := range prefixes {
		for _, after := range afters {
			expected := []string{}
			for _, k := range keys {
				if strings.HasPrefix(k, prefix) && k > after {
					expected = append(expected, k)
				}
			}
			if got := list(t, b, prefix, after); !slices.Equal(got, expected) {
				t.Errorf("list %q after %q:\n got %q\nwant %q", prefix, after, got, expected)
			}
		}
	}
	for o, err := range b.List(t.Context(), "a", "") {
		must(t, err)
		h, err := b.Head(t.Context(), o.Key)
		must(t, err)
		if o.Size != h.Size || o.Tag != h.Tag || o.Token != "" || o.Modified.Sub(h.Modified).Abs() > time.Second {
			t.Errorf("listed as %+v, head says %+v", o, h)
		}
		break // stopping early is allowed
	}
}

func testListPages(t *testing.T, b bucket.Bucket) {
	n := 1100 // more than a page of any store
	if testing.Short() {
		n = 50
	}
	key := func(i int) string { return fmt.Sprintf("wal/%020d.sst", i) }
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if err := b.Put(t.Context(), key(i), []byte("x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, from := range []int{0, 1, n / 2, n - 1, n} {
		after := ""
		if from > 0 {
			after = key(from - 1)
		}
		got := list(t, b, "wal/", after)
		if len(got) != n-from || !slices.IsSorted(got) || (len(got) > 0 && got[0] != key(from)) {
			t.Errorf("listing after %q has %d objects, want %d in order", after, len(got), n-from)
		}
	}
}

// testListWhileWriting: what stands all the while is listed, once and in
// order, whatever comes and goes beside it.
func testListWhileWriting(t *testing.T, b bucket.Bucket) {
	var stand []string
	for i := range 20 {
		stand = append(stand, fmt.Sprintf("k/%02d", i))
		put(t, b, stand[i], "x")
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			key := fmt.Sprintf("k/%02d-passing", i%20)
			if err := errors.Join(b.Put(t.Context(), key, nil), b.Delete(t.Context(), key)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		all := list(t, b, "k/", "")
		if !slices.IsSorted(all) {
			t.Errorf("not in order: %q", all)
		}
		got := slices.DeleteFunc(all, func(k string) bool { return strings.HasSuffix(k, "-passing") })
		if !slices.Equal(got, stand) {
			t.Errorf("listed %q, want %q", got, stand)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func testDelete(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	put(t, b, "d/1", "x")
	put(t, b, "d/2", "x")
	must(t, b.Delete(ctx, "d/1"))
	must(t, b.Delete(ctx, "d/1"))
	_, err := b.Get(ctx, "d/1")
	want(t, "get what was deleted", err, bucket.ErrNotFound)
	if got := list(t, b, "", ""); !slices.Equal(got, []string{"d/2"}) {
		t.Errorf("listed %q", got)
	}
	must(t, b.Delete(ctx, "d/2"))
	put(t, b, "d/1", "again")
	wantBody(t, b, "d/1", "again")
}

// testNames: names with signs that URLs and file systems treat specially.
func testNames(t *testing.T, b bucket.Bucket) {
	names := []string{
		"with space", "per%cent", "100%25", "plus+sign", "quest?ion", "ha#sh", "am&per=sand", "semi;colon:colon",
		"umlaut-\u00fc", "\u65e5\u672c", "..dots", "dots..", "...", ".hidden", "tilde~", "quote'", "paren(1)", "at@sign", "comma,",
		strings.Repeat("n", 200),
	}
	for i, n := range names {
		put(t, b, "names/"+n, fmt.Sprint(i))
		put(t, b, n+"/as folder", fmt.Sprint(i))
	}
	for i, n := range names {
		wantBody(t, b, "names/"+n, fmt.Sprint(i))
		wantBody(t, b, n+"/as folder", fmt.Sprint(i))
		if got := list(t, b, n+"/", ""); !slices.Equal(got, []string{n + "/as folder"}) {
			t.Errorf("list %q: %q", n+"/", got)
		}
	}
	if got := list(t, b, "names/", ""); len(got) != len(names) {
		t.Errorf("listed %d names of %d: %q", len(got), len(names), got)
	}
}

func testInvalidArguments(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/abs", "a//b", "a/", "..", "../a", "a/../b", "a/..", ".", "./a", "a/./b",
		"nul\x00", "bad utf-8 \xff", strings.Repeat("k", 1025), ".stele-tmp/x", ".stele-tmp",
	} {
		_, getErr := b.Get(ctx, key)
		_, rangeErr := b.GetRange(ctx, key, 0, 1)
		_, headErr := b.Head(ctx, key)
		for verb, err := range map[string]error{
			"get": getErr, "get range": rangeErr, "head": headErr,
			"put": b.Put(ctx, key, nil), "put if absent": b.PutIfAbsent(ctx, key, nil, token), "delete": b.Delete(ctx, key),
		} {
			want(t, fmt.Sprintf("%s %q", verb, clip(key)), err, bucket.ErrInvalid)
		}
	}
	for _, prefix := range []string{"/", "/a", "../", "a/../b", "a//"} {
		for _, err := range b.List(ctx, prefix, "") {
			want(t, "list "+prefix, err, bucket.ErrInvalid)
		}
	}
	for _, tok := range []string{strings.Repeat("t", 65), "new\nline", "sp ace", "\u00fc"} {
		want(t, fmt.Sprintf("token %q", tok), b.PutIfAbsent(ctx, "k", nil, tok), bucket.ErrInvalid)
	}
	if got := list(t, b, "", ""); len(got) > 0 {
		t.Errorf("refused puts left %q", got)
	}
}

func testLargeObject(t *testing.T, b bucket.Bucket) {
	body := make([]byte, 9<<20+17)
	for i := range body {
		body[i] = byte(i*7 + i>>8 + i>>16)
	}
	must(t, b.PutIfAbsent(t.Context(), "large", body, token))
	got, err := b.Get(t.Context(), "large")
	must(t, err)
	if !bytes.Equal(got, body) {
		t.Error("a large object came back changed")
	}
	got, err = b.GetRange(t.Context(), "large", 5<<20, 1<<20)
	must(t, err)
	if !bytes.Equal(got, body[5<<20:6<<20]) {
		t.Error("a range of a large object came back changed")
	}
}

func testBytesAreTheCallers(t *testing.T, b bucket.Bucket) {
	body := []byte("original")
	must(t, b.Put(t.Context(), "k", body))
	copy(body, "scribble")
	wantBody(t, b, "k", "original")
	for range 2 {
		got, err := b.Get(t.Context(), "k")
		must(t, err)
		copy(got, "scribble")
		part, err := b.GetRange(t.Context(), "k", 0, 4)
		must(t, err)
		copy(part, "scri")
	}
	wantBody(t, b, "k", "original")
}

// testWholeObjects: a reader beside a writer sees one version or another.
func testWholeObjects(t *testing.T, b bucket.Bucket) {
	version := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 50_000+1000*(i%7)) }
	must(t, b.Put(t.Context(), "k", version(0)))
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				got, err := b.Get(t.Context(), "k")
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) < 50_000 || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("got %d bytes of more than one version", len(got))
					return
				}
			}
		})
	}
	for i := range 40 {
		if err := b.Put(t.Context(), "k", version(i)); err != nil {
			t.Error(err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
}

func testContextDone(t *testing.T, b bucket.Bucket) {
	put(t, b, "k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, "put if absent", b.PutIfAbsent(ctx, "new", nil, token), context.Canceled)
	want(t, "put", b.Put(ctx, "k", nil), context.Canceled)
	want(t, "delete", b.Delete(ctx, "k"), context.Canceled)
	_, err := b.Get(ctx, "k")
	want(t, "get", err, context.Canceled)
	_, err = b.GetRange(ctx, "k", 0, 1)
	want(t, "get range", err, context.Canceled)
	_, err = b.Head(ctx, "k")
	want(t, "head", err, context.Canceled)
	seen := 0
	for _, err := range b.List(ctx, "", "") {
		want(t, "list", err, context.Canceled)
		seen++
	}
	if seen != 1 {
		t.Errorf("a cancelled listing yielded %d times", seen)
	}
	wantBody(t, b, "k", "x")
}

// winners runs n calls at once and returns how many succeed; the others must
// end in lost.
func winners(n int, call func(i int) error, lost error, t *testing.T) int {
	t.Helper()
	var won atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch err := call(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, lost):
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

// Race lets n goroutines create one object at the same time, for so many
// rounds: in each exactly one succeeds, and the object is that one's.
func Race(t *testing.T, b bucket.Bucket, rounds, n int) {
	t.Helper()
	b = bucket.WithRetry(b, bucket.RetryOptions{}) // a store may ask to try again
	for round := range rounds {
		key := fmt.Sprintf("race/%d", round)
		var winner atomic.Int64
		got := winners(n, func(i int) error {
			err := b.PutIfAbsent(t.Context(), key, fmt.Appendf(nil, "by %d", i), "")
			if err == nil {
				winner.Store(int64(i))
			}
			return err
		}, bucket.ErrExists, t)
		if got != 1 {
			t.Fatalf("round %d: %d of %d creations of one object succeeded", round, got, n)
		}
		wantBody(t, b, key, fmt.Sprintf("by %d", winner.Load()))
	}
}

// testLostReplies: callers with equal bytes create one object, and no first
// attempt is answered.
func testLostReplies(t *testing.T, b bucket.Bucket) {
	if !b.Capabilities().Token {
		t.Skip("this bucket keeps no tokens, so a lost reply has no outcome")
	}
	for round := range 10 {
		f := faulty.New(b, faulty.Options{})
		const callers = 2
		f.Add(faulty.Rule{Verbs: []faulty.Verb{faulty.PutIfAbsent}, Times: callers, Lose: true})
		r := bucket.WithRetry(f, bucket.RetryOptions{FirstWait: time.Millisecond})
		key := fmt.Sprintf("lost/%d", round)
		if n := winners(callers, func(int) error {
			return r.PutIfAbsent(t.Context(), key, []byte("the same bytes"), "")
		}, bucket.ErrExists, t); n != 1 {
			t.Fatalf("round %d: %d of %d callers believe that the object is theirs", round, n, callers)
		}
	}
}

func testProbe(t *testing.T, b bucket.Bucket) {
	must(t, bucket.Probe(t.Context(), b, "some/database"))
	if got := list(t, b, "", ""); len(got) > 0 {
		t.Errorf("the probe left %q", got)
	}
}

func testCapabilities(t *testing.T, b bucket.Bucket) {
	c := b.Capabilities()
	if !c.ConditionalPut || c.Reason != "" {
		t.Errorf("no conditional put: %s", c.Reason)
	}
	if c.Name == "" {
		t.Error("the bucket has no name for errors and logs")
	}
}

func testClosed(t *testing.T, b bucket.Bucket) {
	must(t, b.Close())
	ctx := t.Context()
	_, err := b.Get(ctx, "k")
	want(t, "get", err, bucket.ErrClosed)
	_, err = b.GetRange(ctx, "k", 0, 1)
	want(t, "get range", err, bucket.ErrClosed)
	_, err = b.Head(ctx, "k")
	want(t, "head", err, bucket.ErrClosed)
	want(t, "put", b.Put(ctx, "k", nil), bucket.ErrClosed)
	want(t, "put if absent", b.PutIfAbsent(ctx, "k", nil, token), bucket.ErrClosed)
	want(t, "delete", b.Delete(ctx, "k"), bucket.ErrClosed)
	for _, err := range b.List(ctx, "", "") {
		want(t, "list", err, bucket.ErrClosed)
	}
	must(t, b.Close())
}
