package cli

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stele-db/stele/slate"
)

func compactionEvents(l *compactorLog) {
	for _, e := range []slate.CompactionEvent{
		{ID: "A", State: "started", L0: 4},
		{ID: "A", State: "completed", L0: 4, SSTs: 1, Read: 4000, Written: 3500, Took: 1234567 * time.Nanosecond},
		{ID: "B", State: "resumed", L0: 1, Runs: []uint32{3, 1}, Destination: 1},
		{ID: "B", State: "failed", L0: 1, Runs: []uint32{3, 1}, Destination: 1, Read: 10, Error: "no\nluck"},
		{ID: "C", State: "started", Runs: []uint32{7}, Destination: 7},
		{ID: "C", State: "moved", Runs: []uint32{7}, Destination: 7, SSTs: 2},
		{ID: "D", State: "stopped", Runs: []uint32{7, 6}, Destination: 6, Read: 90, Written: 100},
	} {
		l.event(e)
	}
	l.summary()
}

func TestCompactorTells(t *testing.T) {
	for _, c := range []struct {
		json bool
		want string
	}{
		{false, `
A started: 4 SSTs of L0 into run 0
A completed: 1 SST, read 4.0 kB, wrote 3.5 kB, 1ms
B resumed: 1 SST of L0 and runs [3 1] into run 1
B failed: no\nluck
C started: run [7] into run 7
C moved: 2 SSTs, read 0 bytes, wrote 0 bytes, 0s
D stopped; the next compactor takes it up
ended after 2 compactions: read 4.1 kB, wrote 3.6 kB
`},
		{true, `
{"id":"A","state":"started","l0":4,"runs":null,"destination":0}
{"id":"A","state":"completed","l0":4,"runs":null,"destination":0,"ssts":1,"bytesRead":4000,"bytesWritten":3500,"tookNs":1234567}
{"id":"B","state":"resumed","l0":1,"runs":[3,1],"destination":1}
{"id":"B","state":"failed","l0":1,"runs":[3,1],"destination":1,"bytesRead":10,"error":"no\nluck"}
{"id":"C","state":"started","l0":0,"runs":[7],"destination":7}
{"id":"C","state":"moved","l0":0,"runs":[7],"destination":7,"ssts":2}
{"id":"D","state":"stopped","l0":0,"runs":[7,6],"destination":6,"bytesRead":90,"bytesWritten":100}
{"compactions":2,"bytesRead":4100,"bytesWritten":3600}
`},
	} {
		var out bytes.Buffer
		compactionEvents(&compactorLog{env: &env{stdout: &out}, json: c.json, stop: func() { t.Error("stopped") }})
		if got := out.String(); got != c.want[1:] {
			t.Errorf("json %v:\n%swant\n%s", c.json, got, c.want[1:])
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

// A compactor that can tell nobody what it does, as it was asked to, ends.
func TestCompactorWithoutListener(t *testing.T) {
	stopped := 0
	l := &compactorLog{env: &env{stdout: brokenPipe{}}, stop: func() { stopped++ }}
	compactionEvents(l)
	if stopped != 1 || !errors.Is(l.err, errBroken) {
		t.Errorf("stopped %d times, for %v", stopped, l.err)
	}
}
