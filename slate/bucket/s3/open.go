package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/stele-db/stele/slate/bucket"
)

func init() { bucket.Register("s3", openURL) }

// defaultRegion is what a request is signed for where nobody names a region;
// stores other than AWS's do not care.
const defaultRegion = "us-east-1"

// Options says where a bucket is and how to reach it.
type Options struct {
	// Bucket is the bucket's name. It must exist.
	Bucket string
	// Endpoint is the store's base URL. Default: the environment's, else AWS.
	Endpoint string
	// Region is the region to sign for. Default: the environment's, else
	// us-east-1.
	Region string
	// Credentials replaces those of the environment.
	Credentials aws.CredentialsProvider
	// HTTPClient replaces the client, which by default gives up on a connection
	// after 10 s and on the first byte of a reply after ResponseTimeout.
	HTTPClient aws.HTTPClient
	// ResponseTimeout bounds the wait for a reply once a request was sent.
	// Default 30 s: shorter reports a dead store sooner, and gives up on one
	// that is slow but alive.
	ResponseTimeout time.Duration
}

// Open returns the bucket. It sends no request. Close has nothing to wait
// for but idle connections.
func Open(ctx context.Context, opts Options) (bucket.Bucket, error) {
	fail := func(kind, err error) error {
		return &bucket.Error{Verb: "open", Key: "s3://" + opts.Bucket, Kind: kind, Err: err}
	}
	if opts.Bucket == "" {
		return nil, fail(bucket.ErrInvalid, fmt.Errorf("no bucket named"))
	}
	if err := checkEndpoint(opts.Endpoint); err != nil {
		return nil, fail(bucket.ErrInvalid, err)
	}
	if opts.ResponseTimeout <= 0 {
		opts.ResponseTimeout = 30 * time.Second
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(transportOf(opts.ResponseTimeout)),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	if opts.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(opts.Credentials))
	}
	// What the SDK would log comes back as an error, which the caller tells.
	load = append(load, config.WithLogger(logging.Nop{}))
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fail(bucket.ErrInvalid, err)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	cfg.Credentials = credentials{cfg.Credentials}
	b := &s3Bucket{bucket: opts.Bucket, name: bucketName(opts)}
	if opts.HTTPClient == nil {
		opts.HTTPClient, b.closeIdle = clientOf(cfg)
	}
	b.client = newClient(cfg, opts)
	return b, nil
}

// newClient makes a client that sends each request once, and asks of the
// store no more than the older ones can.
func newClient(cfg aws.Config, opts Options) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = true
		o.Retryer = aws.NopRetryer{}
		o.HTTPClient = opts.HTTPClient
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(opts.Endpoint)
		} else if e := os.Getenv("AWS_ENDPOINT"); e != "" && o.BaseEndpoint == nil {
			o.BaseEndpoint = aws.String(e) // SlateDB's name for AWS_ENDPOINT_URL
		}
	})
}

// bucketName describes a bucket in errors and logs.
func bucketName(opts Options) string {
	if opts.Endpoint == "" {
		return "s3://" + opts.Bucket
	}
	return "s3://" + opts.Bucket + " at " + opts.Endpoint
}

func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("endpoint %q is not a URL", endpoint)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("endpoint is %q, not of the form https://host:port", u.Redacted())
	}
	return nil
}

// transportOf returns a client in the form that the SDK's configuration can
// still change, to trust a bundle of certificates for instance.
func transportOf(responseTimeout time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = responseTimeout
			t.MaxIdleConnsPerHost = 64 // reads run in parallel
		})
}

// clientOf returns the configured client in a form that can be closed.
func clientOf(cfg aws.Config) (client aws.HTTPClient, closeIdle func()) {
	bc, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return cfg.HTTPClient, func() {}
	}
	c := &http.Client{Transport: bc.GetTransport(), CheckRedirect: sameRequest}
	return c, c.CloseIdleConnections
}

// sameRequest follows the redirects that repeat the request as it was.
func sameRequest(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.Response == nil {
		return http.ErrUseLastResponse
	}
	switch r.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return http.ErrUseLastResponse
}

// credentialsError marks an error that came from looking for credentials: no
// request was sent.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// credentials marks its errors.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c.CredentialsProvider == nil {
		return aws.Credentials{}, &credentialsError{fmt.Errorf("no provider")}
	}
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &credentialsError{err}
	}
	return v, err
}

// openURL opens a database URL for bucket.Open.
func openURL(ctx context.Context, u *url.URL) (bucket.Bucket, string, error) {
	invalid := func(err error) error {
		return &bucket.Error{Verb: "open", Key: u.Redacted(), Kind: bucket.ErrInvalid, Err: err}
	}
	if u.User != nil {
		return nil, "", invalid(fmt.Errorf("credentials do not belong in a URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))
	}
	params, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, "", invalid(err)
	}
	for p := range params {
		if p != "endpoint" && p != "region" {
			return nil, "", invalid(fmt.Errorf("unknown parameter %q; s3 URLs have endpoint and region", p))
		}
	}
	path, err := bucket.URLPath(u)
	if err != nil {
		return nil, "", invalid(err)
	}
	b, err := Open(ctx, Options{Bucket: u.Host, Endpoint: params.Get("endpoint"), Region: params.Get("region")})
	return b, path, err
}
