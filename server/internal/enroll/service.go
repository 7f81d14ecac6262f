package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Service is what operators do about tokens and windows.
type Service struct {
	d         *db.DB
	withdrawn func(ctx context.Context, tx db.Tx, e *Enrollment) error
}

// New makes the service.
func New(d *db.DB) *Service {
	return &Service{d, func(context.Context, db.Tx, *Enrollment) error { return nil }}
}

// OnWithdraw sets what else ends when an enrollment is withdrawn.
func (s *Service) OnWithdraw(f func(ctx context.Context, tx db.Tx, e *Enrollment) error) {
	s.withdrawn = f
}

// withdraw ends enrollments that rest on something that is gone, before their
// devices fetch a certificate.
func (s *Service) withdraw(ctx context.Context, tx db.Tx, who audit.Actor, list []Enrollment, reason string) error {
	for i := range list {
		e := &list[i]
		if err := Move(ctx, tx, e.ID, e.State, protocol.EnrollRejected, reason); err != nil {
			return err
		}
		if err := s.withdrawn(ctx, tx, e); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, who, audit.Entry{Action: audit.EnrollReject, ObjectKind: "device", ObjectID: e.DeviceID, Reason: reason,
			Details: map[string]string{"enrollment": e.ID}}); err != nil {
			return err
		}
	}
	return nil
}

// CreateToken makes a token and returns its secret, which is not kept.
func (s *Service) CreateToken(ctx context.Context, by authz.By, n NewToken) (t *Token, secret string, err error) {
	if err := n.Check(); err != nil {
		return nil, "", err
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	labels, err := json.Marshal(n.Labels)
	if err != nil {
		return nil, "", err
	}
	secret = newSecret()
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		t = &Token{
			ID: tx.NewID(), Hash: hash(secret), Note: n.Note, MaxUses: n.Uses,
			CreatedBy: by.ID, Person: by.Person, CreatedAt: tx.At(), ExpiresAt: tx.At().Add(n.Life),
			DeviceName: n.DeviceName, Owner: n.Owner, Labels: string(labels), Sensitive: n.Sensitive,
		}
		if err := insertToken(ctx, tx, t); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.TokenCreate, ObjectKind: "enroll-token", ObjectID: t.ID, Reason: n.Note,
			Details: map[string]string{"uses": strconv.FormatInt(n.Uses, 10), "expires_at": t.ExpiresAt.Time().Format(time.RFC3339), "sensitive": strconv.FormatBool(n.Sensitive)}})
	})
	return t, secret, err
}

// RevokeToken ends a token. A token that ended already is ErrState.
func (s *Service) RevokeToken(ctx context.Context, by authz.By, id, reason string) error {
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if _, err := TokenByID(ctx, tx, id); err != nil {
			return err
		}
		if err := revokeToken(ctx, tx, id, by.ID); errors.Is(err, db.ErrConflict) {
			return ErrTokenEnded
		} else if err != nil {
			return err
		}
		rest, err := resting(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := s.withdraw(ctx, tx, by.Actor, rest, "the enrollment token was revoked"); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.TokenRevoke, ObjectKind: "enroll-token", ObjectID: id, Reason: reason})
	})
}

// MaxWindow is the longest that devices may be let in without a review.
const MaxWindow = 24 * time.Hour

// ErrWindow says that a window cannot be opened like this.
var ErrWindow = errors.New("a window is open for one minute to 24 hours, and needs a reason")

// OpenWindow lets devices in without a review for d.
func (s *Service) OpenWindow(ctx context.Context, by authz.By, d time.Duration, reason string) (*Window, error) {
	if d < time.Minute || d > MaxWindow || reason == "" {
		return nil, ErrWindow
	}
	var w *Window
	err := s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		w = &Window{ID: tx.NewID(), OpenedBy: by.ID, Reason: reason, OpenedAt: tx.At(), ClosesAt: tx.At().Add(d)}
		if err := insertWindow(ctx, tx, w); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.WindowOpen, ObjectKind: "enroll-window", ObjectID: w.ID, Reason: reason,
			Details: map[string]string{"closes_at": w.ClosesAt.Time().Format(time.RFC3339)}})
	})
	return w, err
}

// CloseWindow closes whatever is open. With nothing open it does nothing.
func (s *Service) CloseWindow(ctx context.Context, by authz.By, reason string) error {
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		n, err := closeWindows(ctx, tx, by.ID)
		if err != nil || n == 0 {
			return err
		}
		rest, err := resting(ctx, tx, "")
		if err != nil {
			return err
		}
		if err := s.withdraw(ctx, tx, by.Actor, rest, "the enrollment window was closed"); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.WindowClose, ObjectKind: "enroll-window", Reason: reason})
	})
}

// CurrentWindow is the open window at a time, or nil.
func CurrentWindow(ctx context.Context, q bun.IDB, now time.Time) (*Window, error) {
	return openWindow(ctx, q, db.At(now))
}
