package server

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// compileModels compiles a schema of testdata with the plain compiler, and
// serves every message with a field pk. Fields whose comment says "indexed"
// count as indexed.
func compileModels(t *testing.T, name string) []model {
	t.Helper()
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{"testdata"}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	var out []model
	for i := range files[0].Messages().Len() {
		md := files[0].Messages().Get(i)
		if md.Fields().ByName("pk") == nil {
			continue
		}
		m := model{message: md}
		for j := range md.Fields().Len() {
			fd := md.Fields().Get(j)
			if strings.Contains(files[0].SourceLocations().ByDescriptor(fd).LeadingComments, "indexed") {
				m.indexed = append(m.indexed, string(fd.Name()))
			}
		}
		out = append(out, m)
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -rewrite and read the diff. Got:\n%s", path, got)
	}
}

func TestSynthesize(t *testing.T) {
	for _, name := range []string{"dog", "house", "zoo"} {
		t.Run(name, func(t *testing.T) {
			models := compileModels(t, name+".proto")
			a, err := synthesize(name+".proto", models)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".database.proto", a.Text())
			again, err := synthesize(name+".proto", compileModels(t, name+".proto"))
			if err != nil {
				t.Fatal(err)
			}
			if a.Text() != again.Text() {
				t.Error("the second synthesis gives other bytes")
			}
			for _, m := range models {
				served := a.Descriptor().Messages().ByName(m.message.Name())
				sameWire(t, m.message, served, map[protoreflect.FullName]bool{})
			}
			methods := a.Service().Methods()
			if methods.Len() != len(a.Methods()) {
				t.Fatalf("%d methods in the descriptor, %d in the list", methods.Len(), len(a.Methods()))
			}
			for i, m := range a.Methods() {
				if string(methods.Get(i).Name()) != m.Name {
					t.Errorf("method %d is %s, want %s", i, methods.Get(i).Name(), m.Name)
				}
			}
		})
	}
}

// sameWire checks that bytes and JSON of the served message mean what they
// mean in the schema.
func sameWire(t *testing.T, want, got protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	t.Helper()
	if seen[want.FullName()] {
		return
	}
	seen[want.FullName()] = true
	if want.Fields().Len() != got.Fields().Len() {
		t.Fatalf("%s has %d fields, want %d", got.FullName(), got.Fields().Len(), want.Fields().Len())
	}
	for i := range want.Fields().Len() {
		w := want.Fields().Get(i)
		g := got.Fields().ByNumber(w.Number())
		if g == nil {
			t.Errorf("%s is missing", w.FullName())
			continue
		}
		if w.Name() != g.Name() || w.JSONName() != g.JSONName() || w.Kind() != g.Kind() || w.Cardinality() != g.Cardinality() ||
			w.IsMap() != g.IsMap() || w.IsPacked() != g.IsPacked() || w.HasPresence() != g.HasPresence() {
			t.Errorf("%s is served as %v, want %v", w.FullName(), g, w)
		}
		if w.Message() != nil {
			sameWire(t, w.Message(), g.Message(), seen)
		}
		if w.Enum() != nil {
			for j := range w.Enum().Values().Len() {
				v := w.Enum().Values().Get(j)
				if o := g.Enum().Values().ByName(v.Name()); o == nil || o.Number() != v.Number() {
					t.Errorf("value %s of %s is served as %v", v.Name(), w.Enum().FullName(), o)
				}
			}
		}
	}
}

func TestSynthesizeRefusesNameClashes(t *testing.T) {
	_, err := synthesize("clash.proto", compileModels(t, "clash.proto"))
	if err == nil {
		t.Fatal("a schema whose names are taken was accepted")
	}
	for _, want := range []string{"IndexQuery", "Empty", "Dogs", "GetCatsByPk", "clash.proto"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if _, err := synthesize("none.proto", nil); err == nil || !strings.Contains(err.Error(), "no model") {
		t.Errorf("a schema without models gives %v", err)
	}
	_, err = synthesize("old.proto", compileModels(t, "old.proto"))
	if err == nil || !strings.Contains(err.Error(), "proto3") {
		t.Errorf("a proto2 schema gives %v", err)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"Dogs": "dogs", "HouseCats": "house_cats", "HTTPLogs": "http_logs", "URLs": "urls", "A1Bs": "a1_bs", "Dog_Foods": "dog_foods", "dogs": "dogs",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"breed": "Breed", "installed_size": "InstalledSize", "x_1": "X1", "URL": "URL"} {
		if got := camel(in); got != want {
			t.Errorf("camel(%q) = %q, want %q", in, got, want)
		}
	}
	ms := model{message: compileModels(t, "dog.proto")[0].message, indexed: []string{"breed"}}.methods()
	var names []string
	for _, m := range ms {
		names = append(names, m.Plan())
	}
	want := []string{
		"GetDogsByPk: read Dog by one range of the primary key",
		"DeleteDogsByPk: delete Dog in one range of the primary key, in one transaction",
		"PutDog: put one Dog by its primary key",
		"BatchPutDogs: put many Dog in one transaction",
		"GetDogsByBreed: read Dog by one range of the index on breed",
	}
	if !slices.Equal(names, want) {
		t.Errorf("plans are\n%s", strings.Join(names, "\n"))
	}
}
