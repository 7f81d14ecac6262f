package device_test

import (
	"errors"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// ENR-07, ENR-11: whoever is stopped, or is not who is on record, may not have
// another certificate; what is wrong in every way is refused for the first.
func TestWhoMayHaveAnotherCertificate(t *testing.T) {
	t.Parallel()
	s := &device.Standing{EnrollmentID: "e1", Fingerprint: "f1", Next: "f2", NextUntil: 1 << 60, Gate: device.GateSuspended}
	enrollment, fingerprint := "e2", "f2"
	if err := device.May(nil, "e1", "f1"); !errors.Is(err, device.ErrUnknown) {
		t.Errorf("a device that is not there: %v", err)
	}
	for _, step := range []struct {
		want  error
		right func()
	}{
		{device.ErrSuspended, func() { s.Gate = device.GateHeld }},
		{device.ErrHeld, func() { s.Gate = device.GateRevoked }},
		{device.ErrRevoked, func() { s.Gate = 99 }},
		{device.ErrRevoked, func() { s.Gate = device.GateOpen }},
		{device.ErrEnrollment, func() { enrollment = "e1" }},
		{device.ErrCertificate, func() { fingerprint = "f1" }}, // the next one, never used, is not enough
		{nil, func() {}},
	} {
		if err := device.May(s, enrollment, fingerprint); !errors.Is(err, step.want) {
			t.Fatalf("got %v, want %v", err, step.want)
		}
		step.right()
	}
}
