package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Whoever lets the demo's last device in sees it join.
func TestTheDemosVisitor(t *testing.T) {
	t.Parallel()
	demo := exec.Command(filepath.Join(bin, "sentinel-server"), "demo")
	demo.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), "HOME=" + t.TempDir()}
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = demo.Stdout
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(90*time.Second, func() { _ = demo.Process.Kill() })
	defer late.Stop()
	defer func() {
		_ = demo.Process.Signal(os.Interrupt)
		if err := demo.Wait(); err != nil {
			t.Error(err)
		}
	}()
	lines := bufio.NewScanner(out)
	text := ""
	await := func(what string) []string {
		t.Helper()
		find := regexp.MustCompile(what)
		for lines.Scan() {
			text += lines.Text() + "\n"
			if found := find.FindStringSubmatch(lines.Text()); found != nil {
				return found
			}
		}
		t.Fatalf("the demo does not say %q: %s", what, text)
		return nil
	}
	code := await(`demo-3 asks to join, prints its key code (\S+),`)[1]
	server := await(`export SENTINEL_SERVER=(\S+)`)[1]
	password := await(`passwords: \S+, \S+, (\S+)`)[1]

	home := t.TempDir()
	cli := func(in string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "sentinel-server"), args...)
		cmd.Env = []string{"SENTINEL_SERVER=" + server, "HOME=" + home}
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	cli(password, "login", "--name", "ben", "--password-file", "-")
	var list struct {
		Items []struct {
			ID string `json:"enrollment_id"`
		} `json:"items"`
	}
	if err := json.Unmarshal(cli("", "enrollment", "list", "-o", "json"), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	cli("", "enrollment", "approve", list.Items[0].ID, "--key-code", code, "--reason", "it is the demo's own")
	await(`^demo-3 was let in by ben\.$`)
	await(`^It sends heartbeats now\.$`)
}
