package flow

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Recover stores the request of a device whose certificate has expired. Nothing
// but signatures proves it: by the key of the last certificate that was accepted
// from it, and by the new one. A person decides; the device asks after it as after
// an enrollment, and keeps the enrollment and the counter that it has.
func (f *Flow) Recover(ctx context.Context, source, requestID string, r *protocol.EnrollRequest) (*protocol.EnrollAnswer, error) {
	wish, req, err := readRenewal(r.Recovery, r.DeviceID, func(wish *signing.Renewal) (crypto.PublicKey, error) {
		if !wish.Recovery || wish.RequestID != r.EnrollmentID {
			return nil, ErrRenewal
		}
		return f.lastKey(ctx, wish)
	})
	if err != nil {
		return nil, err
	}
	who := audit.Actor{Kind: audit.Device, ID: r.DeviceID, Source: source, RequestID: requestID}
	ask := &renewal{Request: newRequest(identity.Recovery, wish, req, source), enrollmentID: wish.EnrollmentID, csr: req.DER, who: who}
	ask.CSR = ask.csr
	var stored *identity.Request
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) (err error) {
		stored, err = f.placeIdentity(ctx, tx, ask)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &protocol.EnrollAnswer{
		EnrollmentID: stored.ID, State: enrollState(stored.Live(f.d.Now())), KeyCode: stored.KeyCode,
		Nonce: f.pollNonce(stored.ID), PollAfterSeconds: int(pollPause.Seconds()),
	}, nil
}

// lastKey is the key of the last certificate that was accepted from a device, if
// the request names that one. Whoever cannot sign with it learns nothing of the
// device, not even whether there is one.
func (f *Flow) lastKey(ctx context.Context, wish *signing.Renewal) (crypto.PublicKey, error) {
	c, err := device.GetCounter(ctx, f.d.Read(), wish.DeviceID)
	if errors.Is(err, device.ErrUnknown) || err == nil && c.Fingerprint != wish.Current {
		return nil, ErrRenewal
	}
	if err != nil {
		return nil, err
	}
	cert, err := pki.Get(ctx, f.d.Read(), c.Fingerprint)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert.DER)
	if err != nil {
		return nil, err
	}
	return leaf.PublicKey, nil
}

// Ended is what a certificate that has expired is refused with: by expired only if it
// is the one that the device goes by. A device that has two, and does not know
// whether its first heartbeat under the newer one was accepted, hears so from which
// of them the way back leads.
func (f *Flow) Ended(ctx context.Context, id certs.Identity, expired error) error {
	c, err := device.GetCounter(ctx, f.d.Read(), id.DeviceID)
	switch {
	case errors.Is(err, device.ErrUnknown):
		return expired
	case err != nil:
		return err
	case c.Fingerprint != id.Fingerprint:
		return device.ErrCertificate
	}
	return expired
}

// pollRecovery answers a device that asks after its recovery.
func (f *Flow) pollRecovery(ctx context.Context, source, requestID, id string, body []byte) (*protocol.EnrollResult, error) {
	r, err := identity.Get(ctx, f.d.Read(), id)
	if errors.Is(err, identity.ErrUnknown) || err == nil && r.Kind != identity.Recovery {
		return nil, enroll.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	if err := f.checkPoll(r.ID, r.DeviceID, r.CSR, body); err != nil {
		return nil, err
	}
	if r.Live(f.d.Now()) == identity.Approved {
		if r, err = f.settle(ctx, audit.Actor{Kind: audit.Device, ID: r.DeviceID, Source: source, RequestID: requestID}, r); err != nil {
			return nil, err
		}
	}
	result := &protocol.EnrollResult{EnrollmentID: r.ID, State: enrollState(r.Live(f.d.Now()))}
	switch result.State {
	case protocol.EnrollPending, protocol.EnrollApproved:
		result.Nonce, result.PollAfterSeconds = f.pollNonce(r.ID), int(pollPause.Seconds())
		return result, nil
	case protocol.EnrollRejected, protocol.EnrollExpired:
		result.Reason = r.Reason
		return result, nil
	}
	return result, f.equip(ctx, r.DeviceID, r.Fingerprint, result)
}

// enrollState is a request's state in the words of the protocol.
func enrollState(s identity.State) protocol.EnrollState {
	switch s {
	case identity.Pending:
		return protocol.EnrollPending
	case identity.Approved:
		return protocol.EnrollApproved
	case identity.Issued, identity.Used:
		return protocol.EnrollIssued
	case identity.Rejected:
		return protocol.EnrollRejected
	}
	return protocol.EnrollExpired
}
