package slate

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/stele-db/stele/slate/internal/format"
)

// idSource mints ULIDs that ascend in the order they are asked for: garbage
// collection relies on an L0's id being no older than those before it.
type idSource struct {
	clock  Clock
	random io.Reader

	mu   sync.Mutex
	last ulid.ULID
}

func (s *idSource) ulid() (format.ULID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := max(uint64(max(s.clock.Now().UnixMilli(), 0)), s.last.Time())
	id, err := ulid.New(ms, s.random)
	if err != nil {
		return id, fmt.Errorf("make an SST id: %w", err)
	}
	if id.Compare(s.last) <= 0 { // same millisecond: count on from the last
		id = s.last
		for i := len(id) - 1; i >= 0; i-- {
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	s.last = id
	return id, nil
}

// after makes every id from now on younger than id, which another process has
// minted. It goes on in a later millisecond: in that of id, counting on could
// meet an id that the other process counted to.
func (s *idSource) after(id format.ULID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var floor ulid.ULID
	if err := floor.SetTime(id.Time() + 1); err == nil && floor.Compare(s.last) > 0 {
		s.last = floor
	}
}

// afterAll does so for the ids of recorded compactions: garbage collection goes
// by the oldest that is left, even one by a clock that is ahead of ours.
func (s *idSource) afterAll(f *format.Compactions) {
	for i := range f.Recent {
		s.after(f.Recent[i].ID)
	}
}

func (s *idSource) uuid() (id format.UUID, err error) {
	if _, err := io.ReadFull(s.random, id[:]); err != nil {
		return id, fmt.Errorf("make a checkpoint id: %w", err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	return id, nil
}

// seed is for choices that affect speed only; without randomness it is 0.
func (s *idSource) seed() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}
