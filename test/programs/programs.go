// Package programs builds the two programs for tests, as "make build" does: what a
// test runs is what is shipped, and what was compiled for one suite is there for the
// next.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The two programs.
const (
	Agent  = "agent"
	Server = "server"
)

// Path is where Build leaves a program in a folder.
func Path(dir, name string) string { return filepath.Join(dir, "sentinel-"+name) }

// Build builds both programs of the module whose top folder is root into dir, with
// build tags if any are given.
func Build(root, dir string, tags ...string) error {
	return build(root, dir, "0", "-tags", strings.Join(tags, ","))
}

// BuildRace builds them with the race detector, which needs a C compiler.
func BuildRace(root, dir string, tags ...string) error {
	return build(root, dir, "1", "-race", "-tags", strings.Join(tags, ","))
}

func build(root, dir, cgo string, flags ...string) error {
	for _, name := range []string{Agent, Server} {
		program, err := filepath.Abs(Path(dir, name))
		if err != nil {
			return err
		}
		args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program}, flags...)
		cmd := exec.Command("go", append(args, "./"+name)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the %s: %w\n%s", name, err, out)
		}
	}
	return nil
}
