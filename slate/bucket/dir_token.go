package bucket

import (
	"io/fs"
	"os"
	"sync"
	"time"
)

// maxTokens bounds what a folder remembers of its own puts; only those that
// have not been answered yet matter.
const maxTokens = 4096

// tokenMemory knows the tokens of the files that this bucket made: a folder
// has no metadata to keep them in. A file is known by its inode, and by the
// time of its last write in case the inode was given away again. That is
// enough to settle a lost reply, since only the process that waits for the
// reply asks.
type tokenMemory struct {
	mu     sync.Mutex
	tokens map[fileID]string
	ring   []fileID // of tokens, in the order of their coming
	next   int      // place in the full ring that holds the oldest
}

// fileID tells a file from every other one.
type fileID struct {
	dev, ino uint64
	modified time.Time
}

// remember notes the token of the file at path.
func (m *tokenMemory) remember(path, token string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	id, ok := identify(info)
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = map[fileID]string{}
	}
	if len(m.ring) < maxTokens {
		m.ring = append(m.ring, id)
	} else {
		delete(m.tokens, m.ring[m.next])
		m.ring[m.next] = id
		m.next = (m.next + 1) % maxTokens
	}
	m.tokens[id] = token
	return nil
}

// recall returns the token of a file, "" if it is not known.
func (m *tokenMemory) recall(info fs.FileInfo) string {
	id, ok := identify(info)
	if !ok {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tokens[id]
}
