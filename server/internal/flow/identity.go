package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// reviewed has a person decide about a request, and carries it out once one
// agreed.
func (f *Flow) reviewed(ctx context.Context, r *renewal) (*renewed, error) {
	got := &renewed{}
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) (err error) {
		got.Request, err = f.placeIdentity(ctx, tx, r)
		failpoint.Here("request.before-commit")
		return err
	})
	failpoint.Here("request.after-commit")
	if err != nil {
		return nil, err
	}
	if got.Live(f.d.Now()) == identity.Approved {
		got.Request, err = f.settle(ctx, r.who, got.Request)
	}
	return got, err
}

// placeIdentity stores a request for review, unless it is there already. The device must
// be one that may have another certificate at this moment.
func (f *Flow) placeIdentity(ctx context.Context, tx db.Tx, r *renewal) (*identity.Request, error) {
	m, err := f.meet(ctx, tx, []*renewal{r})
	if err != nil {
		return nil, err
	}
	if err := device.May(m.standings[r.DeviceID], r.enrollmentID, r.SignedBy); err != nil {
		return nil, err
	}
	if known := m.byID[r.ID]; known != nil {
		if !known.Same(r.Request) {
			return nil, identity.ErrConflict
		}
		return known, nil
	}
	if m.grounds.Given[0].Certified {
		return nil, identity.ErrKeyUsed
	}
	ended, err := recoverable(ctx, tx, m.standings[r.DeviceID], r.Request)
	if err != nil {
		return nil, err
	}
	open := m.open[r.DeviceID]
	if ended != "" && open != nil && open.Live(tx.Now).Open() && open.Lost != r.Lost {
		return nil, identity.ErrTurn
	}
	if err := f.replace(ctx, tx, r.who, open); err != nil {
		return nil, err
	}
	waiting, err := identity.Waiting(ctx, tx, f.settings.MaxPending)
	if err != nil {
		return nil, err
	}
	if waiting >= f.settings.MaxPending {
		return nil, enroll.ErrFull
	}
	action, err := identity.Action{Kind: r.Kind, RequestID: r.ID, DeviceID: r.DeviceID, SignedBy: r.SignedBy,
		Lost: r.Lost, LostEnded: ended, CSRDigest: r.CSRDigest, KeyCode: r.KeyCode}.Bytes()
	if err != nil {
		return nil, err
	}
	people, err := f.people(ctx, tx, approval.Identities)
	if err != nil {
		return nil, err
	}
	ask, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Identity, Path: approval.Identities, SubjectID: r.ID, Action: action, Required: people,
		Requester: "device:" + r.DeviceID, TTL: f.settings.ReviewTTL})
	if err != nil {
		return nil, err
	}
	r.State, r.ApprovalID, r.CreatedAt, r.ExpiresAt = identity.Pending, ask.ID, tx.At(), tx.At().Add(f.settings.ReviewTTL)
	taken, err := identity.Insert(ctx, tx, r.Request)
	if err != nil {
		return nil, err
	}
	if !taken[r.ID] {
		return nil, identity.ErrConflict // its key was asked for before
	}
	return r.Request, audit.Write(ctx, tx, r.who, audit.Entry{Action: audit.IdentityRequest, ObjectKind: "device", ObjectID: r.DeviceID,
		Details: map[string]string{"request": r.ID, "kind": string(r.Kind), "digest": ask.Digest, "key_code": r.KeyCode}})
}

// recoverable holds a recovery to the time that is given for it: after the end of the
// certificate that the device goes by, or as long as the one whose key signed in its
// place is lost. It reports as what the record has that one, if as ended.
func recoverable(ctx context.Context, tx db.Tx, s *device.Standing, r *identity.Request) (ended string, err error) {
	switch {
	case r.Kind != identity.Recovery:
		return "", nil
	case r.Lost != "":
		epoch, err := tx.Epoch(ctx)
		if err != nil {
			return "", err
		}
		lost, ended, err := stillLost(ctx, tx, r.Lost, device.Heard(s.Epoch, epoch))
		if err == nil && !lost {
			err = device.ErrCertificate
		}
		return ended, err
	}
	cert, err := pki.Get(ctx, tx, r.SignedBy)
	if err != nil {
		return "", err
	}
	return "", identity.Recoverable(cert.NotAfter.Time(), tx.Now)
}

// settle signs the certificate of an approved request, then records it in one
// transaction that checks again that it may.
func (f *Flow) settle(ctx context.Context, who audit.Actor, r *identity.Request) (*identity.Request, error) {
	req, err := certs.ParseProvenRequest(r.CSR, r.DeviceID) // both keys signed it when it came
	if err != nil {
		return nil, err
	}
	d, err := device.Get(ctx, f.d.Read(), r.DeviceID)
	if err != nil {
		return nil, err
	}
	cert, err := f.pki.IssueDevice(r.DeviceID, d.EnrollmentID, req.PublicKey, f.d.Now(), f.settings.CertificateLife)
	if err != nil {
		return nil, err
	}
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		standings, err := device.Standings(ctx, tx, r.DeviceID)
		if err != nil {
			return err
		}
		if err := device.May(standings[r.DeviceID], d.EnrollmentID, r.SignedBy); err != nil {
			return err
		}
		if _, err := recoverable(ctx, tx, standings[r.DeviceID], r); err != nil {
			return err
		}
		grounds, err := pki.Ground(ctx, tx, tx.At(), pki.Wish{DeviceID: r.DeviceID})
		if err != nil {
			return err
		}
		if !slices.Contains(grounds.Issuing, cert.AuthorityID) {
			return errAuthority
		}
		if grounds.Stopped != nil {
			return grounds.Stopped
		}
		until := identity.FirstUseUntil(tx.At(), cert.NotAfter)
		if err := identity.Settle(ctx, tx, r.ID, cert.Fingerprint, until); err != nil {
			return err
		}
		if err := pki.Record(ctx, tx, cert); err != nil {
			return err
		}
		if err := device.SetNext(ctx, tx, []device.Next{{DeviceID: r.DeviceID, Fingerprint: cert.Fingerprint, Until: until}}); err != nil {
			return err
		}
		failpoint.Here("settle.before-commit")
		return audit.Write(ctx, tx, who, givenEntry(r, cert))
	})
	failpoint.Here("settle.after-commit")
	switch {
	case errors.Is(err, errAuthority): // the device asks again
		return nil, errors.Join(err, f.pki.Load(ctx))
	case err != nil && !errors.Is(err, db.ErrConflict): // a conflict: the same request was faster, or its time is over
		return nil, err
	}
	return identity.Get(ctx, f.d.Read(), r.ID)
}

// replace ends what a device asked for before, with the certificate that it may
// have been given and did not use.
func (f *Flow) replace(ctx context.Context, tx db.Tx, who audit.Actor, r *identity.Request) error {
	if r == nil {
		return nil
	}
	return withdraw(ctx, tx, who, r, "a newer request took its place", pki.Superseded)
}

// withdraw rejects an open request that no person decides about any more, unless one
// who rejected it was faster: then there is nothing left of it.
func withdraw(ctx context.Context, tx db.Tx, who audit.Actor, r *identity.Request, reason, certificate string) error {
	err := identity.Move(ctx, tx, r.ID, r.State, identity.Rejected, reason)
	if errors.Is(err, db.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	err = release(ctx, tx, r, approval.Void, certificate)
	if err != nil && (r.State != identity.Pending || !errors.Is(err, db.ErrConflict)) { // what was asked of people may be over
		return err
	}
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.IdentityReject, ObjectKind: "device", ObjectID: r.DeviceID,
		Reason: reason, Details: map[string]string{"request": r.ID, "fingerprint": r.Fingerprint}})
}

// withdrawOpen withdraws what a device asked for, after its certificates ended. With a
// fingerprint it does so only if it led to that certificate.
func withdrawOpen(ctx context.Context, tx db.Tx, who audit.Actor, deviceID, fingerprint, reason string) error {
	asked, err := identity.OpenOf(ctx, tx, deviceID)
	switch {
	case errors.Is(err, identity.ErrNone):
		return nil
	case err != nil:
		return err
	case fingerprint != "" && asked.Fingerprint != fingerprint:
		return nil
	}
	return withdraw(ctx, tx, who, asked, reason, pki.Unused)
}

// end closes an open request and all that hangs on it.
func end(ctx context.Context, tx db.Tx, r *identity.Request, to identity.State, reason string, ask approval.State, certificate string) error {
	if err := identity.Move(ctx, tx, r.ID, r.State, to, reason); err != nil {
		return err
	}
	return release(ctx, tx, r, ask, certificate)
}

// release ends what hangs on a request that is over: what was asked of people, and the
// certificate that was not used.
func release(ctx context.Context, tx db.Tx, r *identity.Request, ask approval.State, certificate string) error {
	if r.State == identity.Pending && r.ApprovalID != "" {
		if err := approval.Close(ctx, tx, r.ApprovalID, ask); err != nil {
			return err
		}
	}
	if r.State != identity.Issued {
		return nil
	}
	if err := device.ForgetNext(ctx, tx, r.DeviceID, r.Fingerprint); err != nil {
		return err
	}
	return pki.End(ctx, tx, certificate, r.Fingerprint)
}

// supersede makes certificates that were used for the first time the only ones of
// their devices, in the transaction that accepted their use. What is decided about the
// devices now is the caller's to ask for.
func supersede(ctx context.Context, tx db.Tx, devices, fingerprints []string) error {
	if err := device.ForgetUsed(ctx, tx, devices); err != nil {
		return err
	}
	ended, err := pki.Keep(ctx, tx, devices, fingerprints)
	if err != nil {
		return err
	}
	codeOf, err := identity.FirstUsed(ctx, tx, devices, fingerprints)
	if err != nil {
		return err
	}
	var renewed, codes []string
	acts := make([]audit.Act, len(devices))
	for i, id := range devices {
		if code := codeOf[id]; code != "" {
			renewed, codes = append(renewed, id), append(codes, code)
		}
		slices.Sort(ended[id])
		acts[i] = audit.Act{Actor: audit.Actor{Kind: audit.Device, ID: id}, Entry: audit.Entry{Action: audit.CertSupersede, ObjectKind: "device", ObjectID: id,
			Details: map[string]string{"fingerprint": fingerprints[i], "superseded": strings.Join(ended[id], " ")}}}
	}
	if len(renewed) > 0 {
		if err := device.SetKeyCodes(ctx, tx, renewed, codes); err != nil {
			return err
		}
	}
	return audit.WriteAll(ctx, tx, acts)
}

// mayStill makes sure that the device is one that may have another certificate:
// it was when it asked.
func mayStill(ctx context.Context, tx db.Tx, r *identity.Request) error {
	standings, err := device.Standings(ctx, tx, r.DeviceID)
	if err != nil {
		return err
	}
	s := standings[r.DeviceID]
	if s == nil {
		return device.ErrUnknown
	}
	if err := device.May(s, s.EnrollmentID, r.SignedBy); err != nil {
		return err
	}
	_, err = recoverable(ctx, tx, s, r)
	return err
}

// ExpireIdentities writes down that the time of requests is over, and ends the
// certificates that were not used in time. They are refused from that time on,
// whether it is written or not.
func (f *Flow) ExpireIdentities(ctx context.Context) error {
	overdue, err := identity.Overdue(ctx, f.d.Read(), db.At(f.d.Now()), upkeepBatch)
	if err != nil {
		return err
	}
	var failed []error // one row that errs does not hold the others up
	for i := range overdue {
		r := &overdue[i]
		reason := "nobody decided in time, or the device did not come back"
		if r.State == identity.Issued {
			reason = "the certificate was not used in time"
		}
		err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			// The counter's row first, as heartbeats do.
			if _, err := device.Standings(ctx, tx, r.DeviceID); err != nil {
				return err
			}
			if err := end(ctx, tx, r, identity.Expired, reason, approval.Expired, pki.Unused); err != nil {
				return err
			}
			return audit.Write(ctx, tx, upkeep, audit.Entry{Action: audit.IdentityExpire, ObjectKind: "device", ObjectID: r.DeviceID,
				Details: map[string]string{"request": r.ID, "kind": string(r.Kind), "fingerprint": r.Fingerprint}})
		})
		if err != nil && !errors.Is(err, db.ErrConflict) { // a conflict: another node was faster, or the device
			failed = append(failed, fmt.Errorf("device %s: %w", r.DeviceID, err))
		}
	}
	return errors.Join(failed...)
}

// voidIdentities ends, after a restore, what devices asked for and the
// certificates that they had not used: all of it may have gone on in the time that
// was lost.
func voidIdentities(ctx context.Context, tx db.Tx) error {
	if err := identity.VoidAll(ctx, tx); err != nil {
		return err
	}
	unused, err := device.ForgetAllNext(ctx, tx)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(unused, 500) {
		if err := pki.End(ctx, tx, pki.Restored, part...); err != nil {
			return err
		}
	}
	return nil
}
