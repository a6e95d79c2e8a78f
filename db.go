package stele

import (
	"context"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record"
)

// DB is a database that is open for reading and writing. It may be used
// concurrently. Of all processes, one at a time has a database open for
// writing: whoever opens it next fences this one, whose writes then return
// ErrFenced.
type DB struct {
	db    *record.DB
	bound bindings
}

// Open opens the database that the URL names for writing, and creates it if
// there is none: "file:///var/lib/app", "mem://test/app", and "s3://bucket/app"
// where package slate/bucket/s3 is imported. The tables of the options are
// created, or evolve to what their structs say now: fields are known by name,
// keep their numbers for ever, and fields that a struct no longer has stay in
// the stored schema.
//
// Errors: a *[DefinitionError] with all that is wrong with the tables, before
// anything is opened; ErrIncompatible if a struct is no successor of what is
// stored; ErrInvalid for a wrong URL; ErrNewerFormat, ErrDenied, ErrUnavailable
// and ErrCorrupt, as their comments say.
func Open(ctx context.Context, url string, opts Options) (*DB, error) {
	if err := checkAll(opts.Tables); err != nil {
		return nil, err
	}
	store, err := openWriter(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	return openDB(ctx, store, opts)
}

// OpenStore is Open for any ordered store, such as one of package kv/memkv. The
// database owns the store from then on, and closes it if it cannot be opened.
func OpenStore(ctx context.Context, store kv.Store, opts Options) (*DB, error) {
	if err := checkAll(opts.Tables); err != nil {
		_ = store.Close() // the first error is the one to report
		return nil, err
	}
	return openDB(ctx, store, opts)
}

func openDB(ctx context.Context, store kv.Store, opts Options) (*DB, error) {
	db, bound, err := open(ctx, store, opts, true)
	if err != nil {
		return nil, err
	}
	return &DB{db, bound}, nil
}

// open opens the records in a store for tables that have been checked.
func open(ctx context.Context, store kv.Store, opts Options, define bool) (*record.DB, bindings, error) {
	var bound bindings
	db, err := record.Open(ctx, store, opts.recordOptions())
	if err == nil {
		bound, err = bind(ctx, db, opts.Tables, define)
	}
	if err != nil {
		_ = store.Close() // the first error is the one to report
		return nil, nil, err
	}
	return db, bound, nil
}

func (db *DB) reader() kv.Reader  { return db.db.Store() }
func (db *DB) bindings() bindings { return db.bound }

func (db *DB) write(ctx context.Context, fn func(*Tx) error) error { return db.Update(ctx, fn) }

// Update runs fn in a transaction and commits it, durably, if fn returns nil;
// else nothing is changed and the error is returned. Rows and their index
// entries change together or not at all. Transactions are serializable and do not
// wait for each other: one that conflicts with another runs again, after a short
// wait, up to 32 times, so fn must be prepared to run more than once. fn must
// write through its transaction: a write through the database is another one,
// which may conflict with it each time, or wait with it for a change of schema.
// Update returns ErrConflict, with a *ConflictError that names the key, if it
// conflicted every time, and ErrUnknownOutcome if it cannot be told whether the
// commit took effect.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.db.Update(ctx, func(tx *record.Tx) error {
		return fn(&Tx{tx, db.bound})
	})
}

// View calls fn with a snapshot of the database, which is valid until fn
// returns.
func (db *DB) View(ctx context.Context, fn func(*Snapshot) error) error {
	return view(ctx, db.db, db.bound, fn)
}

// Snapshot pins the current state of the database. Close it when done.
func (db *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	return snapshot(ctx, db.db, db.bound)
}

// Records returns the untyped database below, for tables that have no struct.
func (db *DB) Records() *record.DB { return db.db }

// Close makes all writes durable and closes the database. Calls after it return
// ErrClosed.
func (db *DB) Close() error { return db.db.Close() }

// ReadDB is a database that is open for reading only: one fixed state of it,
// read beside its writer in this process or another. It writes nothing and
// fences nobody. It may be used concurrently.
type ReadDB struct {
	db    *record.DB
	bound bindings
}

// OpenReader opens the database that the URL names for reading, in its newest
// durable state. It returns ErrNotFound if there is no database, ErrNoTable if
// it lacks one of the tables, else the errors of Open.
func OpenReader(ctx context.Context, url string, opts Options) (*ReadDB, error) {
	if err := checkAll(opts.Tables); err != nil {
		return nil, err
	}
	store, err := openReader(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	return openReadDB(ctx, store, opts)
}

// OpenReadStore is OpenReader for any ordered store. The database owns the store
// from then on, and closes it if it cannot be opened.
func OpenReadStore(ctx context.Context, store kv.Store, opts Options) (*ReadDB, error) {
	if err := checkAll(opts.Tables); err != nil {
		_ = store.Close() // the first error is the one to report
		return nil, err
	}
	return openReadDB(ctx, store, opts)
}

func openReadDB(ctx context.Context, store kv.Store, opts Options) (*ReadDB, error) {
	db, bound, err := open(ctx, store, opts, false)
	if err != nil {
		return nil, err
	}
	return &ReadDB{db, bound}, nil
}

func (db *ReadDB) reader() kv.Reader  { return db.db.Store() }
func (db *ReadDB) bindings() bindings { return db.bound }

// View calls fn with a snapshot of the database, which is valid until fn
// returns.
func (db *ReadDB) View(ctx context.Context, fn func(*Snapshot) error) error {
	return view(ctx, db.db, db.bound, fn)
}

// Snapshot pins the current state of the database. Close it when done.
func (db *ReadDB) Snapshot(ctx context.Context) (*Snapshot, error) {
	return snapshot(ctx, db.db, db.bound)
}

// Records returns the untyped database below, for tables that have no struct.
func (db *ReadDB) Records() *record.DB { return db.db }

// Close closes the database. Calls after it return ErrClosed.
func (db *ReadDB) Close() error { return db.db.Close() }

func view(ctx context.Context, db *record.DB, bound bindings, fn func(*Snapshot) error) error {
	return db.View(ctx, func(r kv.Reader) error {
		return fn(&Snapshot{r, func() {}, bound})
	})
}

func snapshot(ctx context.Context, db *record.DB, bound bindings) (*Snapshot, error) {
	snap, err := db.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &Snapshot{snap, snap.Close, bound}, nil
}
