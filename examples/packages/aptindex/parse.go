package aptindex

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a Packages file: stanzas of "Field: value" lines, divided by
// empty lines. Fields that Package does not have are passed over, and so are
// continuation lines, except those of Depends. An error names the line.
func Parse(r io.Reader) ([]Package, error) {
	var (
		out  []Package
		p    Package
		line int
		deps strings.Builder
		last string
	)
	end := func() error {
		if p.Name == "" && last == "" {
			return nil
		}
		if p.Name == "" {
			return fmt.Errorf("line %d: stanza without a Package field", line)
		}
		p.Depends = dependencies(deps.String())
		out = append(out, p)
		p, last = Package{}, ""
		deps.Reset()
		return nil
	}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 16<<20) // one Depends of a metapackage can be very long
	for scan.Scan() {
		line++
		text := scan.Text()
		switch {
		case strings.TrimSpace(text) == "":
			if err := end(); err != nil {
				return nil, err
			}
		case text[0] == ' ' || text[0] == '\t':
			if last == "Depends" {
				deps.WriteString(text)
			}
		default:
			name, value, ok := strings.Cut(text, ":")
			if !ok {
				return nil, fmt.Errorf("line %d: no colon in %q", line, clip(text))
			}
			last, value = name, strings.TrimSpace(value)
			if name == "Depends" {
				deps.WriteString(value)
			} else if err := p.set(name, value); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", line, name, err)
			}
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", line+1, err)
	}
	return out, end()
}

func (p *Package) set(name, value string) (err error) {
	switch name {
	case "Package":
		p.Name = value
	case "Version":
		p.Version = value
	case "Architecture":
		p.Architecture = value
	case "Section":
		p.Section = value
	case "Priority":
		p.Priority = value
	case "Maintainer":
		p.Maintainer = withoutAddress(value)
	case "Installed-Size":
		p.InstalledSize, err = integer(value)
	case "Size":
		p.Size, err = integer(value)
	case "Description":
		p.Description = value
	case "Homepage":
		p.Homepage = value
	case "SHA256":
		p.SHA256 = value
	}
	return err
}

func integer(s string) (Int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an integer", clip(s))
	}
	return Int64(n), nil
}

// withoutAddress keeps the name of `Jane Doe <jane@example.org>`, and of what
// else is there every word that is not an address.
func withoutAddress(s string) string {
	name, _, _ := strings.Cut(s, "<")
	words := slices.DeleteFunc(strings.Fields(name), func(w string) bool { return strings.Contains(w, "@") })
	return strings.Trim(strings.Join(words, " "), `"`)
}

// dependencies returns the package names of a Depends field: of
// `a (>= 1), b:any | c, a` it is a and b.
func dependencies(field string) []string {
	var out []string
	seen := make(map[string]bool)
	for clause := range strings.SplitSeq(field, ",") {
		first, _, _ := strings.Cut(clause, "|")
		if at := strings.IndexAny(first, "(["); at >= 0 {
			first = first[:at]
		}
		name, _, _ := strings.Cut(strings.TrimSpace(first), ":")
		if name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
