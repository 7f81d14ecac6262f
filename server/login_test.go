package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// typing answers each question when it is asked, in order.
type typing struct {
	answers []func() string
	rest    strings.Reader
}

func (r *typing) Read(b []byte) (int, error) {
	if r.rest.Len() == 0 {
		if len(r.answers) == 0 {
			return 0, io.EOF
		}
		r.rest = *strings.NewReader(r.answers[0]() + "\n")
		r.answers = r.answers[1:]
	}
	return r.rest.Read(b)
}

func said(text string) func() string { return func() string { return text } }

func TestSigningInFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Person("root", "admin")
	home := t.TempDir()
	environ := []string{"SENTINEL_SERVER=" + s.PeopleURL, "HOME=" + home}
	var out, errOut bytes.Buffer
	try := func(args []string, answers ...func() string) int {
		out.Reset()
		errOut.Reset()
		return run(t.Context(), args, &typing{answers: answers}, &out, &errOut, environ)
	}
	must := func(args []string, answers ...func() string) {
		t.Helper()
		if code := try(args, answers...); code != exitOK {
			t.Fatalf("%v: %d %s", args, code, &errOut)
		}
	}
	login := []string{"login", "--name", "root"}
	must(login, said(servertest.Password))

	// A code generator, and the second step from then on.
	secretLine := regexp.MustCompile(`secret  (\S+)`)
	secret := ""
	codeAt := func(at time.Time) string {
		code, err := totp.GenerateCode(secret, at)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	must([]string{"factor", "totp", "-o", "json"}, func() string {
		secret = secretLine.FindStringSubmatch(errOut.String())[1]
		return codeAt(time.Now().Add(-30 * time.Second)) // so that the next one is not used up
	})
	var codes struct {
		Codes []string `json:"codes"`
	}
	if err := json.Unmarshal(out.Bytes(), &codes); err != nil || len(codes.Codes) != 10 {
		t.Fatalf("%s %v", &out, err)
	}
	if code := try(login, said(servertest.Password), said("000000")); code == exitOK || !strings.Contains(errOut.String(), "code") {
		t.Errorf("with a wrong code: %d %s", code, &errOut)
	}
	must(login, said(servertest.Password), func() string { return codeAt(time.Now().Add(20 * time.Second)) })
	if !strings.Contains(out.String(), "Since your last sign-in") || !strings.Contains(out.String(), "factor-added") {
		t.Errorf("what happened meanwhile is not told: %s", &out)
	}
	must(login, said(servertest.Password), said(codes.Codes[3]))
	must([]string{"factor", "list"})
	if !regexp.MustCompile(`9 recovery codes left +20\S+ \S+Z +20\S+ \S+Z +-`).MatchString(out.String()) {
		t.Errorf("%s", &out)
	}

	// An invitation, a machine, a one-time password.
	must([]string{"admin", "invite", "--name", "guest", "--role", "viewer", "-o", "json"})
	var invited struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(out.Bytes(), &invited); err != nil || invited.Secret == "" {
		t.Fatalf("%s %v", &out, err)
	}
	must([]string{"api-token", "create", "--name", "ci", "--permission", "device:read", "-o", "json"})
	var machine struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(out.Bytes(), &machine); err != nil || machine.Token == "" {
		t.Fatalf("%s %v", &out, err)
	}
	if code := try([]string{"api-token", "create", "--name", "ci", "--permission", "command:review"}); code == exitOK || !strings.Contains(errOut.String(), "command:review, which only a person may use") {
		t.Errorf("a machine may review: %s", &errOut)
	}
	first := filepath.Join(home, "first")
	if err := os.WriteFile(first, []byte(servertest.Password+" once\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must([]string{"admin", "create", "--name", "newbie", "--role", "viewer", "--one-time-password", "--password-file", first})

	environ = append(environ, "HOME="+t.TempDir())
	must([]string{"login", "--name", "newbie", "--password-file", first}, said("a slip"), said(servertest.Password+" once"), said("a phrase of my own choosing"))
	must([]string{"session", "list"})
	must([]string{"admin", "redeem", "--name", "guest"}, said(invited.Secret), said("a phrase of my own choosing"))
	must([]string{"session", "list"})
	if code := try([]string{"admin", "redeem", "--name", "guest"}, said(invited.Secret), said("a phrase of my own choosing")); code == exitOK {
		t.Error("an invitation makes two accounts")
	}

	// Rights that approve wait for another person, which is said.
	must(login, said(servertest.Password), said(codes.Codes[4]))
	var waiting struct {
		Waits struct {
			ApprovalID string `json:"approval_id"`
		} `json:"waits"`
	}
	untilOthers := func(name string) {
		t.Helper()
		if !strings.Contains(out.String(), name+" is a viewer until another person with account:review agrees: sentinel-server approval show ") {
			t.Errorf("that the rights wait is not said: %s", &out)
		}
	}
	must([]string{"admin", "create", "--name", "ben", "--role", "approver", "--password-file", first})
	untilOthers("ben")
	must([]string{"admin", "create", "--name", "bea", "--role", "approver", "--password-file", first, "-o", "json"})
	if err := json.Unmarshal(out.Bytes(), &waiting); err != nil || waiting.Waits.ApprovalID == "" {
		t.Errorf("%s %v", &out, err)
	}
	must([]string{"approval", "list"})
	if !regexp.MustCompile(` bea +root `).MatchString(out.String()) {
		t.Errorf("whose rights wait is not said: %s", &out)
	}
	must([]string{"approval", "show", waiting.Waits.ApprovalID})
	if !strings.Contains(out.String(), "nobody decides on what they asked for") {
		t.Errorf("%s", &out)
	}
	if code := try([]string{"approval", "approve", waiting.Waits.ApprovalID, "--reason", "x"}); code == exitOK || strings.Contains(errOut.String(), "ask an admin") || strings.Contains(errOut.String(), "Type yes") {
		t.Errorf("one's own: %d %s", code, &errOut)
	}
	must([]string{"admin", "invite", "--name", "bob", "--role", "approver", "-o", "json"})
	if err := json.Unmarshal(out.Bytes(), &invited); err != nil {
		t.Fatal(err)
	}
	must([]string{"admin", "redeem", "--name", "bob"}, said(invited.Secret), said("a phrase of my own choosing"))
	untilOthers("bob")

	// A sign-out leaves the server for the next sign-in.
	must([]string{"logout"})
	environ = environ[1:]
	must([]string{"login", "--name", "guest"}, said("a phrase of my own choosing"))
	must([]string{"session", "list"})

	environ = append(environ, "SENTINEL_TOKEN=sxt_void", "SENTINEL_SERVER="+s.PeopleURL)
	if code := try([]string{"device", "list"}); code == exitOK || !strings.Contains(errOut.String(), "the token in SENTINEL_TOKEN does not count") {
		t.Errorf("with a token that is void: %d %s", code, &errOut)
	}
	environ = []string{"SENTINEL_SERVER=" + s.PeopleURL, "HOME=" + home, "SENTINEL_TOKEN=" + machine.Token}
	must([]string{"device", "list"})
	if code := try([]string{"admin", "list"}); code == exitOK || !strings.Contains(errOut.String(), "account:read") {
		t.Errorf("a machine lists accounts: %d %s", code, &errOut)
	}
}

// What works once is not used up for a new password that will not be taken.
func TestASlipUsesNothingUp(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Person("root", "admin")
	home := t.TempDir()
	environ := []string{"SENTINEL_SERVER=" + s.PeopleURL, "HOME=" + home}
	var out, errOut bytes.Buffer
	try := func(args []string, answers ...string) int {
		out.Reset()
		errOut.Reset()
		return run(t.Context(), args, strings.NewReader(strings.Join(answers, "\n")), &out, &errOut, environ)
	}
	must := func(args []string, answers ...string) {
		t.Helper()
		if code := try(args, answers...); code != exitOK {
			t.Fatalf("%v: %d %s", args, code, &errOut)
		}
	}
	file := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	once, own := file("once", servertest.Password+" once"), file("own", "a phrase of my own choosing")
	bad := map[string]string{"short": file("short", "a slip"), "empty": file("empty", ""), "the same": once, "missing": filepath.Join(home, "missing")}

	must([]string{"login", "--name", "root"}, servertest.Password)
	must([]string{"admin", "create", "--name", "newbie", "--one-time-password", "--password-file", once})
	login := []string{"login", "--name", "newbie", "--password-file", once, "--new-password-file"}
	for what, path := range bad {
		if code := try(append(login, path)); code != exitError {
			t.Errorf("a new password that is %s: %d", what, code)
		}
	}
	must(append(login, own))

	first, second := s.BreakGlass()
	use := []string{"admin", "break-glass", "use", "--name", "root"}
	for _, what := range []string{"short", "empty", "missing"} {
		if code := try(append(use, "--new-password-file", bad[what]), first, second); code != exitError {
			t.Errorf("a password for break-glass that is %s: %d", what, code)
		}
	}
	if code := try(use, first, second); code != exitError || !strings.Contains(errOut.String(), "the new password was not given") {
		t.Errorf("no password for break-glass: %d %s", code, &errOut)
	}
	must(use, first, second, "a slip", "another phrase of my choosing")
	if strings.Contains(errOut.String(), "good for this once") {
		t.Errorf("no one-time password was used: %s", &errOut)
	}
	must([]string{"session", "list"})
	if code := try(use, first); code != exitError || !strings.Contains(errOut.String(), "the second code was not given") {
		t.Errorf("one code: %d %s", code, &errOut)
	}
}
