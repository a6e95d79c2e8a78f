package record

import "context"

type tableRecord struct{}

func (db *DB) load(ctx context.Context) error { return nil }

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
// Define must not be called from inside DB.Update.
func (db *DB) Define(ctx context.Context, schemas ...*Schema) ([]*Table, error) {
	return nil, invalidf("not yet")
}

// Table returns the table with the given name, or an error "no table NAME" that
// matches ErrNoTable. The store is read only if the catalog, as read before, has
// no such table: another writer may have made it since.
func (db *DB) Table(ctx context.Context, name string) (*Table, error) {
	return nil, &noTable{name}
}

// Tables returns all tables of the catalog in the order of their names.
func (db *DB) Tables(ctx context.Context) ([]*Table, error) { return nil, nil }

// WriteSchemas writes the stored text of the named tables, of all if none is
// named, into the folder dir as <table>.proto, with stele/options.proto beside
// them, so that protoc compiles the folder as it is. It makes the folder if it
// is missing, and returns the paths of the written files, relative to dir.
func (db *DB) WriteSchemas(ctx context.Context, dir string, tables ...string) ([]string, error) {
	return nil, invalidf("not yet")
}

// SchemaText returns the text of a table's schema as it lies in the store, or
// ErrNoTable.
func (db *DB) SchemaText(ctx context.Context, table string) (string, error) {
	return "", &noTable{table}
}
