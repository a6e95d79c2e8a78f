package tuple_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stele-db/stele/tuple"
)

// Keys of (city ascending, age descending) sort as people would sort them.
func Example() {
	desc := []bool{false, true}
	var keys []string
	for _, p := range []struct {
		city string
		age  int64
	}{{"Oslo", 9}, {"Oslo", 30}, {"Bergen", -1}, {"Oslo", 100}} {
		key, err := tuple.Tuple{tuple.String(p.city), tuple.Int(p.age)}.Append(nil, desc...)
		if err != nil {
			fmt.Println(err)
			return
		}
		keys = append(keys, string(key))
	}
	slices.SortFunc(keys, strings.Compare)
	for _, key := range keys {
		t, err := tuple.DecodeAll([]byte(key), desc)
		fmt.Println(t, err)
	}
	// Output:
	// ("Bergen", -1) <nil>
	// ("Oslo", 100) <nil>
	// ("Oslo", 30) <nil>
	// ("Oslo", 9) <nil>
}

// The range of all strings that begin with "lib".
func ExampleAppendStringPrefix() {
	lower := tuple.AppendStringPrefix(nil, "lib", false)
	upper := tuple.PrefixEnd(lower)
	fmt.Printf("%x %x\n", lower, upper)
	// Output: 246c6962 246c6963
}

// A condition on zero finds both of the floats' zeros.
func ExampleEqualRange() {
	low, high := tuple.EqualRange(tuple.Float(0))
	fmt.Println(low, high)
	// Output: -0 0
}

func ExampleAppendUvarint() {
	fmt.Printf("%x %x\n", tuple.AppendUvarint(nil, 5), tuple.AppendUvarint(nil, 300))
	// Output: 05 812c
}
