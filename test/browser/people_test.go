//go:build browser

package browser

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

func TestSignInWithPasswordAndCode(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Person("ada", "admin")
	b := open(t, s.PeopleURL)
	b.at("/dashboard/devices?verdict=trusted")
	b.see("h1", "Sign in")
	b.fill("#name", "ada")
	b.fill("#password", "not the password of ada")
	b.press("button[type=submit]", "Sign in")
	b.see("[role=alert]", "Name or password is wrong")
	b.fill("#password", servertest.Password)
	b.press("button[type=submit]", "Sign in")
	b.see("h1", "Devices")
	if p := b.path(); p != "/dashboard/devices?verdict=trusted" {
		t.Errorf("after the sign-in at %s", p)
	}

	b.at("/dashboard/me")
	b.press("button", "Set it up")
	b.see("h2", "Set up your authenticator app")
	b.judge("setting up a code generator")
	secret := b.text(".secret .digest code")
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.fill("#code", code)
	b.press("button[type=submit]", "Put it into use")
	b.see("h2", "Recovery codes")
	recovery := b.text(".codes li")
	b.press(".tools button", "Sign out")
	b.see("[role=status]", "You are signed out")

	b.signIn("ada")
	b.see("h1", "Second step")
	b.judge("second step")
	b.keep("second-step-light")
	b.at("/dashboard/devices") // half a session opens nothing
	b.see("h1", "Sign in")
	b.signIn("ada")
	b.see("h1", "Second step")
	b.fill("#code", code) // it was used when it was set up
	b.press("button[type=submit]", "Go on")
	b.see("[role=alert]", "The code is not right")
	b.fill("#code", recovery)
	b.press("button[type=submit]", "Go on")
	b.see("h1", "Overview")
	b.quiet()
}

func TestAPasskeyIsRegisteredAndOpensTheConsole(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Person("ada", "admin")
	b := open(t, s.PeopleURL)
	b.do(virtualAuthenticator())
	b.signIn("ada")
	b.see("h1", "Overview")
	b.at("/dashboard/me")
	b.fill("form[data-needs-passkey] input", "laptop")
	b.press("button", "Register a passkey")
	b.see("[role=status]", "The passkey is registered")
	b.see(".list strong", "laptop")
	b.press(".tools button", "Sign out")
	b.see("h1", "Sign in")
	b.press("button", "Sign in with a passkey")
	b.see("h1", "Overview")
	b.at("/dashboard/me")
	b.see("dd", "passkey")
	b.quiet()
}

// keyCode is what the agent prints and a reviewer compares.
var keyCode = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3}\b`)

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// The whole way of a device, by people with browsers: olivia makes a token and
// later asks for a command, ben lets the device in and agrees to the command.
func TestTwoPeopleLetADeviceInAndHaveItObey(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{
		"SENTINEL_HEARTBEAT_INTERVAL": "1s", "SENTINEL_DUAL_APPROVAL_COMMANDS": "true",
	}})
	s.Person("olivia", "operator")
	s.Person("ben", "approver")
	olivia, ben := open(t, s.PeopleURL), open(t, s.PeopleURL)
	olivia.signIn("olivia")
	olivia.see("h1", "Overview")
	ben.signIn("ben")
	ben.see("h1", "Overview")
	ben.at("/dashboard/reviews")
	ben.see(".empty", "Nothing waits for you")
	ben.follows()

	olivia.at("/dashboard/enrollment")
	olivia.fill("#note", "first device")
	olivia.fill("#labels", "site=berlin")
	olivia.press("button[type=submit]", "Make the token")
	olivia.see("h2", "this is the only time")
	olivia.judge("a new token")
	olivia.keep("token-made-light")
	line := strings.Fields(olivia.text("#paste-line"))
	state := filepath.Join(t.TempDir(), "state")
	var printed output
	enroll := exec.Command(agentBin, append(line[1:], "--device-id", "edge-1", "--state-dir", state)...)
	enroll.Stdout, enroll.Stderr = &printed, &printed
	if err := enroll.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- enroll.Wait() }()
	within(t, "the device prints its key code", func() bool { return keyCode.MatchString(printed.String()) })

	// The page that ben looks at shows the device by itself.
	ben.see(".rows", "edge-1")
	ben.press(".rows a", "Decide")
	if shown := ben.text(".key-code"); shown != keyCode.FindString(printed.String()) {
		t.Fatalf("the page shows %s, the device %s", shown, printed.String())
	}
	ben.fill("#reason", "its key code is right")
	ben.press("button", "Approve")
	ben.see("[role=status]", "approved")
	if err := <-ended; err != nil {
		t.Fatalf("enroll: %v\n%s", err, printed.String())
	}
	run := exec.Command(agentBin, "run", "--min-interval", "1s", "--state-dir", state)
	run.Stdout, run.Stderr = &printed, &printed
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })

	olivia.at("/dashboard/devices/edge-1")
	olivia.see(".badge", "trusted")
	olivia.press("a.button", "Send a command")
	olivia.fill(`[name="ping.echo"]`, "hello from olivia")
	olivia.fill("#reason", "trying")
	olivia.press("button[type=submit]", "Count the devices")
	olivia.see("h2", "ping for 1 device")
	olivia.press("button[type=submit]", "Ask for it")
	olivia.see(".ask", "It waits for another person")
	olivia.follows()
	page := olivia.path()

	ben.at("/dashboard/reviews")
	ben.press(".rows a", "Decide")
	ben.see("dd", "ping")
	ben.see("dd", "hello from olivia")
	ben.fill("#reason", "agreed")
	ben.press("button", "Approve")
	ben.see("[role=status]", "approved")

	// Nobody reloads olivia's page.
	olivia.see(".rows .badge", "succeeded")
	olivia.see(".rows td", "hello from olivia")
	if olivia.path() != page {
		t.Errorf("olivia went from %s to %s", page, olivia.path())
	}
	olivia.press("a.id", "edge-1")
	olivia.press("summary", "Quarantine")
	olivia.fill("dialog input[name=reason]", "it talks to strangers")
	olivia.press("dialog button", "Quarantine")
	olivia.see("[role=status]", "The device is suspended")
	olivia.see(".badge", "untrusted")
	olivia.see(".act.off", "your account lacks the permission device:resume")
	olivia.quiet()
	ben.quiet()
}

// Reviews are decided with the keyboard alone.
func TestTheReviewsPageNeedsNoMouse(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	op := s.Person("olivia", "operator")
	s.Person("ben", "approver")
	d := s.NewDevice("edge-1")
	if p, err := d.Ask(op.EnrollToken(1)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	b := open(t, s.PeopleURL)
	b.at("/dashboard/reviews")
	b.see("h1", "Sign in")
	keys := func(text string) { b.do(chromedp.KeyEvent(text)) }
	enter := func() { _ = chromedp.Run(b.ctx, chromedp.KeyEvent(kb.Enter)) } // it fails where the page goes away under it
	// tab goes on until what has the focus bears the text.
	tab := func(text string) {
		t.Helper()
		for range 60 {
			var on string
			b.do(evaluate(`(e => e.matches("body, main") ? "" : e.textContent.trim() + "|" + (e.name || "") + "|" + (e.labels ? [...e.labels].map(l => l.textContent).join() : ""))(document.activeElement)`, &on))
			if strings.Contains(on, text) {
				var seen bool
				b.do(evaluate(`document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"`, &seen))
				if !seen {
					t.Errorf("%q has the focus, and nobody sees it", text)
				}
				return
			}
			keys(kb.Tab)
		}
		t.Fatalf("the keyboard does not reach %q", text)
	}
	tab("|name|")
	keys("ben")
	tab("|password|")
	keys(servertest.Password)
	enter()
	b.see("h1", "Reviews")
	tab("Skip to the content")
	enter()
	tab("Decide")
	enter()
	b.see("h2", "Compare the key code")
	tab("|reason|")
	keys("read aloud, and right")
	tab("Approve")
	enter()
	b.see("[role=status]", "approved")
	if r, p, err := d.Poll(); p != nil || err != nil || r.State != "issued" {
		t.Errorf("the device was not let in: %+v %v %v", r, p, err)
	}
	b.quiet()
}

// A page that is open ends with its session, on whatever node it was ended.
func TestALivePageEndsWithItsSession(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Person("ada", "admin")
	b := open(t, s.PeopleURL)
	b.signIn("ada")
	b.see("h1", "Overview")
	b.follows()
	s.Exec("UPDATE sessions SET revoked_at = 1")
	b.see("[data-pulse]", "Not live")
}
