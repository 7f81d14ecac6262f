package flow

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
)

// startTTL is how long a request to start issuing again waits.
const startTTL = 24 * time.Hour

// Issuing is whether certificates are issued, and what is asked for.
type Issuing struct {
	Stopped   bool      `json:"stopped"`
	StoppedAt time.Time `json:"stopped_at,omitzero"`
	StoppedBy string    `json:"stopped_by,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	// Start is the request to start again, if one waits.
	Start *StartRequest `json:"start,omitempty"`
}

// StartRequest is a person's wish that certificates are issued again.
type StartRequest struct {
	ID        string    `json:"id"`     // of the request, see /api/approvals
	Digest    string    `json:"digest"` // what a decision names
	AskedBy   string    `json:"asked_by"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Issuing tells how the switch stands.
func (f *Flow) Issuing(ctx context.Context) (*Issuing, error) {
	stop, err := pki.CurrentStop(ctx, f.d.Read())
	if err != nil || stop.StopID == "" {
		return &Issuing{}, err
	}
	out := &Issuing{Stopped: true, StoppedAt: stop.StoppedAt.Time(), StoppedBy: stop.StoppedBy, Reason: stop.Reason}
	if stop.ApprovalID == "" {
		return out, nil
	}
	ask, err := approval.Get(ctx, f.d.Read(), stop.ApprovalID)
	if err == nil && ask.State == approval.Open && f.d.Now().Before(ask.ExpiresAt.Time()) {
		out.Start = &StartRequest{ID: ask.ID, Digest: ask.Digest, AskedBy: ask.Requester, ExpiresAt: ask.ExpiresAt.Time()}
	}
	return out, err
}

// StopIssuing has no certificate issued to a device any more, by any node, once it
// returns: neither at enrollment nor at renewal or recovery. What devices have goes
// on. The server's own certificates are renewed all the same, since without them no
// device could be told anything.
func (f *Flow) StopIssuing(ctx context.Context, by authz.By, reason string) error {
	if reason == "" {
		return ErrReason
	}
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		stop, err := pki.StopIssuing(ctx, tx, by.ID, reason)
		if err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.IssuingStop, ObjectKind: "issuing", ObjectID: stop.StopID, Reason: reason})
	})
}

// AskToStart asks that certificates are issued again; another person decides. What
// was asked before and not decided yet is void.
func (f *Flow) AskToStart(ctx context.Context, by authz.By, reason string) (*StartRequest, error) {
	if reason == "" {
		return nil, ErrReason
	}
	var asked *StartRequest
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		stop, err := pki.CurrentStop(ctx, tx)
		if err != nil {
			return err
		}
		if stop.StopID == "" {
			return pki.ErrNotStopped
		}
		if stop.ApprovalID != "" {
			if err := approval.Close(ctx, tx, stop.ApprovalID, approval.Void); err != nil && !errors.Is(err, db.ErrConflict) { // it was decided, or its time is over
				return err
			}
		}
		action, err := pki.StartAction{StopID: stop.StopID, StoppedBy: stop.StoppedBy, Why: stop.Reason, Reason: reason}.Bytes()
		if err != nil {
			return err
		}
		ask, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Issuing, SubjectID: stop.StopID, Action: action, Required: 1, Requester: by.Person, AccountID: by.AccountID, Reason: reason, TTL: startTTL})
		if err != nil {
			return err
		}
		if err := pki.AskedToStart(ctx, tx, stop, ask.ID); err != nil {
			return err
		}
		asked = &StartRequest{ID: ask.ID, Digest: ask.Digest, AskedBy: ask.Requester, ExpiresAt: ask.ExpiresAt.Time()}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.IssuingAsk, ObjectKind: "issuing", ObjectID: stop.StopID, Reason: reason,
			Details: map[string]string{"digest": ask.Digest, "approval": ask.ID}})
	})
	return asked, err
}

// openIssuing lifts the stop that was asked about, and no later one.
func (f *Flow) openIssuing(ctx context.Context, tx db.Tx, r *approval.Request, _ bool) (*deed, error) {
	stop, err := pki.CurrentStop(ctx, tx)
	if err != nil {
		return nil, err
	}
	if stop.StopID != r.SubjectID || stop.ApprovalID != r.ID {
		return nil, approval.ErrClosed
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "issuing", ObjectID: stop.StopID, Details: map[string]string{"stopped_by": stop.StoppedBy}},
		done:  audit.IssuingStart, refused: audit.IssuingKeep,
		do: func(ctx context.Context, tx db.Tx, _ verdict) error {
			return pki.StartIssuing(ctx, tx, stop.StopID, r.ID)
		},
	}, nil
}
