package cli

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/tuple"
)

// writeRecord writes a record as one line of canonical Protobuf JSON.
func writeRecord(w *bufio.Writer, s *record.Schema, rec []byte) error {
	line, err := s.ToJSON(rec)
	if err != nil {
		return err
	}
	if _, err := w.Write(line); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// printRecord prints a record for people, a field a line.
func printRecord(w io.Writer, e *env, s *record.Schema, rec []byte) error {
	cells, err := fieldTexts(s, s.Fields(), rec)
	if err != nil {
		return err
	}
	g := newGrid(w, e.stdout)
	for i, f := range s.Fields() {
		if err := g.add(f.Name(), cells[i]); err != nil {
			return err
		}
	}
	return g.flush()
}

// fieldNames returns the names of the fields of a schema.
func fieldNames(s *record.Schema) []string { return names(s.Fields()) }

// fieldTexts returns fields of a record as people write them; a null is empty,
// a nested message is JSON.
func fieldTexts(s *record.Schema, fields []*record.Field, rec []byte) ([]string, error) {
	var (
		out    = make([]string, len(fields))
		values []tuple.Value
		nested map[string]json.RawMessage
		err    error
	)
	for i, f := range fields {
		if !f.Kind().Comparable() {
			if nested == nil {
				if nested, err = jsonFields(s, rec); err != nil {
					return nil, err
				}
			}
			out[i] = string(nested[f.Descriptor().JSONName()])
			continue
		}
		if values, err = f.Values(rec, values[:0]); err != nil {
			return nil, err
		}
		texts := make([]string, len(values))
		for j, v := range values {
			if v.Kind() != tuple.KindNull {
				texts[j] = f.FormatText(v)
			}
		}
		out[i] = strings.Join(texts, ", ")
	}
	return out, nil
}

func jsonFields(s *record.Schema, rec []byte) (map[string]json.RawMessage, error) {
	line, err := s.ToJSON(rec)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(line, &fields)
}
