package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// tempAge is how old a temporary file must be, by the folder's own clock,
// before another process may take it for the remains of a crash.
const tempAge = time.Hour

// OpenDir returns a bucket that is the folder root: the object a/b is the file
// root/a/b. It touches nothing: a missing folder is created by the first
// write, and is empty until then, so a folder without write permission can be
// read.
//
// An object appears under its key whole and already on disk. It is written to
// root/.stele-tmp and fsynced there, then linked (PutIfAbsent) or renamed
// (Put) into place, and the folder that now names it is fsynced too, as are
// the parents of folders made on the way. The link is what makes PutIfAbsent
// atomic between processes; a file system that has none is refused by name at
// the first write. What a crash leaves in .stele-tmp is swept by later
// openings.
//
// The names of files are keys, so the folder can be read, copied and restored
// with any tool. Unlike in an object store no key may continue another one:
// a/b is ErrInvalid while the object a exists. PutIfMatch is not supported.
func OpenDir(root string) (Bucket, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, &Error{Verb: "open folder", Key: root, Kind: ErrInvalid, Err: err}
	}
	return &dirBucket{root: abs, name: "file://" + filepath.ToSlash(abs), synced: map[string]bool{}}, nil
}

// dirBucket is the local folder.
type dirBucket struct {
	root   string // absolute
	name   string
	closed atomic.Bool

	tokens tokenMemory

	mu     sync.Mutex
	ready  bool            // the folder was prepared for writing
	unfit  error           // why this folder can never be written
	synced map[string]bool // folders that exist and are named on disk
}

func (b *dirBucket) fail(verb, key string, kind, err error) error {
	return &Error{Bucket: b.name, Verb: verb, Key: key, Kind: kind, Err: err}
}

// failOS sorts an error of the operating system.
func (b *dirBucket) failOS(verb, key string, err error) error {
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	return b.fail(verb, key, kindOf(err), err)
}

// kindOf tells what the caller can do about an error of the operating system.
func kindOf(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return ErrDenied
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist):
		return ErrInvalid
	case errors.Is(err, syscall.EXDEV):
		return ErrUnsupported
	}
	return ErrUnavailable
}

// begin makes the checks that all verbs share and returns the object's path.
func (b *dirBucket) begin(ctx context.Context, verb, key string) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", b.fail(verb, "", ErrInvalid, err)
	}
	if err := b.open(ctx, verb, key); err != nil {
		return "", err
	}
	return filepath.Join(b.root, filepath.FromSlash(key)), nil
}

// open fails if the bucket is closed or the context is done.
func (b *dirBucket) open(ctx context.Context, verb, key string) error {
	if b.closed.Load() {
		return b.fail(verb, key, ErrClosed, nil)
	}
	if err := ctx.Err(); err != nil {
		return b.fail(verb, key, nil, err)
	}
	return nil
}

func (b *dirBucket) PutIfAbsent(ctx context.Context, key string, body []byte, token string) error {
	const verb = "put if absent"
	path, err := b.begin(ctx, verb, key)
	if err != nil {
		return err
	}
	if err := CheckToken(token); err != nil {
		return b.fail(verb, key, ErrInvalid, err)
	}
	if _, err := os.Lstat(path); err == nil {
		return b.exists(verb, key, path, token) // spares writing the body
	}
	temp, err := b.writeTemp(verb, key, path, body)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // the sweep takes what stays
	if err := b.tokens.remember(temp, token); err != nil {
		return b.failOS(verb, key, err)
	}
	switch err := os.Link(temp, path); {
	case errors.Is(err, fs.ErrExist):
		return b.exists(verb, key, path, token)
	case errors.Is(err, fs.ErrNotExist):
		b.forget()
		return b.fail(verb, key, ErrUnavailable, err)
	case err != nil:
		return b.failOS(verb, key, err)
	}
	return b.publish(verb, key, path)
}

// exists is the answer of a PutIfAbsent that found the object: success if an
// earlier attempt of the same call made it.
func (b *dirBucket) exists(verb, key, path, token string) error {
	info, err := os.Lstat(path)
	if err == nil && info.IsDir() {
		return b.fail(verb, key, ErrInvalid, fmt.Errorf("there are objects below %s/", key))
	}
	if err == nil && b.tokens.recall(info) == token {
		return b.publish(verb, key, path)
	}
	return b.fail(verb, key, ErrExists, nil)
}

func (b *dirBucket) PutIfMatch(_ context.Context, key string, _ []byte, _ string) error {
	return b.fail("put if match", key, ErrUnsupported, nil)
}

func (b *dirBucket) Put(ctx context.Context, key string, body []byte) error {
	const verb = "put"
	path, err := b.begin(ctx, verb, key)
	if err != nil {
		return err
	}
	temp, err := b.writeTemp(verb, key, path, body)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		if errors.Is(err, fs.ErrNotExist) {
			b.forget()
			return b.fail(verb, key, ErrUnavailable, err)
		}
		return b.failOS(verb, key, err)
	}
	return b.publish(verb, key, path)
}

// publish makes the name of a new object durable. The object can be seen
// already, and after an fsync that failed a second one proves nothing, so
// failing here is not to be tried again.
func (b *dirBucket) publish(verb, key, path string) error {
	if err := syncDir(filepath.Dir(path)); err != nil {
		return b.fail(verb, key, ErrUnknownOutcome, err)
	}
	return nil
}

// writeTemp prepares the folder of path and writes body, fsynced, to a new
// temporary file on the same file system.
func (b *dirBucket) writeTemp(verb, key, path string, body []byte) (temp string, err error) {
	if err := b.prepare(); err != nil {
		return "", b.failOS(verb, key, err)
	}
	if err := b.ensureDir(filepath.Dir(path)); err != nil {
		kind := kindOf(err)
		if errors.Is(kind, ErrNotFound) { // removed by another hand meanwhile
			b.forget()
			kind = ErrUnavailable
		}
		return "", b.fail(verb, key, kind, err)
	}
	f, err := b.createTemp()
	if err != nil {
		return "", b.failTemp(verb, key, err)
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync() // on macOS this is F_FULLFSYNC
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", b.failTemp(verb, key, err)
	}
	return f.Name(), nil
}

// failTemp is failOS for temporary files: one that is missing is no missing
// object.
func (b *dirBucket) failTemp(verb, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		b.forget()
		return b.fail(verb, key, ErrUnavailable, err)
	}
	return b.failOS(verb, key, err)
}

func (b *dirBucket) createTemp() (*os.File, error) {
	return os.OpenFile(filepath.Join(b.root, tempDir, rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// prepare readies the folder for writing, once: it makes root and temporary
// folder, sees that the file system has links, and sweeps.
func (b *dirBucket) prepare() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready || b.unfit != nil {
		return b.unfit
	}
	if err := b.ensureRootLocked(); err != nil {
		return err
	}
	if err := b.ensureDirLocked(filepath.Join(b.root, tempDir)); err != nil {
		return err
	}
	now, err := b.tryLink()
	if err != nil {
		return err
	}
	b.sweep(now)
	b.ready = true
	return nil
}

// tryLink learns whether the file system has links, and its idea of the time.
func (b *dirBucket) tryLink() (time.Time, error) {
	f, err := b.createTemp()
	if err != nil {
		return time.Time{}, err
	}
	defer os.Remove(f.Name()) // the sweep takes what stays
	info, err := f.Stat()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return time.Time{}, err
	}
	linked := f.Name() + ".link"
	if err := os.Link(f.Name(), linked); err != nil {
		if errors.Is(kindOf(err), ErrUnavailable) && !noLinks(err) {
			return time.Time{}, err
		}
		b.unfit = b.fail("open for writing", "", ErrUnsupported,
			fmt.Errorf("the file system of %s%s cannot create a file only if it is absent: %w", b.root, fsName(b.root), err))
		return time.Time{}, b.unfit
	}
	return info.ModTime(), os.Remove(linked)
}

// noLinks reports whether a file system says by err that it has no links.
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}

// sweep removes temporary files that crashed processes left. Failing is no
// matter: the next opening tries again.
func (b *dirBucket) sweep(now time.Time) {
	dir := filepath.Join(b.root, tempDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !info.IsDir() && now.Sub(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// ensureRootLocked makes the root and the folders above that are missing.
func (b *dirBucket) ensureRootLocked() error {
	var missing []string
	for dir := b.root; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	b.synced[b.root] = true
	return nil
}

// ensureDir makes dir, which lies in the root, and the folders above it, and
// sees to it that they are on disk under their names, whoever made them.
func (b *dirBucket) ensureDir(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ensureDirLocked(dir)
}

func (b *dirBucket) ensureDirLocked(dir string) error {
	if b.synced[dir] {
		return nil
	}
	if dir != b.root {
		if err := b.ensureDirLocked(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	b.synced[dir] = true
	return nil
}

// makeDir makes dir unless it is there, and its name durable.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return syncDir(filepath.Dir(dir))
}

// forget drops what is known of folders, after one of them disappeared.
func (b *dirBucket) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = false
	clear(b.synced)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// failRead sorts the error of a read: a name that is no file is no object.
func (b *dirBucket) failRead(verb, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) {
		return b.fail(verb, key, ErrNotFound, nil)
	}
	return b.failOS(verb, key, err)
}

// openObject opens an object for reading and returns its size.
func (b *dirBucket) openObject(ctx context.Context, verb, key string) (*os.File, int64, error) {
	path, err := b.begin(ctx, verb, key)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, b.failRead(verb, key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = syscall.EISDIR
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, b.failRead(verb, key, err)
	}
	return f, info.Size(), nil
}

func (b *dirBucket) Get(ctx context.Context, key string) ([]byte, error) {
	f, size, err := b.openObject(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return b.readAt("get", key, f, 0, size)
}

func (b *dirBucket) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	const verb = "get range"
	if err := CheckRange(offset, length); err != nil {
		return nil, b.fail(verb, key, ErrInvalid, err)
	}
	f, size, err := b.openObject(ctx, verb, key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if offset > size {
		return nil, b.fail(verb, key, ErrInvalid, fmt.Errorf("offset %d lies beyond the object's %d bytes", offset, size))
	}
	return b.readAt(verb, key, f, offset, min(length, size-offset))
}

// readAt reads exactly n bytes: objects never change while they are open.
func (b *dirBucket) readAt(verb, key string, f *os.File, offset, n int64) ([]byte, error) {
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, offset); err != nil && (n > 0 || !errors.Is(err, io.EOF)) {
		return nil, b.failRead(verb, key, err)
	}
	return buf, nil
}

func (b *dirBucket) Head(ctx context.Context, key string) (Object, error) {
	path, err := b.begin(ctx, "head", key)
	if err != nil {
		return Object{}, err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = syscall.EISDIR
	}
	if err != nil {
		return Object{}, b.failRead("head", key, err)
	}
	return Object{Key: key, Size: info.Size(), Modified: info.ModTime(), Token: b.tokens.recall(info)}, nil
}

func (b *dirBucket) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Object{}, b.fail("list", "", ErrInvalid, err))
			return
		}
		b.walk(ctx, prefix[:strings.LastIndexByte(prefix, '/')+1], prefix, after, yield)
	}
}

// walk lists the objects of the folder dir, a key that ends in a slash or "",
// in key order, and reports whether the listing goes on.
func (b *dirBucket) walk(ctx context.Context, dir, prefix, after string, yield func(Object, error) bool) bool {
	if err := b.open(ctx, "list", prefix); err != nil {
		yield(Object{}, err)
		return false
	}
	entries, err := os.ReadDir(filepath.Join(b.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true
	}
	if err != nil {
		yield(Object{}, b.failOS("list", prefix, err))
		return false
	}
	for _, e := range inKeyOrder(dir, entries, prefix, after) {
		if e.isDir {
			if !b.walk(ctx, e.key, prefix, after, yield) {
				return false
			}
			continue
		}
		info, err := os.Stat(filepath.Join(b.root, filepath.FromSlash(e.key)))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // deleted meanwhile, or no object
		}
		if err != nil {
			yield(Object{}, b.failOS("list", e.key, err))
			return false
		}
		if !yield(Object{Key: e.key, Size: info.Size(), Modified: info.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// dirEntry is a file or folder by its key; a folder's ends in a slash.
type dirEntry struct {
	key   string
	isDir bool
}

// inKeyOrder keeps what can hold objects of a listing, and sorts a folder
// where its objects' keys sort: "a-b" before "a/b" before "ab".
func inKeyOrder(dir string, entries []os.DirEntry, prefix, after string) []dirEntry {
	var kept []dirEntry
	for _, e := range entries {
		key := dir + e.Name()
		switch {
		case key == tempDir:
		case e.IsDir():
			key += "/"
			overlaps := strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key)
			if overlaps && (key > after || strings.HasPrefix(after, key)) {
				kept = append(kept, dirEntry{key, true})
			}
		case strings.HasPrefix(key, prefix) && key > after:
			kept = append(kept, dirEntry{key, false})
		}
	}
	slices.SortFunc(kept, func(a, b dirEntry) int { return strings.Compare(a.key, b.key) })
	return kept
}

// Delete leaves folders standing, and does not fsync: an object that comes
// back after a crash was deleted because nothing needed it.
func (b *dirBucket) Delete(ctx context.Context, key string) error {
	path, err := b.begin(ctx, "delete", key)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return b.failOS("delete", key, err)
	}
	return nil
}

func (b *dirBucket) Capabilities() Capabilities {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := Capabilities{ConditionalPut: b.unfit == nil, Token: knowsFiles, Name: b.name}
	if b.unfit != nil {
		c.Reason = b.unfit.Error()
	}
	return c
}

func (b *dirBucket) Close() error {
	b.closed.Store(true)
	return nil
}
