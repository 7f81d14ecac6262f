package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Decision is what a person says of an enrollment.
type Decision struct {
	Approve bool
	Digest  string // of the action that the person was shown
	Reason  string
}

// Review records a person's decision about an enrollment and carries it out: the
// digest names exactly the key, the device_id and the properties that were shown.
func (f *Flow) Review(ctx context.Context, by authz.By, enrollmentID string, decision Decision) (protocol.EnrollState, error) {
	var state protocol.EnrollState
	err := f.atTheDoor(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		e, err := enroll.Get(ctx, tx, enrollmentID)
		if err != nil {
			return err
		}
		if e.State == protocol.EnrollApproved && !decision.Approve {
			state = protocol.EnrollRejected
			return f.takeBack(ctx, tx, by, e, decision.Reason)
		}
		if e.State != protocol.EnrollPending {
			return fmt.Errorf("%w: it is %s", enroll.ErrState, e.State)
		}
		if decision.Approve {
			if err := free(ctx, tx, e.DeviceID); err != nil {
				return err
			}
		}
		ask, err := approval.Cast(ctx, tx, e.ApprovalID, approval.Vote{
			Person: by.Person, AccountID: by.AccountID, Approve: decision.Approve, Digest: decision.Digest, Reason: decision.Reason,
		})
		if err != nil {
			return err
		}
		entry := audit.Entry{Action: audit.EnrollReject, ObjectKind: "device", ObjectID: e.DeviceID, Reason: decision.Reason,
			Details: map[string]string{"enrollment": e.ID, "digest": ask.Digest, "approval": ask.ID, "key_code": e.KeyCode}}
		switch ask.State {
		case approval.Approved:
			entry.Action, state = audit.EnrollApprove, protocol.EnrollApproved
			if err := approval.Execute(ctx, tx, ask.ID); err != nil {
				return err
			}
		case approval.Rejected:
			state = protocol.EnrollRejected
		default: // a vote among several that are needed
			entry.Action, state = audit.EnrollApprove, protocol.EnrollPending
			return audit.Write(ctx, tx, by.Actor, entry)
		}
		if err := enroll.Move(ctx, tx, e.ID, protocol.EnrollPending, state, decision.Reason); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, entry)
	})
	if errors.Is(err, db.ErrConflict) {
		err = approval.ErrClosed
	}
	return state, err
}

// takeBack rejects an enrollment that was approved, or needed no review, and whose
// device did not fetch its certificate yet: whoever is in time is not too late.
func (f *Flow) takeBack(ctx context.Context, tx db.Tx, by authz.By, e *enroll.Enrollment, reason string) error {
	if reason == "" {
		return approval.ErrNoReason
	}
	if err := enroll.Move(ctx, tx, e.ID, protocol.EnrollApproved, protocol.EnrollRejected, reason); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.EnrollReject, ObjectKind: "device", ObjectID: e.DeviceID, Reason: reason,
		Details: map[string]string{"enrollment": e.ID, "taken_back": "true"}})
}

// Withdrawn ends the review of an enrollment whose token was revoked or whose
// window was closed.
func (f *Flow) Withdrawn(ctx context.Context, tx db.Tx, e *enroll.Enrollment) error {
	if e.ApprovalID == "" || e.State != protocol.EnrollPending {
		return nil
	}
	return approval.Close(ctx, tx, e.ApprovalID, approval.Void)
}
