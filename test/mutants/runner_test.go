package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// fixture unpacks testdata/fixture.txtar into a repository of its own.
func fixture(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "fixture.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := txtar.Write(archive, root); err != nil {
		t.Fatal(err)
	}
	if _, err := git(t.Context(), root, []string{"GIT_DIR="}, "init", "--quiet"); err != nil {
		t.Fatal(err)
	}
	return root
}

func tryPatches(t *testing.T, root, only string, assumeGreen bool) (string, error) {
	t.Helper()
	patches, err := load(filepath.Join(root, "test", "mutants"), regexp.MustCompile(only))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := runner{root: root, jobs: 2, limit: 2 * time.Second, assumeGreen: assumeGreen, out: &out}
	err = r.run(t.Context(), patches)
	return out.String(), err
}

func TestEachPatchGetsItsVerdict(t *testing.T) {
	t.Parallel()
	root := fixture(t)
	before := readFile(t, filepath.Join(root, "gate.go"))
	out, err := tryPatches(t, root, "", false)
	if !errors.Is(err, errNotAllRed) {
		t.Errorf("error %v; want one that says that not all are red", err)
	}
	for name, want := range map[string]verdict{
		"ENR-01-red":              red,
		"ENR-02-survives":         survived,
		"ENR-03-does-not-compile": doesNotBuild,
		"ENR-04-does-not-apply":   doesNotApply,
		"ENR-05-not-green":        notGreen,
		"ENR-06-ends-the-process": noFailingTest,
		"ENR-07-hangs":            timedOut,
		"ENR-08-malformed":        malformed,
	} {
		if !regexp.MustCompile(`(?m)^` + string(want) + ` +` + name + `\b`).MatchString(out) {
			t.Errorf("%s should be %q", name, want)
		}
	}
	if !strings.HasSuffix(out, "6 could not be judged, 1 red, 1 survived\n") {
		t.Error("the last line is not the sum")
	}
	if after := readFile(t, filepath.Join(root, "gate.go")); after != before {
		t.Errorf("the repository itself was changed:\n%s", after)
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestTheRunSucceedsOnlyWhenEveryPatchIsRed(t *testing.T) {
	t.Parallel()
	root := fixture(t)
	for only, want := range map[string]error{
		"ENR-01":           nil,
		"ENR-0[12]":        errNotAllRed,
		"ENR-01|malformed": errNotAllRed,
	} {
		if out, err := tryPatches(t, root, only, true); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v\n%s", only, err, want, out)
		}
	}
}

func TestARedPatchNamesTheTestThatFailed(t *testing.T) {
	t.Parallel()
	out, err := tryPatches(t, fixture(t), "ENR-01", true)
	if err != nil || !strings.Contains(out, "TestGate/stays_shut_for_a_wrong_code") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
