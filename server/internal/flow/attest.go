package flow

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Challenge gives a device a nonce for evidence of the TPM that it claims to have, and
// a riddle that only this TPM solves. It refuses with ErrIdentity, an error of package
// device, or one of package attestation.
func (f *Flow) Challenge(ctx context.Context, id certs.Identity, claim *protocol.AttestationClaim) (*protocol.AttestationChallenge, error) {
	if claim.DeviceID != id.DeviceID {
		return nil, ErrIdentity
	}
	nonce, secret := make([]byte, protocol.AttestationNonce), make([]byte, sha256.Size) // no TPM takes a longer secret
	_, _ = rand.Read(nonce)                                                             // never fails
	_, _ = rand.Read(secret)
	answer := &protocol.AttestationChallenge{Nonce: nonce, PCRs: f.settings.Attestation.PCRs}
	endorsement, refusal := f.riddle(claim, secret, answer)
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := mayAttest(ctx, tx, id, claim.EnrollmentID); err != nil {
			return err
		}
		if refusal != nil { // told to nobody but the device itself
			return refusal
		}
		if err := attestation.MayHave(ctx, tx, id.DeviceID, claim.EnrollmentID, endorsement.Digest); err != nil {
			return err
		}
		epoch, err := tx.Epoch(ctx)
		if err != nil {
			return err
		}
		c := &attestation.Challenge{
			DeviceID: id.DeviceID, EnrollmentID: claim.EnrollmentID, Fingerprint: id.Fingerprint, Epoch: epoch,
			TPM: endorsement.Digest, Maker: endorsement.Issuer, Key: claim.Key,
		}
		if err := attestation.Open(ctx, tx, c, nonce, secret, answer.PCRs); err != nil {
			return err
		}
		answer.ExpiresAt = c.ExpiresAt.Time()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// riddle seals a secret for the TPM of a claim, if its maker is believed.
func (f *Flow) riddle(claim *protocol.AttestationClaim, secret []byte, into *protocol.AttestationChallenge) (*attestation.Endorsement, error) {
	endorsement, err := f.settings.Attestation.Makers.Judge(claim.Endorsement, claim.Endorsers, f.d.Now())
	if err != nil {
		return nil, err
	}
	key, err := evidence.ParseAttestationKey(claim.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", attestation.ErrKey, err)
	}
	into.Credential, into.Secret, err = endorsement.Riddle(rand.Reader, key.Name, secret)
	return endorsement, err
}

// mayAttest makes sure that a device stands as one that may bring evidence, under the
// certificate that the connection proved.
func mayAttest(ctx context.Context, tx db.Tx, id certs.Identity, enrollmentID string) error {
	standings, err := device.Standings(ctx, tx, id.DeviceID)
	if err != nil {
		return err
	}
	return device.May(standings[id.DeviceID], enrollmentID, id.Fingerprint)
}

// Evidence judges what a device's TPM says, and decides anew about the device. What is
// not genuine is an answer, not a refusal: it refuses, as Challenge does, what answers
// no open challenge of this device, enrollment and certificate.
func (f *Flow) Evidence(ctx context.Context, source, requestID string, id certs.Identity, e *protocol.AttestationEvidence) (*protocol.AttestationResult, error) {
	if e.DeviceID != id.DeviceID {
		return nil, ErrIdentity
	}
	terms := &f.settings.Attestation
	who := audit.Actor{Kind: audit.Device, ID: id.DeviceID, Source: source, RequestID: requestID}
	var r *attestation.Result
	var j attestation.Judgement
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := mayAttest(ctx, tx, id, e.EnrollmentID); err != nil {
			return err
		}
		if terms.Makers == nil {
			return attestation.ErrOff
		}
		epoch, err := tx.Epoch(ctx)
		if err != nil {
			return err
		}
		c, err := attestation.Use(ctx, tx, e.Nonce, id.DeviceID, e.EnrollmentID, id.Fingerprint, epoch)
		if err != nil {
			return err
		}
		// Another device may have brought the same TPM in the meantime.
		if err := attestation.MayHave(ctx, tx, id.DeviceID, e.EnrollmentID, c.TPM); err != nil {
			return err
		}
		proof := attestation.Appraise(c, e, attestation.Subject{DeviceID: id.DeviceID, PublicKey: id.SPKI})
		policy, mine, err := policyOf(ctx, tx, id.DeviceID)
		if err != nil {
			return err
		}
		j = attestation.Judge(&proof, mine, tx.Now)
		if proof.Genuine() {
			if err := attestation.Tie(ctx, tx, c); err != nil {
				return err
			}
		}
		key := sha256.Sum256(id.SPKI)
		r = &attestation.Result{DeviceID: id.DeviceID, EnrollmentID: e.EnrollmentID, KeyDigest: hex.EncodeToString(key[:])}
		changed, err := attestation.Put(ctx, tx, r, &proof, &j, policy.Number, terms.Life())
		if err != nil {
			return err
		}
		return f.judged(ctx, tx, who, r, changed)
	})
	if err != nil {
		return nil, err
	}
	again := min(terms.Every, max(r.ValidUntil.Time().Sub(f.d.Now()), time.Minute))
	return &protocol.AttestationResult{Verdict: r.Verdict, Reasons: j.Reasons, HardwareBound: r.HardwareBound, AgainSeconds: int(again.Seconds())}, nil
}

// judged writes down a result that is another than before, and decides anew about the
// device.
func (f *Flow) judged(ctx context.Context, tx db.Tx, who audit.Actor, r *attestation.Result, changed bool) error {
	if err := retrust(ctx, tx, r.DeviceID); err != nil || !changed {
		return err
	}
	codes := make([]string, 0, len(r.Reasons()))
	for _, reason := range r.Reasons() {
		codes = append(codes, reason.Code)
	}
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.AttestationResult, ObjectKind: "device", ObjectID: r.DeviceID,
		Details: map[string]string{"verdict": string(r.Verdict), "reasons": strings.Join(codes, " "), "baseline": r.Baseline, "hardware_bound": fmt.Sprint(r.HardwareBound)}})
}

// policyOf is the policy in force and the baselines of a device.
func policyOf(ctx context.Context, q bun.IDB, deviceID string) (policy attestation.Policy, mine []attestation.Baseline, err error) {
	if policy, err = attestation.CurrentPolicy(ctx, q); err != nil {
		return policy, nil, err
	}
	all, err := baselinesOf(ctx, q, []string{deviceID})
	return policy, all[deviceID], err
}

// Rejudge decides again about devices that were last decided about before the baselines
// changed: about their evidence too, from what it proved. Several nodes may do it at once.
func (f *Flow) Rejudge(ctx context.Context) error {
	policy, err := attestation.CurrentPolicy(ctx, f.d.Read())
	if err != nil || policy.ChangedAt == 0 || policy.Number == f.rejudged.Load() {
		return err
	}
	ids, err := trust.DecidedBefore(ctx, f.d.Read(), policy.ChangedAt, upkeepBatch)
	if err != nil {
		return err
	}
	var failed []error // one row that errs does not hold the others up
	for _, id := range ids {
		if err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return f.rejudge(ctx, tx, id) }); err != nil {
			failed = append(failed, fmt.Errorf("device %s: %w", id, err))
		}
	}
	if len(ids) < upkeepBatch && failed == nil {
		f.rejudged.Store(policy.Number)
	}
	return errors.Join(failed...)
}

func (f *Flow) rejudge(ctx context.Context, tx db.Tx, deviceID string) error {
	r, err := attestation.ResultOf(ctx, tx, deviceID)
	if errors.Is(err, attestation.ErrNone) {
		return retrust(ctx, tx, deviceID)
	}
	if err != nil {
		return err
	}
	policy, mine, err := policyOf(ctx, tx, deviceID)
	if err != nil {
		return err
	}
	proof := r.Proof()
	j := attestation.Judge(&proof, mine, tx.Now)
	changed, err := attestation.Rejudge(ctx, tx, r, &j, policy.Number, f.settings.Attestation.Life())
	if err != nil {
		return err
	}
	return f.judged(ctx, tx, upkeep, r, changed)
}
