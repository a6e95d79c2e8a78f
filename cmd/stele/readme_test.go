package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestREADMECommands runs what the README says of the command line, as pasted
// into a shell in a clone, in a folder that has the clone's examples.
func TestREADMECommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## The command line\n")
	section, _, _ = strings.Cut(section, "\n## ")
	commands := "set -euo pipefail\nmake() { :; }\n" // the program is this test
	for {
		_, block, found := strings.Cut(section, "\n```sh\n")
		if !found {
			break
		}
		block, section, _ = strings.Cut(block, "```\n")
		commands += block
	}
	if strings.Count(commands, "\nstele ") < 10 {
		t.Fatalf("the README's section has few commands:\n%s", commands)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Dir(absolute(t, "../../examples/packages")), filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", commands)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{
		"imported 3000 rows into Package", "victoria-metrics", "sound\n", "__schema__/stele/options.proto\t", "0 (fence)",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in the output:\n%s", want, out)
		}
	}
}
