package flow

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// ProposedBaseline is a baseline that waits for people.
type ProposedBaseline struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Version    int64     `json:"version"`
	ApprovalID string    `json:"approval_id"` // see /api/approvals
	Digest     string    `json:"digest"`      // what a decision names
	ExpiresAt  time.Time `json:"expires_at"`
}

// ProposeBaseline asks that a baseline comes into force; others decide. It is an
// *attestation.InvalidError when the baseline breaks a rule.
func (f *Flow) ProposeBaseline(ctx context.Context, by authz.By, p attestation.Proposal) (*ProposedBaseline, error) {
	now := f.d.Now()
	if p.NotBefore.IsZero() {
		p.NotBefore = now
	}
	p.NotBefore, p.NotAfter = p.NotBefore.UTC().Truncate(time.Second), p.NotAfter.UTC().Truncate(time.Second)
	if err := p.Check(f.settings.Attestation.PCRs, now); err != nil {
		return nil, err
	}
	var asked *ProposedBaseline
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		version, err := attestation.NextVersion(ctx, tx, p.Name)
		if err != nil {
			return err
		}
		a := attestation.Action{ID: tx.NewID(), Version: version, Proposal: p}
		action, err := a.Bytes()
		if err != nil {
			return err
		}
		ask, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Baseline, SubjectID: a.ID, Action: action, Required: 1,
			Requester: by.Person, AccountID: by.AccountID, Reason: p.Cause.Kind + " " + p.Cause.Ref, TTL: f.settings.ReviewTTL})
		if err != nil {
			return err
		}
		if err := attestation.Propose(ctx, tx, &a, by.ID, ask.ID, ask.ExpiresAt); err != nil {
			return err
		}
		asked = &ProposedBaseline{ID: a.ID, Name: a.Name, Version: version, ApprovalID: ask.ID, Digest: ask.Digest, ExpiresAt: ask.ExpiresAt.Time()}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.BaselinePropose, ObjectKind: "baseline", ObjectID: a.ID, Reason: p.Cause.Text,
			Details: map[string]string{"name": a.Name, "cause": p.Cause.Kind, "ref": p.Cause.Ref, "digest": ask.Digest, "approval": ask.ID}})
	})
	return asked, err
}

// openBaseline puts the baseline that was asked for into force, unless a later version
// of it was.
func (f *Flow) openBaseline(ctx context.Context, tx db.Tx, r *approval.Request, _ bool) (*deed, error) {
	b, err := attestation.Get(ctx, tx, r.SubjectID)
	if err != nil {
		return nil, err
	}
	if b.State != attestation.Proposed || b.ApprovalID != r.ID {
		return nil, approval.ErrClosed
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "baseline", ObjectID: b.ID, Details: map[string]string{"name": b.Title(), "cause": b.CauseKind, "ref": b.CauseRef}},
		done:  audit.BaselineActivate, refused: audit.BaselineRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			newer, err := attestation.Newer(ctx, tx, b)
			switch {
			case err != nil:
				return "", err
			case newer:
				return "a later version of the baseline was in force already", nil
			case !tx.Now.Before(b.NotAfter.Time()):
				return "the baseline's own time is over", nil
			}
			return "", nil
		},
		do: func(ctx context.Context, tx db.Tx, _ verdict) error { return attestation.Activate(ctx, tx, b) },
		refuse: func(ctx context.Context, tx db.Tx, why verdict) error {
			return attestation.Refuse(ctx, tx, b.ID, why.reason)
		},
	}, nil
}

// RetireBaseline ends a baseline at once. It only takes trust away, and so takes one
// person.
func (f *Flow) RetireBaseline(ctx context.Context, by authz.By, id, reason string) error {
	if reason == "" {
		return ErrReason
	}
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		b, err := attestation.Get(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := attestation.Retire(ctx, tx, id, reason); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.BaselineRetire, ObjectKind: "baseline", ObjectID: id, Reason: reason,
			Details: map[string]string{"name": b.Title()}})
	})
}

// tpmRelease is what people agree to when a device may have another TPM: that exactly
// this one is forgotten. Its bytes are made once and stored.
type tpmRelease struct {
	Type         string    `json:"type"` // "forget-tpm"
	DeviceID     string    `json:"device_id"`
	EnrollmentID string    `json:"enrollment_id"`
	TPM          string    `json:"tpm"` // SHA-256 of its endorsement key
	Maker        string    `json:"maker"`
	Since        db.Micros `json:"since"`
	Reason       string    `json:"reason"`
}

// ForgetTPM asks that a device may have another TPM, after a repair; others decide.
// Asking again finds the request that waits.
func (f *Flow) ForgetTPM(ctx context.Context, by authz.By, deviceID, reason string) (asked *approval.Request, err error) {
	if reason == "" {
		return nil, ErrReason
	}
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		action, err := tpmReleaseOf(ctx, tx, deviceID, reason)
		if err != nil {
			return err
		}
		asked, err = f.placeAsk(ctx, tx, by, approval.Ask{Kind: approval.ForgetTPM, SubjectID: deviceID, Action: action, Required: 1, Reason: reason})
		return err
	})
	return asked, err
}

func tpmReleaseOf(ctx context.Context, tx db.Tx, deviceID, reason string) ([]byte, error) {
	if _, err := device.Get(ctx, tx, deviceID); err != nil {
		return nil, err
	}
	t, err := attestation.TPMOf(ctx, tx, deviceID)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tpmRelease{"forget-tpm", deviceID, t.EnrollmentID, t.TPM, t.Maker, t.Since, reason})
}

func (f *Flow) openForgetTPM(_ context.Context, _ db.Tx, r *approval.Request, _ bool) (*deed, error) {
	return &deed{
		entry: audit.Entry{ObjectKind: "device", ObjectID: r.SubjectID, Details: map[string]string{"asked_because": r.Reason}},
		done:  audit.TPMForget, refused: audit.ApprovalRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			now, err := tpmReleaseOf(ctx, tx, r.SubjectID, r.Reason)
			if errors.Is(err, attestation.ErrNone) || err == nil && approval.Digest(now) != r.Digest {
				return "the device has not the TPM that was asked about", nil
			}
			return "", err
		},
		do: func(ctx context.Context, tx db.Tx, _ verdict) error { return attestation.Untie(ctx, tx, r.SubjectID) },
	}, nil
}
