package renew

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Before adds nothing to a heartbeat.
func (r *Renewer) Before(context.Context, *protocol.Heartbeat) error { return nil }

// After settles on a certificate that a heartbeat was accepted under, and hears the
// server's wish for another.
func (r *Renewer) After(ctx context.Context, a *protocol.HeartbeatAnswer) error {
	s, err := r.Disk.State()
	if err != nil {
		return err
	}
	e := s.Enrolled
	if e.Closed != nil || e.Lost && r.Shown() == e.Slot {
		if err := r.Disk.Update(func(s *journal.State) { s.Enrolled.Closed, s.Enrolled.Lost = nil, false }); err != nil {
			return err
		}
	}
	if e.Renewal != nil && e.Renewal.Tried && r.Shown() == e.Shown() {
		if err := r.settle(ctx, e.Slot); err != nil {
			return err
		}
	}
	if a.Renew && e.Renewal == nil {
		r.hint()
	}
	return nil
}

// settle makes the certificate that was tried the one in use. The journal first:
// from then on the old key is of no use to this device.
func (r *Renewer) settle(ctx context.Context, old journal.Slot) error {
	failpoint.Here("renew.before-switch")
	if err := r.Disk.Update(func(s *journal.State) {
		s.Outside = s.Outside || s.Enrolled.Renewal != nil && s.Enrolled.Renewal.Outside // from now on that authority issues
		s.Enrolled.Settle()
	}); err != nil {
		return err
	}
	failpoint.Here("renew.switched")
	r.Log.InfoContext(ctx, "the server accepted the new certificate")
	r.poke()
	return r.Disk.Clear(old)
}

func (r *Renewer) hint() {
	r.mu.Lock()
	now := r.Now()
	heard := now.Sub(r.hinted).Abs() >= hintEvery
	if heard {
		r.hinted, r.forced = now, true
	}
	r.mu.Unlock()
	if heard {
		r.poke()
	}
}

// faults are the codes that blame the certificate that was shown.
var faults = map[protocol.Code]bool{
	protocol.CodeCertificateUnknown: true, protocol.CodeCertificateMissing: true, protocol.CodeCertificateExpired: true,
	protocol.CodeCertificateLost:   true,
	protocol.CodeCertificateNotYet: true, protocol.CodeIdentityMismatch: true,
}

// outsideFaults are those that blame a certificate of another authority, too: the one of
// before is good until a person has let it in.
var outsideFaults = map[protocol.Code]bool{
	protocol.CodeReviewPending: true, protocol.CodeReviewRejected: true, protocol.CodeCertificateRevoked: true, protocol.CodeRevocationUnknown: true,
	protocol.CodeRenewalConflict: true, protocol.CodeEnrollFull: true,
}

// Refused goes back to the certificate in use when the one that is tried is not
// taken, settles on it when the server took it before, and looks at once whether one
// that has expired, or is lost, is to be recovered.
func (r *Renewer) Refused(ctx context.Context, c protocol.Code) {
	s, err := r.Disk.State()
	if err != nil {
		return
	}
	e := s.Enrolled
	if outside := s.Outside || e.Renewal != nil && e.Renewal.Outside; !faults[c] && (!outside || !outsideFaults[c]) {
		return
	}
	if e.Renewal != nil && e.Renewal.Tried && r.Shown() == e.Shown() {
		if c == protocol.CodeCertificateExpired && !e.Renewal.Outside {
			// Only one that the server knows the device by is expired to it. Its answer to a
			// heartbeat under it was lost, and the one before leads nowhere any more.
			if err := r.settle(ctx, e.Slot); err != nil {
				r.Log.ErrorContext(ctx, "the new certificate cannot be settled on", "error", err.Error())
			}
			return
		}
		r.Log.WarnContext(ctx, "the server does not take the new certificate; going on with the one before", "code", string(c))
		if err := r.drop(); err != nil {
			r.Log.ErrorContext(ctx, "the new certificate cannot be dropped", "error", err.Error())
			return
		}
		r.retry(time.Hour, 0)
		r.Changed()
		return
	}
	if s.Outside {
		return
	}
	switch c {
	case protocol.CodeCertificateLost:
		if err := r.Disk.Update(func(s *journal.State) { s.Enrolled.Lost = true }); err != nil {
			r.Log.ErrorContext(ctx, "that the certificate is lost cannot be written down", "error", err.Error())
			return
		}
		r.poke()
	case protocol.CodeCertificateExpired:
		r.poke()
	}
}
