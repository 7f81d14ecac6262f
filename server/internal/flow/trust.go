package flow

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
)

// retrust decides anew about devices, each named once, in the transaction that changed
// a fact of theirs. Each kind of fact is asked for all of them at once: a thousand
// devices may change theirs in one minute, with the version that they run.
func retrust(ctx context.Context, tx db.Tx, ids ...string) error {
	if err := trust.Lock(ctx, tx, ids); err != nil { // before any fact is read: the last to decide has seen all of them
		return err
	}
	devices, err := device.Standpoints(ctx, tx, ids)
	if err != nil {
		return err
	}
	if len(devices) < len(ids) {
		return device.ErrUnknown
	}
	enrollments, fingerprints := make([]string, len(devices)), make([]string, len(devices))
	for i, d := range devices {
		enrollments[i], fingerprints[i] = d.EnrollmentID, d.Fingerprint
	}
	reviewers, err := reviewersOf(ctx, tx, enrollments)
	if err != nil {
		return err
	}
	certificates, err := pki.Lives(ctx, tx, fingerprints)
	if err != nil {
		return err
	}
	attested, err := attestations(ctx, tx, ids)
	if err != nil {
		return err
	}
	decided := make([]trust.Decided, len(devices))
	for i, d := range devices {
		c := certificates[d.Fingerprint]
		if c == nil {
			return db.ErrNotFound
		}
		facts := factsOf(&d, reviewers[d.EnrollmentID], c, attested[d.DeviceID].facts(c.KeyDigest, tx.Now))
		decided[i] = trust.Decided{DeviceID: d.DeviceID, Decision: trust.Decide(facts, tx.Now)}
	}
	return trust.Put(ctx, tx, decided...)
}

// factsOf is what decides about a device.
func factsOf(d *device.Standpoint, reviewers string, c *pki.Certificate, a trust.Attestation) trust.Facts {
	return trust.Facts{
		State: string(d.State), StateReason: d.StateReason, HeldReason: d.HeldReason, FirstUse: d.FirstUse,
		NotBefore: c.NotBefore.Time(), NotAfter: c.NotAfter.Time(), Revoked: c.RevokedAt != 0,
		ReviewedBy: reviewers, Attestation: a,
	}
}

// reviewersOf names who let devices in, by the id of the enrollment, where anybody had to.
func reviewersOf(ctx context.Context, q bun.IDB, enrollments []string) (map[string]string, error) {
	reviews, err := enroll.Reviews(ctx, q, enrollments)
	if err != nil {
		return nil, err
	}
	if len(reviews) < len(enrollments) {
		return nil, enroll.ErrUnknown
	}
	var asks []string
	for _, r := range reviews {
		if r.ApprovalID != "" {
			asks = append(asks, r.ApprovalID)
		}
	}
	if len(asks) == 0 {
		return nil, nil
	}
	names, err := approval.Approvers(ctx, q, asks)
	if err != nil {
		return nil, err
	}
	byEnrollment := make(map[string]string, len(reviews))
	for _, r := range reviews {
		byEnrollment[r.ID] = names[r.ApprovalID]
	}
	return byEnrollment, nil
}

// attestationOf is what there is of a device by its TPM: the baselines that are for it, and
// the last result, nil for none.
type attestationOf struct {
	baselines []attestation.Baseline
	result    *attestation.Result
}

func attestations(ctx context.Context, q bun.IDB, ids []string) (map[string]attestationOf, error) {
	baselines, err := baselinesOf(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	results, err := attestation.Results(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	byDevice := make(map[string]attestationOf, len(ids))
	for _, id := range ids {
		byDevice[id] = attestationOf{baselines[id], results[id]}
	}
	return byDevice, nil
}

// baselinesOf lists the baselines of devices. Labels are read only where there is one.
func baselinesOf(ctx context.Context, q bun.IDB, ids []string) (map[string][]attestation.Baseline, error) {
	all, err := attestation.Actives(ctx, q)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	labels, err := device.LabelsOf(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	byDevice := make(map[string][]attestation.Baseline, len(ids))
	for _, id := range ids {
		byDevice[id] = attestation.Covering(all, labels[id])
	}
	return byDevice, nil
}

// facts is what decides, for a device that goes by this key, at the time of the decision.
func (e attestationOf) facts(keyDigest string, now time.Time) (a trust.Attestation) {
	for i := range e.baselines {
		a.Expected = a.Expected || e.baselines[i].InForce(now)
	}
	r := e.result
	if r == nil {
		return a
	}
	a.Verdict, a.Baseline, a.HardwareBound, a.OtherKey = r.Verdict, r.Baseline, r.HardwareBound, r.KeyDigest != keyDigest
	a.At, a.Until = r.ProvenAt.Time(), r.ValidUntil.Time()
	var texts []string
	for _, reason := range r.Reasons() {
		texts = append(texts, reason.Text)
	}
	a.Why = strings.Join(texts, "; ")
	return a
}
