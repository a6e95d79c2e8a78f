package interop

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
	_ "github.com/stele-db/stele/slate/bucket/s3"
)

// Both engines work on one database in an object store that speaks S3: each
// reads the other's, and fences it.
func TestS3(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("shared"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest1", "AWS_REGION": "us-east-1"} {
		t.Setenv(k, v)
	}
	n := startSlateDB(t, "AWS_ENDPOINT="+srv.URL, "AWS_ALLOW_HTTP=true")
	b, path, err := bucket.Open(t.Context(), "s3://shared/some/db?region=us-east-1&endpoint="+srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })

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
