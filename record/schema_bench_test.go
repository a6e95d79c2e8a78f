package record_test

import (
	"testing"

	"github.com/stele-db/stele/tuple"
)

// The record of the benchmarks: a dozen fields, one of them indexed at its end.
func benchRecord() []byte {
	f := []field{blob(1, field("a key of twenty chars"))}
	for n := 2; n < 12; n++ {
		f = append(f, blob(15, field("a value of some length")), varint(4, 123456))
	}
	return cat(append(f, blob(17, varint(1, 1700000000)), blob(23, field("tag")), blob(23, field("tags")))...)
}

func BenchmarkValues(b *testing.B) {
	s := compile1(b, all)
	rec := benchRecord()
	for _, name := range []string{"i64", "pk", "at", "rs"} {
		b.Run(name, func(b *testing.B) {
			f := s.Field(name)
			var vals []tuple.Value
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if vals, err = f.Values(rec, vals[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	s := compile1(b, all)
	rec := benchRecord()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Check(rec); err != nil {
			b.Fatal(err)
		}
	}
}
