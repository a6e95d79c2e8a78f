package structs_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record/structs"
	"github.com/stele-db/stele/tuple"
)

func TestValueOf(t *testing.T) {
	type City string
	type Age int16
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, tc := range []struct {
		v    any
		want tuple.Value
	}{
		{true, tuple.Bool(true)}, {City("Oslo"), tuple.String("Oslo")}, {Age(-3), tuple.Int(-3)},
		{uint8(200), tuple.Uint(200)}, {float32(0.5), tuple.Float(0.5)}, {[]byte{1}, tuple.Bytes([]byte{1})},
		{UUID{7}, tuple.UUID([16]byte{7})}, {when, tuple.Time(when)}, {time.Second, tuple.Int(1e9)},
		{Color(998), tuple.Int(998)}, {int64(1), tuple.Int(1)}, {5, tuple.Int(5)}, {"x", tuple.String("x")},
	} {
		got, err := structs.ValueOf(tc.v)
		if err != nil || got.Kind() != tc.want.Kind() || tuple.Compare(got, tc.want) != 0 {
			t.Errorf("%T: got %v, %v", tc.v, got, err)
		}
	}
	for _, v := range []any{nil, Part{}, map[string]int{}, []int{}} {
		if _, err := structs.ValueOf(v); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestCompileKey(t *testing.T) {
	type order struct {
		Customer string `stele:"key"`
		Line     int32  `stele:"key"`
	}
	c, err := structs.Compile(reflect.TypeFor[order](), structs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		Line     int32 // the order of the parts is the record's
		Customer string
	}
	parts := []string{"customer", "line"}
	k, err := structs.CompileKey(reflect.TypeFor[key](), c, parts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Tuple(key{Customer: "a", Line: 2})
	if err != nil || got.String() != (tuple.Tuple{tuple.String("a"), tuple.Int(2)}).String() {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := k.Tuple("a"); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	type wrong struct {
		Line  string
		Extra int
	}
	_, err = structs.CompileKey(reflect.TypeFor[wrong](), c, parts)
	for _, want := range []string{"has no field for the key's part customer", "says that line is a string", "a field extra that is no part"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in %v", want, err)
		}
	}
	if _, err = structs.CompileKey(reflect.TypeFor[string](), c, parts); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if k, err = structs.CompileKey(reflect.TypeFor[string](), c, parts[:1]); err != nil {
		t.Fatal(err)
	}
	if got, err := k.Tuple("a"); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}
