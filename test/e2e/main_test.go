package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is the folder of the two programs, built once.
var bin string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	var err error
	if bin, err = os.MkdirTemp("", "e2e"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return 1, err
	}
	for _, name := range []string{"agent", "server"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, "sentinel-"+name), "./"+name)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the %s: %w\n%s", name, err, out)
		}
	}
	return m.Run(), nil
}
