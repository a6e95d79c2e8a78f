// Package layout names the objects of a database: where in its path manifests,
// WAL objects, SSTs and compactions files lie (SlateDB's paths.rs).
package layout

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
)

// Root is a database's path in its bucket, without slashes at either end; the
// bucket's own root is "".
type Root string

// NewRoot normalises a path.
func NewRoot(p string) Root {
	return Root(strings.Trim(path.Clean("/"+p), "/"))
}

// Dir returns the prefix of the objects in a folder of the database, ending in
// a slash.
func (r Root) Dir(name string) string {
	if r == "" {
		return name + "/"
	}
	return string(r) + "/" + name + "/"
}

// The folders of a database.
const (
	ManifestDir    = "manifest"
	WALDir         = "wal"
	CompactedDir   = "compacted"
	CompactionsDir = "compactions"

	manifestExt    = ".manifest"
	sstExt         = ".sst"
	compactionsExt = ".compactions"
)

// Manifest names the manifest with this id.
func (r Root) Manifest(id uint64) string { return numbered(r.Dir(ManifestDir), id, manifestExt) }

// WAL names the WAL object with this id.
func (r Root) WAL(id uint64) string { return numbered(r.Dir(WALDir), id, sstExt) }

// Compactions names the compactions file with this id.
func (r Root) Compactions(id uint64) string {
	return numbered(r.Dir(CompactionsDir), id, compactionsExt)
}

// SST names an L0 or sorted-run SST.
func (r Root) SST(id ulid.ULID) string { return r.Dir(CompactedDir) + id.String() + sstExt }

func numbered(dir string, id uint64, ext string) string {
	return fmt.Sprintf("%s%020d%s", dir, id, ext)
}

// ManifestID returns the id that a key of the manifest folder holds; ok is
// false for other names, which must be ignored.
func ManifestID(key string) (id uint64, ok bool) { return number(key, manifestExt) }

// WALID is ManifestID for the WAL folder.
func WALID(key string) (id uint64, ok bool) { return number(key, sstExt) }

// CompactionsID is ManifestID for the compactions folder.
func CompactionsID(key string) (id uint64, ok bool) { return number(key, compactionsExt) }

// SSTID returns the id of an SST's key; ok is false for other names.
func SSTID(key string) (id ulid.ULID, ok bool) {
	name, found := strings.CutSuffix(path.Base(key), sstExt)
	if !found {
		return id, false
	}
	id, err := ulid.ParseStrict(name)
	return id, err == nil
}

func number(key, ext string) (uint64, bool) {
	name, found := strings.CutSuffix(path.Base(key), ext)
	if !found || len(name) != 20 {
		return 0, false
	}
	id, err := strconv.ParseUint(name, 10, 64)
	return id, err == nil
}

// Token returns a new random token for a put-if-absent.
func Token(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
