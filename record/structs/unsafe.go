package structs

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/stele-db/stele/kv"
)

// This file is the only one that follows pointers by offset. Every offset comes
// from reflect, every pointer stays inside the object it was derived from, and
// memory that holds pointers is allocated and grown by reflect.

// pointer returns the address of the struct that v, a *T, points to.
func (c *Codec) pointer(v any) (unsafe.Pointer, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.Type().Elem() != c.root.typ || rv.IsNil() {
		return nil, fmt.Errorf("%w: %T is not a pointer to a %v", kv.ErrInvalid, v, c.root.typ)
	}
	return rv.UnsafePointer(), nil
}

// at returns the address of f in the struct at base.
func (f *field) at(base unsafe.Pointer) unsafe.Pointer {
	return unsafe.Add(base, f.offset)
}

// target returns what the pointer at p points to, nil if it is nil.
func target(p unsafe.Pointer) unsafe.Pointer { return *(*unsafe.Pointer)(p) }

// setTarget makes the pointer at p point to a new zero value of type t, unless
// it already points to one.
func setTarget(p unsafe.Pointer, t reflect.Type) unsafe.Pointer {
	if target(p) == nil {
		*(*unsafe.Pointer)(p) = reflect.New(t).UnsafePointer()
	}
	return target(p)
}

// slice is the memory of any slice.
type slice struct {
	data     unsafe.Pointer
	len, cap int
}

// elements returns the first element and the length of the slice at p.
func elements(p unsafe.Pointer) (unsafe.Pointer, int) {
	s := (*slice)(p)
	return s.data, s.len
}

// element returns the address of element i of a slice that begins at data.
func (f *field) element(data unsafe.Pointer, i int) unsafe.Pointer {
	return unsafe.Add(data, uintptr(i)*f.elem.Size())
}

// extend appends n zero elements to the slice at p and returns the first.
func (f *field) extend(p unsafe.Pointer, n int) unsafe.Pointer {
	s := (*slice)(p)
	old := s.len
	if s.cap-old < n {
		// Grow leaves the memory beyond the length zero.
		reflect.NewAt(f.typ, p).Elem().Grow(n)
	}
	s.len = old + n
	return f.element(s.data, old)
}

// load returns the number of kind k at p: integers sign-extended, floats as
// their bits.
func load(k reflect.Kind, p unsafe.Pointer) uint64 {
	switch k {
	case reflect.Bool:
		if *(*bool)(p) {
			return 1
		}
		return 0
	case reflect.Int:
		return uint64(*(*int)(p))
	case reflect.Int8:
		return uint64(*(*int8)(p))
	case reflect.Int16:
		return uint64(*(*int16)(p))
	case reflect.Int32:
		return uint64(*(*int32)(p))
	case reflect.Int64:
		return uint64(*(*int64)(p))
	case reflect.Uint:
		return uint64(*(*uint)(p))
	case reflect.Uint8:
		return uint64(*(*uint8)(p))
	case reflect.Uint16:
		return uint64(*(*uint16)(p))
	case reflect.Uint32, reflect.Float32:
		return uint64(*(*uint32)(p))
	}
	return *(*uint64)(p)
}

// store sets the number of kind k at p. It reports whether v fits.
func store(k reflect.Kind, p unsafe.Pointer, v uint64) bool {
	switch k {
	case reflect.Bool:
		*(*bool)(p) = v != 0
	case reflect.Int:
		*(*int)(p) = int(v)
		return int64(int(v)) == int64(v)
	case reflect.Int8:
		*(*int8)(p) = int8(v)
		return int64(int8(v)) == int64(v)
	case reflect.Int16:
		*(*int16)(p) = int16(v)
		return int64(int16(v)) == int64(v)
	case reflect.Int32:
		*(*int32)(p) = int32(v)
	case reflect.Uint:
		*(*uint)(p) = uint(v)
		return v <= math.MaxUint
	case reflect.Uint8:
		*(*uint8)(p) = uint8(v)
		return v <= math.MaxUint8
	case reflect.Uint16:
		*(*uint16)(p) = uint16(v)
		return v <= math.MaxUint16
	case reflect.Uint32, reflect.Float32:
		*(*uint32)(p) = uint32(v)
	default:
		*(*uint64)(p) = v
	}
	return true
}
