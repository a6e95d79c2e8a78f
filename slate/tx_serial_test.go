package slate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/stele-db/stele/slate"
	"github.com/stele-db/stele/slate/bucket"
)

// act is a step of a transaction, and what it saw if it was a read.
type act struct {
	verb, key, upper, value string
	saw                     string
}

// past is a transaction that was committed, with the level it ran at.
type past struct {
	level      slate.Isolation
	start, seq uint64 // seq is 0 if it wrote nothing
	steps      []act
}

// run does the step and notes what it saw.
func (s *act) run(ctx context.Context, tx *slate.Tx) error {
	switch s.verb {
	case "get":
		v, err := tx.Get(ctx, []byte(s.key))
		if errors.Is(err, slate.ErrNotFound) {
			v, err = []byte("-"), nil
		}
		s.saw = string(v)
		return err
	case "scan", "reverse", "first", "last":
		var out []string
		r := slate.Range{Lower: []byte(s.key), Upper: []byte(s.upper), Reverse: s.verb == "reverse" || s.verb == "last"}
		for kv, err := range tx.Scan(ctx, r) {
			if err != nil {
				return err
			}
			out = append(out, string(kv.Key)+"="+string(kv.Value))
			if s.verb == "first" || s.verb == "last" {
				break
			}
		}
		s.saw = strings.Join(out, " ")
		return nil
	case "put":
		return tx.Put([]byte(s.key), []byte(s.value))
	case "merge":
		return tx.Merge([]byte(s.key), []byte(s.value))
	case "delete":
		return tx.Delete([]byte(s.key))
	}
	return fmt.Errorf("no verb %q", s.verb)
}

// play does the step on a map and returns what a read sees there.
func (s *act) play(m model) string {
	switch s.verb {
	case "get":
		if v, ok := m[s.key]; ok {
			return v
		}
		return "-"
	case "put":
		m[s.key] = s.value
	case "merge":
		m[s.key] += s.value
	case "delete":
		delete(m, s.key)
	default:
		rows := m.scan(slate.Range{Lower: []byte(s.key), Upper: []byte(s.upper), Reverse: s.verb == "reverse" || s.verb == "last"})
		if (s.verb == "first" || s.verb == "last") && len(rows) > 1 {
			rows = rows[:1]
		}
		return strings.Join(rows, " ")
	}
	return ""
}

func (s *act) writes() bool { return s.verb == "put" || s.verb == "merge" || s.verb == "delete" }

// replay runs the steps on m and returns the first that saw something else.
func (p *past) replay(m model) error {
	for i := range p.steps {
		if s := &p.steps[i]; s.play(m) != s.saw {
			was := maps.Clone(m)
			return fmt.Errorf("transaction of seqs %d to %d, step %d, %s %q %q saw %q, where the state is %v", p.start, p.seq, i, s.verb, s.key, s.upper, s.saw, was)
		}
	}
	return nil
}

func (p *past) keys() map[string]bool {
	keys := map[string]bool{}
	for i := range p.steps {
		if p.steps[i].writes() {
			keys[p.steps[i].key] = true
		}
	}
	return keys
}

// checkHistory holds committed transactions against what their isolation
// promises, and the final state against theirs. Every transaction saw the state
// that all those committed up to its start left, with its own writes on top. No
// two that overlapped wrote the same key. A serializable one that wrote saw what
// it would have seen had it run alone at its commit. The last is stronger than
// the second and the first together; skews counts the transactions under
// snapshot isolation for which it does not hold.
func checkHistory(all []past, final model) (skews int, err error) {
	slices.SortFunc(all, func(a, b past) int { return cmp.Compare(a.seq, b.seq) })
	states := map[uint64]model{0: {}} // by the seq that left them
	at := func(seq uint64) model {
		for states[seq] == nil {
			seq--
		}
		return states[seq]
	}
	now := model{}
	for i := range all {
		p := &all[i]
		if p.seq == 0 {
			continue
		}
		for j := i - 1; j >= 0 && all[j].seq > p.start; j-- {
			for k := range all[j].keys() {
				if p.keys()[k] {
					return skews, fmt.Errorf("transactions of seqs %d to %d and %d to %d both wrote %q", all[j].start, all[j].seq, p.start, p.seq, k)
				}
			}
		}
		alone := p.replay(maps.Clone(now))
		if alone != nil && p.level == slate.Serializable {
			return skews, fmt.Errorf("not serializable in the order of commits: %w", alone)
		}
		if alone != nil {
			skews++
		}
		for k := range p.steps {
			p.steps[k].play(now)
		}
		states[p.seq] = maps.Clone(now)
	}
	for i := range all {
		if err := all[i].replay(maps.Clone(at(all[i].start))); err != nil {
			return skews, fmt.Errorf("not what the snapshot held: %w", err)
		}
	}
	if !maps.Equal(now, final) {
		return skews, fmt.Errorf("the database ends as %v, not %v", final, now)
	}
	return skews, nil
}

var verbs = []string{"get", "get", "scan", "reverse", "first", "last", "put", "put", "merge", "delete"}

func isolation(snapshot bool) slate.Isolation {
	if snapshot {
		return slate.SnapshotIsolation
	}
	return slate.Serializable
}

func content(t rapid.TB, db *slate.DB) model {
	m := model{}
	for kv, err := range db.Scan(context.Background(), slate.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		m[string(kv.Key)] = string(kv.Value)
	}
	return m
}

// Random transactions over few keys, their steps taken in turns: whatever
// commits is what its isolation promises, and of those that were refused each
// had somebody in its way.
func TestSerializableInTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		db, err := slate.Open(ctx, "db", bucket.NewInMemBucket(), slate.Options{
			MergeOperator: slate.Concat, MinFlushInterval: -1,
			L0Bytes: rapid.SampledFrom([]int64{200, 1 << 20}).Draw(t, "l0"),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		type open struct {
			tx *slate.Tx
			p  past
		}
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		var (
			running []open
			all     []past
			n       int
		)
		finish := func(i int) {
			o := running[i]
			running = slices.Delete(running, i, i+1)
			h, err := o.tx.Commit(ctx)
			switch e := (*slate.ConflictError)(nil); {
			case err == nil:
				o.p.seq = h.Seq
				all = append(all, o.p)
			case errors.As(err, &e):
				if !slices.ContainsFunc(all, func(p past) bool { return p.seq == e.Seq && p.seq > o.p.start && p.keys()[string(e.Key)] }) {
					t.Fatalf("%v, but nobody wrote that", err)
				}
			default:
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, 4).Draw(t, "who")
			if i >= len(running) {
				level := isolation(rapid.Bool().Draw(t, "snapshot isolation"))
				tx, err := db.Begin(slate.TxOptions{Isolation: level, Write: slate.WriteOptions{Volatile: true}})
				if err != nil {
					t.Fatal(err)
				}
				running = append(running, open{tx, past{level: level, start: tx.Seq()}})
				continue
			}
			verb := rapid.SampledFrom(append(verbs, "commit", "commit")).Draw(t, "verb")
			if verb == "commit" {
				finish(i)
				continue
			}
			n++
			s := act{verb: verb, key: key.Draw(t, "key"), upper: key.Draw(t, "upper"), value: fmt.Sprint(n, ",")}
			if err := s.run(ctx, running[i].tx); err != nil {
				t.Fatal(err)
			}
			running[i].p.steps = append(running[i].p.steps, s)
		}
		for len(running) > 0 {
			finish(len(running) - 1)
		}
		if _, err := checkHistory(all, content(t, db)); err != nil {
			t.Fatal(err)
		}
	})
}

// The same with goroutines that run into each other, while memtables are
// flushed and compacted all the time; with some seeds commits wait for room
// between the two looks at what others wrote.
func TestSerializableConcurrently(t *testing.T) {
	const workers, each, seeds = 6, 60, 5
	for level, name := range map[slate.Isolation]string{slate.Serializable: "serializable", slate.SnapshotIsolation: "snapshot isolation"} {
		t.Run(name, func(t *testing.T) {
			var skews, refused, committed int
			for seed := range uint64(seeds) {
				room := []int64{1 << 20, 300}[seed%2]
				db := open(t, bucket.NewInMemBucket(), slate.Options{MergeOperator: slate.Concat, MinFlushInterval: -1, L0Bytes: 500, MaxUnflushedBytes: room})
				var (
					wg  sync.WaitGroup
					mu  sync.Mutex
					all []past
				)
				for w := range uint64(workers) {
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(seed, w))
						for i := range each {
							p, err := randomTx(t.Context(), db, rng, level, fmt.Sprintf("%d.%d,", w, i))
							mu.Lock()
							switch {
							case err == nil:
								all = append(all, p)
							case errors.Is(err, slate.ErrConflict):
								refused++
							default:
								t.Error(err)
							}
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				committed += len(all)
				n, err := checkHistory(all, content(t, db))
				if skews += n; err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				mustClose(t, db)
			}
			t.Logf("%d committed, %d refused, %d not serializable", committed, refused, skews)
		})
	}
}

// randomTx runs a transaction of a few random steps.
func randomTx(ctx context.Context, db *slate.DB, rng *rand.Rand, level slate.Isolation, value string) (past, error) {
	tx, err := db.Begin(slate.TxOptions{Isolation: level, Write: slate.WriteOptions{Volatile: rng.IntN(10) > 0}})
	if err != nil {
		return past{}, err
	}
	defer tx.Rollback()
	p := past{level: level, start: tx.Seq()}
	for range 1 + rng.IntN(6) {
		key := func() string { return string(rune('a' + rng.IntN(8))) }
		s := act{verb: verbs[rng.IntN(len(verbs))], key: key(), upper: key(), value: value}
		if err := s.run(ctx, tx); err != nil {
			return p, err
		}
		p.steps = append(p.steps, s)
		runtime.Gosched() // let others come between
	}
	h, err := tx.Commit(ctx)
	p.seq = h.Seq
	return p, err
}
