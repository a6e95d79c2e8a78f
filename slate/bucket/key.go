package bucket

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxKey is the longest key in bytes, S3's limit.
const maxKey = 1024

// maxToken is the longest token of a PutIfAbsent in bytes.
const maxToken = 64

// tempDir is the folder, below the root of a local folder, in which objects
// are written before they appear under their key. No bucket accepts a key in
// it, so that every database can be copied into a folder.
const tempDir = ".stele-tmp"

// CheckKey reports whether key can name an object: slash-separated parts of
// valid UTF-8, none of them empty, "." or "..", no NUL byte, at most 1024
// bytes, and not inside ".stele-tmp". Drivers call it before anything else.
// The error says what is wrong and matches no sentinel; drivers wrap it as
// ErrInvalid.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("key is empty")
	case len(key) > maxKey:
		return fmt.Errorf("key has %d bytes, more than %d", len(key), maxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("key %q is not valid UTF-8", key)
	case strings.IndexByte(key, 0) >= 0:
		return fmt.Errorf("key %q holds a NUL byte", key)
	case key[0] == '/':
		return fmt.Errorf("key %q is absolute; keys are relative to the bucket's root", key)
	}
	for i, part := range strings.Split(key, "/") {
		if err := checkPart(key, i, part); err != nil {
			return err
		}
	}
	return nil
}

// checkPart checks one complete part of a key or prefix.
func checkPart(key string, i int, part string) error {
	switch {
	case part == "":
		return fmt.Errorf("key %q has an empty part", key)
	case part == "." || part == "..":
		return fmt.Errorf("key %q has the part %q", key, part)
	case i == 0 && part == tempDir:
		return fmt.Errorf("key %q lies in the reserved %s", key, tempDir)
	}
	return nil
}

// CheckPrefix is CheckKey for the prefix of a List: it may be empty, and may
// end anywhere.
func CheckPrefix(prefix string) error {
	if strings.IndexByte(prefix, 0) >= 0 || len(prefix) > maxKey {
		return fmt.Errorf("prefix %q is not the beginning of any key", prefix)
	}
	parts := strings.Split(prefix, "/")
	for i, part := range parts[:len(parts)-1] {
		if err := checkPart(prefix, i, part); err != nil {
			return err
		}
	}
	return nil
}

// CheckToken reports whether token can be kept with an object: 1 to 64
// printable ASCII characters without space.
func CheckToken(token string) error {
	if token == "" || len(token) > maxToken {
		return fmt.Errorf("token has %d characters, not 1 to %d", len(token), maxToken)
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return fmt.Errorf("token %q holds more than printable ASCII", token)
		}
	}
	return nil
}

// CheckRange reports whether offset and length can be a GetRange's.
func CheckRange(offset, length int64) error {
	if offset < 0 || length < 0 {
		return fmt.Errorf("range of %d bytes at %d is negative", length, offset)
	}
	return nil
}
