package enroll

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// HBT-08: a clock that was put back before the program was made is not believed,
// and never will be.
func TestTheTimeFloorIsNotBelowTheTimeOfTheBuild(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		built func(documents time.Time) time.Time
		want  func(documents, built time.Time) time.Time
	}{
		"a build later than the documents":   {func(d time.Time) time.Time { return d.Add(30 * time.Second) }, func(_, b time.Time) time.Time { return b }},
		"a build earlier than the documents": {func(d time.Time) time.Time { return d.Add(-24 * time.Hour) }, func(d, _ time.Time) time.Time { return d }},
		"a build that knows no time":         {func(time.Time) time.Time { return time.Time{} }, func(d, _ time.Time) time.Time { return d }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			plain := newDevice(t, desk)
			if _, err := plain.enroll(t); err != nil {
				t.Fatal(err)
			}
			documents := enrolledState(t, plain.Dir).Enrolled.TimeFloor

			desk.Requests, desk.Polls = nil, 0
			dev := newDevice(t, desk)
			dev.Built = c.built(documents)
			if _, err := dev.enroll(t); err != nil {
				t.Fatal(err)
			}
			s, err := journal.Read(dev.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.want(documents, dev.Built); !s.Enrolled.TimeFloor.Equal(want) || s.Enrolled.Now(documents.Add(-time.Hour)).Before(dev.Built) {
				t.Errorf("the floor is %v, want %v", s.Enrolled.TimeFloor, want)
			}
		})
	}
	t.Run("a certificate that ended before the build", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		dev := newDevice(t, desk)
		dev.Built = time.Now().Add(20 * 24 * time.Hour) // within the policy's life, after the certificate's
		if _, err := dev.enroll(t); !errors.Is(err, ErrClock) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatDoesNotFitIsNotAccepted(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult){
		"no certificate": func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.Certificates = nil },
		"too many":       func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.Certificates = make([][]byte, 100) },
		"garbage":        func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.Certificates = [][]byte{{1}} },
		"another key's": func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult) {
			r.Certificates = d.Fleet.IssueDevice(t, "edge-1", agenttest.Key(t).Public(), time.Now(), time.Hour)
		},
		"another device's": func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult) {
			r.Certificates = d.Fleet.IssueDevice(t, "edge-2", d.Key(t), time.Now(), time.Hour)
		},
		"another fleet's certificate": func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult) {
			r.Certificates = agenttest.NewFleet(t, time.Now()).IssueDevice(t, "edge-1", d.Key(t), time.Now(), time.Hour)
		},
		"no fleet root": func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.FleetRoots = nil },
		"another fleet's root": func(t *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) {
			root, _ := agenttest.NewFleet(t, time.Now()).Root(t)
			r.FleetRoots = []json.RawMessage{root}
		},
		"another root over the same CAs": func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult) {
			other := *d.Fleet
			fresh := agenttest.NewFleet(t, time.Now())
			other.RootKey, other.PolicyKey = fresh.RootKey, fresh.PolicyKey
			root, digest := other.Root(t)
			r.FleetRoots, r.PolicyBundle = []json.RawMessage{root}, other.Bundle(t, digest, 1, other.Now, time.Hour)
		},
		"no policy": func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.PolicyBundle = nil },
		"a stranger's policy": func(t *testing.T, d *agenttest.Desk, r *protocol.EnrollResult) {
			_, digest := d.Fleet.Root(t)
			r.PolicyBundle = agenttest.NewFleet(t, time.Now()).Bundle(t, digest, 1, d.Fleet.Now, time.Hour)
		},
		"no epoch": func(_ *testing.T, _ *agenttest.Desk, r *protocol.EnrollResult) { r.Epoch = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			desk.Issue = func(r *protocol.EnrollResult) { spoil(t, desk, r) }
			dev := newDevice(t, desk)
			if _, err := dev.enroll(t); !errors.Is(err, ErrNotOurs) && !errors.Is(err, link.ErrBadAnswer) {
				t.Fatalf("got %v", err)
			}
			if s, err := journal.Read(dev.Dir); err != nil || s.Enrolled != nil {
				t.Fatalf("kept %+v, %v", s, err)
			}
			desk.Issue = nil // once the server is right again, it goes on
			if _, err := dev.enroll(t); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("first use: a root that does not know this server's CA", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		other := agenttest.NewFleet(t, time.Now())
		desk.Issue = func(r *protocol.EnrollResult) {
			root, digest := other.Root(t)
			r.FleetRoots = []json.RawMessage{root}
			r.PolicyBundle = other.Bundle(t, digest, 1, other.Now, time.Hour)
			r.Certificates = other.IssueDevice(t, "edge-1", desk.Key(t), time.Now(), time.Hour)
		}
		dev := newDevice(t, desk)
		dev.FirstRoot = ""
		if _, err := dev.enroll(t); !errors.Is(err, ErrNotOurs) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("another key code", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.OnRequest = func(w http.ResponseWriter, _ int) bool {
			agenttest.Answer(w, 202, protocol.EnrollAnswer{EnrollmentID: desk.Requests[0].EnrollmentID, KeyCode: "0000-0000-0000-0000", Nonce: "n"})
			return true
		}
		if _, err := newDevice(t, desk).enroll(t); !errors.Is(err, ErrNotOurs) {
			t.Fatalf("got %v", err)
		}
	})
}

// ENR-14: a wrong clock is told plainly, and putting it right is all that is
// needed.
func TestAWrongClockIsToldAndDoesNoLastingHarm(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{
		"ten years behind": -10 * 365 * 24 * time.Hour,
		"a day behind":     -24 * time.Hour,
		"a day ahead":      25 * time.Hour,
		"ten years ahead":  10 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			dev := newDevice(t, desk)
			right := dev.Now
			dev.Now = func() time.Time { return right().Add(off) }
			if _, err := dev.enroll(t); !errors.Is(err, ErrClock) {
				t.Fatalf("got %v", err)
			}
			dev.Now = right
			if _, err := dev.enroll(t); err != nil {
				t.Fatal(err)
			}
			enrolledState(t, dev.Dir)
		})
	}
	t.Run("a certificate that is over by this clock only", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.Issue = func(r *protocol.EnrollResult) { tooLate(t, desk, r); r.ServerTime = time.Now().Add(-time.Hour) }
		dev := newDevice(t, desk)
		if _, err := dev.enroll(t); !errors.Is(err, ErrClock) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a certificate that begins in ten minutes", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.Issue = func(r *protocol.EnrollResult) {
			r.Certificates = desk.Fleet.IssueDevice(t, "edge-1", desk.Key(t), time.Now().Add(11*time.Minute), time.Hour)
		}
		dev := newDevice(t, desk)
		if _, err := dev.enroll(t); !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "valid from") {
			t.Fatalf("got %v", err)
		}
		right := dev.Now
		dev.Now = func() time.Time { return right().Add(12 * time.Minute) }
		if _, err := dev.enroll(t); err != nil {
			t.Fatal(err)
		}
	})
}

// tooLate gives a certificate that ended ten minutes ago.
func tooLate(t *testing.T, desk *agenttest.Desk, r *protocol.EnrollResult) {
	t.Helper()
	r.Certificates = desk.Fleet.IssueDevice(t, "edge-1", desk.Key(t), time.Now().Add(-30*time.Minute), 20*time.Minute)
}

// AGT-13: a device that comes for its certificate when that is over is enrolled with
// it, and asks for the way back like every other: it would be given no other.
func TestACertificateThatIsOverIsTakenAndLeadsToTheWayBack(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.Issue = func(r *protocol.EnrollResult) { tooLate(t, desk, r) }
	dev := newDevice(t, desk)
	r, err := dev.enroll(t)
	if err != nil || !r.NotAfter.Before(time.Now()) {
		t.Fatalf("got %+v, %v", r, err)
	}
	enrolledState(t, dev.Dir)

	desk = agenttest.NewDesk(t, time.Now)
	desk.Issue = func(r *protocol.EnrollResult) {
		r.Certificates = desk.Fleet.IssueDevice(t, "edge-2", desk.Key(t), time.Now().Add(-30*time.Minute), 20*time.Minute)
	}
	if _, err := newDevice(t, desk).enroll(t); !errors.Is(err, ErrNotOurs) {
		t.Errorf("of another device: %v", err)
	}
}
