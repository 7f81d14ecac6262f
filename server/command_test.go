package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// terminal runs the program as one person at one server.
type terminal struct {
	t       *testing.T
	environ []string
}

func at(t *testing.T, s *servertest.Server, p *servertest.Person) *terminal {
	t.Helper()
	return &terminal{t, []string{"SENTINEL_SERVER=" + s.PeopleURL, "SENTINEL_TOKEN=" + p.Token, "HOME=" + t.TempDir()}}
}

func (o *terminal) run(in string, args ...string) (code int, out, errOut string) {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(o.t.Context(), args, strings.NewReader(in), &stdout, &stderr, o.environ)
	return code, stdout.String(), stderr.String()
}

func (o *terminal) must(args ...string) string {
	o.t.Helper()
	code, out, errOut := o.run("", args...)
	if code != exitOK {
		o.t.Fatalf("%v: %d %s", args, code, errOut)
	}
	return out
}

// fails runs what must be refused, with words that help.
func (o *terminal) fails(says string, args ...string) {
	o.t.Helper()
	code, out, errOut := o.run("", args...)
	if code == exitOK || !strings.Contains(errOut, says) {
		o.t.Errorf("%v: %d %q %q, and should say %q", args, code, out, errOut, says)
	}
}

func TestCommandsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{"SENTINEL_DUAL_APPROVAL_COMMANDS": "true"}})
	op, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
	d := s.Enroll("edge-1", op.EnrollToken(1), reviewer)
	d.MustBeat()
	olivia, ben := at(t, s, op), at(t, s, reviewer)

	olivia.fails("nothing means nobody", "command", "send", "ping", "--reason", "x")
	olivia.fails("not with both", "command", "send", "ping", "--device", "edge-1", "--label", "site=berlin", "--reason", "x")
	olivia.fails("--reason is needed", "command", "send", "ping", "--device", "edge-1")
	olivia.fails("there is no device edge-9", "command", "send", "ping", "--device", "edge-9", "--reason", "x")
	olivia.fails("there are: collect-facts, ping", "command", "send", "shell", "--device", "edge-1", "--reason", "x")
	olivia.fails("whole number", "command", "send", "restart-agent", "--device", "edge-1", "--param", "delay-seconds=soon", "--reason", "x")
	ben.fails("permission command:create", "command", "send", "ping", "--device", "edge-1", "--reason", "x")
	if out := olivia.must("command", "send", "ping", "--device", "edge-1", "--reason", "x", "--dry-run"); !strings.Contains(out, "1 device; nothing was stored") {
		t.Errorf("the dry run: %s", out)
	}
	var sent sentCommand
	if err := json.Unmarshal([]byte(olivia.must("command", "send", "ping", "--device", "edge-1", "--param", "echo=hi there", "--reason", "look", "-o", "json")), &sent); err != nil || sent.State != "review" {
		t.Fatalf("%+v %v", sent, err)
	}
	if code, _, errOut := olivia.run("", "command", "approve", sent.ID, "--reason", "x"); code == exitOK || strings.Contains(errOut, "Type yes") ||
		!strings.Contains(errOut, "not yours to approve: nobody decides on what they asked for") {
		t.Errorf("her own: %d %s", code, errOut)
	}
	if code, _, errOut := at(t, s, s.Person("vera", "viewer")).run("yes\n", "command", "approve", sent.ID, "--reason", "x"); code == exitOK || strings.Contains(errOut, "Type yes") ||
		!strings.Contains(errOut, "not yours to approve") {
		t.Errorf("a viewer's: %d %s", code, errOut)
	}
	olivia.fails("permission command:review", "command", "reject", sent.ID, "--reason", "x")
	if code, _, errOut := ben.run("no\n", "command", "approve", sent.ID, "--reason", "fine"); code == exitOK || !strings.Contains(errOut, "olivia asks for ping echo=hi there on 1 device") {
		t.Errorf("approved without a yes: %d %s", code, errOut)
	}
	if code, out, errOut := ben.run("yes\n", "command", "approve", sent.ID, "--reason", "fine"); code != exitOK || !strings.Contains(out, "It is approved; devices get it with their next heartbeat") {
		t.Fatalf("approve: %s %s", out, errOut)
	}
	op.AwaitCommand(sent.ID, "open")
	d.ObeyUntil(func() bool { return len(d.Ran) == 1 && len(d.Results) == 0 })
	op.AwaitCommand(sent.ID, "done")
	if out := olivia.must("command", "show", sent.ID); !strings.Contains(out, "succeeded") || !strings.Contains(out, "echo=hi there") {
		t.Errorf("show: %s", out)
	}
	if out := olivia.must("command", "list", "--device", "edge-1"); !strings.Contains(out, sent.ID) {
		t.Errorf("list: %s", out)
	}
	olivia.fails("the command has ended; what became of it: sentinel-server command show "+sent.ID, "command", "cancel", sent.ID, "--reason", "late")
	if code, _, errOut := ben.run("yes\n", "command", "approve", sent.ID, "--reason", "again"); code == exitOK || strings.Contains(errOut, "Type yes") || !strings.Contains(errOut, "it is done") {
		t.Errorf("approved once it was done: %d %s", code, errOut)
	}
	if err := json.Unmarshal([]byte(olivia.must("command", "send", "ping", "--device", "edge-1", "--reason", "look", "-o", "json")), &sent); err != nil {
		t.Fatal(err)
	}
	if out := olivia.must("command", "cancel", sent.ID, "--reason", "never mind"); !strings.Contains(out, "Cancelled for 1 device") {
		t.Errorf("cancel: %s", out)
	}
}

func TestTheNextPolicyBundleFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	op, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
	d := s.Enroll("edge-1", op.EnrollToken(1), reviewer)
	o := at(t, s, op)
	dir := t.TempDir()
	draft, signed := filepath.Join(dir, "next.json"), filepath.Join(dir, "signed.json")
	key := filepath.Join(s.Dir, "keys", "policy.key")

	o.fails("no such kind", "policy", "build", "--out", draft, "--allow", "shell")
	o.fails("has no such parameter", "policy", "build", "--out", draft, "--limit", "ping.loud=1")
	for _, args := range [][]string{
		{"policy", "build", "--out", draft, "--allow", "ping=1"},
		{"policy", "sign", draft, "--key", key, "--out", filepath.Join(dir, "useless.json"), "--yes"},
	} {
		if code, _, errOut := o.run("", args...); code != exitOK || !strings.Contains(errOut, "nobody can use it under this bundle") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
	if out := o.must("policy", "build", "--out", draft, "--limit", "ping.echo=4", "--forbid", "restart-agent"); !strings.Contains(out, "- allows restart-agent") {
		t.Errorf("build: %s", out)
	}
	o.fails("is a draft; sign it first", "policy", "publish", draft)
	if code, _, errOut := o.run("no\n", "policy", "sign", draft, "--key", key, "--out", signed); code == exitOK || !strings.Contains(errOut, "- allows ping with echo at most 4 (before: any echo)") {
		t.Errorf("signed without a yes: %d %s", code, errOut)
	}
	if _, err := os.Stat(signed); err == nil {
		t.Fatal("it was written without a yes")
	}
	o.fails("keys/policy.key of the server's data directory", "policy", "sign", draft, "--key", filepath.Join(dir, "none.key"), "--out", signed)
	stray := filepath.Join(dir, "stray.key")
	if _, err := keyfile.NewEd25519(stray); err != nil {
		t.Fatal(err)
	}
	const foreign = "Warning: the bundle before is signed with "
	if code, _, errOut := o.run("no\n", "policy", "sign", draft, "--key", stray, "--out", signed); code == exitOK || !strings.Contains(errOut, foreign) {
		t.Errorf("a key that signed nothing before: %d %s", code, errOut)
	}
	if code, _, errOut := o.run("", "policy", "sign", draft, "--key", key, "--out", signed, "--yes"); code != exitOK || strings.Contains(errOut, foreign) {
		t.Fatalf("sign: %d %s", code, errOut)
	}
	o.fails("signed it already", "policy", "sign", signed, "--key", key, "--out", filepath.Join(dir, "twice.json"), "--yes")
	o.fails("would refuse this policy bundle", "policy", "publish", otherSigner(t, draft, dir))
	if out := o.must("policy", "publish", signed); !strings.Contains(out, "Version 2 is in force") {
		t.Errorf("publish: %s", out)
	}
	o.fails("not above the newest", "policy", "publish", signed)
	if out := o.must("policy", "show"); !strings.Contains(out, "ping, echo at most 4") || strings.Contains(out, "restart-agent") {
		t.Errorf("show: %s", out)
	}
	if out := o.must("policy", "diff", draft, signed); !strings.Contains(out, "there is no difference") {
		t.Errorf("diff of the same: %s", out)
	}
	o.fails("does not allow restart-agent", "command", "send", "restart-agent", "--device", "edge-1", "--reason", "x")
	d.MustBeat()
	d.Obey()
	if d.Bundle.Version != 2 {
		t.Errorf("the device holds version %d", d.Bundle.Version)
	}
	if out := o.must("policy", "list"); strings.Count(out, "\n") != 3 {
		t.Errorf("list: %s", out)
	}

	data, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(data, []byte(`"base_digest": "`), []byte(`"base_digest": "0`), 1)
	if err := os.WriteFile(draft, other, 0o600); err != nil {
		t.Fatal(err)
	}
	o.fails("not the one that it says", "policy", "show", draft)
}

// otherSigner signs a draft with a key that is nobody's.
func otherSigner(t *testing.T, draft, dir string) string {
	t.Helper()
	f, err := readPolicyFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	thief, _, err := signing.GenerateEd25519(signing.PurposePolicyBundle)
	if err != nil {
		t.Fatal(err)
	}
	env, err := signing.SignBundle(t.Context(), *f.bundle, thief)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "thief.json")
	if err := writeJSON(path, env); err != nil {
		t.Fatal(err)
	}
	return path
}
