package interop

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	_ "github.com/stele-db/stele/slate/bucket/s3"
)

// s3Server is an object store that speaks S3, in this process, with buckets. It
// returns its address, and the environment in which SlateDB finds it.
func s3Server(t *testing.T, buckets ...string) (addr string, env []string) {
	t.Helper()
	backend := s3mem.New()
	for _, b := range buckets {
		must(t, backend.CreateBucket(b))
	}
	srv := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest1", "AWS_REGION": "us-east-1"} {
		t.Setenv(k, v)
	}
	return srv.URL, []string{"AWS_ENDPOINT=" + srv.URL, "AWS_ALLOW_HTTP=true"}
}

// openS3 opens a bucket of the store at addr with Stele.
func openS3(t *testing.T, addr, url string) (bucket.Bucket, string) {
	t.Helper()
	b, path, err := bucket.Open(t.Context(), url+"?region=us-east-1&endpoint="+addr)
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b, path
}

// Both engines work on one database in an object store that speaks S3: each
// reads the other's, and fences it.
func TestS3(t *testing.T) {
	cell(t, "in an S3 store", theirTurn, "read, written, fenced")
	cell(t, "in an S3 store", ourTurn, "read, written, fenced")
	addr, env := s3Server(t, "shared")
	n := startSlateDB(t, env...)
	b, path := openS3(t, addr, "s3://shared/some/db")
	db, err := slate.Open(t.Context(), path, b, forms[0].steleOptions())
	if err != nil {
		t.Fatal(err)
	}
	w, m, rounds := &steleWriter{ours: ours{db}, db: db}, model{}, workload(17, 3)
	put(t, w, m, rounds[0])
	w.flushMemtable(t)
	put(t, w, m, rounds[1])
	w.flush(t)

	n.do(t, command{Op: "open", DB: "theirs", URL: "s3://shared/some/db"})
	v := &slatedbWriter{theirs: theirs{process: n, db: "theirs"}}
	check(t, v, m)
	if err := db.Put(t.Context(), []byte("late"), nil); !errors.Is(err, slate.ErrFenced) {
		t.Errorf("Stele's put after SlateDB opened: %v, want ErrFenced", err)
	}
	_ = db.Close()
	put(t, v, m, rounds[2])
	v.flushMemtable(t)

	if db, err = slate.Open(t.Context(), path, b, forms[0].steleOptions()); err != nil {
		t.Fatal(err)
	}
	check(t, ours{db}, m)
	err = n.put(t, "theirs", "late", "")
	if e, ok := errors.AsType[*slatedbError](err); !ok || e.Reason != "Fenced" {
		t.Errorf("SlateDB's put after Stele opened: %v, want Fenced", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// The log lies in another bucket, for both: each creates such a database, the
// other reads, continues and fences it, and Stele does not open it without.
func TestLogInAnotherBucket(t *testing.T) {
	addr, env := s3Server(t, "main", "logs")
	n := startSlateDB(t, env...)
	rounds := workload(53, 4)
	for half, by := range []string{"Stele", "SlateDB"} {
		t.Run("created by "+by, func(t *testing.T) {
			cell(t, "the log in another bucket", half, "read, continued, fenced, refused without")
			place := command{URL: "s3://main/some/" + by, WAL: "s3://logs/some/" + by}
			b, path := openS3(t, addr, place.URL)
			logs, _ := openS3(t, addr, place.WAL)
			o := forms[0].steleOptions()
			o.WALBucket = logs
			m := model{}
			for i := range 4 {
				var w writer
				if i%2 == half {
					db, err := slate.Open(t.Context(), path, b, o)
					must(t, err)
					t.Cleanup(func() { _ = db.Close() })
					w = &steleWriter{ours: ours{db}, db: db}
				} else {
					name := fmt.Sprint(by, i)
					n.do(t, command{Op: "open", DB: name, URL: place.URL, WAL: place.WAL})
					w = &slatedbWriter{theirs: theirs{process: n, db: name}}
				}
				check(t, w, m)
				put(t, w, m, rounds[i])
				if i < 2 {
					w.flushMemtable(t)
				}
				put(t, w, m, []batch{{{key: "turn", value: fmt.Sprint(i)}}})
				w.flush(t)
				check(t, w, m)
				r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{WALBucket: logs, MergeOperator: operator})
				must(t, err)
				check(t, ours{r}, m)
				must(t, r.Close())
				n.do(t, command{Op: "reader", DB: "reading", URL: place.URL, WAL: place.WAL})
				check(t, theirs{process: n, db: "reading"}, m)
				n.do(t, command{Op: "close", DB: "reading"})
				if i < 2 { // before its first flush, a manifest of version 2 does not tell
					continue
				}
				if r, err := slate.OpenReader(t.Context(), path, b, slate.ReaderOptions{}); !errors.Is(err, slate.ErrInvalid) {
					t.Errorf("turn %d: Stele opened it without its log: %v", i, err)
					must(t, r.Close())
				}
				for o, err := range b.List(t.Context(), path+"/wal/", "") {
					t.Errorf("%s lies beside the database, %v", o.Key, err)
				}
			}
		})
	}
}
