package record

import (
	"context"
	"crypto/rand"
	"io"
	"sync"
	"sync/atomic"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/internal/clock"
	"github.com/stele-db/stele/kv"
)

// Options are the settings of a database. Its zero value is the default.
type Options struct {
	// IndexBuildRows is the most rows that a table may have for an index to be
	// added to it: the entries are made in the transaction that declares the
	// index. Raised, larger tables can get indexes, and such a transaction takes
	// more memory and time; lowered, the reverse. Default 100,000.
	IndexBuildRows int
	// Clock measures the waits of DB.Update between its attempts; the machine's
	// by default.
	Clock clock.Clock
	// Random spreads those waits; crypto/rand by default. It must be safe for
	// concurrent use.
	Random io.Reader
}

const defaultIndexBuildRows = 100_000

// DB is a database of tables in an ordered store. It is safe for concurrent
// use.
type DB struct {
	store kv.Store
	opts  Options

	// defining is held by Define for writing, and by every transaction that
	// writes rows for reading, from before its start until after its commit: so
	// no row is ever written by the indexes of an older schema.
	defining sync.RWMutex

	mu     sync.Mutex // guards what follows; never held across I/O
	tables map[string]*Table
	closed bool
}

// Table is the rows of one schema in a database. It is safe for concurrent use,
// and stays valid when the table's schema grows.
type Table struct {
	db     *DB
	id     uint64
	name   string
	record *catalogpb.Table       // as stored; replaced under DB.mu
	schema atomic.Pointer[Schema] // current, with the ids of its indexes
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// ID returns the id of the table in its rows' keys.
func (t *Table) ID() uint64 { return t.id }

// Schema returns the current schema, its indexes with their ids and states.
func (t *Table) Schema() *Schema { return t.schema.Load() }

// DB returns the database of the table.
func (t *Table) DB() *DB { return t.db }

// Open reads the catalog of a store. It writes nothing, so it works on stores
// that are open for reading only. It returns kv.ErrNewerFormat if a newer
// version of this program wrote the store, kv.ErrCorrupt if the catalog cannot
// be read. The database owns the store from then on.
func Open(ctx context.Context, store kv.Store, opts Options) (*DB, error) {
	if opts.IndexBuildRows < 0 {
		return nil, invalidf("IndexBuildRows is %d; it must not be negative", opts.IndexBuildRows)
	}
	if opts.IndexBuildRows == 0 {
		opts.IndexBuildRows = defaultIndexBuildRows
	}
	if opts.Clock == nil {
		opts.Clock = clock.System
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	db := &DB{store: store, opts: opts, tables: map[string]*Table{}}
	if err := db.load(ctx); err != nil {
		return nil, err
	}
	return db, nil
}

// Store returns the store below the database.
func (db *DB) Store() kv.Store { return db.store }

// Close closes the store, which makes every committed write durable. Calls after
// it return kv.ErrClosed.
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	return db.store.Close()
}
