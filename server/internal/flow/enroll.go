package flow

import (
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrDeviceExists says that the device_id belongs to a device that was let in.
	ErrDeviceExists = errors.New("a device of this device_id was let in before")
	// ErrDeviceGone says that the device_id belonged to a device that was revoked or
	// retired; it is never used again.
	ErrDeviceGone = errors.New("the device of this device_id was revoked or retired")
	// ErrPoll says that a poll was not made by the key that enrolls.
	ErrPoll = errors.New("the poll is not signed by the key that asked to enroll")
	// ErrPollNonce says that a poll's nonce is old or of another enrollment.
	ErrPollNonce = errors.New("the nonce is not valid any more")
	// ErrCAMismatch says that the device sees a server CA that is not ours.
	ErrCAMismatch = errors.New("the device is connected to another server CA than this one")
)

// pollPause is how long a device waits between polls.
const pollPause = 5 * time.Second

// Enroll stores a device's request to join. The same request again, after a lost
// answer, changes nothing and takes no second use of the token.
func (f *Flow) Enroll(ctx context.Context, source, requestID string, r *protocol.EnrollRequest) (*protocol.EnrollAnswer, error) {
	if f.settings.Outside {
		return nil, ErrIssuedElsewhere
	}
	// A stranger without a token costs one read; it is looked up again below.
	if _, err := enroll.TokenBySecret(ctx, f.d.Read(), r.Token); err != nil {
		return nil, err
	}
	req, err := certs.ParseRequest(r.CSR, r.DeviceID)
	if err != nil {
		return nil, err
	}
	facts, err := json.Marshal(nonNil(r.Facts))
	if err != nil {
		return nil, err
	}
	who := audit.Actor{Kind: audit.Device, ID: r.DeviceID, Source: source, RequestID: requestID}
	var e *enroll.Enrollment
	store := func(ctx context.Context, tx db.Tx) error {
		token, err := enroll.TokenBySecret(ctx, tx, r.Token)
		if err != nil {
			return err
		}
		e, err = enroll.Get(ctx, tx, r.EnrollmentID)
		if err == nil {
			if !e.Same(token.ID, r.DeviceID, req.SPKI) {
				return enroll.ErrConflict
			}
			return nil
		}
		if !errors.Is(err, enroll.ErrUnknown) {
			return err
		}
		if err := token.Usable(tx.Now); err != nil {
			return err
		}
		if err := free(ctx, tx, r.DeviceID); err != nil {
			return err
		}
		e = &enroll.Enrollment{
			ID: r.EnrollmentID, TokenID: token.ID, DeviceID: r.DeviceID, CSR: req.DER, CSRDigest: req.Digest, KeyCode: req.KeyCode,
			Facts: string(facts), Source: source, CreatedAt: tx.At(), ExpiresAt: tx.At().Add(f.settings.ReviewTTL),
		}
		if err := enroll.Take(ctx, tx, token.ID, r.DeviceID); errors.Is(err, db.ErrConflict) {
			return enroll.ErrTokenUsedUp
		} else if err != nil {
			return err
		}
		failpoint.Here("enroll.token-taken")
		return f.admit(ctx, tx, who, token, e)
	}
	if err = f.atTheDoor(ctx, store); db.IsDuplicate(err) {
		// The same request came twice at once; now the other one is there to be found.
		err = f.atTheDoor(ctx, store)
	}
	if err != nil {
		return nil, err
	}
	failpoint.Here("enroll.after-commit")
	return &protocol.EnrollAnswer{
		EnrollmentID: e.ID, State: e.Live(f.d.Now()), KeyCode: e.KeyCode,
		Nonce: f.pollNonce(e.ID), PollAfterSeconds: int(pollPause.Seconds()),
	}, nil
}

// atTheDoor is a write about an enrollment. Those of one node go one after the
// other: each reads what the others change (the token's uses, how many wait, who
// has which device_id), so that at once they would only make each other begin
// again. What must hold between them holds in the transaction, for every node.
func (f *Flow) atTheDoor(ctx context.Context, act func(context.Context, db.Tx) error) error {
	select {
	case f.door <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.door }()
	return f.d.Write(ctx, act)
}

// free refuses a device_id that is or was in use.
func free(ctx context.Context, tx db.Tx, deviceID string) error {
	d, err := device.Get(ctx, tx, deviceID)
	switch {
	case errors.Is(err, device.ErrUnknown):
		return nil
	case err != nil:
		return err
	case d.State.Final():
		return ErrDeviceGone
	}
	return ErrDeviceExists
}

// admit stores a new enrollment: for review, or approved when none is needed.
func (f *Flow) admit(ctx context.Context, tx db.Tx, who audit.Actor, token *enroll.Token, e *enroll.Enrollment) error {
	window, err := enroll.CurrentWindow(ctx, tx, tx.Now)
	if err != nil {
		return err
	}
	details := map[string]string{"token": token.ID, "enrollment": e.ID, "key_code": e.KeyCode}
	if enroll.NeedsReview(f.settings.RequireReview, window != nil, token.Sensitive) {
		waiting, err := enroll.Pending(ctx, tx, f.settings.MaxPending)
		if err != nil {
			return err
		}
		if waiting >= f.settings.MaxPending {
			return enroll.ErrFull
		}
		action, err := enroll.Action{
			EnrollmentID: e.ID, DeviceID: e.DeviceID, CSRDigest: e.CSRDigest, KeyCode: e.KeyCode,
			Name: token.DeviceName, Owner: token.Owner, Labels: token.LabelMap(), Sensitive: token.Sensitive,
		}.Bytes()
		if err != nil {
			return err
		}
		placed := approval.Ask{
			Kind: approval.Enrollment, SubjectID: e.ID, Action: action, Required: 1,
			Requester: "device:" + e.DeviceID, Excluded: token.Person, TTL: f.settings.ReviewTTL,
		}
		if token.Sensitive {
			placed.Path = approval.Certificates
			if placed.Required, err = f.people(ctx, tx, placed.Path); err != nil {
				return err
			}
		}
		ask, err := approval.Place(ctx, tx, placed)
		if err != nil {
			return err
		}
		e.State, e.ApprovalID = protocol.EnrollPending, ask.ID
		details["digest"] = ask.Digest
	} else {
		e.State, e.Reason, e.DecidedAt = protocol.EnrollApproved, "no review is required", tx.At()
		if window != nil {
			e.Reason = "enrollment window " + window.ID
		}
		details["unreviewed"] = e.Reason
	}
	if err := enroll.Insert(ctx, tx, e); err != nil {
		return err
	}
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.EnrollRequest, ObjectKind: "device", ObjectID: e.DeviceID, Details: details})
}

// Poll answers a device that asks after its enrollment. Once it is approved, the
// certificate is issued; asking again gives the same one.
func (f *Flow) Poll(ctx context.Context, source, requestID, id string, body []byte) (*protocol.EnrollResult, error) {
	e, err := enroll.Get(ctx, f.d.Read(), id)
	if errors.Is(err, enroll.ErrUnknown) {
		return f.pollRecovery(ctx, source, requestID, id, body)
	}
	if err != nil {
		return nil, err
	}
	check := f.checkPoll
	if e.Outside() {
		check = f.checkPollOutside
	}
	if err := check(e.ID, e.DeviceID, e.CSR, body); err != nil {
		return nil, err
	}
	result := &protocol.EnrollResult{EnrollmentID: e.ID, State: e.Live(f.d.Now())}
	switch result.State {
	case protocol.EnrollPending:
		result.Nonce, result.PollAfterSeconds = f.pollNonce(e.ID), int(pollPause.Seconds())
		return result, nil
	case protocol.EnrollApproved:
		if e, err = f.issue(ctx, source, requestID, e); err != nil {
			return nil, err
		}
		result.State = e.State
	case protocol.EnrollRejected, protocol.EnrollExpired:
		result.Reason = e.Reason
		return result, nil
	}
	return result, f.equip(ctx, e.DeviceID, e.Fingerprint, result)
}

// checkPoll makes sure that a poll comes from the key of the request with this id,
// and through no other server.
func (f *Flow) checkPoll(id, deviceID string, csr, body []byte) error {
	req, err := certs.ParseProvenRequest(csr, deviceID) // by the poll's signature, next
	if err != nil {
		return err
	}
	return f.checkPollBy(id, req.PublicKey, body)
}

// checkPollBy is checkPoll for a key.
func (f *Flow) checkPollBy(id string, pub crypto.PublicKey, body []byte) error {
	key, err := signing.NewKey(signing.PurposeEnrollPoll, pub)
	if err != nil {
		return err
	}
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPoll, err)
	}
	payload, _, err := env.Verify(signing.PurposeEnrollPoll, []signing.Key{key}, 1)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPoll, err)
	}
	var poll protocol.EnrollPoll
	if err := protocol.Decode(payload, &poll); err != nil {
		return err
	}
	if err := poll.Check(); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrMalformed, err)
	}
	if poll.EnrollmentID != id {
		return ErrPoll
	}
	if !f.checkPollNonce(id, poll.Nonce) {
		return ErrPollNonce
	}
	issuers, _ := f.pki.Issuers(certs.KindServer)
	for _, ca := range issuers {
		if subtle.ConstantTimeCompare([]byte(certs.Fingerprint(ca.Raw)), []byte(poll.CAFingerprint)) == 1 {
			return nil
		}
	}
	return ErrCAMismatch
}

// issue signs the certificate, then records it, lets the device in and ends the
// rivals, in one transaction that checks again that it may.
func (f *Flow) issue(ctx context.Context, source, requestID string, e *enroll.Enrollment) (*enroll.Enrollment, error) {
	req, err := certs.ParseProvenRequest(e.CSR, e.DeviceID) // by the poll that led here
	if err != nil {
		return nil, err
	}
	cert, err := f.pki.IssueDevice(e.DeviceID, e.ID, req.PublicKey, f.d.Now(), f.settings.CertificateLife)
	if err != nil {
		return nil, err
	}
	who := audit.Actor{Kind: audit.Device, ID: e.DeviceID, Source: source, RequestID: requestID}
	err = f.atTheDoor(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := enroll.Issued(ctx, tx, e.ID, cert.Fingerprint); err != nil {
			return err
		}
		failpoint.Here("issue.before-commit")
		return f.letIn(ctx, tx, who, e, cert)
	})
	failpoint.Here("issue.after-commit")
	if errors.Is(err, db.ErrConflict) {
		// Another poll of the same device was faster, or the time is over.
		return f.issuedElsewhere(ctx, e.ID)
	}
	if err != nil {
		return nil, err
	}
	after := *e
	after.State, after.Fingerprint = protocol.EnrollIssued, cert.Fingerprint
	return &after, nil
}

func (f *Flow) issuedElsewhere(ctx context.Context, id string) (*enroll.Enrollment, error) {
	e, err := enroll.Get(ctx, f.d.Read(), id)
	if err == nil && e.State != protocol.EnrollIssued {
		err = enroll.ErrState
	}
	return e, err
}

func (f *Flow) letIn(ctx context.Context, tx db.Tx, who audit.Actor, e *enroll.Enrollment, cert *pki.Issued) error {
	token := new(enroll.Token) // of a certificate that was issued elsewhere: nothing speaks for it but its review
	if !e.Outside() {
		var err error
		if token, err = enroll.TokenByID(ctx, tx, e.TokenID); err != nil {
			return err
		}
	}
	if e.ApprovalID == "" && (e.Outside() || token.RevokedAt != 0) {
		return enroll.ErrTokenRevoked // nobody but the token spoke for it
	}
	epoch, err := tx.Epoch(ctx)
	if err != nil {
		return err
	}
	if err := pki.MayIssue(ctx, tx); err != nil {
		return err
	}
	if err := pki.Record(ctx, tx, cert); err != nil {
		return err
	}
	d := &device.Device{
		DeviceID: e.DeviceID, EnrollmentID: e.ID, StateBy: who.ID,
		Name: token.DeviceName, Owner: token.Owner, Sensitive: token.Sensitive, KeyCode: e.KeyCode,
	}
	if err := device.Add(ctx, tx, d, token.LabelMap(), cert.Fingerprint, epoch); errors.Is(err, device.ErrExists) {
		if why := free(ctx, tx, e.DeviceID); why != nil { // alive, or gone for good
			return why
		}
		return err
	} else if err != nil {
		return err
	}
	if err := f.endRivals(ctx, tx, who, e); err != nil {
		return err
	}
	// What a verdict rests on was written just now: nothing of it needs to be read.
	reviewers := map[string]string{}
	if e.ApprovalID != "" {
		if reviewers, err = approval.Approvers(ctx, tx, []string{e.ApprovalID}); err != nil {
			return err
		}
	}
	attested, err := attestations(ctx, tx, []string{d.DeviceID})
	if err != nil {
		return err
	}
	facts := factsOf(&device.Standpoint{State: d.State}, reviewers[e.ApprovalID], &cert.Certificate, attested[d.DeviceID].facts(cert.KeyDigest, tx.Now))
	if err := trust.Put(ctx, tx, trust.Decided{DeviceID: d.DeviceID, Decision: trust.Decide(facts, tx.Now)}); err != nil {
		return err
	}
	action := audit.CertIssue
	if e.Outside() {
		action = audit.CertPin
	}
	return audit.Write(ctx, tx, who, audit.Entry{Action: action, ObjectKind: "device", ObjectID: e.DeviceID,
		Details: map[string]string{"serial": cert.Serial, "fingerprint": cert.Fingerprint, "enrollment": e.ID, "not_after": cert.NotAfter.Time().Format(time.RFC3339)}})
}

func (f *Flow) endRivals(ctx context.Context, tx db.Tx, who audit.Actor, winner *enroll.Enrollment) error {
	rivals, err := enroll.Rivals(ctx, tx, winner.DeviceID, winner.ID)
	if err != nil {
		return err
	}
	for _, r := range rivals {
		const reason = "another enrollment was let in under this device_id"
		if err := enroll.Move(ctx, tx, r.ID, r.State, protocol.EnrollRejected, reason); err != nil {
			return err
		}
		if r.ApprovalID != "" && r.State == protocol.EnrollPending {
			if err := approval.Close(ctx, tx, r.ApprovalID, approval.Void); err != nil {
				return err
			}
		}
		if err := audit.Write(ctx, tx, who, audit.Entry{Action: audit.EnrollReject, ObjectKind: "device", ObjectID: r.DeviceID, Reason: reason,
			Details: map[string]string{"enrollment": r.ID}}); err != nil {
			return err
		}
	}
	return nil
}

// equip adds what a device that was let in needs: certificate, fleet root, bundle.
func (f *Flow) equip(ctx context.Context, deviceID, fingerprint string, result *protocol.EnrollResult) error {
	fleet, err := f.policy.Fleet()
	if err != nil {
		return err
	}
	d, err := device.Get(ctx, f.d.Read(), deviceID)
	if err != nil {
		return err
	}
	if d.State.Final() {
		return ErrDeviceGone
	}
	cert, err := pki.Get(ctx, f.d.Read(), fingerprint)
	if err != nil {
		return err
	}
	if result.Certificates, err = f.pki.Chain(ctx, cert); err != nil {
		return err
	}
	in, err := f.d.Instance(ctx)
	if err != nil {
		return err
	}
	result.FleetRoots, result.PolicyBundle = fleet.RootEnvelopes, fleet.BundleBytes
	result.Epoch, result.IntervalSeconds, result.ServerTime = in.Epoch, int(f.settings.HeartbeatInterval.Seconds()), f.d.Now()
	return nil
}

func nonNil(f protocol.Facts) protocol.Facts {
	if f == nil {
		return protocol.Facts{}
	}
	return f
}
