package structs_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

func TestAppendDoesNotAllocate(t *testing.T) {
	c, v := everythingCodec(t), sample()
	buf, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { buf, _ = c.Append(buf[:0], v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	c, v := everythingCodec(b), sample()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = c.Append(buf[:0], v)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkUnmarshal(b *testing.B) {
	c := everythingCodec(b)
	rec, _ := c.Append(nil, sample())
	var v everything
	b.ReportAllocs()
	b.SetBytes(int64(len(rec)))
	for b.Loop() {
		if err := c.Unmarshal(rec, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDynamicpbAppend(b *testing.B) {
	c := everythingCodec(b)
	rec, _ := c.Append(nil, sample())
	m := dynamicpb.NewMessage(c.Message())
	if err := proto.Unmarshal(rec, m); err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(rec)))
	for b.Loop() {
		buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], m)
	}
}

func BenchmarkDynamicpbUnmarshal(b *testing.B) {
	c := everythingCodec(b)
	rec, _ := c.Append(nil, sample())
	b.ReportAllocs()
	b.SetBytes(int64(len(rec)))
	for b.Loop() {
		if err := proto.Unmarshal(rec, dynamicpb.NewMessage(c.Message())); err != nil {
			b.Fatal(err)
		}
	}
}
