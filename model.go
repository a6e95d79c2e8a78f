package stele

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/record/structs"
)

// Model is a table's definition: a *[Table]. Nothing else implements it.
type Model interface {
	definition() *model
}

// model is what a program says of a table, before any database is open. It
// grows while the program's variables are initialised.
type model struct {
	table  string
	record reflect.Type
	key    reflect.Type

	mu      sync.Mutex // guards what follows
	fields  map[handle]bool
	indexes []indexDef
}

// handle is a field as a FieldOf says it.
type handle struct {
	name  string
	value reflect.Type
}

// indexDef is an index as NewIndex2 and the like say it.
type indexDef struct {
	name   string
	fields []string
	unique bool
}

func (m *model) declareField(name string, value reflect.Type) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fields == nil {
		m.fields = map[handle]bool{}
	}
	m.fields[handle{name, value}] = true
}

func (m *model) declareIndex(ix indexDef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.indexes = append(m.indexes, ix)
}

// check compiles the definition as if it had never been stored, and returns all
// of its faults.
func (m *model) check() []error {
	var faults []error
	fault := func(err error) { faults = append(faults, fmt.Errorf("table %s: %w", m.table, err)) }
	if m.table == "" {
		fault(errors.New("it has no name"))
	}
	codec, err := structs.Compile(m.record, structs.Options{})
	if err != nil {
		fault(err)
		return faults
	}
	if _, err := structs.CompileKey(m.key, codec, keyNames(codec)); err != nil {
		fault(err)
	}
	if len(keyNames(codec)) == 0 {
		fault(fmt.Errorf("type %v has no key: tag a field `stele:\"key\"`", m.record))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for h := range m.fields {
		if err := h.check(codec); err != nil {
			fault(err)
		}
	}
	for _, err := range m.checkIndexesLocked(codec) {
		fault(err)
	}
	if len(faults) == 0 {
		// What the record layer has to say, such as of a key that is a float.
		if _, err := record.FromMessage(codec.Message(), m.definitionLocked(codec, nil)); err != nil {
			fault(err)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { // handles come in no order
		return strings.Compare(a.Error(), b.Error())
	})
	return faults
}

// check reports why the handle is not one of the codec's fields.
func (h handle) check(codec *structs.Codec) error {
	f, ok := codec.Field(h.name)
	switch {
	case !ok:
		return fmt.Errorf("%v has no field %s", codec.Type(), h.name)
	case f.Elem != h.value:
		return fmt.Errorf("field %s of %v is a %v; FieldOf says %v", h.name, codec.Type(), f.Elem, h.value)
	}
	return nil
}

func (m *model) checkIndexesLocked(codec *structs.Codec) []error {
	var faults []error
	names := map[string]bool{}
	for _, f := range codec.Fields() {
		if f.Index || f.Unique {
			names[f.Name] = true
		}
	}
	for _, ix := range m.indexes {
		if names[ix.name] {
			faults = append(faults, fmt.Errorf("there are two indexes %s", ix.name))
		}
		names[ix.name] = true
	}
	return faults
}

func keyNames(codec *structs.Codec) []string {
	var names []string
	for _, f := range codec.Fields() {
		if f.Key {
			names = append(names, f.Name)
		}
	}
	return names
}

// definitionLocked is what the record layer is told of the table: the message
// comes from the codec, everything else from tags and handles. Indexes that the
// stored table has on fields that the struct lacks stay, except unique ones:
// every row written through the struct has the same value there.
func (m *model) definitionLocked(codec *structs.Codec, stored *record.Schema) record.Definition {
	def := record.Definition{Table: m.table, Key: keyNames(codec)}
	for _, f := range codec.Fields() {
		if f.Index || f.Unique {
			def.Indexes = append(def.Indexes, record.IndexDef{Name: f.Name, Fields: []string{f.Name}, Unique: f.Unique})
		}
		if f.UUID {
			def.UUIDs = append(def.UUIDs, f.Name)
		}
	}
	for _, ix := range m.indexes {
		def.Indexes = append(def.Indexes, record.IndexDef{Name: ix.name, Fields: ix.fields, Unique: ix.unique})
	}
	if stored != nil {
		keepForeign(&def, codec, stored)
	}
	return def
}

// keepForeign adds to def what stored says of fields that the struct lacks.
func keepForeign(def *record.Definition, codec *structs.Codec, stored *record.Schema) {
	foreign := func(f *record.Field) bool {
		_, known := codec.Field(f.Name())
		return !known
	}
	for _, f := range stored.Fields() {
		if f.Kind() == record.UUID && foreign(f) {
			def.UUIDs = append(def.UUIDs, f.Name())
		}
	}
	for _, ix := range stored.Indexes() {
		if !ix.Unique() && slices.ContainsFunc(ix.Fields(), foreign) {
			def.Indexes = append(def.Indexes, record.IndexDef{Name: ix.Name(), Fields: fieldNames(ix.Fields())})
		}
	}
}

func fieldNames(fields []*record.Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name()
	}
	return names
}

// holds reports whether the stored schema is the definition already.
func holds(stored *record.Schema, def record.Definition) bool {
	if !slices.Equal(sorted(fieldNames(stored.Key())), sorted(def.Key)) || len(stored.Indexes()) != len(def.Indexes) {
		return false
	}
	for _, want := range def.Indexes {
		ix := stored.Index(want.Name)
		if ix == nil || ix.Unique() != want.Unique || !slices.Equal(fieldNames(ix.Fields()), want.Fields) {
			return false
		}
	}
	for _, f := range stored.Fields() {
		if (f.Kind() == record.UUID) != slices.Contains(def.UUIDs, f.Name()) {
			return false
		}
	}
	return true
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}

// binding is a definition in one database: the codec has the numbers that this
// database's rows have.
type binding struct {
	model *model
	codec *structs.Codec
	key   *structs.Key
	table *record.Table
}

// bindings are a database's tables, by their definitions. They never change.
type bindings map[*model]*binding

// of returns the binding of m.
func (b bindings) of(m *model) (*binding, error) {
	if bound := b[m]; bound != nil {
		return bound, nil
	}
	return nil, fmt.Errorf("%w: table %s is not among Options.Tables of this database", ErrInvalid, m.table)
}

// checkAll returns a *DefinitionError with the faults of all models.
func checkAll(tables []Model) error {
	var faults []error
	names := map[string]bool{}
	for _, t := range tables {
		if t == nil {
			faults = append(faults, errors.New("one of Options.Tables is nil"))
			continue
		}
		m := t.definition()
		if names[m.table] {
			faults = append(faults, fmt.Errorf("table %s: there are two tables of this name", m.table))
		}
		names[m.table] = true
		faults = append(faults, m.check()...)
	}
	if len(faults) > 0 {
		return &DefinitionError{Faults: faults}
	}
	return nil
}

// bind makes the bindings of tables in db. If define is set, it first creates
// or evolves the tables whose stored schema is not what their structs say.
func bind(ctx context.Context, db *record.DB, tables []Model, define bool) (bindings, error) {
	var faults []error
	var schemas []*record.Schema
	bound := bindings{}
	for _, t := range tables {
		m := t.definition()
		b, schema, err := prepare(ctx, db, m)
		if err != nil {
			faults = append(faults, fmt.Errorf("table %s: %w", m.table, err))
			continue
		}
		if schema != nil {
			schemas = append(schemas, schema)
		}
		bound[m] = b
	}
	if len(faults) > 0 {
		return nil, joinFaults(faults)
	}
	if define && len(schemas) > 0 {
		if _, err := db.Define(ctx, schemas...); err != nil {
			return nil, err
		}
	}
	for m, b := range bound {
		var err error
		if b.table, err = db.Table(ctx, m.table); err != nil {
			return nil, err
		}
		if b.key, err = structs.CompileKey(m.key, b.codec, fieldNames(b.table.Schema().Key())); err != nil {
			return nil, fmt.Errorf("table %s: %w", m.table, err)
		}
	}
	return bound, nil
}

// joinFaults returns a *DefinitionError if all faults are faults of
// definitions, else the first that is not.
func joinFaults(faults []error) error {
	for _, err := range faults {
		if !errors.Is(err, ErrInvalid) {
			return err
		}
	}
	return &DefinitionError{Faults: faults}
}

// prepare compiles m against what db has stored. The schema is nil if the
// stored one is right already.
func prepare(ctx context.Context, db *record.DB, m *model) (*binding, *record.Schema, error) {
	var stored *record.Schema
	t, err := db.Table(ctx, m.table)
	switch {
	case err == nil:
		stored = t.Schema()
	case !errors.Is(err, ErrNoTable):
		return nil, nil, err
	}
	opts := structs.Options{}
	if stored != nil {
		opts.Former = stored.Message()
	}
	codec, err := structs.Compile(m.record, opts)
	if err != nil {
		return nil, nil, err
	}
	b := &binding{model: m, codec: codec}
	m.mu.Lock()
	def := m.definitionLocked(codec, stored)
	m.mu.Unlock()
	if stored != nil && !codec.Changed() && holds(stored, def) {
		return b, nil, nil
	}
	schema, err := record.FromMessage(codec.Message(), def)
	return b, schema, err
}
