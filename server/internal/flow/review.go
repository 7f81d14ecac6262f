package flow

import (
	"context"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Review is Decide for an enrollment. One that needed no review can be refused all
// the same until its device fetched the certificate.
func (f *Flow) Review(ctx context.Context, by authz.By, enrollmentID string, d Decision) (protocol.EnrollState, error) {
	state, err := f.decide(ctx, by, approval.Enrollment, d, func(ctx context.Context, tx db.Tx) (*approval.Request, error) {
		e, err := enroll.Get(ctx, tx, enrollmentID)
		if err != nil {
			return nil, err
		}
		if e.ApprovalID == "" {
			return &approval.Request{Kind: approval.Enrollment, SubjectID: e.ID}, nil
		}
		return approval.Get(ctx, tx, e.ApprovalID)
	})
	return map[approval.State]protocol.EnrollState{
		approval.Executed: protocol.EnrollApproved, approval.Rejected: protocol.EnrollRejected, approval.Open: protocol.EnrollPending,
	}[state], err
}

// IdentityReview is Decide for what a device asks for at this moment, another key.
func (f *Flow) IdentityReview(ctx context.Context, by authz.By, deviceID string, d Decision) (identity.State, error) {
	state, err := f.decide(ctx, by, approval.Identity, d, func(ctx context.Context, tx db.Tx) (*approval.Request, error) {
		r, err := identity.OpenOf(ctx, tx, deviceID)
		if err != nil {
			return nil, err
		}
		if r.ApprovalID == "" {
			return nil, fmt.Errorf("%w: it is %s", identity.ErrState, r.State)
		}
		return approval.Get(ctx, tx, r.ApprovalID)
	})
	return map[approval.State]identity.State{
		approval.Executed: identity.Approved, approval.Rejected: identity.Rejected, approval.Open: identity.Pending,
	}[state], err
}

// ReviewCommand is Decide for a command.
func (f *Flow) ReviewCommand(ctx context.Context, by authz.By, id string, d Decision) (command.State, error) {
	state, err := f.decide(ctx, by, approval.Command, d, func(ctx context.Context, tx db.Tx) (*approval.Request, error) {
		c, err := command.Get(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		if c.ApprovalID == "" {
			return nil, approval.ErrClosed // nobody had to agree
		}
		return approval.Get(ctx, tx, c.ApprovalID)
	})
	return map[approval.State]command.State{
		approval.Executed: command.Unsigned, approval.Rejected: command.Rejected, approval.Open: command.Review,
	}[state], err
}

// openEnrollment lets a device in: the digest names exactly the key, the device_id
// and the properties that were shown.
func (f *Flow) openEnrollment(ctx context.Context, tx db.Tx, r *approval.Request, approve bool) (*deed, error) {
	e, err := enroll.Get(ctx, tx, r.SubjectID)
	if err != nil {
		return nil, err
	}
	move := func(from, to protocol.EnrollState) func(context.Context, db.Tx, verdict) error {
		return func(ctx context.Context, tx db.Tx, why verdict) error {
			return enroll.Move(ctx, tx, e.ID, from, to, why.reason)
		}
	}
	d := &deed{
		entry: audit.Entry{ObjectKind: "device", ObjectID: e.DeviceID, Details: map[string]string{"enrollment": e.ID, "key_code": e.KeyCode}},
		done:  audit.EnrollApprove, refused: audit.EnrollReject,
		ready:  func(ctx context.Context, tx db.Tx) error { return free(ctx, tx, e.DeviceID) },
		do:     move(protocol.EnrollPending, protocol.EnrollApproved),
		refuse: move(protocol.EnrollPending, protocol.EnrollRejected),
	}
	if e.Outside() {
		d.ready = func(ctx context.Context, tx db.Tx) error { return pinnable(ctx, tx, e) }
		d.do = func(ctx context.Context, tx db.Tx, why verdict) error { return f.pin(ctx, tx, why, e) }
	}
	switch {
	case e.State == protocol.EnrollApproved && !approve:
		d.undo = move(protocol.EnrollApproved, protocol.EnrollRejected)
	case e.State != protocol.EnrollPending:
		return nil, fmt.Errorf("%w: it is %s", enroll.ErrState, e.State)
	}
	return d, nil
}

// openIdentity gives a device another key: the digest names exactly the key and the
// certificate that were shown.
func (f *Flow) openIdentity(ctx context.Context, tx db.Tx, r *approval.Request, approve bool) (*deed, error) {
	q, err := identity.Get(ctx, tx, r.SubjectID)
	if err != nil {
		return nil, err
	}
	move := func(from, to identity.State) func(context.Context, db.Tx, verdict) error {
		return func(ctx context.Context, tx db.Tx, why verdict) error {
			return identity.Move(ctx, tx, q.ID, from, to, why.reason)
		}
	}
	d := &deed{
		entry: audit.Entry{ObjectKind: "device", ObjectID: q.DeviceID, Details: map[string]string{"request": q.ID, "kind": string(q.Kind), "key_code": q.KeyCode}},
		done:  audit.IdentityApprove, refused: audit.IdentityReject,
		ready:  func(ctx context.Context, tx db.Tx) error { return mayStill(ctx, tx, q) },
		do:     move(identity.Pending, identity.Approved),
		refuse: move(identity.Pending, identity.Rejected),
	}
	if q.Kind == identity.Outside {
		d.do = func(ctx context.Context, tx db.Tx, why verdict) error { return f.pinNext(ctx, tx, why, q) }
	}
	switch {
	case q.State == identity.Approved && !approve:
		d.undo = move(identity.Approved, identity.Rejected)
	case q.State != identity.Pending:
		return nil, fmt.Errorf("%w: it is %s", identity.ErrState, q.State)
	}
	return d, nil
}

// openCommand lets a command be signed: the digest names the statement that was
// shown, which is what is signed.
func (f *Flow) openCommand(ctx context.Context, tx db.Tx, r *approval.Request, _ bool) (*deed, error) {
	c, err := command.Get(ctx, tx, r.SubjectID)
	if err != nil {
		return nil, err
	}
	if c.State != command.Review || c.Ending != "" {
		return nil, approval.ErrClosed
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "command", ObjectID: c.ID, Details: map[string]string{"kind": c.Kind}},
		done:  audit.CommandApprove, refused: audit.CommandReject,
		do: func(ctx context.Context, tx db.Tx, _ verdict) error {
			// What was voted on is the statement itself, and no copy of it.
			if r.Digest != c.Digest || signing.Digest(c.Statement) != c.Digest {
				return approval.ErrDigest
			}
			return command.Agreed(ctx, tx, c.ID)
		},
		refuse: func(ctx context.Context, tx db.Tx, why verdict) error {
			return command.End(ctx, tx, c.ID, command.EndRejected, why.who.ID, why.reason)
		},
		after: func(ctx context.Context, decided approval.State) error {
			if decided == approval.Rejected || decided == approval.Void {
				if _, err := f.endCommand(ctx, c.ID); err != nil {
					return err
				}
			}
			f.wakeCommands()
			return nil
		},
	}, nil
}

// Withdrawn ends the review of an enrollment whose token was revoked or whose
// window was closed.
func (f *Flow) Withdrawn(ctx context.Context, tx db.Tx, e *enroll.Enrollment) error {
	if e.ApprovalID == "" || e.State != protocol.EnrollPending {
		return nil
	}
	return approval.Close(ctx, tx, e.ApprovalID, approval.Void)
}
