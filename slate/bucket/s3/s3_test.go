package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"github.com/stele-db/stele/slate/bucket"
	"github.com/stele-db/stele/slate/bucket/buckettest"
	_ "github.com/stele-db/stele/slate/bucket/s3"
)

const (
	accessKey = "test"
	secretKey = "testtest1"
)

// TestMain makes the environment one that no machine's settings disturb.
func TestMain(m *testing.M) {
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_REGION": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT": "",
	} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// makeBucket creates a bucket in the store at endpoint.
func makeBucket(t *testing.T, endpoint, name string) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client := awss3.New(awss3.Options{
		BaseEndpoint: &endpoint, UsePathStyle: true, Region: "us-east-1", HTTPClient: hc,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, nil
		}),
	})
	if _, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
}

// opener returns a function that opens a new bucket by URL each time.
func opener(endpoint string) func(t *testing.T) bucket.Bucket {
	var n atomic.Int64
	return func(t *testing.T) bucket.Bucket {
		name := fmt.Sprintf("bucket-%d", n.Add(1))
		makeBucket(t, endpoint, name)
		return openURL(t, "s3://"+name+"/db?endpoint="+endpoint)
	}
}

func openURL(t *testing.T, url string) bucket.Bucket {
	t.Helper()
	b, path, err := bucket.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if path != "db" {
		t.Fatalf("path of %s is %q", url, path)
	}
	return b
}

func startFake(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestFakeContract(t *testing.T) {
	buckettest.Run(t, opener(startFake(t)))
}

func TestVersityContract(t *testing.T) {
	buckettest.Run(t, opener(startVersity(t)))
}

func TestVersityRace(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the contract has a shorter race")
	}
	b := opener(startVersity(t))(t)
	buckettest.Race(t, b, 100, 16)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// startVersity starts a versitygw, an S3 server over a folder, on loopback,
// and returns its endpoint.
func startVersity(t *testing.T) string {
	t.Helper()
	bin := findVersity(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Not CommandContext with the test's context: that ends before clean-up.
	cmd := exec.Command(bin, "--port", addr, "--quiet", "posix", t.TempDir()) //nolint:gosec,noctx // the binary is ours to name
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw: %s", out.String())
		}
	})
	for range 200 {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			return "http://" + addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("versitygw does not listen")
	return ""
}

// findVersity looks for the server's binary: $STELE_VERSITYGW, .tools/bin in
// the module, the PATH. Without it the test is skipped, but not in CI.
func findVersity(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("STELE_VERSITYGW"); bin != "" {
		return bin
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		if bin := filepath.Join(dir, ".tools", "bin", "versitygw"); isFile(bin) {
			return bin
		}
		break
	}
	if bin, err := exec.LookPath("versitygw"); err == nil {
		return bin
	}
	const how = "no versitygw: GOBIN=$PWD/.tools/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0"
	if os.Getenv("CI") == "true" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// TestIgnoredCondition: a store that takes If-None-Match and ignores it is
// found out.
func TestIgnoredCondition(t *testing.T) {
	fake := gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-None-Match")
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	b := opener(srv.URL)(t)
	defer closeBucket(t, b)
	err := bucket.Probe(t.Context(), b, "db")
	if !errors.Is(err, bucket.ErrUnsupported) || !strings.Contains(err.Error(), "ignores conditions") {
		t.Errorf("probe: %v", err)
	}
	for o := range b.List(t.Context(), "", "") {
		t.Errorf("the probe left %s", o.Key)
	}
}

func closeBucket(t *testing.T, b bucket.Bucket) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplies: what the store says is sorted by what the caller does next.
func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		want   error // of a put if absent
	}{
		{412, "PreconditionFailed", bucket.ErrExists},
		{409, "ConditionalRequestConflict", bucket.ErrUnavailable},
		{404, "NoSuchBucket", bucket.ErrInvalid},
		{403, "AccessDenied", bucket.ErrDenied},
		{403, "SignatureDoesNotMatch", bucket.ErrDenied},
		{400, "ExpiredToken", bucket.ErrDenied},
		{400, "RequestTimeout", bucket.ErrUnavailable},
		{400, "EntityTooLarge", bucket.ErrInvalid},
		{301, "PermanentRedirect", bucket.ErrInvalid},
		{429, "TooManyRequests", bucket.ErrUnavailable},
		{500, "InternalError", bucket.ErrUnavailable},
		{501, "NotImplemented", bucket.ErrUnsupported},
		{503, "SlowDown", bucket.ErrUnavailable},
		{502, "", bucket.ErrUnavailable},
	} {
		t.Run(fmt.Sprint(tt.status, tt.code), func(t *testing.T) {
			var requests atomic.Int64
			b, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(tt.status)
				if tt.code != "" {
					_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message></Error>", tt.code)
				}
			})
			defer stop()
			err := b.PutIfAbsent(t.Context(), "some/key", []byte("x"), "t")
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "some/key") {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("the request was sent %d times; repeating it is WithRetry's", n)
			}
		})
	}
}

// serve opens a bucket on a handler.
func serve(t *testing.T, h http.HandlerFunc) (b bucket.Bucket, stop func()) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	b = openURL(t, "s3://bkt/db?endpoint="+srv.URL)
	return b, func() {
		closeBucket(t, b)
		srv.Close()
	}
}

// TestConflictThenWon: 409 is tried again, and the outcome is told truly.
func TestConflictThenWon(t *testing.T) {
	fake := gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	var conflicts atomic.Int64
	conflicts.Store(2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" && conflicts.Add(-1) >= 0 {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	b := bucket.WithRetry(opener(srv.URL)(t), bucket.RetryOptions{FirstWait: time.Microsecond})
	defer closeBucket(t, b)
	if err := b.PutIfAbsent(t.Context(), "k", []byte("x"), ""); err != nil {
		t.Errorf("after two conflicts: %v", err)
	}
	conflicts.Store(2)
	if err := b.PutIfAbsent(t.Context(), "k", []byte("x"), ""); !errors.Is(err, bucket.ErrExists) {
		t.Errorf("another caller after two conflicts: %v", err)
	}
}

// TestBrokenReplies: short bodies and lying lengths are errors, not data.
func TestBrokenReplies(t *testing.T) {
	b, stop := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "huge") {
			w.Header().Set("Content-Length", "9000000000000000000")
		} else {
			w.Header().Set("Content-Length", "1000")
		}
		_, _ = io.WriteString(w, "short")
	})
	defer stop()
	for _, key := range []string{"short", "huge"} {
		if body, err := b.Get(t.Context(), key); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("get %s: %d bytes, %v", key, len(body), err)
		}
	}
	if body, err := b.GetRange(t.Context(), "short", 1, 2); !errors.Is(err, bucket.ErrUnsupported) {
		t.Errorf("a reply that is no range: %q, %v", body, err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b := bucket.WithRetry(openURL(t, "s3://bkt/db?endpoint=http://"+addr), bucket.RetryOptions{Attempts: 2, FirstWait: time.Microsecond})
	defer closeBucket(t, b)
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), addr) {
		t.Errorf("get: %v", err)
	}
	if err := b.PutIfAbsent(t.Context(), "k", nil, ""); !errors.Is(err, bucket.ErrUnknownOutcome) || errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("put if absent: %v", err)
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	b, stop := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	defer stop()
	if err := b.PutIfAbsent(t.Context(), "k", nil, "t"); !errors.Is(err, bucket.ErrDenied) {
		t.Errorf("put if absent: %v", err)
	}
}

// TestContextEnds: a request that waits for a reply ends with its context.
func TestContextEnds(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	b, stop := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-release
	})
	defer stop()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-arrived
		cancel()
	}()
	err := bucket.WithRetry(b, bucket.RetryOptions{}).PutIfAbsent(ctx, "k", nil, "")
	if !errors.Is(err, bucket.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("a put that was given up on its way: %v", err)
	}
}

func TestURLs(t *testing.T) {
	for _, url := range []string{
		"s3://bkt", "s3://bkt/", "s3:///path", "s3://bkt/a//b", "s3://bkt/a/../b", "s3://key:secret@bkt/db",
		"s3://bkt/db?endpont=http://x", "s3://bkt/db?endpoint=localhost:9000", "s3://bkt/db?endpoint=ftp://x",
	} {
		if _, _, err := bucket.Open(t.Context(), url); !errors.Is(err, bucket.ErrInvalid) || strings.Count(err.Error(), url) > 1 {
			t.Errorf("%s: %v", url, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	b, path, err := bucket.Open(t.Context(), "s3://bkt/some/app/?region=eu-north-1")
	if err != nil || path != "some/app" {
		t.Fatalf("path %q, %v", path, err)
	}
	if c := b.Capabilities(); !c.Remote || c.Name != "s3://bkt" {
		t.Errorf("capabilities: %+v", c)
	}
	closeBucket(t, b)
}
