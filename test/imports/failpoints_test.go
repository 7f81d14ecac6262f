package imports

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/programs"
)

// What is shipped cannot be told to fail: neither the switch nor the names of the
// points are in it. That both are in a build for tests shows that they would be
// found.
func TestReleasesHaveNoFailpoints(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"", "failpoints"} {
		dir := t.TempDir()
		if err := programs.Build("../..", dir, tags); err != nil {
			t.Fatal(err)
		}
		for name, point := range map[string]string{programs.Server: "revoke.before-journal", programs.Agent: "link.counter-stored"} {
			data, err := os.ReadFile(programs.Path(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{point, "FAILPOINTS"} {
				if found := bytes.Contains(data, []byte(text)); found != (tags != "") {
					t.Errorf("the %s with tags %q: %s is in it: %t", name, tags, text, found)
				}
			}
		}
	}
}

// Nothing that builds for release asks for them.
func TestReleasesAskForNoFailpoints(t *testing.T) {
	t.Parallel()
	make := exec.CommandContext(t.Context(), "make", "--dry-run", "build", "packages")
	make.Dir = "../.."
	steps, err := make.Output()
	if err != nil {
		t.Fatal(err)
	}
	releaser, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"make": string(steps), ".goreleaser.yaml": string(releaser)} {
		if !strings.Contains(text, "trimpath") && !strings.Contains(text, "goreleaser") {
			t.Errorf("%s does not show how it builds", name)
		}
		if strings.Contains(text, "failpoints") {
			t.Errorf("%s builds with failpoints", name)
		}
	}
}
