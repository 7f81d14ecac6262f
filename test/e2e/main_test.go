package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
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
	if err := programs.Build("../..", bin); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
