package record

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/gen/catalogpb"
	"github.com/stele-db/stele/kv"
)

// change is what Define does to one table. It is decided without I/O, and then
// applied.
type change struct {
	record  *catalogpb.Table // the new record; the old one is not touched
	schema  *Schema          // bound to record
	build   []*Index         // indexes that need the entries of existing rows
	dropped []*catalogpb.FormerIndex
}

// plan decides what the schemas change in the catalog. Of the catalog it changes
// only the ids that are still free.
func (c *catalog) plan(schemas []*Schema) ([]*change, error) {
	records := map[string]*catalogpb.Table{}
	for _, rec := range c.tables {
		records[rec.GetName()] = rec
	}
	var changes []*change
	var faults []Fault
	defined := map[string]bool{}
	for _, s := range schemas {
		if defined[s.table] {
			faults = append(faults, Fault{Reason: fmt.Sprintf("table %s is defined twice", s.table)})
			continue
		}
		defined[s.table] = true
		ch, f, err := c.change(records[s.table], s)
		if err != nil {
			return nil, err
		}
		if faults = append(faults, f...); len(f) == 0 {
			records[s.table] = ch.record
			changes = append(changes, ch)
		}
	}
	if faults = append(faults, sameMessage(records)...); len(faults) > 0 {
		return nil, &SchemaError{Faults: faults, kind: ErrIncompatible}
	}
	return changes, nil
}

// sameMessage finds tables whose messages have one name: their files could not
// be compiled together.
func sameMessage(records map[string]*catalogpb.Table) (faults []Fault) {
	tables := make([]string, 0, len(records))
	for name := range records {
		tables = append(tables, name)
	}
	slices.Sort(tables)
	first := map[string]string{}
	for _, name := range tables {
		message := lastVersion(records[name]).GetMessage()
		if other, ok := first[message]; ok {
			faults = append(faults, Fault{Reason: fmt.Sprintf("tables %s and %s both have the message %s; give one of the messages another name or package", other, name, message)})
		}
		first[message] = name
	}
	return faults
}

func lastVersion(rec *catalogpb.Table) *catalogpb.Version {
	return rec.GetVersions()[len(rec.GetVersions())-1]
}

// change decides what becomes of the table with the given record, nil if it is
// new, when it gets the schema.
func (c *catalog) change(old *catalogpb.Table, s *Schema) (*change, []Fault, error) {
	next := *s
	next.indexes = slices.Clone(s.indexes)
	ch := &change{schema: &next}
	version := &catalogpb.Version{
		Number:  1,
		Message: string(s.md.FullName()),
		Files:   &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{s.proto}},
		Text:    s.text,
	}
	if old == nil {
		ch.record = &catalogpb.Table{
			Id: c.header.GetNextTableId(), Name: s.table, NextIndexId: 1,
			Versions: []*catalogpb.Version{version},
		}
		c.header.NextTableId++
		ch.assignIndexes(nil)
		return ch, nil, next.bind(ch.record)
	}
	before, err := storedSchema(old)
	if err != nil {
		return nil, nil, &kv.CorruptError{Object: "catalog record of table " + s.table, Offset: -1, Reason: err.Error()}
	}
	ch.record = proto.CloneOf(old)
	if sameMeaning(before, s) {
		last := lastVersion(ch.record)
		last.Text, last.Files = version.Text, version.Files
		return ch, nil, next.bind(ch.record)
	}
	faults := compare(before, s, old)
	if len(faults) > 0 {
		return nil, faults, nil
	}
	version.Number = lastVersion(old).GetNumber() + 1
	ch.record.Versions = append(ch.record.Versions, version)
	for _, f := range before.fields {
		if s.byNumber[f.number] == nil {
			ch.record.FormerFields = append(ch.record.FormerFields, &catalogpb.FormerField{
				Number: int32(f.number), Name: f.name, RemovedVersion: version.Number,
			})
		}
	}
	ch.assignIndexes(before)
	return ch, nil, next.bind(ch.record)
}

// assignIndexes gives the schema's indexes their records: those that they had,
// also under another name, or new ones. before is nil for a new table.
func (ch *change) assignIndexes(before *Schema) {
	version := lastVersion(ch.record).GetNumber()
	left := ch.record.Indexes
	ch.record.Indexes = nil
	take := func(match func(*catalogpb.Index) bool) *catalogpb.Index {
		at := slices.IndexFunc(left, match)
		if at < 0 {
			return nil
		}
		r := left[at]
		left = slices.Delete(slices.Clone(left), at, at+1)
		return r
	}
	for _, ix := range ch.schema.indexes {
		numbers := make([]int32, len(ix.fields))
		for i, f := range ix.fields {
			numbers[i] = int32(f.number)
		}
		same := func(r *catalogpb.Index) bool {
			return slices.Equal(r.GetFields(), numbers) && r.GetUnique() == ix.unique
		}
		r := take(func(r *catalogpb.Index) bool { return same(r) && r.GetName() == ix.name })
		if r == nil {
			r = take(same)
		}
		if r == nil {
			r = &catalogpb.Index{
				Id: ch.record.NextIndexId, Fields: numbers, Unique: ix.unique,
				State: catalogpb.Index_STATE_READABLE, SinceVersion: version,
			}
			ch.record.NextIndexId++
			if before != nil {
				ch.build = append(ch.build, &Index{name: ix.name, fields: ix.fields, unique: ix.unique, id: r.Id, state: IndexReadable})
			}
		}
		r.Name = ix.name
		ch.record.Indexes = append(ch.record.Indexes, r)
	}
	for _, r := range left {
		f := &catalogpb.FormerIndex{Id: r.GetId(), Name: r.GetName(), DroppedVersion: version}
		ch.record.FormerIndexes = append(ch.record.FormerIndexes, f)
		ch.dropped = append(ch.dropped, f)
	}
}

// apply writes the change into the transaction. Indexes get the entries of at
// most limit rows.
func (ch *change) apply(ctx context.Context, tx kv.Tx, limit int) error {
	for _, f := range ch.dropped {
		done, err := clearIndex(ctx, tx, ch.record.GetId(), f.GetId(), limit)
		if err != nil {
			return err
		}
		f.Cleared = done
	}
	if len(ch.build) > 0 {
		if err := ch.buildIndexes(ctx, tx, limit); err != nil {
			return err
		}
	}
	if err := tx.Put(SchemaKey(ch.schema.table), []byte(ch.schema.text)); err != nil {
		return err
	}
	return putMessage(tx, tableKey(ch.record.GetId()), ch.record)
}

// clearIndex deletes up to limit entries of an index, and reports whether none
// is left. Entries that stay are in nobody's way: the id is not used again.
func clearIndex(ctx context.Context, tx kv.Tx, table, index uint64, limit int) (done bool, err error) {
	var keys [][]byte
	for p, err := range tx.Scan(ctx, prefixRange(indexPrefix(table, index))) {
		if err != nil {
			return false, err
		}
		if len(keys) == limit {
			return false, nil
		}
		keys = append(keys, slices.Clone(p.Key))
	}
	for _, k := range keys {
		if err := tx.Delete(k); err != nil {
			return false, err
		}
	}
	return true, nil
}

// comparison collects what is wrong with a successor of a schema.
type comparison struct {
	faults []Fault
	seen   map[[2]protoreflect.FullName]bool
}

// compare lists every reason why the schema after cannot take the place of
// before in a database with rows.
func compare(before, after *Schema, rec *catalogpb.Table) []Fault {
	c := &comparison{seen: map[[2]protoreflect.FullName]bool{}}
	c.messages(before.md, after.md, "")
	c.keys(before, after)
	for _, f := range rec.GetFormerFields() {
		if now := after.byNumber[protoreflect.FieldNumber(f.GetNumber())]; now != nil {
			c.add(now.fd, "number %d was that of field %q until version %d, and numbers are never used again; give field %q another", f.GetNumber(), f.GetName(), f.GetRemovedVersion(), now.name)
		}
	}
	for _, old := range before.fields {
		if now := after.byNumber[old.number]; now != nil {
			c.indexed(before, after, old, now)
		}
	}
	for i := range c.faults {
		c.faults[i].Reason = "table " + before.table + ": " + c.faults[i].Reason
	}
	return c.faults
}

func (c *comparison) add(d protoreflect.Descriptor, format string, args ...any) {
	c.faults = append(c.faults, faultf(d, format, args...))
}

// keys compares the primary keys.
func (c *comparison) keys(before, after *Schema) {
	same := len(before.key) == len(after.key)
	for i := range before.key {
		same = same && before.key[i].number == after.key[i].number
	}
	if !same {
		c.add(after.md, "the primary key was (%s) and would be (%s): a table keeps its key; make a new table instead", fieldNames(before.key), fieldNames(after.key))
	}
}

func fieldNames(fields []*Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// indexed compares what matters only to fields that keys hold.
func (c *comparison) indexed(before, after *Schema, old, now *Field) {
	if old.kind == Bytes && now.kind == UUID {
		c.add(now.fd, "field %q was bytes and would be a UUID: rows may hold what is none", now.name)
		return
	}
	if !before.inKeys(old) || !after.inKeys(now) {
		return
	}
	switch {
	case !old.repeated && now.repeated:
		c.add(now.fd, "field %q was %s and would be %s: that is possible only while it has no index; drop the index first", now.name, typeName(old.fd), typeName(now.fd))
	case old.optional != now.optional:
		c.add(now.fd, "field %q %s: that would change what rows without it have in the index; drop the index first", now.name, presenceChange(now))
	case old.kind != now.kind && old.fd.Kind() == now.fd.Kind():
		c.add(now.fd, "field %q was a %s and would be a %s, which keys hold otherwise; drop the index first", now.name, old.kind, now.kind)
	}
}

func presenceChange(now *Field) string {
	if now.optional {
		return "would become optional"
	}
	return "would no longer be optional"
}

// inKeys reports whether a field is in the primary key or in an index.
func (s *Schema) inKeys(f *Field) bool {
	if slices.Contains(s.key, f) {
		return true
	}
	return slices.ContainsFunc(s.indexes, func(ix *Index) bool { return slices.Contains(ix.fields, f) })
}

// messages compares two messages, and those that they refer to. at is the path
// of the field that leads to them.
func (c *comparison) messages(old, now protoreflect.MessageDescriptor, at string) {
	pair := [2]protoreflect.FullName{old.FullName(), now.FullName()}
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	for i := range old.Fields().Len() {
		of := old.Fields().Get(i)
		nf := now.Fields().ByNumber(of.Number())
		switch moved := now.Fields().ByName(of.Name()); {
		case moved != nil && moved.Number() != of.Number():
			c.add(moved, "field %q had number %d and would have %d: stored rows know it by its number; give it %d again", at+string(of.Name()), of.Number(), moved.Number(), of.Number())
		case nf != nil:
			c.fields(of, nf, at)
		case !now.ReservedRanges().Has(of.Number()):
			c.add(now, "field %q is gone: keep it, or write `reserved %d;` in message %s so that its number is not used again", at+string(of.Name()), of.Number(), now.Name())
		}
	}
	for i := range now.Fields().Len() {
		nf := now.Fields().Get(i)
		if old.Fields().ByNumber(nf.Number()) != nil {
			continue
		}
		if old.ReservedRanges().Has(nf.Number()) {
			c.add(nf, "field %q takes number %d, which was reserved; give it another", at+string(nf.Name()), nf.Number())
		}
		if nf.Cardinality() == protoreflect.Required {
			c.add(nf, "field %q is new and required: stored rows do not have it; make it optional", at+string(nf.Name()))
		}
	}
}

// fields compares two fields of one number.
func (c *comparison) fields(old, now protoreflect.FieldDescriptor, at string) {
	name := at + string(now.Name())
	if old.Cardinality() != protoreflect.Required && now.Cardinality() == protoreflect.Required {
		c.add(now, "field %q would become required: stored rows may lack it", name)
	}
	if oneofName(old) != oneofName(now) {
		c.add(now, "field %q would move in or out of a oneof (%q before, %q after): rows may hold both it and another member", name, oneofName(old), oneofName(now))
	}
	if old.IsMap() != now.IsMap() || old.IsList() && !now.IsList() || !widens(old.Kind(), now.Kind()) {
		c.add(now, "field %q was %s and would be %s: stored rows hold the former; add a new field instead", name, typeName(old), typeName(now))
		return
	}
	switch {
	case old.Enum() != nil:
		c.enums(old.Enum(), now.Enum(), now, name)
	case old.Message() != nil && builtIn(old.Message().ParentFile().Path()) || now.Message() != nil && builtIn(now.Message().ParentFile().Path()):
		if old.Message().FullName() != now.Message().FullName() {
			c.add(now, "field %q was %s and would be %s: stored rows hold the former; add a new field instead", name, typeName(old), typeName(now))
		}
	case old.Message() != nil:
		c.messages(old.Message(), now.Message(), name+".")
	}
}

// widens reports whether a decoder of the kind now reads every value that was
// written as old. Both must also be one type in the order of keys.
func widens(old, now protoreflect.Kind) bool {
	switch old {
	case protoreflect.Int32Kind:
		return now == old || now == protoreflect.Int64Kind
	case protoreflect.Sint32Kind:
		return now == old || now == protoreflect.Sint64Kind
	case protoreflect.Uint32Kind:
		return now == old || now == protoreflect.Uint64Kind
	}
	return now == old
}

// oneofName returns the name of the oneof that a field is in, "" for none.
func oneofName(fd protoreflect.FieldDescriptor) protoreflect.Name {
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o.Name()
	}
	return ""
}

// enums compares two enums.
func (c *comparison) enums(old, now protoreflect.EnumDescriptor, at protoreflect.Descriptor, field string) {
	pair := [2]protoreflect.FullName{old.FullName(), now.FullName()}
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	for i := range old.Values().Len() {
		v := old.Values().Get(i)
		moved := now.Values().ByName(v.Name())
		switch {
		case moved != nil && moved.Number() != v.Number():
			c.add(at, "value %s of enum %s (field %q) was %d and would be %d: stored rows hold the number", v.Name(), now.Name(), field, v.Number(), moved.Number())
		case now.Values().ByNumber(v.Number()) == nil && !now.ReservedRanges().Has(v.Number()):
			c.add(at, "value %s of enum %s (field %q) is gone: keep it, or write `reserved %d;` in the enum", v.Name(), now.Name(), field, v.Number())
		}
	}
}
