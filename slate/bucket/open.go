package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// OpenFunc opens the bucket that a URL names and returns it with the path of
// the database in it, without slashes around. Both are the caller's.
type OpenFunc func(ctx context.Context, u *url.URL) (b Bucket, path string, err error)

// registry is what imports registered, and the shared memory buckets.
var registry = struct {
	mu      sync.Mutex
	schemes map[string]OpenFunc
	memory  map[string]*memObjects
}{schemes: map[string]OpenFunc{}, memory: map[string]*memObjects{}}

// driverPackages are the imports that Open proposes.
var driverPackages = map[string]string{
	"s3": "github.com/stele-db/stele/slate/bucket/s3",
}

// Register makes Open call open for URLs of the scheme. Driver packages call
// it from init, so that importing one is enough. A scheme can be registered
// once; registering it again, or file or mem, is a bug and panics.
func Register(scheme string, open OpenFunc) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if _, ok := registry.schemes[scheme]; ok || scheme == "file" || scheme == "mem" {
		panic("bucket: scheme " + scheme + " is registered twice")
	}
	registry.schemes[scheme] = open
}

// Open returns the bucket that a database URL names and the path of the
// database in it, without slashes around. It sends no request and creates
// nothing. Close the bucket when the database is closed.
//
//	file:///srv/data/app             folder /srv/data, path app
//	file://./data                    folder ., path data: relative to the working directory
//	file:///srv/data/app?root=/srv   folder /srv, path data/app
//	mem://test/app                   memory that this process shares as "test", path app
//	s3://bucket/some/app             bucket, path some/app; import slate/bucket/s3
//
// In file URLs a percent sign, ?, and # in names are written %25, %3F and %23.
// A URL that cannot be right is ErrInvalid, an unknown scheme ErrUnsupported
// with the import that brings it.
func Open(ctx context.Context, rawURL string) (b Bucket, path string, err error) {
	fail := func(kind, err error) error { return &Error{Verb: "open", Key: redact(rawURL), Kind: kind, Err: err} }
	scheme, rest, ok := strings.Cut(rawURL, ":")
	if !ok || scheme == "" || strings.ContainsAny(scheme, "/.\\") {
		return nil, "", fail(ErrInvalid, fmt.Errorf("not a URL; a folder is written file://./folder or file:///folder"))
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "file":
		b, path, err = openFileURL(rest)
	case "mem":
		b, path, err = openMemURL(rawURL)
	default:
		return openRegistered(ctx, scheme, rawURL, fail)
	}
	if err != nil {
		return nil, "", fail(ErrInvalid, err)
	}
	return b, path, nil
}

// openRegistered opens a URL of a scheme that comes by import.
func openRegistered(ctx context.Context, scheme, rawURL string, fail func(kind, err error) error) (Bucket, string, error) {
	registry.mu.Lock()
	open := registry.schemes[scheme]
	known := slices.Sorted(maps.Keys(registry.schemes))
	registry.mu.Unlock()
	if open == nil {
		hint := fmt.Errorf("no driver for %s URLs; there are %s", scheme, strings.Join(append([]string{"file", "mem"}, known...), ", "))
		if pkg, ok := driverPackages[scheme]; ok {
			hint = fmt.Errorf("no driver for %s URLs: add `import _ %q`", scheme, pkg)
		}
		return nil, "", fail(ErrUnsupported, hint)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", fail(ErrInvalid, cause(err))
	}
	b, path, err := open(ctx, u)
	if e, ok := errors.AsType[*Error](err); ok && e.Key == redact(rawURL) {
		return nil, "", err // it says all that fail would
	}
	if err != nil {
		return nil, "", fail(nil, err)
	}
	return b, path, nil
}

// cause strips the URL that package url repeats, which may hold a password.
func cause(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// redact hides a password in a URL that goes into an error.
func redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.User == nil {
		return rawURL
	}
	return u.Redacted()
}

// openFileURL opens what follows "file:". It parses by hand: in file://./data
// the dot is no host.
func openFileURL(rest string) (Bucket, string, error) {
	rest = strings.TrimPrefix(rest, "//")
	rest, query, _ := strings.Cut(rest, "?")
	name, err := url.PathUnescape(rest)
	if err != nil {
		return nil, "", err
	}
	name = trimLocalhost(name)
	if name == "" || strings.Contains(rest, "#") {
		return nil, "", fmt.Errorf("names no folder")
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, "", err
	}
	for p := range params {
		if p != "root" {
			return nil, "", fmt.Errorf("unknown parameter %q; file URLs have root", p)
		}
	}
	dir, err := filepath.Abs(filepath.FromSlash(name))
	if err != nil {
		return nil, "", err
	}
	root := filepath.Dir(dir)
	if params.Has("root") {
		if root, err = filepath.Abs(filepath.FromSlash(params.Get("root"))); err != nil {
			return nil, "", err
		}
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, "", err
	}
	if rel = filepath.ToSlash(rel); rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, "", fmt.Errorf("folder %s does not lie in the root %s", dir, root)
	}
	if err := CheckKey(rel); err != nil {
		return nil, "", err
	}
	b, err := OpenDir(root)
	return b, rel, err
}

// openMemURL opens memory that the process shares under a name.
func openMemURL(rawURL string) (Bucket, string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", cause(err)
	}
	if u.Host == "" || u.RawQuery != "" {
		return nil, "", fmt.Errorf("memory is written mem://NAME/path")
	}
	path, err := URLPath(u)
	if err != nil {
		return nil, "", err
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	b := NewInMem(InMemOptions{Name: u.Host}).(*memBucket)
	if shared, ok := registry.memory[u.Host]; ok {
		b.objects = shared
	} else {
		registry.memory[u.Host] = b.objects
	}
	return b, path, nil
}

// URLPath returns the path of a database URL as a key, without slashes
// around. It is for drivers; its error says what is wrong and matches no
// sentinel.
func URLPath(u *url.URL) (string, error) {
	p := strings.Trim(u.Path, "/")
	if p == "" {
		return "", fmt.Errorf("names a bucket but no database in it: add a path")
	}
	if err := CheckKey(p); err != nil {
		return "", err
	}
	return path.Clean(p), nil
}

// trimLocalhost removes the one host that a file URL may have.
func trimLocalhost(name string) string {
	if strings.HasPrefix(name, "localhost/") {
		return strings.TrimPrefix(name, "localhost")
	}
	return name
}
