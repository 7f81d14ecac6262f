package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestARecoveryHasItsTimeToTheSecond(t *testing.T) {
	t.Parallel()
	for notAfter, want := range map[time.Time]error{
		now.Add(time.Second):                    identity.ErrInDate,
		now:                                     identity.ErrInDate, // its last second
		now.Add(-time.Second):                   nil,
		now.Add(-identity.Window):               nil,
		now.Add(-identity.Window - time.Second): identity.ErrLate,
	} {
		if err := identity.Recoverable(notAfter, now); !errors.Is(err, want) {
			t.Errorf("ended %v ago: %v, want %v", now.Sub(notAfter), err, want)
		}
	}
}

func TestWhatAPersonDecides(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind                      identity.Kind
		required, sensitive, want bool
	}{
		{identity.Renewal, false, false, false}, {identity.Renewal, true, false, true}, {identity.Renewal, false, true, true},
		{identity.Recovery, false, false, true}, {"", false, false, true}, {"rekey", false, false, true},
	} {
		if got := identity.NeedsReview(c.kind, c.required, c.sensitive); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAnOpenRequestEndsWithItsTime(t *testing.T) {
	t.Parallel()
	for state, want := range map[identity.State]identity.State{
		identity.Pending: identity.Expired, identity.Approved: identity.Expired, identity.Issued: identity.Expired,
		identity.Used: identity.Used, identity.Rejected: identity.Rejected, identity.Expired: identity.Expired,
	} {
		r := &identity.Request{State: state, ExpiresAt: db.At(now)}
		if got := r.Live(now.Add(-time.Microsecond)); got != state {
			t.Errorf("%s before its end: %s", state, got)
		}
		if got := r.Live(now); got != want {
			t.Errorf("%s at its end: %s", state, got)
		}
	}
}

// ENR-13: every part that a lost answer cannot change tells two requests apart.
func TestTheSameRequestIsTheSameInAllItsParts(t *testing.T) {
	t.Parallel()
	one := identity.Request{ID: "i", DeviceID: "d", Kind: identity.Renewal, SignedBy: "f", CSRDigest: "c", State: identity.Used, Source: "there"}
	if same := (identity.Request{ID: "i", DeviceID: "d", Kind: identity.Renewal, SignedBy: "f", CSRDigest: "c"}); !one.Same(&same) {
		t.Error("the same request is another")
	}
	for name, change := range map[string]func(*identity.Request){
		"id": func(r *identity.Request) { r.ID = "x" }, "device": func(r *identity.Request) { r.DeviceID = "x" },
		"kind": func(r *identity.Request) { r.Kind = identity.Recovery }, "certificate": func(r *identity.Request) { r.SignedBy = "x" },
		"request": func(r *identity.Request) { r.CSRDigest = "x" },
	} {
		other := one
		change(&other)
		if one.Same(&other) {
			t.Errorf("another %s is the same request", name)
		}
	}
}

func TestADeviceIsGivenSoManyCertificatesInASpan(t *testing.T) {
	t.Parallel()
	if err := identity.Often(identity.MaxIssued-1, now.Add(-time.Minute), now, time.Hour); err != nil {
		t.Error(err)
	}
	var often *identity.TooOftenError
	if err := identity.Often(identity.MaxIssued, now.Add(-time.Minute), now, time.Hour); !errors.As(err, &often) || often.After != 59*time.Minute {
		t.Errorf("%v %+v", err, often)
	}
	if identity.Pace(8*time.Hour) != time.Hour || identity.Pace(10*time.Second) != 10*time.Second {
		t.Error("the span is not the hour, or the life where that is shorter")
	}
}

// ENR-13: who did not take a certificate before it ended begins anew, and is not given
// the same one until the request's time is over.
func TestACertificateThatEndedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	given := db.At(now)
	for end, want := range map[time.Duration]time.Duration{
		8 * time.Hour:                       8*time.Hour + time.Second,
		identity.UnusedLife - 2*time.Second: identity.UnusedLife - time.Second,
		identity.UnusedLife:                 identity.UnusedLife,
		30 * 24 * time.Hour:                 identity.UnusedLife,
	} {
		if got := identity.FirstUseUntil(given, given.Add(end)); got != given.Add(want) {
			t.Errorf("one of %s is waited for until %s after it was given, want %s", end, got.Time().Sub(given.Time()), want)
		}
	}
}
