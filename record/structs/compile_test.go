package structs_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/kv"
	"github.com/stele-db/stele/record/structs"
)

type UUID [16]byte

type Base struct {
	ID      string `stele:"key"`
	Created time.Time
}

type Part struct {
	Name  string
	Count int32
	Sub   []Part
}

type everything struct {
	Base
	Bool     bool
	Int      int
	Int8     int8
	Int16    int16
	Int32    int32
	Int64    int64 `stele:"index"`
	Uint     uint
	Uint8    uint8
	Uint16   uint16
	Uint32   uint32
	Uint64   uint64
	Float32  float32
	Float64  float64
	Str      string `stele:"name=text,number=40,unique"`
	Bytes    []byte
	Tag      UUID
	Time     time.Time
	Took     time.Duration
	Label    descriptorpb.FieldDescriptorProto_Label `stele:"-"`
	Syntax   Color
	Part     Part
	OptInt   *int
	OptBlob  *[]byte
	OptTime  *time.Time
	OptPart  *Part
	Ints     []int16
	Floats   []float64
	Texts    []string
	Blobs    [][]byte
	Times    []time.Time
	Durs     []time.Duration
	Tags     []UUID
	Parts    []Part
	Colors   []Color
	Anon     struct{ X, Y int }
	Ignored  map[string]int `stele:"-"`
	HTTPPort uint16
	private  int //nolint:unused // shows that it is left alone
}

func TestDescriptor(t *testing.T) {
	c, err := structs.Compile(reflect.TypeFor[everything](), structs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	print := func(md protoreflect.MessageDescriptor) {
		fmt.Fprintf(&b, "%s:\n", md.FullName())
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			kind := fd.Kind().String()
			if fd.Message() != nil {
				kind = string(fd.Message().FullName())
			}
			if fd.Enum() != nil {
				kind = string(fd.Enum().FullName())
			}
			label := ""
			if fd.IsList() {
				label = "repeated "
			}
			if fd.HasOptionalKeyword() {
				label = "optional "
			}
			fmt.Fprintf(&b, "%s%s %s = %d\n", label, kind, fd.Name(), fd.Number())
		}
	}
	print(c.Message())
	for i := range c.Message().Messages().Len() {
		print(c.Message().Messages().Get(i))
	}
	want := `Everything:
string id = 1
google.protobuf.Timestamp created = 2
bool bool = 3
int64 int = 4
int64 int8 = 5
int64 int16 = 6
int32 int32 = 7
int64 int64 = 8
uint64 uint = 9
uint64 uint8 = 10
uint64 uint16 = 11
uint32 uint32 = 12
uint64 uint64 = 13
float float32 = 14
double float64 = 15
string text = 40
bytes bytes = 16
bytes tag = 17
google.protobuf.Timestamp time = 18
google.protobuf.Duration took = 19
Everything.Edition syntax = 20
Everything.Part part = 21
optional int64 opt_int = 22
optional bytes opt_blob = 23
optional google.protobuf.Timestamp opt_time = 24
optional Everything.Part opt_part = 25
repeated int64 ints = 26
repeated double floats = 27
repeated string texts = 28
repeated bytes blobs = 29
repeated google.protobuf.Timestamp times = 30
repeated google.protobuf.Duration durs = 31
repeated bytes tags = 32
repeated Everything.Part parts = 33
repeated Everything.Edition colors = 34
Everything.Anon anon = 35
uint64 http_port = 36
Everything.Part:
string name = 1
int32 count = 2
repeated Everything.Part sub = 3
Everything.Anon:
int64 x = 1
int64 y = 2
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]structs.Field{
		"id":    {Key: true},
		"int64": {Index: true},
		"text":  {Unique: true},
		"tags":  {Repeated: true, UUID: true},
	} {
		f, ok := c.Field(name)
		if !ok || f.Key != want.Key || f.Index != want.Index || f.Unique != want.Unique || f.Repeated != want.Repeated || f.UUID != want.UUID {
			t.Errorf("field %s: %+v", name, f)
		}
	}
}

// Color is an enum as generated code has it.
type Color int32

func (Color) Descriptor() protoreflect.EnumDescriptor {
	return descriptorpb.FieldDescriptorProto_Label(0).Descriptor().ParentFile().Enums().ByName("Edition")
}
func (Color) Type() protoreflect.EnumType       { return nil }
func (c Color) Number() protoreflect.EnumNumber { return protoreflect.EnumNumber(c) }

type badInner struct {
	A any
	K string `stele:"key"`
}

type bad struct {
	Any    any
	Func   func()
	Chan   chan int
	Matrix [][]int
	Map    map[string]int
	Array  [3]int
	Ptrs   []*int
	PP     **int
	Inner  badInner
	Tagged string `stele:"indx"`
	Num    string `stele:"number=0"`
	Taken  string `stele:"number=19500"`
	UserID string
	Userid string   `stele:"name=userId"`
	hidden string   `stele:"key"` //nolint:unused // shows the fault
	Opt    *string  `stele:"key"`
	Rep    []string `stele:"unique"`
	C128   complex128
	Übung  string
	X      int `stele:"number=7"`
	Y      int `stele:"number=7"`
}

func TestFaults(t *testing.T) {
	_, err := structs.Compile(reflect.TypeFor[bad](), structs.Options{})
	if !errors.Is(err, kv.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"bad.Any: interface {} cannot be stored",
		"bad.Func: func() cannot be stored",
		"bad.Chan: chan int cannot be stored",
		"bad.Matrix: [][]int: a repeated field cannot repeat",
		"bad.Map: map[string]int: maps are not supported",
		"bad.Array: [3]int: arrays",
		"bad.Ptrs: []*int: elements cannot be pointers",
		"bad.PP: **int: a pointer to a pointer",
		"bad.Inner.A: interface {} cannot",
		"bad.Inner.K: key, index and unique belong",
		`bad.Tagged: tag: unknown option "indx"`,
		`bad.Num: tag: field number "0"`,
		"bad.Taken: tag: field numbers 19000",
		"bad.Userid: field name userId is taken by bad.UserID (user_id)",
		"bad.hidden: has a stele tag but is not exported",
		"bad.Opt: a key field cannot be a pointer",
		"bad.Rep: a repeated field cannot be unique",
		"bad.C128: complex128 cannot",
		`bad.Übung: "Übung" is not a Protobuf field name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
	type dup struct {
		X int `stele:"number=7"`
		Y int `stele:"number=7"`
	}
	if _, err := structs.Compile(reflect.TypeFor[dup](), structs.Options{}); err == nil || !strings.Contains(err.Error(), "dup.Y: number 7 is taken by dup.X") {
		t.Errorf("got %v", err)
	}
	for _, typ := range []reflect.Type{nil, reflect.TypeFor[int](), reflect.TypeFor[time.Time](), reflect.TypeFor[*bad]()} {
		if _, err := structs.Compile(typ, structs.Options{}); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%v: got %v", typ, err)
		}
	}
}

type v1 struct {
	ID    string `stele:"key"`
	Email string
	Age   int32
	Home  struct{ Street, City string }
}

type v2 struct {
	Age   int64 // moved and widened
	Nick  string
	Home  struct{ Zip, City string } // Street removed, Zip added
	ID    string                     `stele:"key"`
	Phone string                     // Email removed
}

func TestNumbersArePermanent(t *testing.T) {
	c1, err := structs.Compile(reflect.TypeFor[v1](), structs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c2, err := structs.Compile(reflect.TypeFor[v2](), structs.Options{Former: c1.Message()})
	if err != nil {
		t.Fatal(err)
	}
	if !c2.Changed() {
		t.Error("new fields are no change")
	}
	want := map[string]int{"id": 1, "email": 2, "age": 3, "home": 4, "nick": 5, "phone": 6}
	for name, n := range want {
		if fd := c2.Message().Fields().ByName(protoreflect.Name(name)); fd == nil || int(fd.Number()) != n {
			t.Errorf("%s: got %v, want number %d", name, fd, n)
		}
	}
	home := c2.Message().Fields().ByName("home").Message()
	if got := home.Fields().ByName("zip").Number(); got != 3 {
		t.Errorf("home.zip has number %d", got)
	}
	if k := c2.Message().Fields().ByName("age").Kind(); k != protoreflect.Int64Kind {
		t.Errorf("age is %v", k)
	}
	var old v1
	old.ID, old.Email, old.Age, old.Home.City = "u1", "a@b", -5, "Oslo"
	rec, err := c1.Append(nil, &old)
	if err != nil {
		t.Fatal(err)
	}
	var now v2
	if err := c2.Unmarshal(rec, &now); err != nil {
		t.Fatal(err)
	}
	if now.ID != "u1" || now.Age != -5 || now.Home.City != "Oslo" || now.Home.Zip != "" || now.Nick != "" {
		t.Errorf("got %+v", now)
	}
	// The old struct still reads and writes by its numbers, and changes nothing.
	c3, err := structs.Compile(reflect.TypeFor[v1](), structs.Options{Former: c1.Message()})
	if err != nil || c3.Changed() {
		t.Errorf("same type: changed %v, %v", c3.Changed(), err)
	}
	type wrong struct {
		ID    string
		Email int64
		Age   *int32
		Nick  string `stele:"number=2"`
		Home  string `stele:"number=9"`
	}
	_, err = structs.Compile(reflect.TypeFor[wrong](), structs.Options{Former: c1.Message()})
	for _, want := range []string{
		"wrong.Email: is stored as string, which int64 cannot hold",
		"wrong.Age: is stored as int32, which is not what *int32 says",
		"wrong.Nick: the tag says number 2, which was used before",
		"wrong.Home: the tag says number 9, but the field is stored with number 4",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in\n%v", want, err)
		}
	}
}
