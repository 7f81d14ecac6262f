package flow

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ErrRenewal says that a renewal or recovery is not signed by the key of the
// device's certificate and by the new one.
var ErrRenewal = errors.New("the request is not signed by the keys that it must be signed by")

// errAuthority says that the authority that signed does not issue any more: this
// node had not noticed yet.
var errAuthority = errors.New("another authority issues by now")

// Renew gives a device that proved id a certificate for another key. The one that
// it has stays until the new one is used for the first time. The same request
// again, after a lost answer, gets the same answer; another one takes its place.
func (f *Flow) Renew(ctx context.Context, source, requestID string, id certs.Identity, body []byte) (*protocol.RenewAnswer, error) {
	if id.Outside != nil {
		return nil, ErrIssuedElsewhere
	}
	fleet, err := f.policy.Fleet()
	if err != nil {
		return nil, err
	}
	current, err := x509.ParsePKIXPublicKey(id.SPKI)
	if err != nil {
		return nil, err
	}
	wish, req, err := readRenewal(body, id.DeviceID, func(r *signing.Renewal) (crypto.PublicKey, error) {
		// The connection is the device's proof; the request must be of the same.
		if r.Recovery || r.Current != id.Fingerprint {
			return nil, ErrRenewal
		}
		return current, nil
	})
	if err != nil {
		return nil, err
	}
	r := &renewal{Request: newRequest(identity.Renewal, wish, req, source), enrollmentID: wish.EnrollmentID, csr: req.DER,
		who: audit.Actor{Kind: audit.Device, ID: id.DeviceID, Source: source, RequestID: requestID}}
	got, err := f.renew(ctx, r, req.PublicKey)
	if err != nil {
		return nil, err
	}
	answer := &protocol.RenewAnswer{RequestID: wish.RequestID}
	switch answer.State = enrollState(got.Live(f.d.Now())); answer.State {
	case protocol.EnrollPending, protocol.EnrollApproved:
		answer.State, answer.RetryAfterSeconds = protocol.EnrollPending, int(reviewPause.Seconds())
		return answer, nil
	case protocol.EnrollRejected, protocol.EnrollExpired:
		answer.Reason = got.Reason
		return answer, nil
	}
	answer.FleetRoots, answer.Certificates = fleet.RootEnvelopes, got.chain
	if answer.Certificates == nil {
		answer.Certificates, err = f.chainOf(ctx, got.Fingerprint)
	}
	return answer, err
}

// reviewPause is how long a device waits before it asks after a review again. It
// has a certificate meanwhile.
const reviewPause = time.Minute

// renewal is a wish on its way into a batch, with the certificate that it gets
// when nothing stands against it: what is signed cannot be signed in between.
type renewal struct {
	*identity.Request
	enrollmentID string
	csr          []byte
	who          audit.Actor
	cert         *pki.Issued
}

func (r *renewal) device() string { return r.DeviceID }

// renewed is a request as it stands, with its certificate when it was made now.
type renewed struct {
	*identity.Request
	chain  [][]byte
	review bool // a person is, or was, to decide: it is not for a batch
}

func (f *Flow) renew(ctx context.Context, r *renewal, key crypto.PublicKey) (*renewed, error) {
	if !identity.NeedsReview(r.Kind, f.settings.ReviewRotations, false) {
		got, err := f.issueNow(ctx, r, key)
		if err != nil || !got.review {
			return got, err
		}
	}
	r.CSR = r.csr
	return f.reviewed(ctx, r)
}

// issueNow signs and has it recorded, and once more when another authority issues
// by now.
func (f *Flow) issueNow(ctx context.Context, r *renewal, key crypto.PublicKey) (*renewed, error) {
	for again := false; ; again = true {
		var err error
		if r.cert, err = f.pki.IssueDevice(r.DeviceID, r.enrollmentID, key, f.d.Now(), f.settings.CertificateLife); err != nil {
			return nil, err
		}
		got, err := f.renewals.do(ctx, r)
		if again || !errors.Is(err, errAuthority) {
			return got, err
		}
		if err := f.pki.Load(ctx); err != nil {
			return nil, err
		}
	}
}

// RunRenewals records batches until ctx ends, then what is still waiting.
func (f *Flow) RunRenewals(ctx context.Context) error { return f.renewals.run(ctx) }

// record is one batch, at most one renewal a device, in one transaction that
// checks everything again: what became of each.
func (f *Flow) record(ctx context.Context, batch []*renewal) []result[*renewed] {
	results := make([]result[*renewed], len(batch))
	err := f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		clear(results)
		if err := f.recordIn(ctx, tx, batch, results); err != nil {
			return err
		}
		failpoint.Here("renew.before-commit")
		return nil
	})
	failpoint.Here("renew.after-commit")
	if err != nil {
		for i := range results {
			results[i] = result[*renewed]{err: err}
		}
	}
	return results
}

func (f *Flow) recordIn(ctx context.Context, tx db.Tx, batch []*renewal, results []result[*renewed]) error {
	m, err := f.meet(ctx, tx, batch)
	if err != nil {
		return err
	}
	var fresh []int
	for i, r := range batch {
		results[i].got, results[i].err = m.judge(r, m.grounds.Given[i], f.settings, tx.Now)
		if results[i].got == nil && results[i].err == nil {
			fresh = append(fresh, i)
		}
	}
	requests := make([]*identity.Request, 0, len(fresh))
	for _, i := range fresh {
		r := batch[i]
		if err := f.replace(ctx, tx, r.who, m.open[r.DeviceID]); err != nil {
			return err
		}
		r.State, r.Fingerprint = identity.Issued, r.cert.Fingerprint
		r.CreatedAt, r.ExpiresAt = tx.At(), identity.FirstUseUntil(tx.At(), r.cert.NotAfter)
		requests = append(requests, r.Request)
	}
	taken, err := identity.Insert(ctx, tx, requests...)
	if err != nil {
		return err
	}
	var certificates []*pki.Issued
	var next []device.Next
	var acts []audit.Act
	for _, i := range fresh {
		r := batch[i]
		if !taken[r.ID] {
			results[i].err = identity.ErrConflict // somebody asked with this id or key at the same moment
			continue
		}
		results[i].got = &renewed{Request: r.Request, chain: r.cert.Chain}
		certificates = append(certificates, r.cert)
		next = append(next, device.Next{DeviceID: r.DeviceID, Fingerprint: r.cert.Fingerprint, Until: r.ExpiresAt})
		acts = append(acts, audit.Act{Actor: r.who, Entry: givenEntry(r.Request, r.cert)})
	}
	if len(certificates) == 0 {
		return nil
	}
	if err := pki.Record(ctx, tx, certificates...); err != nil {
		return err
	}
	if err := device.SetNext(ctx, tx, next); err != nil {
		return err
	}
	return audit.WriteAll(ctx, tx, acts)
}

func givenEntry(r *identity.Request, cert *pki.Issued) audit.Entry {
	return audit.Entry{Action: audit.CertRenew, ObjectKind: "device", ObjectID: r.DeviceID,
		Details: map[string]string{"request": r.ID, "kind": string(r.Kind), "serial": cert.Serial, "fingerprint": cert.Fingerprint,
			"instead_of": r.SignedBy, "key_code": r.KeyCode, "not_after": cert.NotAfter.Time().Format(time.RFC3339)}}
}

// meeting is what renewals are judged by, as it stands inside the transaction.
type meeting struct {
	standings  map[string]*device.Standing  // by device_id
	byID, open map[string]*identity.Request // by id, by device_id
	grounds    pki.Grounds                  // one of what was given a renewal
}

func (f *Flow) meet(ctx context.Context, tx db.Tx, batch []*renewal) (m meeting, err error) {
	ids, devices, wishes := make([]string, len(batch)), make([]string, len(batch)), make([]pki.Wish, len(batch))
	for i, r := range batch {
		ids[i], devices[i], wishes[i] = r.ID, r.DeviceID, pki.Wish{DeviceID: r.DeviceID, KeyDigest: r.KeyDigest}
	}
	if m.standings, err = device.Standings(ctx, tx, devices...); err != nil {
		return m, err
	}
	if m.byID, m.open, err = identity.Meet(ctx, tx, ids, devices); err != nil {
		return m, err
	}
	m.grounds, err = pki.Ground(ctx, tx, tx.At().Add(-identity.Pace(f.settings.CertificateLife)), wishes...)
	return m, err
}

// judge says what is to become of a renewal: nothing and nil lets it be issued.
func (m *meeting) judge(r *renewal, given pki.Given, s Settings, now time.Time) (*renewed, error) {
	standing := m.standings[r.DeviceID]
	if err := device.May(standing, r.enrollmentID, r.SignedBy); err != nil {
		return nil, err
	}
	if known := m.byID[r.ID]; known != nil {
		if !known.Same(r.Request) {
			return nil, identity.ErrConflict
		}
		waits := known.State == identity.Pending || known.State == identity.Approved
		return &renewed{Request: known, review: waits}, nil
	}
	if given.Certified {
		return nil, identity.ErrKeyUsed
	}
	if given.Count > 0 {
		if err := identity.Often(given.Count, given.First.Time(), now, identity.Pace(s.CertificateLife)); err != nil {
			return nil, err
		}
	}
	if identity.NeedsReview(r.Kind, s.ReviewRotations, standing.Sensitive) {
		return &renewed{Request: r.Request, review: true}, nil
	}
	if !slices.Contains(m.grounds.Issuing, r.cert.AuthorityID) {
		return nil, errAuthority
	}
	return nil, m.grounds.Stopped
}

// readRenewal reads a renewal or recovery of a device and verifies both of its
// signatures. current finds the key of the certificate that it names.
func readRenewal(body []byte, deviceID string, current func(*signing.Renewal) (crypto.PublicKey, error)) (*signing.Renewal, *certs.Request, error) {
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRenewal, err)
	}
	r, err := signing.ReadRenewal(env)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRenewal, err)
	}
	if r.DeviceID != deviceID {
		return nil, nil, ErrIdentity
	}
	key, err := current(r)
	if err != nil {
		return nil, nil, err
	}
	req, err := certs.ParseProvenRequest(r.CSR, deviceID) // by the new key's signature, next
	if err != nil {
		return nil, nil, err
	}
	if err := signing.VerifyRenewal(env, key, req.PublicKey); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRenewal, err)
	}
	return r, req, nil
}

func newRequest(kind identity.Kind, r *signing.Renewal, req *certs.Request, source string) *identity.Request {
	key := sha256.Sum256(req.SPKI)
	return &identity.Request{ID: r.RequestID, DeviceID: r.DeviceID, Kind: kind, CSRDigest: req.Digest,
		KeyDigest: hex.EncodeToString(key[:]), KeyCode: req.KeyCode, SignedBy: r.Current, Source: source}
}

func (f *Flow) chainOf(ctx context.Context, fingerprint string) ([][]byte, error) {
	cert, err := pki.Get(ctx, f.d.Read(), fingerprint)
	if err != nil {
		return nil, err
	}
	return f.pki.Chain(ctx, cert)
}
