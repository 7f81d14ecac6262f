package flow

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"

	"github.com/uptrace/bun"

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

// Recover stores the request of a device whose certificate has expired, or was lost
// with what came after a backup. Nothing but signatures proves it: by the key of the
// last certificate that was accepted from it, and by the new one. A person decides; the device asks after it as after
// an enrollment, and keeps the enrollment and the counter that it has.
func (f *Flow) Recover(ctx context.Context, source, requestID string, r *protocol.EnrollRequest) (*protocol.EnrollAnswer, error) {
	var last lastCertificate
	wish, req, err := readRenewal(r.Recovery, r.DeviceID, func(wish *signing.Renewal) (crypto.PublicKey, error) {
		if !wish.Recovery || wish.RequestID != r.EnrollmentID {
			return nil, ErrRenewal
		}
		var err error
		last, err = f.last(ctx, wish, r.Certificate)
		return last.key, err
	})
	if err != nil {
		return nil, err
	}
	who := audit.Actor{Kind: audit.Device, ID: r.DeviceID, Source: source, RequestID: requestID}
	ask := &renewal{Request: newRequest(identity.Recovery, wish, req, source), enrollmentID: wish.EnrollmentID, csr: req.DER, who: who}
	ask.CSR, ask.SignedBy, ask.Lost = ask.csr, last.onRecord, last.lost
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

// lastCertificate is what the key that signed a recovery is known by.
type lastCertificate struct {
	key      crypto.PublicKey
	onRecord string // fingerprint of the one that the device goes by
	lost     string // fingerprint of the one whose key it is, if that is not on record
}

// last is the last certificate that was accepted from a device, if the request names
// that one, or one that was lost with a restore, which comes with the request. Whoever cannot
// sign with its key learns nothing of the device, not even whether there is one.
func (f *Flow) last(ctx context.Context, wish *signing.Renewal, der []byte) (lastCertificate, error) {
	c, err := device.GetCounter(ctx, f.d.Read(), wish.DeviceID)
	if errors.Is(err, device.ErrUnknown) {
		return lastCertificate{}, ErrRenewal
	}
	if err != nil {
		return lastCertificate{}, err
	}
	cert, err := pki.Get(ctx, f.d.Read(), c.Fingerprint)
	switch lost := c.Fingerprint != wish.Current; {
	case !lost && err == nil && cert.IsOutside(): // its own authority gives it another
		return lastCertificate{}, ErrRenewal
	case lost && (err == nil || errors.Is(err, db.ErrNotFound)):
		key, err := f.lostKey(ctx, wish, der)
		return lastCertificate{key, c.Fingerprint, wish.Current}, err
	case err != nil:
		return lastCertificate{}, err
	}
	leaf, err := x509.ParseCertificate(cert.DER)
	if err != nil {
		return lastCertificate{}, err
	}
	return lastCertificate{key: leaf.PublicKey, onRecord: c.Fingerprint}, nil
}

// lostKey is the key of a certificate that was lost with a restore: our authority's
// signature on it is all that speaks for it. It may have expired since.
func (f *Flow) lostKey(ctx context.Context, wish *signing.Renewal, der []byte) (crypto.PublicKey, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, ErrRenewal
	}
	issuers, _ := f.pki.Issuers(certs.KindDevice)
	now := f.d.Now()
	id, err := certs.VerifyDevice([]*x509.Certificate{leaf}, issuers, f.pki.TrustDomain(), now)
	if err != nil && !errors.Is(err, certs.ErrExpired) || id.DeviceID != wish.DeviceID || id.Fingerprint != wish.Current {
		return nil, ErrRenewal
	}
	if errors.Is(identity.Recoverable(id.NotAfter, now), identity.ErrLate) {
		return nil, ErrRenewal
	}
	lost, err := f.lost(ctx, id)
	if err == nil && !lost {
		err = ErrRenewal
	}
	return leaf.PublicKey, err
}

// lost reports whether a certificate of an authority of ours is of no use only because
// the database came from a backup: it was issued before that was said, and stillLost.
func (f *Flow) lost(ctx context.Context, id certs.Identity) (bool, error) {
	in, err := f.d.Instance(ctx)
	if err != nil {
		return false, err
	}
	restored := db.TimeOf(in.Epoch)
	if !id.NotBefore.Before(restored) || !restored.After(in.CreatedAt.Time()) {
		return false, nil // issued since, or never restored
	}
	c, err := device.GetCounter(ctx, f.d.Read(), id.DeviceID)
	if err != nil {
		return false, err
	}
	if cert, err := pki.Get(ctx, f.d.Read(), c.Fingerprint); err == nil && cert.IsOutside() {
		return false, nil // its own authority gives it another
	}
	lost, _, err := stillLost(ctx, f.d.Read(), id.Fingerprint, device.Heard(c.Epoch, in.Epoch))
	return lost, err
}

// stillLost reports whether the way back is open to a certificate of before a restore,
// given whether its device was heard since, under the certificate on record. It is
// where the record does not have it, or the restore ended it. It is, too, where the
// record has it as superseded or as not used in time, as ended says, and the device was
// not heard: an earlier restore can have led the device back to the one, and it can have
// used the other after the backup, so that the key of the one on record is gone. A
// certificate that the record knows otherwise was revoked, and leads nowhere.
func stillLost(ctx context.Context, q bun.IDB, fingerprint string, heard bool) (lost bool, ended string, err error) {
	cert, err := pki.Get(ctx, q, fingerprint)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return true, "", nil
	case err != nil:
		return false, "", err
	case cert.RevokedReason == pki.Superseded, cert.RevokedReason == pki.Unused:
		return !heard, cert.RevokedReason, nil
	}
	return cert.RevokedReason == pki.Restored, "", nil
}

// endRivals ends what was asked for, approved or given by the keys of certificates that
// the record has as ended, of devices that were now heard under the one on record: its
// key is not lost.
func endRivals(ctx context.Context, tx db.Tx, devices []string) error {
	list, err := identity.OpenLost(ctx, tx, devices)
	if err != nil {
		return err
	}
	for i := range list {
		r := &list[i]
		lost, _, err := stillLost(ctx, tx, r.Lost, true)
		if err != nil {
			return err
		}
		if lost {
			continue
		}
		who := audit.Actor{Kind: audit.System, ID: "heartbeat"}
		if err := withdraw(ctx, tx, who, r, "the device was heard under the certificate on record", pki.Unused); err != nil {
			return err
		}
	}
	return nil
}

// Ended is what a certificate that has expired is refused with: by expired only if it
// is the one that the device goes by. A device that has two, and does not know
// whether its first heartbeat under the newer one was accepted, hears so from which
// of them the way back leads.
func (f *Flow) Ended(ctx context.Context, id certs.Identity, expired error) error {
	c, err := device.GetCounter(ctx, f.d.Read(), id.DeviceID)
	switch {
	case err != nil: // ErrUnknown, too: what a restore forgot altogether has no way back
		return err
	case c.Fingerprint != id.Fingerprint:
		return f.Unknown(ctx, id, device.ErrCertificate)
	}
	return expired
}

// Unknown is what a certificate that the device does not go by is refused with: as
// lost if it was so with a restore, from which there is a way back, and by unknown
// otherwise.
func (f *Flow) Unknown(ctx context.Context, id certs.Identity, unknown error) error {
	lost, err := f.lost(ctx, id)
	switch {
	case err != nil:
		return err
	case lost:
		return device.ErrLost
	}
	return unknown
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
