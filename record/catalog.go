package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/kv"
	protofiles "github.com/stele-db/stele/proto"
)

// catalog is what a store says of its tables.
type catalog struct {
	header *catalogpb.Database // nil for a store without tables
	tables []*catalogpb.Table  // by id
}

// readCatalog reads the whole catalog in one scan.
func readCatalog(ctx context.Context, r kv.Reader) (*catalog, error) {
	c := &catalog{}
	for p, err := range r.Scan(ctx, catalogRange()) {
		if err != nil {
			return nil, fmt.Errorf("read catalog: %w", err)
		}
		if bytes.Equal(p.Key, headerKey()) {
			c.header = &catalogpb.Database{}
			if err := proto.Unmarshal(p.Value, c.header); err != nil {
				return nil, errCorruptKey(p.Key, fmt.Errorf("header: %w", err))
			}
			if f := c.header.GetFormat(); f > Format {
				return nil, fmt.Errorf("the database has format %d and this program reads formats up to %d: use a newer version of Stele; nothing was changed: %w", f, Format, kv.ErrNewerFormat)
			}
			continue
		}
		t := &catalogpb.Table{}
		if err := proto.Unmarshal(p.Value, t); err != nil {
			return nil, errCorruptKey(p.Key, fmt.Errorf("table: %w", err))
		}
		if !bytes.Equal(p.Key, tableKey(t.GetId())) || t.GetName() == "" || len(t.GetVersions()) == 0 {
			return nil, errCorruptKey(p.Key, errors.New("not the record of this table"))
		}
		c.tables = append(c.tables, t)
	}
	if c.header == nil && len(c.tables) > 0 {
		return nil, &kv.CorruptError{Object: "catalog", Offset: -1, Reason: "it has tables and no header"}
	}
	return c, nil
}

// load fills the cache from the store. Tables that are cached stay the objects
// that they are.
func (db *DB) load(ctx context.Context) error {
	c, err := readCatalog(ctx, db.store)
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, rec := range c.tables {
		if db.tables[rec.GetName()] == nil {
			db.tables[rec.GetName()] = &Table{db: db, id: rec.GetId(), name: rec.GetName(), record: rec}
		}
	}
	return nil
}

// cached returns the table from the cache, its schema compiled, or nil.
func (db *DB) cached(name string) (*Table, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, kv.ErrClosed
	}
	t := db.tables[name]
	if t == nil {
		return nil, nil
	}
	return t, t.compileLocked()
}

// compileLocked makes the schema of a table that was not used before.
func (t *Table) compileLocked() error {
	if t.schema.Load() != nil {
		return nil
	}
	s, err := storedSchema(t.record)
	if err != nil {
		return &kv.CorruptError{Object: "catalog record of table " + t.name, Offset: -1, Reason: err.Error()}
	}
	t.schema.Store(s)
	return nil
}

// storedSchema makes the current schema of a table's record, its indexes with
// ids and states.
func storedSchema(rec *catalogpb.Table) (*Schema, error) {
	v := rec.GetVersions()[len(rec.GetVersions())-1]
	files := v.GetFiles().GetFile()
	if len(files) != 1 {
		return nil, fmt.Errorf("version %d has %d files, not one", v.GetNumber(), len(files))
	}
	s, err := schemaOf(files[0], v.GetMessage(), v.GetText())
	if err != nil {
		return nil, err
	}
	if s.table != rec.GetName() {
		return nil, fmt.Errorf("its schema is that of table %s", s.table)
	}
	return s, s.bind(rec)
}

// bind gives a schema its version and its indexes their ids.
func (s *Schema) bind(rec *catalogpb.Table) error {
	s.version = rec.GetVersions()[len(rec.GetVersions())-1].GetNumber()
	for i, ix := range s.indexes {
		at := slices.IndexFunc(rec.GetIndexes(), func(r *catalogpb.Index) bool { return r.GetName() == ix.name })
		if at < 0 {
			return fmt.Errorf("index %s is not in the record", ix.name)
		}
		r := rec.GetIndexes()[at]
		bound := *ix
		bound.id, bound.state = r.GetId(), indexState(r.GetState())
		s.indexes[i] = &bound
	}
	return nil
}

// indexState converts a stored state. One that this program does not know is
// kept and not used: whoever wrote it may come back to it.
func indexState(s catalogpb.Index_State) IndexState {
	switch s {
	case catalogpb.Index_STATE_READABLE:
		return IndexReadable
	case catalogpb.Index_STATE_DISABLED:
		return IndexDisabled
	}
	return IndexBuilding
}

// Table returns the table with the given name, or an error "no table NAME" that
// matches ErrNoTable. The store is read only if the catalog, as read before, has
// no such table: another writer may have made it since.
func (db *DB) Table(ctx context.Context, name string) (*Table, error) {
	t, err := db.cached(name)
	if t != nil || err != nil {
		return t, err
	}
	if err := db.load(ctx); err != nil {
		return nil, err
	}
	if t, err = db.cached(name); t == nil && err == nil {
		err = &noTable{name}
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Tables returns all tables of the catalog, as it was last read, in the order of
// their names.
func (db *DB) Tables(ctx context.Context) ([]*Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, kv.ErrClosed
	}
	list := make([]*Table, 0, len(db.tables))
	for _, t := range db.tables {
		if err := t.compileLocked(); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Table) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// Define makes tables for the schemas, or lets the schemas of existing tables
// grow, all in one transaction, and returns the tables. A schema that a table
// has already writes nothing, also on a store that is open for reading only.
//
// A schema may follow the stored one if every stored row stays readable and
// means the same: it may add fields, rename them, remove them when it reserves
// their numbers, widen integers from 32 to 64 bits, add and drop indexes. Any
// other change is refused with a *SchemaError that lists every fault and matches
// ErrIncompatible. An index added to a table of more than Options.IndexBuildRows
// rows is refused with kv.ErrInvalid. Rows that already violate a new unique
// index are refused with kv.ErrExists.
//
// Define waits for running updates, so it must not be called from inside one.
func (db *DB) Define(ctx context.Context, schemas ...*Schema) ([]*Table, error) {
	db.defining.Lock()
	defer db.defining.Unlock()
	if tables, err := db.unchanged(schemas, false); tables != nil || err != nil {
		return tables, err
	}
	const attempts = 10
	for i := 1; ; i++ {
		tables, err := db.define(ctx, schemas)
		switch {
		case errors.Is(err, kv.ErrConflict) && i < attempts:
			continue
		case errors.Is(err, kv.ErrReadOnly):
			// Comments are nothing that a reader must have.
			if tables, err := db.unchanged(schemas, true); tables != nil || err != nil {
				return tables, err
			}
		}
		if err != nil {
			return nil, fmt.Errorf("define tables: %w", err)
		}
		return tables, nil
	}
}

// unchanged returns the tables if they have just these schemas already, else
// nil. Comments count unless they are to be ignored.
func (db *DB) unchanged(schemas []*Schema, ignoreText bool) ([]*Table, error) {
	tables := make([]*Table, 0, len(schemas))
	for _, s := range schemas {
		t, err := db.cached(s.table)
		if err != nil {
			return nil, err
		}
		if t == nil || !sameMeaning(t.Schema(), s) || !ignoreText && t.Schema().text != s.text {
			return nil, nil
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// sameMeaning reports whether two schemas differ at most in comments and in
// options of their files.
func sameMeaning(a, b *Schema) bool {
	strip := func(s *Schema) *descriptorpb.FileDescriptorProto {
		f := proto.CloneOf(s.proto)
		f.Options, f.Dependency, f.PublicDependency, f.WeakDependency = nil, nil, nil, nil
		return f
	}
	return proto.Equal(strip(a), strip(b))
}

// define runs one transaction of Define.
func (db *DB) define(ctx context.Context, schemas []*Schema) ([]*Table, error) {
	tx, err := db.store.Begin(ctx, kv.TxOptions{})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	c, err := readCatalog(ctx, tx)
	if err != nil {
		return nil, err
	}
	if c.header == nil {
		if err := checkForeign(ctx, tx); err != nil {
			return nil, err
		}
		c.header = &catalogpb.Database{Format: Format, NextTableId: 1}
	}
	changes, err := c.plan(schemas)
	if err != nil {
		return nil, err
	}
	for _, ch := range changes {
		if err := ch.apply(ctx, tx, db.opts.IndexBuildRows); err != nil {
			return nil, err
		}
	}
	if err := putMessage(tx, headerKey(), c.header); err != nil {
		return nil, err
	}
	options, err := protofiles.Files.ReadFile(optionsPath)
	if err != nil {
		return nil, err
	}
	if err := tx.Put(OptionsKey(), options); err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	return db.publish(changes), nil
}

// checkForeign refuses a store that holds keys of others and no table yet.
func checkForeign(ctx context.Context, r kv.Reader) error {
	for p, err := range r.Scan(ctx, kv.Range{}) {
		if err != nil {
			return err
		}
		if bytes.HasPrefix(p.Key, []byte(schemaPrefix)) || p.Key[0] == spaceTables {
			continue // left by an import that defined no table
		}
		return invalidf("the store holds keys that are not Stele's, such as %q: tables need a store of their own", p.Key)
	}
	return nil
}

// putMessage writes a message, equal bytes for equal ones.
func putMessage(tx kv.Tx, key []byte, m proto.Message) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	return tx.Put(key, b)
}

// publish makes committed changes visible to this process.
func (db *DB) publish(changes []*change) []*Table {
	db.mu.Lock()
	defer db.mu.Unlock()
	tables := make([]*Table, len(changes))
	for i, ch := range changes {
		t := db.tables[ch.record.GetName()]
		if t == nil {
			t = &Table{db: db, id: ch.record.GetId(), name: ch.record.GetName()}
			db.tables[t.name] = t
		}
		t.record = ch.record
		t.schema.Store(ch.schema)
		tables[i] = t
	}
	return tables
}
