// Package s3 keeps a bucket in Amazon S3 or a store that speaks its language
// and honours conditional puts (If-None-Match): MinIO, versitygw, Ceph, R2 and
// others. Importing it makes bucket.Open know s3 URLs:
//
//	import _ "github.com/stele-db/stele/slate/bucket/s3"
//
//	s3://bucket/path
//	s3://bucket/path?endpoint=http://127.0.0.1:7070&region=us-east-1
//
// Credentials and settings come from where every AWS program finds them: the
// environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
// AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_PROFILE, ...), the shared configuration
// files, and the instance's role. They are never part of the URL.
//
// The SDK's own retries are off: bucket.WithRetry repeats requests, since only
// it knows how to settle a conditional put whose reply was lost. An object is
// one PutObject, so at most 5 GiB.
package s3
