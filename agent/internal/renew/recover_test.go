package renew

import (
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// expired is a device that was away until its certificate ended.
func expired(t *testing.T) *device {
	t.Helper()
	d := newDevice(t)
	d.now = d.office.current.NotAfter.Add(time.Hour)
	return d
}

// AGT-13: a device that was away for too long is let in again by a person who
// compares the code of its new key, and is the same device.
func TestAnExpiredDeviceIsLetInAgainAfterAReview(t *testing.T) {
	t.Parallel()
	d := expired(t)
	before := d.kept()
	d.office.pending = 3
	if code := d.beat(); code != protocol.CodeCertificateExpired {
		t.Fatalf("got %q", code)
	}
	d.live(3)
	code, err := Waiting(d.journal.Dir(), d.kept())
	if err != nil || code == "" || !d.kept().Renewal.Submitted {
		t.Fatalf("waits with %q, %v: %+v", code, err, d.kept().Renewal)
	}
	csr, err := certs.ParseRequest(d.kept().Renewal.CSR, "edge-1")
	if err != nil || csr.KeyCode != code {
		t.Errorf("the reviewer is shown another key: %v", err)
	}
	polls := d.office.polls
	d.start() // a restart in between goes on with the same request
	if refused := d.live(8); refused != "" || d.kept().Renewal != nil {
		t.Fatalf("%q, kept %+v", refused, d.kept())
	}
	if n := len(slices.Compact(d.office.asked)); n != 1 || d.office.polls-polls > 4 {
		t.Errorf("asked %v, %d polls", d.office.asked, d.office.polls)
	}
	after := d.kept()
	if after.Slot != journal.SlotB || after.Counter != before.Counter || after.Epoch != before.Epoch || after.Root != before.Root ||
		after.Policy != before.Policy || after.FirstRoot != before.FirstRoot {
		t.Errorf("before %+v, after %+v", before, after)
	}
	d.works()
}

// BKP-02, AGT-13: a device whose certificate a restore forgot asks for the way back
// with it, though it is in date, and goes on at once where the server finds it again.
func TestAForgottenCertificateLeadsToTheWayBack(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.office.forgot, d.office.pending = true, 3
	if code := d.beat(); code != protocol.CodeCertificateLost || !d.kept().Lost {
		t.Fatalf("got %q, kept %+v", code, d.kept())
	}
	d.live(3)
	if code, err := Waiting(d.journal.Dir(), d.kept()); err != nil || code == "" {
		t.Fatalf("waits with %q, %v", code, err)
	}
	d.start()
	if refused := d.live(8); refused != "" || d.kept().Renewal != nil || d.kept().Lost || d.kept().Slot != journal.SlotB {
		t.Fatalf("%q, kept %+v", refused, d.kept())
	}
	d.works()

	d = newDevice(t)
	d.office.forgot, d.office.pending = true, 1<<30
	d.beat()
	d.live(2)
	d.office.forgot = false // the right backup was found
	d.beat()
	d.live(2)
	if e := d.kept(); e.Lost || e.Renewal != nil && e.Renewal.Recovery || e.Slot != journal.SlotA {
		t.Errorf("kept %+v", e)
	}
}

func TestPollsForAReviewAreRare(t *testing.T) {
	t.Parallel()
	d := expired(t)
	d.office.pending = 1 << 30
	start := d.now
	for d.now.Sub(start) < time.Hour {
		d.live(1)
	}
	if d.office.polls < 2 || d.office.polls > 30 {
		t.Errorf("%d polls in an hour", d.office.polls)
	}
}

// AGT-13: no silent trust. What ends the way back ends it for good, and is shown.
func TestWhatClosesTheWayBackEndsIt(t *testing.T) {
	t.Parallel()
	for _, code := range []protocol.Code{protocol.CodeRecoveryLate, protocol.CodeDeviceRevoked, protocol.CodeDeviceGone, protocol.CodeDeviceUnknown} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			d := expired(t)
			d.office.refuse = &link.RefusalError{Status: 403, Problem: protocol.Problem{Code: code}}
			d.live(40)
			e := d.kept()
			if len(d.office.asked) != 1 || e.Closed == nil || e.Closed.Code != code || e.Renewal != nil {
				t.Fatalf("asked %v, kept %+v", d.office.asked, e)
			}
			d.start()
			if d.live(10); len(d.office.asked) != 1 {
				t.Error("asked again after a restart")
			}
		})
	}
}

// AGT-13: a disk that was put back may hold a request that the server knows as another
// one. It is sent again while a copy of it may be under way, and then another is made.
func TestARequestThatBelongsToAnotherIsGivenUp(t *testing.T) {
	t.Parallel()
	d := expired(t)
	d.office.refuse = &link.RefusalError{Status: 409, Problem: protocol.Problem{Code: protocol.CodeRenewalConflict}}
	start := d.now
	for len(slices.Compact(slices.Clone(d.office.asked))) < 2 {
		if d.live(1); d.now.Sub(start) > 6*time.Hour {
			t.Fatalf("within %v it asked %v", d.now.Sub(start), d.office.asked)
		}
	}
	if len(d.office.asked) < 3 {
		t.Errorf("the first request was given up at once: %v", d.office.asked)
	}
	if e := d.kept(); e.Closed != nil {
		t.Errorf("kept %+v", e)
	}
}

func TestAReviewThatRejectsIsAskedForAgainAfterADay(t *testing.T) {
	t.Parallel()
	d := expired(t)
	d.office.result = func(r *protocol.EnrollResult) {
		r.State, r.Certificates, r.Reason = protocol.EnrollRejected, nil, "not today"
	}
	start := d.now
	for d.now.Sub(start) < 72*time.Hour {
		d.live(1)
	}
	if n := len(d.office.asked); n != 3 && n != 4 {
		t.Errorf("asked %d times in three days", n)
	}
	if e := d.kept(); e.Closed != nil {
		t.Errorf("kept %+v", e)
	}
}

func TestWhatTheServerSaysOfAnotherRequestIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(d *device, r *protocol.EnrollResult){
		"another request": func(d *device, r *protocol.EnrollResult) { r.EnrollmentID = journal.NewID(d.now) },
		"another key": func(d *device, r *protocol.EnrollResult) {
			r.Certificates = d.office.fleet.IssueDevice(d.t, "edge-1", agenttest.Key(d.t).Public(), d.now, life)
		},
		"the old key": func(d *device, r *protocol.EnrollResult) {
			r.Certificates = d.office.fleet.IssueDevice(d.t, "edge-1", d.office.current.PublicKey, d.now, life)
		},
		"a state of its own": func(_ *device, r *protocol.EnrollResult) { r.State = "let in" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := expired(t)
			d.office.result = func(r *protocol.EnrollResult) { spoil(d, r) }
			if d.live(6); d.kept().Slot != journal.SlotA || d.changes != 0 {
				t.Fatalf("kept %+v", d.kept())
			}
		})
	}
}

// A certificate that ends while its renewal is under way is recovered; a clock that
// was wrong and is put right goes back to renewing.
func TestTheWayIsTheOneThatFitsTheClock(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.now, d.office.pending = Due(d.office.current).Add(time.Second), 1<<30
	d.live(3)
	inTime := d.now
	d.now = d.office.current.NotAfter.Add(time.Second)
	d.live(4)
	if r := d.kept().Renewal; r == nil || !r.Recovery {
		t.Fatalf("kept %+v", r)
	}
	d.now, d.office.pending = inTime, 0
	d.start()
	if code := d.live(5); code != "" || d.kept().Slot != journal.SlotB || d.office.asked[0] == d.office.asked[len(d.office.asked)-1] {
		t.Fatalf("%q, kept %+v", code, d.kept())
	}
}

// AGT-13, ENR-13: the device fell asleep before it heard whether its new certificate
// was taken, and wakes when both have ended. Either way it is let in again: by the
// key that the server knows it by.
func TestADeviceThatSleptWhileItTriedFindsTheWayBack(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{true, false} {
		d := newDevice(t)
		d.now = Due(d.office.current).Add(time.Second)
		d.renewer.Round(t.Context())
		d.now = d.now.Add(time.Second)
		d.renewer.Round(t.Context())
		if !d.kept().Renewal.Tried {
			t.Fatal("it tries nothing")
		}
		if taken {
			d.office.judge(d.office.waiting) // and the answer is lost
		}
		d.now = d.now.Add(2 * life)
		d.start()
		for range 12 {
			d.live(1)
		}
		if code := d.beat(); code != "" || d.kept().Renewal != nil || d.kept().Closed != nil {
			t.Errorf("taken %v: %q, kept %+v", taken, code, d.kept())
		}
	}
}

// ENR-14: the server's word alone does not start a recovery: by a clock that is
// behind, the new certificate would not be valid either.
func TestADeviceWhoseClockIsBehindDoesNotAskToBeLetIn(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.renewer.Refused(t.Context(), protocol.CodeCertificateExpired)
	if d.renewer.Round(t.Context()); len(d.office.asked) != 0 || d.kept().Renewal != nil {
		t.Fatalf("asked %v", d.office.asked)
	}
}

func TestEachStepOfARecoveryMayBeCutShort(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for nth := 1; ; nth++ {
			d := expired(t)
			f := &fault{Disk: d.disk, nth: nth, after: after}
			d.renewer.Disk = f
			for range 6 {
				if d.live(1); f.step != "" {
					break
				}
			}
			if f.step == "" {
				break
			}
			d.disk = OnDisk(d.journal, identity.Place{})
			d.start()
			for range 12 {
				d.live(1)
			}
			if code := d.beat(); code != "" || d.kept().Renewal != nil || d.kept().Counter != 41 {
				t.Errorf("write %d (%s, after %v): %q, %+v", nth, f.step, after, code, d.kept())
			}
		}
	}
}
