package flow

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var (
	// ErrIssuedElsewhere says that this server issues no certificate to such a device.
	ErrIssuedElsewhere = errors.New("certificates of this device come from another authority")
	// ErrNotLetIn says that a person rejected the certificate a while ago.
	ErrNotLetIn = errors.New("a person did not let this certificate in")
)

// ReviewError says that a person has to let a certificate in before anything is
// accepted under it.
type ReviewError struct {
	Nonce string // to poll with; "" when there is nothing to poll
}

func (*ReviewError) Error() string { return "a person has to let this certificate in first" }

// replaceAfter is how long a review stands before the same key may begin another: a
// device that lost its state comes back with another enrollment_id.
const replaceAfter = time.Minute

// Introduce is what becomes of a heartbeat that was refused with why, when its device
// proved a certificate of another authority: the first one under it opens a review, and
// those that follow hear that it is open. A device that is not known asks to be let in;
// one that goes by another certificate asks to go over to this one, and the one that it
// has is accepted as before. The device_id comes from the certificate alone.
//
// It returns a ReviewError, ErrNotLetIn, or what else is in the way.
func (f *Flow) Introduce(ctx context.Context, source, requestID string, id certs.Identity, h *protocol.Heartbeat, why error) error {
	who := audit.Actor{Kind: audit.Device, ID: id.DeviceID, Source: source, RequestID: requestID}
	switch {
	case id.Outside == nil || h.DeviceID != id.DeviceID:
		return why
	case errors.Is(why, device.ErrUnknown):
		return f.introduce(ctx, who, id, h)
	case errors.Is(why, device.ErrCertificate):
		return f.goOver(ctx, who, id, h)
	}
	return why
}

// introduce opens the review of a device that is not known, unless it is open.
func (f *Flow) introduce(ctx context.Context, who audit.Actor, id certs.Identity, h *protocol.Heartbeat) error {
	sum := sha256.Sum256(id.SPKI)
	key := hex.EncodeToString(sum[:])
	// Who asks again while nobody has decided costs one read.
	known, err := enroll.ByKey(ctx, f.d.Read(), key)
	if err == nil {
		err = f.standing(known, id, h, f.d.Now())
	}
	if err != nil && !errors.Is(err, enroll.ErrUnknown) {
		return err
	}
	facts, err := json.Marshal(nonNil(h.Facts))
	if err != nil {
		return err
	}
	code, err := certs.KeyCode(id.Outside.Certificate.PublicKey)
	if err != nil {
		return err
	}
	store := func(ctx context.Context, tx db.Tx) error {
		known, err := enroll.ByKey(ctx, tx, key)
		if err == nil {
			err = f.standing(known, id, h, tx.Now)
		}
		if err != nil && !errors.Is(err, enroll.ErrUnknown) {
			return err
		}
		again, err := f.newcomer(ctx, tx, who, known, id, h)
		if err != nil {
			return err
		}
		authority, err := pki.KeepOutside(ctx, tx, id.Outside.Issuer)
		if err != nil {
			return err
		}
		if err := pki.FreeSerial(ctx, tx, id.Outside.Certificate, authority); err != nil {
			return err
		}
		return f.placeOutside(ctx, tx, who, again, &enroll.Enrollment{
			ID: h.EnrollmentID, DeviceID: id.DeviceID, CSR: id.Outside.Certificate.Raw, CSRDigest: id.Fingerprint, KeyCode: code, KeyDigest: key,
			AuthorityID: authority, Facts: string(facts), Source: who.Source, CreatedAt: tx.At(), ExpiresAt: tx.At().Add(f.settings.ReviewTTL),
		})
	}
	if err = f.atTheDoor(ctx, store); db.IsDuplicate(err) {
		// The same heartbeat came twice at once; now the other one is there to be found.
		err = f.atTheDoor(ctx, store)
	}
	if err != nil {
		return err
	}
	return &ReviewError{Nonce: f.pollNonce(h.EnrollmentID)}
}

// standing is what the newest enrollment of a key means for one who comes with it, or
// enroll.ErrUnknown when another review may begin.
func (f *Flow) standing(e *enroll.Enrollment, id certs.Identity, h *protocol.Heartbeat, now time.Time) error {
	switch state := e.Live(now); {
	case state == protocol.EnrollExpired:
		return enroll.ErrUnknown
	case state == protocol.EnrollRejected && now.Before(e.DecidedAt.Time().Add(f.settings.ReviewTTL)):
		return ErrNotLetIn
	case state == protocol.EnrollRejected:
		return enroll.ErrUnknown
	case e.DeviceID != id.DeviceID || state == protocol.EnrollIssued:
		return enroll.ErrConflict // one key is one device's
	case e.ID == h.EnrollmentID:
		return &ReviewError{Nonce: f.pollNonce(e.ID)}
	case now.Before(e.CreatedAt.Time().Add(replaceAfter)):
		return &ReviewError{}
	}
	return enroll.ErrUnknown // it takes the place of the one of before
}

// newcomer makes sure that there is room for the review of one who is not known, and
// ends the one that its key had open. again is that its enrollment_id is that of one of
// its own that is over, which begins anew.
func (f *Flow) newcomer(ctx context.Context, tx db.Tx, who audit.Actor, before *enroll.Enrollment, id certs.Identity, h *protocol.Heartbeat) (again bool, err error) {
	if err := free(ctx, tx, id.DeviceID); err != nil {
		return false, err
	}
	switch taken, err := enroll.Get(ctx, tx, h.EnrollmentID); {
	case err == nil && (before == nil || taken.KeyDigest != before.KeyDigest || taken.DeviceID != id.DeviceID || taken.State == protocol.EnrollIssued):
		return false, enroll.ErrConflict
	case err == nil:
		again = true
	case !errors.Is(err, enroll.ErrUnknown):
		return false, err
	}
	if before != nil && before.State == protocol.EnrollPending {
		to, ask, reason := protocol.EnrollRejected, approval.Void, "a newer request took its place"
		if before.Live(tx.Now) == protocol.EnrollExpired { // and nobody wrote it down yet
			to, ask, reason = protocol.EnrollExpired, approval.Expired, "nobody decided in time"
		}
		if err := enroll.Move(ctx, tx, before.ID, before.State, to, reason); err != nil {
			return false, err
		}
		if err := approval.Close(ctx, tx, before.ApprovalID, ask); err != nil {
			return false, err
		}
		if err := audit.Write(ctx, tx, who, audit.Entry{Action: audit.EnrollReject, ObjectKind: "device", ObjectID: before.DeviceID, Reason: reason,
			Details: map[string]string{"enrollment": before.ID}}); err != nil {
			return false, err
		}
	}
	waiting, err := enroll.Pending(ctx, tx, f.settings.MaxPending)
	if err == nil && waiting >= f.settings.MaxPending {
		err = enroll.ErrFull
	}
	return again, err
}

// placeOutside stores the enrollment and asks a person. No setting and no window does
// without: no token spoke for the device.
func (f *Flow) placeOutside(ctx context.Context, tx db.Tx, who audit.Actor, again bool, e *enroll.Enrollment) error {
	action, err := enroll.Action{
		EnrollmentID: e.ID, DeviceID: e.DeviceID, CSRDigest: e.CSRDigest, KeyCode: e.KeyCode, Authority: pki.OutsideFingerprint(e.AuthorityID),
	}.Bytes()
	if err != nil {
		return err
	}
	ask, err := approval.Place(ctx, tx, approval.Ask{
		Kind: approval.Enrollment, SubjectID: e.ID, Action: action, Required: 1, Requester: "device:" + e.DeviceID, TTL: f.settings.ReviewTTL,
	})
	if err != nil {
		return err
	}
	e.State, e.ApprovalID = protocol.EnrollPending, ask.ID
	place := enroll.Insert
	if again {
		place = enroll.Reopen
	}
	if err := place(ctx, tx, e); err != nil {
		return err
	}
	failpoint.Here("outside.before-commit")
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.EnrollRequest, ObjectKind: "device", ObjectID: e.DeviceID,
		Details: map[string]string{"enrollment": e.ID, "key_code": e.KeyCode, "digest": ask.Digest, "certificate": e.CSRDigest, "authority": pki.OutsideFingerprint(e.AuthorityID)}})
}

// checkPollOutside is checkPoll for an enrollment that rests on a certificate.
func (f *Flow) checkPollOutside(id, _ string, der, body []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	return f.checkPollBy(id, cert.PublicKey, body)
}

// pinnable is what must hold before anyone may let a certificate in.
func pinnable(ctx context.Context, tx db.Tx, e *enroll.Enrollment) error {
	if err := free(ctx, tx, e.DeviceID); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(e.CSR)
	if err != nil {
		return err
	}
	if tx.Now.After(cert.NotAfter) {
		return fmt.Errorf("%w: the certificate has expired", enroll.ErrState)
	}
	return nil
}

// pin lets the device in under the certificate that it came with.
func (f *Flow) pin(ctx context.Context, tx db.Tx, why verdict, e *enroll.Enrollment) error {
	if err := enroll.Move(ctx, tx, e.ID, protocol.EnrollPending, protocol.EnrollApproved, why.reason); err != nil {
		return err
	}
	cert, err := pki.FromOutside(e.CSR, e.AuthorityID, e.DeviceID, e.ID, tx.Now)
	if err != nil {
		return err
	}
	if err := enroll.Issued(ctx, tx, e.ID, cert.Fingerprint); err != nil {
		return err
	}
	return f.letIn(ctx, tx, why.who, e, cert)
}

// goOver opens the review of another certificate for a device that is known, unless it
// is open.
func (f *Flow) goOver(ctx context.Context, who audit.Actor, id certs.Identity, h *protocol.Heartbeat) error {
	switch _, err := pki.Get(ctx, f.d.Read(), id.Fingerprint); {
	case err == nil:
		return device.ErrCertificate // it was let in once, and is over
	case !errors.Is(err, db.ErrNotFound):
		return err
	}
	switch open, err := identity.OpenOf(ctx, f.d.Read(), id.DeviceID); { // who asks again costs reads only
	case err == nil:
		if err := waits(open, id, f.d.Now()); err != nil {
			return err
		}
	case !errors.Is(err, identity.ErrNone):
		return err
	}
	code, err := certs.KeyCode(id.Outside.Certificate.PublicKey)
	if err != nil {
		return err
	}
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return f.placeNext(ctx, tx, who, id, h, code) })
	if err != nil {
		return err
	}
	return &ReviewError{}
}

// waits is what an open request means for one who comes with a certificate: nil when
// its time is over.
func waits(open *identity.Request, id certs.Identity, now time.Time) error {
	switch {
	case !open.Live(now).Open():
		return nil
	case open.Kind == identity.Outside && open.CSRDigest == id.Fingerprint && open.State == identity.Pending:
		return &ReviewError{}
	}
	return identity.ErrConflict // one after the other: nothing proves that both are the same device's
}

func (f *Flow) placeNext(ctx context.Context, tx db.Tx, who audit.Actor, id certs.Identity, h *protocol.Heartbeat, code string) error {
	standings, err := device.Standings(ctx, tx, id.DeviceID)
	if err != nil {
		return err
	}
	s := standings[id.DeviceID]
	if s == nil {
		return device.ErrUnknown
	}
	if err := device.May(s, h.EnrollmentID, s.Fingerprint); err != nil {
		return err
	}
	switch open, err := identity.OpenOf(ctx, tx, id.DeviceID); {
	case err == nil:
		if err := waits(open, id, tx.Now); err != nil {
			return err
		}
		if err := end(ctx, tx, open, identity.Expired, "its time was over", approval.Expired, pki.Unused); err != nil {
			return err
		}
	case !errors.Is(err, identity.ErrNone):
		return err
	}
	rejected, err := identity.RejectedSince(ctx, tx, id.DeviceID, id.Fingerprint, tx.At().Add(-f.settings.ReviewTTL))
	if err != nil {
		return err
	}
	if rejected {
		return ErrNotLetIn
	}
	authority, err := pki.KeepOutside(ctx, tx, id.Outside.Issuer)
	if err != nil {
		return err
	}
	if err := pki.FreeSerial(ctx, tx, id.Outside.Certificate, authority); err != nil {
		return err
	}
	waiting, err := identity.Waiting(ctx, tx, f.settings.MaxPending)
	if err != nil {
		return err
	}
	if waiting >= f.settings.MaxPending {
		return enroll.ErrFull
	}
	return f.askNext(ctx, tx, who, &identity.Request{
		ID: tx.NewID(), DeviceID: id.DeviceID, Kind: identity.Outside, CSR: id.Outside.Certificate.Raw, CSRDigest: id.Fingerprint, KeyCode: code,
		SignedBy: s.Fingerprint, Source: who.Source, AuthorityID: authority,
	})
}

func (f *Flow) askNext(ctx context.Context, tx db.Tx, who audit.Actor, r *identity.Request) error {
	action, err := identity.Action{Kind: r.Kind, RequestID: r.ID, DeviceID: r.DeviceID, SignedBy: r.SignedBy, CSRDigest: r.CSRDigest, KeyCode: r.KeyCode,
		Authority: pki.OutsideFingerprint(r.AuthorityID)}.Bytes()
	if err != nil {
		return err
	}
	people, err := f.people(ctx, tx, approval.Identities)
	if err != nil {
		return err
	}
	ask, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Identity, Path: approval.Identities, SubjectID: r.ID, Action: action, Required: people,
		Requester: "device:" + r.DeviceID, TTL: f.settings.ReviewTTL})
	if err != nil {
		return err
	}
	r.KeyDigest, r.State, r.ApprovalID = r.ID, identity.Pending, ask.ID
	r.CreatedAt, r.ExpiresAt = tx.At(), tx.At().Add(f.settings.ReviewTTL)
	taken, err := identity.Insert(ctx, tx, r)
	if err != nil {
		return err
	}
	if !taken[r.ID] {
		return identity.ErrConflict
	}
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.IdentityRequest, ObjectKind: "device", ObjectID: r.DeviceID,
		Details: map[string]string{"request": r.ID, "kind": string(r.Kind), "digest": ask.Digest, "key_code": r.KeyCode, "certificate": r.CSRDigest}})
}

// pinNext makes a certificate of another authority the device's next one: the one of
// before is accepted until this one is used for the first time.
func (f *Flow) pinNext(ctx context.Context, tx db.Tx, why verdict, r *identity.Request) error {
	standings, err := device.Standings(ctx, tx, r.DeviceID)
	if err != nil {
		return err
	}
	s := standings[r.DeviceID]
	if s == nil {
		return device.ErrUnknown
	}
	if err := pki.MayIssue(ctx, tx); err != nil {
		return err
	}
	cert, err := pki.FromOutside(r.CSR, r.AuthorityID, r.DeviceID, s.EnrollmentID, tx.Now)
	if err != nil {
		return err
	}
	if tx.At() > cert.NotAfter {
		return fmt.Errorf("%w: the certificate has expired", identity.ErrState)
	}
	if err := identity.Move(ctx, tx, r.ID, identity.Pending, identity.Approved, why.reason); err != nil {
		return err
	}
	until := cert.NotAfter.Add(time.Second) // its last second is part of it
	if err := identity.Settle(ctx, tx, r.ID, cert.Fingerprint, until); err != nil {
		return err
	}
	if err := pki.Record(ctx, tx, cert); err != nil {
		return err
	}
	if err := device.SetNext(ctx, tx, []device.Next{{DeviceID: r.DeviceID, Fingerprint: cert.Fingerprint, Until: until}}); err != nil {
		return err
	}
	return audit.Write(ctx, tx, why.who, audit.Entry{Action: audit.CertPin, ObjectKind: "device", ObjectID: r.DeviceID,
		Details: map[string]string{"request": r.ID, "serial": cert.Serial, "fingerprint": cert.Fingerprint, "instead_of": r.SignedBy, "not_after": cert.NotAfter.Time().Format(time.RFC3339)}})
}

// RevokedElsewhere writes down that the authority of a certificate says that it is
// revoked, for good, and decides anew about its device. Said again, nothing changes.
func (f *Flow) RevokedElsewhere(ctx context.Context, fingerprint, reason string) error {
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		id, changed, err := pki.EndedElsewhere(ctx, tx, fingerprint)
		if err != nil || !changed {
			return err
		}
		who := audit.Actor{Kind: audit.System, ID: "revocation"}
		if err := withdrawOpen(ctx, tx, who, id, fingerprint, "its certificate was revoked by the authority that issued it"); err != nil {
			return err
		}
		if err := retrust(ctx, tx, id); err != nil {
			return err
		}
		return audit.Write(ctx, tx, who, audit.Entry{Action: audit.CertRevoke, ObjectKind: "device", ObjectID: id, Reason: reason,
			Details: map[string]string{"fingerprint": fingerprint}})
	})
}
