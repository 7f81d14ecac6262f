package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// goList runs go list on the module's top folder, for an operating system.
func goList(t *testing.T, goos string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return string(out)
}

func module(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(goList(t, "linux", "-m"))
}

func TestImportsFlowOneWay(t *testing.T) {
	t.Parallel()
	mod := module(t)
	for _, goos := range []string{"linux", "windows"} {
		packages := modulePackages(t, mod, goos)
		if len(packages) == 0 {
			t.Fatal("go list found no package")
		}
		for _, v := range violations(mod, packages) {
			t.Errorf("%s: %s", goos, v)
		}
	}
}

func modulePackages(t *testing.T, mod, goos string) []pkg {
	t.Helper()
	var packages []pkg
	decoder := json.NewDecoder(strings.NewReader(goList(t, goos, "-json=ImportPath,Imports", "./...")))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		path, _ := strings.CutPrefix(p.ImportPath, mod+"/")
		packages = append(packages, pkg{path: path, imports: p.Imports})
	}
}

func TestTheAgentHasNothingOfTheServerInIt(t *testing.T) {
	t.Parallel()
	mod := module(t)
	for _, goos := range []string{"linux", "windows"} {
		for _, dep := range foreignIn(mod, strings.Fields(goList(t, goos, "-deps", "./agent"))) {
			t.Errorf("on %s the agent's binary has %s in it", goos, dep)
		}
	}
}

func TestTheServerHasNoTestMachineryInIt(t *testing.T) {
	t.Parallel()
	mod := module(t)
	machinery := []string{mod + "/server/servertest", mod + "/" + testMachinery}
	for dep := range strings.FieldsSeq(goList(t, "linux", "-deps", "./server")) {
		if withinAny(dep, machinery) {
			t.Errorf("the server's binary has %s in it", dep)
		}
	}
}
