package cli_test

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// TestObjectStore imports into an S3 bucket and reads it again.
func TestObjectStore(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("packages"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	defer srv.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	url := "s3://packages/some/path?region=us-east-1&endpoint=" + srv.URL
	stele(t, nil, "import", "--db", url, "--schema", examples+"package.proto", examples+"packages.ndjson.gz")
	if got, want := stele(t, nil, "query", "--db", url, "Package", `name = "bash"`, "--fields", "name"), "name\nbash\n1 row\n"; got != want {
		t.Errorf("query printed %q, want %q", got, want)
	}
}
