package stele

// Index2 is a typed handle to an index over two fields.
type Index2[T, A, B any] struct {
	name string
	a    Field[T, A]
	b    Field[T, B]
}

// NewIndex2 declares an index over two fields of one table: rows are found by
// the first alone, or by both. The name is its name in the schema.
func NewIndex2[T, A, B any](name string, a Field[T, A], b Field[T, B]) Index2[T, A, B] {
	a.m.declareIndex(indexDef{name: name, fields: []string{a.name, b.name}})
	return Index2[T, A, B]{name, a, b}
}

// NewUniqueIndex2 declares an index over two fields in which no two rows have
// the same values. Null values are equal to nothing.
func NewUniqueIndex2[T, A, B any](name string, a Field[T, A], b Field[T, B]) Index2[T, A, B] {
	a.m.declareIndex(indexDef{name: name, fields: []string{a.name, b.name}, unique: true})
	return Index2[T, A, B]{name, a, b}
}

// Eq holds for rows with these values.
func (ix Index2[T, A, B]) Eq(a A, b B) Cond[T] { return And(ix.a.Eq(a), ix.b.Eq(b)) }

// Prefix holds for rows with this first value.
func (ix Index2[T, A, B]) Prefix(a A) Cond[T] { return ix.a.Eq(a) }

func (ix Index2[T, A, B]) index(T) (string, []use) {
	return ix.name, append(ix.a.uses(), ix.b.uses()...)
}

// Index3 is a typed handle to an index over three fields.
type Index3[T, A, B, C any] struct {
	name string
	a    Field[T, A]
	b    Field[T, B]
	c    Field[T, C]
}

// NewIndex3 declares an index over three fields of one table: rows are found by
// the first, by the first two, or by all.
func NewIndex3[T, A, B, C any](name string, a Field[T, A], b Field[T, B], c Field[T, C]) Index3[T, A, B, C] {
	a.m.declareIndex(indexDef{name: name, fields: []string{a.name, b.name, c.name}})
	return Index3[T, A, B, C]{name, a, b, c}
}

// NewUniqueIndex3 declares an index over three fields in which no two rows have
// the same values. Null values are equal to nothing.
func NewUniqueIndex3[T, A, B, C any](name string, a Field[T, A], b Field[T, B], c Field[T, C]) Index3[T, A, B, C] {
	a.m.declareIndex(indexDef{name: name, fields: []string{a.name, b.name, c.name}, unique: true})
	return Index3[T, A, B, C]{name, a, b, c}
}

// Eq holds for rows with these values.
func (ix Index3[T, A, B, C]) Eq(a A, b B, c C) Cond[T] {
	return And(ix.a.Eq(a), ix.b.Eq(b), ix.c.Eq(c))
}

// Prefix holds for rows with this first value.
func (ix Index3[T, A, B, C]) Prefix(a A) Cond[T] { return ix.a.Eq(a) }

// Prefix2 holds for rows with these first two values.
func (ix Index3[T, A, B, C]) Prefix2(a A, b B) Cond[T] { return And(ix.a.Eq(a), ix.b.Eq(b)) }

func (ix Index3[T, A, B, C]) index(T) (string, []use) {
	return ix.name, append(append(ix.a.uses(), ix.b.uses()...), ix.c.uses()...)
}
