package aptindex_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stele-db/stele/examples/packages/aptindex"
)

const stanzas = `Package: netcat-openbsd
Source: netcat
Version: 1.219-1
Installed-Size: 111
Maintainer: "Guilhem Moulin" <guilhem@debian.org>
Architecture: amd64
Depends: libbsd0 (>= 0.2.0), libc6 (>= 2.34) [amd64], awk | mawk,
 python3:any, libc6
Section: net
Priority: important
Size: 41488
Description: TCP/IP swiss army knife
 continued lines are left out
Homepage: https://example.org/?a=1&b=<2>
SHA256: e2cd


Package: zzz
Maintainer: a@example.org
`

func TestParse(t *testing.T) {
	got, err := aptindex.Parse(strings.NewReader(stanzas))
	if err != nil {
		t.Fatal(err)
	}
	want := []aptindex.Package{
		{
			Name: "netcat-openbsd", Version: "1.219-1", Architecture: "amd64", Section: "net", Priority: "important",
			Maintainer: "Guilhem Moulin", InstalledSize: 111, Size: 41488,
			Depends:     []string{"libbsd0", "libc6", "awk", "python3"},
			Description: "TCP/IP swiss army knife", Homepage: "https://example.org/?a=1&b=<2>", SHA256: "e2cd",
		},
		{Name: "zzz"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"Package: a\nnonsense\n":               `line 2: no colon in "nonsense"`,
		"Package: a\nSize: big\n":              `line 2: Size: "big" is not an integer`,
		"Version: 1\n\n":                       "line 2: stanza without a Package field",
		"Package: a\n\n" + "Installed-Size: x": `line 3: Installed-Size: "x" is not an integer`,
	} {
		if _, err := aptindex.Parse(strings.NewReader(in)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ascending := []string{"", "1.0~rc1", "1.0~rc1-2", "1.0", "1.0-1", "1.0-1+deb12u1", "1.0-2", "1.0-10", "1.0a", "1.0+b", "1.0.1", "1.2", "1.10", "1:0.1", "2:0.01", "2:0.1-1"}
	for i, a := range ascending {
		for j, b := range ascending {
			got, want := aptindex.CompareVersions(a, b), 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if a == "2:0.01" && strings.HasPrefix(b, "2:0.1") || b == "2:0.01" && strings.HasPrefix(a, "2:0.1") {
				continue // equal but for the revision
			}
			if got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	if aptindex.CompareVersions("0:1.01-1", "1.1-1") != 0 {
		t.Error("an epoch of zero and leading zeros mean nothing")
	}
}

func TestNewest(t *testing.T) {
	got := aptindex.Newest([]aptindex.Package{{Name: "b", Version: "1-1"}, {Name: "a", Version: "2"}, {Name: "b", Version: "1-1+deb12u1"}, {Name: "b", Version: "1-1~x"}})
	if len(got) != 2 || got[0].Name != "a" || got[1].Version != "1-1+deb12u1" {
		t.Errorf("got %+v", got)
	}
}

func TestReadAcceptsBothFormsOfIntegers(t *testing.T) {
	got, err := aptindex.Read(strings.NewReader(`{"name":"a","installedSize":12}` + "\n" + `{"name":"b","installedSize":"12"}`))
	if err != nil || len(got) != 2 || got[0].InstalledSize != 12 || got[1].InstalledSize != 12 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := aptindex.Read(strings.NewReader(`{"name":"a","installedSize":1.5}`)); err == nil {
		t.Error("1.5 was accepted")
	}
}

func TestBundledData(t *testing.T) {
	raw, err := os.ReadFile("../packages.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 900_000 {
		t.Errorf("the bundled data has grown to %d bytes", len(raw))
	}
	packages, err := aptindex.ReadFile("../packages.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 3000 {
		t.Errorf("%d packages, want 3000", len(packages))
	}
	for i, p := range packages {
		if i > 0 && packages[i-1].Name >= p.Name {
			t.Errorf("%s stands after %s", p.Name, packages[i-1].Name)
		}
		if strings.Contains(p.Maintainer, "@") {
			t.Errorf("%s: an address in %q", p.Name, p.Maintainer)
		}
	}
	var again bytes.Buffer
	if err := aptindex.Write(&again, packages); err != nil {
		t.Fatal(err)
	}
	if reread, err := aptindex.Read(&again); err != nil || !reflect.DeepEqual(reread, packages) {
		t.Errorf("writing and reading changes the data (%v)", err)
	}
}

func ExampleFind() {
	packages := []aptindex.Package{
		{Name: "curl", Section: "web", InstalledSize: 500, Depends: []string{"libc6"}},
		{Name: "netcat", Section: "net", InstalledSize: 111, Depends: []string{"libbsd0", "libc6"}},
		{Name: "nmap", Section: "net", InstalledSize: 4000, Depends: []string{"libc6"}},
	}
	low := int64(200)
	for _, p := range aptindex.Find(packages, aptindex.Query{Depends: "libc6", MinSize: &low, BySize: true, Reverse: true}) {
		fmt.Println(p.Name, p.InstalledSize)
	}
	// Output:
	// nmap 4000
	// curl 500
}
