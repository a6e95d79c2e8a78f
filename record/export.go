package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stele-db/stele/kv"
	protofiles "github.com/stele-db/stele/proto"
)

// SchemaText returns the text of a table's schema as it lies in the store, or
// ErrNoTable.
func (db *DB) SchemaText(ctx context.Context, table string) (string, error) {
	b, err := db.store.Get(ctx, SchemaKey(table))
	if errors.Is(err, kv.ErrNotFound) {
		return "", &noTable{table}
	}
	if err != nil {
		return "", fmt.Errorf("schema of table %s: %w", table, err)
	}
	return string(b), nil
}

// WriteSchemas writes the stored text of the named tables, of all if none is
// named, into the folder dir as <table>.proto, with stele/options.proto beside
// them, so that protoc compiles the folder as it is. It makes the folder if it
// is missing, replaces files that are there, and returns the paths of the
// written files, relative to dir.
func (db *DB) WriteSchemas(ctx context.Context, dir string, tables ...string) ([]string, error) {
	if len(tables) == 0 {
		all, err := db.Tables(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			tables = append(tables, t.name)
		}
	}
	texts := make(map[string]string, len(tables)+1)
	var paths []string
	for _, name := range tables {
		text, err := db.SchemaText(ctx, name)
		if err != nil {
			return nil, err
		}
		paths = append(paths, name+".proto")
		texts[name+".proto"] = text
	}
	options, err := db.store.Get(ctx, OptionsKey())
	if errors.Is(err, kv.ErrNotFound) {
		options, err = protofiles.Files.ReadFile(optionsPath)
	}
	if err != nil {
		return nil, fmt.Errorf("schema options: %w", err)
	}
	paths = append(paths, optionsPath)
	texts[optionsPath] = string(options)
	for _, p := range paths {
		file := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(texts[p]), 0o644); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
