package stele_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The programs in the README are examples that run: it shows each of them as
// the program that it would be.
func TestREADMEPrograms(t *testing.T) {
	readme := read(t, "README.md")
	packageLine := regexp.MustCompile(`(?m)^package \w+_test$`)
	output := regexp.MustCompile(`\n\t// Output:\n(\t// .*\n)+`)
	files := []string{"example_readme_test.go", "slate/example_readme_test.go"}
	for _, file := range files {
		program := packageLine.ReplaceAllString(read(t, file), "package main")
		program = output.ReplaceAllString(program, "\n")
		program = strings.Replace(program, "func Example_readme()", "func main()", 1)
		if !strings.Contains(readme, "\n```go\n"+program+"```\n") {
			t.Errorf("README.md does not hold the program of %s:\n%s", file, program)
		}
	}
	if n := strings.Count(readme, "\n```go\n"); n != len(files) {
		t.Errorf("README.md has %d programs, %d of them are checked", n, len(files))
	}
}

// The bytes in docs/FORMAT.md are those of the golden file.
func TestFormatShowsTheGoldenBytes(t *testing.T) {
	if !strings.Contains(read(t, "docs/FORMAT.md"), "```\n"+read(t, "record/testdata/bytes.txt")+"```\n") {
		t.Error("docs/FORMAT.md does not hold record/testdata/bytes.txt")
	}
}

// Links between documents lead to files.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([\w./:-]+)\)`)
	for _, doc := range []string{"README.md", "docs/ARCHITECTURE.md", "docs/FORMAT.md", "docs/RATIONALE.md", "CHANGELOG.md"} {
		dir := ""
		if strings.HasPrefix(doc, "docs/") {
			dir = "docs/"
		}
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(dir + m[1]); err != nil {
				t.Errorf("%s: link to %s: %v", doc, m[1], err)
			}
		}
	}
}

// Each module that go.mod requires by name has its line in docs/RATIONALE.md,
// and no other has one.
func TestDependenciesHaveTheirLine(t *testing.T) {
	_, required, _ := strings.Cut(read(t, "go.mod"), "require (\n")
	required, _, _ = strings.Cut(required, "\n)")
	_, table, _ := strings.Cut(read(t, "docs/RATIONALE.md"), "## Dependencies\n")
	direct := map[string]bool{}
	for line := range strings.Lines(required) {
		module := strings.Fields(line)[0]
		direct[module] = true
		if !strings.Contains(table, "`"+module+"`") {
			t.Errorf("docs/RATIONALE.md does not say what %s is for", module)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z.]+\\.[a-z]+/[^`]+)`").FindAllStringSubmatch(table, -1) {
		if !direct[m[1]] {
			t.Errorf("docs/RATIONALE.md says what %s is for, which go.mod does not require", m[1])
		}
	}
}
