package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	const good = "# defends: ENR-04 once only\n# test: go test ./a ./b -run 'TestUse/used up'\n--- a/x\n"

	t.Run("gives the arguments of the test", func(t *testing.T) {
		t.Parallel()
		got, err := parseHeader("ENR-04-once", good)
		want := []string{"./a", "./b", "-run", "TestUse/used up"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	})

	for name, c := range map[string]struct{ file, text string }{
		"a name without a row":            {"once", good},
		"a row other than the name's":     {"ENR-05-once", good},
		"a row without a sentence":        {"ENR-04-once", strings.Replace(good, " once only", "", 1)},
		"no line with the defence":        {"ENR-04-once", strings.Replace(good, "# defends", "# removes", 1)},
		"no line with the test":           {"ENR-04-once", strings.Replace(good, "# test", "# run", 1)},
		"two lines with the test":         {"ENR-04-once", strings.Replace(good, "---", "# test: go test .\n---", 1)},
		"a test line below the diff":      {"ENR-04-once", "# defends: ENR-04 once\n--- a/x\n# test: go test .\n"},
		"a command other than go test":    {"ENR-04-once", strings.Replace(good, "go test", "go vet", 1)},
		"a go test that names no package": {"ENR-04-once", "# defends: ENR-04 once\n# test: go test\n"},
		"a quote that is not closed":      {"ENR-04-once", strings.Replace(good, "up'", "up", 1)},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			if got, err := parseHeader(c.file, c.text); err == nil {
				t.Errorf("accepted as %q", got)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`go  test	.`:             {"go", "test", "."},
		`-run '^(A|B)$' "x 'y'"`: {"-run", "^(A|B)$", "x 'y'"},
		`-run=Test'A B'C ''`:     {"-run=TestA BC", ""},
		``:                       nil,
	} {
		if got, err := split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
}

// TestEveryPatchIsUsable keeps the patches from rotting between two runs of
// "make mutants", which takes minutes.
func TestEveryPatchIsUsable(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("*.patch")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("there is no patch beside this test")
	}
	patches, err := load(".", regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	for _, p := range patches {
		path, err := filepath.Abs(p.path)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(p.malformed, tree{dir: root}.patch(t.Context(), "--check", path))
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}
