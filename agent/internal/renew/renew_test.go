package renew

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestACertificateIsRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	before, err := identity.Load(d.journal.Dir())
	if err != nil {
		t.Fatal(err)
	}
	due := Due(before.Leaf)
	d.now = due.Add(-time.Minute)
	if d.live(1); len(d.office.asked) != 0 {
		t.Fatal("too early")
	}
	if code := d.live(5); code != "" || len(d.office.asked) != 1 || d.changes != 1 {
		t.Fatalf("refused %q, asked %v, changed %d times", code, d.office.asked, d.changes)
	}
	e := d.kept()
	if e.Slot != journal.SlotB || e.Renewal != nil || e.Counter != 41 {
		t.Errorf("kept %+v", e)
	}
	after := d.works()
	if after.Leaf.Equal(before.Leaf) || certs.Fingerprint(after.Leaf.Raw) != certs.Fingerprint(d.office.current.Raw) {
		t.Error("it is the one before")
	}
	if _, err := os.Stat(filepath.Join(d.journal.Dir(), "device.key")); !os.IsNotExist(err) {
		t.Errorf("the old key is still there: %v", err)
	}
	d.now = Due(after.Leaf).Add(time.Second)
	if d.live(5); d.kept().Slot != journal.SlotA || len(d.office.asked) != 2 || d.office.asked[0] == d.office.asked[1] {
		t.Errorf("the second time: slot %q, asked %v", d.kept().Slot, d.office.asked)
	}
	d.works()
}

func TestTheMomentOfRenewalIsSpreadAndAlwaysTheSame(t *testing.T) {
	t.Parallel()
	from, to := day, day
	for n := range 1000 {
		c := &x509.Certificate{Raw: []byte{byte(n), byte(n >> 8)}, NotBefore: day, NotAfter: day.Add(life)}
		due := Due(c)
		if !due.Equal(Due(c)) {
			t.Fatal("drawn twice")
		}
		if n == 0 {
			from, to = due, due
		}
		if due.Before(from) {
			from = due
		}
		if due.After(to) {
			to = due
		}
	}
	share := func(at time.Time) float64 { return float64(at.Sub(day)) / float64(life) }
	if share(from) < 0.566 || share(to) > 0.767 || share(to)-share(from) < 0.19 {
		t.Errorf("between %.3f and %.3f of the life", share(from), share(to))
	}
}

// ENR-13: whichever answers are lost, it is the same request; one certificate comes
// of it, and the device works all along.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.random = 0.5
	for lost := 1; lost <= 5; lost++ {
		id := d.works()
		d.now = Due(id.Leaf).Add(time.Second)
		d.office.asked, d.office.lose = nil, lost
		for d.kept().Renewal != nil || len(d.office.asked) <= lost {
			if code := d.live(1); code != "" {
				t.Fatalf("%d lost: locked out: %s", lost, code)
			}
		}
		if n := len(slices.Compact(d.office.asked)); n != 1 || len(d.office.asked) > lost+2 {
			t.Fatalf("%d lost: asked %v", lost, d.office.asked)
		}
	}
}

// Whatever step a crash or a full disk cuts short, what is on the disk is a device
// that is let in, and goes on to a new certificate.
func TestEachStepMayBeCutShort(t *testing.T) {
	t.Parallel()
	steps := map[string]bool{}
	for _, after := range []bool{false, true} {
		for nth := 1; ; nth++ {
			d := newDevice(t)
			f := &fault{Disk: d.disk, nth: nth, after: after}
			d.now = Due(d.office.current).Add(time.Second)
			d.renewer.Disk = f
			first := d.office.current
			for range 4 {
				d.live(1)
				if f.step != "" {
					break
				}
			}
			if f.step == "" {
				break // there is no such write
			}
			steps[f.step] = true
			// The process ends here, and the next one finds what is on the disk.
			d.works()
			for range 10 {
				if code := d.live(1); code != "" && code != protocol.CodeCertificateUnknown {
					t.Fatalf("write %d (%s): %s", nth, f.step, code)
				}
			}
			if id := d.works(); id.Leaf.Equal(first) || d.kept().Renewal != nil {
				t.Errorf("write %d (%s, after %v): not renewed", nth, f.step, after)
			}
			if d.kept().Counter != 41 {
				t.Error("the counter moved")
			}
		}
	}
	if len(steps) != 4 {
		t.Errorf("only these steps failed: %v", steps)
	}
}

// A certificate that the server does not know any more (it was put back from a
// copy) is dropped for the one before.
func TestANewCertificateThatIsNotTakenIsDropped(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	first := d.office.current
	d.now = Due(first).Add(time.Second)
	d.renewer.Round(t.Context()) // begins
	d.now = d.now.Add(time.Second)
	d.renewer.Round(t.Context()) // issued
	d.office.waiting, d.office.answered = nil, map[string]protocol.RenewAnswer{}
	if code := d.beat(); code != protocol.CodeCertificateUnknown || d.changes != 2 {
		t.Fatalf("%q, changed %d times", code, d.changes)
	}
	if code := d.beat(); code != "" {
		t.Fatalf("with the one before: %q", code)
	}
	if id := d.works(); !id.Leaf.Equal(first) {
		t.Error("another one is in use")
	}
	d.now = d.now.Add(3 * time.Hour)
	d.live(6)
	if id := d.works(); id.Leaf.Equal(first) || len(d.office.asked) != 2 {
		t.Errorf("later: asked %v", d.office.asked)
	}
}

// A heartbeat that was on its way under the old certificate settles nothing.
func TestOnlyAHeartbeatUnderTheNewCertificateSettles(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.now = Due(d.office.current).Add(time.Second)
	d.renewer.Round(t.Context())
	d.now = d.now.Add(time.Second)
	d.renewer.Round(t.Context())
	// Shown is still the old one.
	if err := d.renewer.After(t.Context(), &protocol.HeartbeatAnswer{}); err != nil {
		t.Fatal(err)
	}
	d.renewer.Refused(t.Context(), protocol.CodeCertificateUnknown)
	if e := d.kept(); e.Slot != journal.SlotA || e.Renewal == nil || !e.Renewal.Tried {
		t.Fatalf("kept %+v", e)
	}
	if code := d.beat(); code != "" || d.kept().Slot != journal.SlotB {
		t.Errorf("%q, %+v", code, d.kept())
	}
}

// PKI-11, ENR-11: what is issued is held to what an enrollment is held to.
func TestWhatIsIssuedIsVerified(t *testing.T) {
	t.Parallel()
	stranger := agenttest.NewFleet(t, day)
	for name, spoil := range map[string]func(t *testing.T, d *device, a *protocol.RenewAnswer){
		"nothing":               func(_ *testing.T, _ *device, a *protocol.RenewAnswer) { a.Certificates = nil },
		"garbage":               func(_ *testing.T, _ *device, a *protocol.RenewAnswer) { a.Certificates = [][]byte{{1}} },
		"of another request":    func(_ *testing.T, _ *device, a *protocol.RenewAnswer) { a.RequestID = journal.NewID(day) },
		"of a state of its own": func(_ *testing.T, _ *device, a *protocol.RenewAnswer) { a.State = "granted" },
		"for another key": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			a.Certificates = d.office.fleet.IssueDevice(t, "edge-1", agenttest.Key(t).Public(), d.now, life)
		},
		"for the key in use": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			a.Certificates = d.office.fleet.IssueDevice(t, "edge-1", d.office.current.PublicKey, d.now, life)
		},
		"for another device": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			a.Certificates = d.office.fleet.IssueDevice(t, "edge-2", d.newKey(t), d.now, life)
		},
		"by another fleet": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			a.Certificates = stranger.IssueDevice(t, "edge-1", d.newKey(t), d.now, life)
		},
		"expired": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			a.Certificates = d.office.fleet.IssueDevice(t, "edge-1", d.newKey(t), day, time.Hour)
		},
		"by another fleet, whose root comes with it": func(t *testing.T, d *device, a *protocol.RenewAnswer) {
			root, _ := stranger.NextRoot(t, 2, nil)
			a.Certificates, a.FleetRoots = stranger.IssueDevice(t, "edge-1", d.newKey(t), d.now, life), []json.RawMessage{root}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			first := d.office.current
			d.now = Due(first).Add(time.Second)
			d.office.change = func(a *protocol.RenewAnswer) { spoil(t, d, a) }
			if code := d.live(4); code != "" || d.kept().Slot != journal.SlotA || d.changes != 0 {
				t.Fatalf("%q, kept %+v", code, d.kept())
			}
			if id := d.works(); !id.Leaf.Equal(first) {
				t.Error("another one is in use")
			}
		})
	}
}

// newKey is the key that the device has made for its next certificate.
func (d *device) newKey(t *testing.T) any {
	t.Helper()
	req, err := certs.ParseRequest(d.kept().Renewal.CSR, "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	return req.PublicKey
}

// PKI-11: a certificate by a CA that a newer root names is taken with that root, and
// not without it.
func TestANewIssuerIsBelievedByTheRootThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, with := range []bool{true, false} {
		d := newDevice(t)
		first := d.office.current
		other := agenttest.NewFleet(t, day)
		root, _ := d.office.fleet.NextRoot(t, 2, func(r *signing.FleetRoot) { r.DeviceCAs = append(r.DeviceCAs, other.DeviceCA.Certificate.Raw) })
		d.office.fleet.DeviceCA = other.DeviceCA
		d.now = Due(first).Add(time.Second)
		d.office.change = func(a *protocol.RenewAnswer) {
			if with {
				a.FleetRoots = []json.RawMessage{root}
			}
		}
		d.live(4)
		if renewed := d.kept().Slot == journal.SlotB; renewed != with || d.kept().Root.Version != map[bool]int64{true: 2, false: 1}[with] {
			t.Errorf("with the root %v: renewed %v, root %d", with, renewed, d.kept().Root.Version)
		}
		d.works()
	}
}

func TestAPendingRenewalIsAskedForUntilItIsDecided(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.now, d.office.pending = Due(d.office.current).Add(time.Second), 3
	if d.live(2); d.kept().Renewal == nil {
		t.Fatal("given up")
	}
	if code := d.live(8); code != "" || d.kept().Slot != journal.SlotB || len(slices.Compact(d.office.asked)) != 1 {
		t.Fatalf("%q, asked %v", code, d.office.asked)
	}
}

func TestARenewalThatIsRejectedIsBegunAnewSlowly(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*office){
		"rejected": func(o *office) {
			o.change = func(a *protocol.RenewAnswer) { a.State, a.Certificates, a.Reason = protocol.EnrollRejected, nil, "no" }
		},
		"invalid": func(o *office) {
			o.refuse = &link.RefusalError{Status: 400, Problem: protocol.Problem{Code: protocol.CodeRenewalInvalid}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.now = Due(d.office.current).Add(time.Second)
			refuse(d.office)
			start := d.now
			for d.now.Sub(start) < 20*time.Hour {
				if code := d.live(1); code != "" {
					t.Fatal(code)
				}
			}
			if n := len(slices.Compact(d.office.asked)); n < 3 || n > 4 || n != len(d.office.asked) {
				t.Errorf("asked %d times in 20 hours, %d different", len(d.office.asked), n)
			}
		})
	}
}

func TestFailuresBackOffAndStopNothing(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.random = 0.5
	d.now, d.office.lose = Due(d.office.current).Add(time.Second), 1<<30
	start := d.now
	for d.now.Sub(start) < 12*time.Hour {
		if code := d.live(1); code != "" {
			t.Fatal(code)
		}
	}
	if asked := len(d.office.asked); asked < 12 || asked > 40 {
		t.Errorf("asked %d times in 12 hours", asked)
	}
}

func TestACommandRenewsNowAndIsToldWhatCameOfIt(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	told := make(chan string)
	order := func() { go func() { told <- d.renewer.Renew(context.WithoutCancel(t.Context())) }(); <-d.renewer.kick }
	order()
	d.live(4)
	if reason := <-told; reason != "" {
		t.Errorf("told %q", reason)
	}
	d = newDevice(t)
	d.office.refuse = &link.RefusalError{Status: 429, Problem: protocol.Problem{Code: protocol.CodeRenewalEarly}, RetryAfter: time.Hour}
	order()
	d.live(4)
	if reason := <-told; reason != "renewal-early" {
		t.Errorf("told %q", reason)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if reason := d.renewer.Renew(stopped); reason != "renewal-pending" {
		t.Errorf("told %q", reason)
	}
}

func TestAServerThatSaysRenewAllTheTimeIsHeardNowAndThen(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	for range 60 {
		d.renewer.Round(t.Context())
		d.beat()
		if err := d.renewer.After(t.Context(), &protocol.HeartbeatAnswer{Renew: true}); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(time.Minute)
	}
	if n := len(d.office.asked); n != 4 {
		t.Errorf("renewed %d times in an hour", n)
	}
	d.works()
}

// What a crash left in the slot that nothing needs is gone after a start.
func TestLeftoversAreClearedAway(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	if _, err := identity.CreateKeyIn(d.journal.Dir(), journal.SlotB); err != nil {
		t.Fatal(err)
	}
	d.works()
	if left, _ := filepath.Glob(filepath.Join(d.journal.Dir(), "*-b.*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func FuzzRenewAnswer(f *testing.F) {
	f.Add([]byte(`{"request_id":"x","state":"issued","certificates":["AQ=="],"fleet_roots":[{}]}`))
	f.Add([]byte(`{"state":"pending","retry_after_seconds":-1}`))
	f.Add([]byte(`{"state":"rejected","reason":"\u001b[2J"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := newDevice(t)
		d.now = Due(d.office.current).Add(time.Second)
		d.renewer.Round(t.Context())
		d.renewer.Server = verbatim{d, body}
		for range 3 {
			d.now = d.now.Add(time.Hour)
			if wait := d.renewer.Round(t.Context()); wait < time.Second || wait > longest {
				t.Fatalf("waits %s", wait)
			}
		}
		if e := d.kept(); e.Slot != journal.SlotA || e.Renewal != nil && e.Renewal.Tried {
			t.Fatalf("something that nobody issued is taken: %s", body)
		}
	})
}

// verbatim answers with one body, about the request under way if it says so.
type verbatim struct {
	d    *device
	body []byte
}

func (v verbatim) Issuer() string { return v.d.office.Issuer() }

func (v verbatim) Post(_ context.Context, _ string, _ []byte, answer any) error {
	if err := protocol.DecodeTolerant(v.body, answer); err != nil {
		return fmt.Errorf("%w: %w", link.ErrBadAnswer, err)
	}
	if a, ok := answer.(*protocol.RenewAnswer); ok && a.RequestID == "x" && v.d.kept().Renewal != nil {
		a.RequestID = v.d.kept().Renewal.RequestID
	}
	return nil
}
