package renew

import (
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Lives from the shortest that there is to the usual one.
var lives = []time.Duration{5 * time.Second, time.Minute, 4 * time.Minute, time.Hour, 8 * time.Hour, 7 * 24 * time.Hour}

func tooEarly(after time.Duration) *link.RefusalError {
	return &link.RefusalError{Status: 429, Problem: protocol.Problem{Code: protocol.CodeRenewalEarly}, RetryAfter: after}
}

// AGT-13, ENR-13: whatever stands in the way of a renewal, the wait for another try
// ends with the certificate, and the way back begins in that second.
func TestNoWaitGoesBeyondTheEndOfTheCertificate(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(*office){
		"too early":                  func(o *office) { o.refuse = tooEarly(time.Second) },
		"too early, come in a month": func(o *office) { o.refuse = tooEarly(30 * 24 * time.Hour) },
		"no answer":                  func(o *office) { o.lose = 1 << 30 },
		"pending":                    func(o *office) { o.pending = 1 << 30 },
		"rejected": func(o *office) {
			o.change = func(a *protocol.RenewAnswer) { a.State, a.Certificates = protocol.EnrollRejected, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, life := range lives {
				if name == "pending" && life > time.Hour {
					continue // it is asked for each half minute
				}
				d := newDeviceFor(t, life)
				d.now, d.random = Due(d.office.current).Add(time.Second), 0.999
				hinder(d.office)
				for range 1000 {
					if r := d.kept().Renewal; r != nil && r.Recovery {
						break
					}
					d.now = d.now.Add(d.renewer.Round(t.Context()))
				}
				if r := d.kept().Renewal; r == nil || !r.Recovery {
					t.Fatalf("%v: no way back: %+v", life, r)
				}
				// A second's rest is between two rounds.
				if late := d.now.Sub(d.office.current.NotAfter); late > 3*time.Second {
					t.Errorf("%v: the way back began %v after the end", life, late)
				}
			}
		})
	}
}

// ENR-13: a device that is told to wait, or is not answered, tries again while its
// certificate lasts, however short that is; with a long one as seldom as ever.
func TestAShortCertificateIsTriedForAgainBeforeItEnds(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(*office){
		"too early": func(o *office) { o.refuse = tooEarly(time.Second) },
		"no answer": func(o *office) { o.lose = 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, life := range lives[1:] {
				d := newDeviceFor(t, life)
				d.now, d.random = Due(d.office.current).Add(time.Second), 0.999
				hinder(d.office)
				for !d.now.After(d.office.current.NotAfter) {
					d.now = d.now.Add(d.renewer.Round(t.Context()))
				}
				if n := len(d.office.asked); n < 4 {
					t.Errorf("%v: asked %d times", life, n)
				}
				seldom := int(life/3/(15*time.Minute)) + 30 // the last ones come closer
				if n := len(d.office.asked); n > seldom {
					t.Errorf("%v: asked %d times, want %d at most", life, n, seldom)
				}
			}
		})
	}
}

// A server that says when to come again is not asked before, as long as the
// certificate lasts until then.
func TestTheServersWaitIsKept(t *testing.T) {
	t.Parallel()
	d := newDeviceFor(t, 4*time.Minute)
	d.now = Due(d.office.current).Add(time.Second)
	d.renewer.Round(t.Context()) // begins
	d.office.refuse = tooEarly(50 * time.Second)
	if wait := d.renewer.Round(t.Context()); wait != 50*time.Second {
		t.Fatalf("waits %v", wait)
	}
	d.now = d.now.Add(49 * time.Second)
	if wait := d.renewer.Round(t.Context()); wait != time.Second || len(d.office.asked) != 1 {
		t.Errorf("waits %v more, asked %d times", wait, len(d.office.asked))
	}
}

// AGT-13: the link hears first that the certificate has ended. The renewer does not
// wait for the end of what it was told to wait for.
func TestAnEndedCertificateIsSeenToAtOnce(t *testing.T) {
	t.Parallel()
	d := newDeviceFor(t, time.Minute)
	d.now = Due(d.office.current).Add(time.Second)
	d.renewer.Round(t.Context())
	d.office.refuse = tooEarly(time.Hour)
	d.renewer.Round(t.Context())
	d.now = d.office.current.NotAfter.Add(time.Second)
	if code := d.beat(); code != protocol.CodeCertificateExpired || !d.renewer.Kicked() {
		t.Fatalf("%q, and nothing is asked for", code)
	}
	for range 3 {
		d.renewer.Round(t.Context())
	}
	if r := d.kept().Renewal; r == nil || !r.Recovery {
		t.Errorf("kept %+v", r)
	}
}

// Devices whose certificates are short start closer together: ten seconds of a
// minute's life are not to be spent waiting.
func TestAShortCertificateDoesNotWaitLongAtTheStart(t *testing.T) {
	t.Parallel()
	for life, most := range map[time.Duration]time.Duration{time.Minute: time.Second, 7 * 24 * time.Hour: startWithin} {
		d := newDeviceFor(t, life)
		d.random = 0.999
		if wait := d.renewer.startWait(); wait > most+most/5 || wait < most/2 {
			t.Errorf("%v: waits %v", life, wait)
		}
	}
}
