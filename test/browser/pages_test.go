//go:build browser

package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// fleet is a server with something to look at on every page.
func fleet(t *testing.T) *servertest.Server {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Settings: map[string]string{"SENTINEL_FLEET_NAME": "Acme plants"}})
	op, ben := s.Person("olivia", "operator"), s.Person("ben", "approver")
	s.Person("ada", "admin")
	var all []*servertest.Device
	for _, id := range []string{"edge-berlin-01", "edge-berlin-02", "edge-oslo-01", "edge-oslo-02", "line-7", "gate-3"} {
		d := s.Enroll(id, op.EnrollToken(1), ben)
		d.MustBeat()
		d.MustBeat()
		all = append(all, d)
	}
	s.Exec("UPDATE devices SET name = 'Press line 2', owner = 'plant ops', facts = '{\"os\":\"Debian 12\",\"kernel\":\"6.1\"}' WHERE device_id = 'edge-berlin-01'")
	s.Exec("UPDATE devices SET name = 'Door controller', owner = 'facilities' WHERE device_id = 'gate-3'")
	op.Must("POST", "/api/devices/edge-oslo-01/suspend", map[string]string{"reason": "odd traffic"}, nil)
	op.Revoke("line-7")
	op.SendCommand("ping", map[string]any{"echo": "hello"}, "edge-berlin-01", "edge-berlin-02", "gate-3")
	s.CommandRound()
	all[0].Obey()
	all[0].MustBeat()
	waits := s.NewDevice("edge-new-9")
	if p, err := waits.Ask(op.EnrollToken(1)); p != nil || err != nil {
		t.Fatal(p, err)
	}
	// A day of heartbeats, as it would have been counted.
	begin := time.Now().UTC().Truncate(10 * time.Minute)
	for i := 1; i < 144; i++ {
		refused := 0
		if i%37 == 0 {
			refused = 40
		}
		s.Exec("INSERT INTO heartbeat_counts (at, accepted, refused) VALUES (?, ?, ?)", begin.Add(-time.Duration(i)*10*time.Minute).UnixMicro(), 300+(i*37)%110-(i%50), refused)
	}
	s.Round()
	return s
}

// It shows when: axe finds no serious or critical issue on any page, light and
// dark; the pictures are for people.
func TestEveryPageIsAccessible(t *testing.T) {
	t.Parallel()
	s := fleet(t)
	b := open(t, s.PeopleURL)
	b.scheme("light")
	b.at("/")
	b.see("h1", "")
	look := func(name string) {
		b.scheme("light")
		b.judge(name + " light")
		b.keep(name + "-light")
		b.scheme("dark")
		b.judgeColours(name + " dark")
		b.keep(name + "-dark")
	}
	look("home")
	b.at("/dashboard")
	b.see("h1", "Sign in")
	look("sign-in")
	b.signIn("ada")
	b.see("h1", "Overview")
	var command string
	for _, page := range []struct{ name, path, see string }{
		{"overview", "/dashboard", "Overview"},
		{"devices", "/dashboard/devices", "Devices"},
		{"devices-none", "/dashboard/devices?q=nowhere", "Devices"},
		{"device", "/dashboard/devices/edge-berlin-01", "Press line 2"},
		{"device-suspended", "/dashboard/devices/edge-oslo-01", "edge-oslo-01"},
		{"device-revoked", "/dashboard/devices/line-7", "line-7"},
		{"reviews", "/dashboard/reviews?show=waiting", "Reviews"},
		{"reviews-none", "/dashboard/reviews", "Reviews"},
		{"commands", "/dashboard/commands", "Commands"},
		{"command-new", "/dashboard/commands/new?device=edge-berlin-01", "Send a command"},
		{"enrollment", "/dashboard/enrollment", "Enrollment"},
		{"accounts", "/dashboard/accounts", "Accounts"},
		{"me", "/dashboard/me", "Your account"},
		{"audit", "/dashboard/audit", "Audit log"},
		{"wrong", "/dashboard/devices/nobody", "There is no such device"},
	} {
		b.at(page.path)
		b.see("h1", page.see)
		look(page.name)
		if page.name == "commands" {
			b.press(".rows a.id", "ping")
			b.see("h1", "ping for 3 devices")
			look("command")
			command = b.path()
		}
		if page.name == "device" {
			b.press("summary", "Quarantine")
			b.see("dialog h3", "Quarantine edge-berlin-01?")
			look("device-dialog")
			b.press("dialog button", "Leave it")
		}
	}
	if !strings.HasPrefix(command, "/dashboard/commands/") {
		t.Errorf("the command's page is %s", command)
	}
	b.quiet()

	reviewer := open(t, s.PeopleURL)
	reviewer.signIn("ben")
	reviewer.see("h1", "Overview")
	reviewer.at("/dashboard/reviews")
	reviewer.press(".rows a", "Decide")
	reviewer.see("h2", "Compare the key code")
	for _, scheme := range []string{"light", "dark"} {
		reviewer.scheme(scheme)
		reviewer.judge("review " + scheme)
		reviewer.keep("review-" + scheme)
	}

	b.do(emulation.SetDeviceMetricsOverride(390, 844, 2, true))
	for name, path := range map[string]string{"overview": "/dashboard", "devices": "/dashboard/devices", "device": "/dashboard/devices/edge-berlin-01", "audit": "/dashboard/audit"} {
		b.at(path)
		b.see("h1", "")
		b.judge(name + " on a phone")
		b.keep("phone-" + name)
		var wide bool
		b.do(evaluate(`document.documentElement.scrollWidth > innerWidth + 1`, &wide))
		if wide {
			t.Errorf("%s is wider than a phone", name)
		}
	}
	b.quiet()
}

// SES-07
func TestAScriptInAnyDeviceFieldIsOnlyText(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	op, ben := s.Person("olivia", "operator"), s.Person("ben", "approver")
	s.Person("ada", "admin")
	d := s.Enroll("edge-1", op.EnrollToken(1), ben)
	d.MustBeat()
	payloads := []string{
		`<script>window.ran=1</script>`, `"><img src=x onerror="window.ran=2">`, `'><svg onload=window.ran=3>`, `</title><script>window.ran=4</script>`,
		`javascript:window.ran=5`, `{{.}}<b>`, `<iframe srcdoc="<script>top.ran=6</script>">`, `<a href="javascript:window.ran=7">x</a>`, `</script><script>window.ran=8</script>`,
		`<style>*{display:none}</style>`, `<base href="https://evil.example/">`, `<form action="https://evil.example"><input name=x>`, `<meta http-equiv=refresh content="0;url=/x">`,
	}
	b := open(t, s.PeopleURL)
	b.signIn("ada")
	b.see("h1", "Overview")
	for i, p := range payloads {
		h := d.Heartbeat()
		h.AgentVersion = "1.0.0"
		h.Facts = map[string]string{"os": p, "hostname": fmt.Sprintf("%d %s", i, p)}
		if problem, err := d.Send(h); problem != nil || err != nil {
			t.Fatalf("%s: %v %v", p, problem, err)
		}
		// What the registry holds could come from anywhere: every field of text.
		s.Exec("UPDATE devices SET name = ?, owner = ?, agent_version = ?, state_reason = ?, held_reason = ? WHERE device_id = 'edge-1'", p, p, p, p, p)
		s.Exec("UPDATE device_labels SET value = ? WHERE device_id = 'edge-1'", p)
		s.Exec("UPDATE audit_entries SET reason = ?, actor_id = ?, source = ?", p, p, p)
		for _, path := range []string{"/dashboard", "/dashboard/devices", "/dashboard/devices/edge-1", "/dashboard/audit"} {
			b.at(path)
			b.see("h1", "")
			b.follows() // the fragments of the live page have replaced what was there
			var found struct {
				Ran             bool
				Shown           bool
				Scripts, Frames int
			}
			b.do(evaluate(fmt.Sprintf(`({Ran: window.ran !== undefined, Shown: document.body.textContent.includes(%q), Scripts: document.querySelectorAll("script").length, Frames: document.querySelectorAll("iframe, img, base, style, form[action^=http], [onerror], [onload]").length})`, p), &found))
			if found.Ran || found.Scripts != 1 || found.Frames != 0 || path != "/dashboard" && !found.Shown {
				t.Errorf("%s with %s: %+v", path, p, found)
			}
		}
		b.quiet()
		s.Exec("UPDATE devices SET held_reason = '' WHERE device_id = 'edge-1'")
	}
}
