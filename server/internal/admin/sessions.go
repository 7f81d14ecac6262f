package admin

import (
	"context"
	"errors"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// SessionFilter chooses sessions.
type SessionFilter struct {
	AccountID string // "" is every account's
	Limit     int    // 1 to 500; 0 takes 50
	After     string // the Next of the page before
}

// Sessions reads a page of the running sessions, newest first to the
// millisecond, and where the next page begins.
func (s *Service) Sessions(ctx context.Context, f SessionFilter) ([]Session, string, error) {
	if f.After != "" && protocol.CheckID(f.After) != nil {
		return nil, "", &InvalidError{"after", "is not a page marker"}
	}
	f.Limit = pageSize(f.Limit)
	rows, err := listSessions(ctx, s.d.Read(), f, db.At(s.d.Now()), s.settings.Idle)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		next = rows[f.Limit-1].ID
	}
	sessions := make([]Session, 0, len(rows))
	for i := range rows {
		sessions = append(sessions, rows[i].session())
	}
	return sessions, next, nil
}

// SignOut ends the caller's session.
func (s *Service) SignOut(ctx context.Context, by authz.By, id string) error {
	return s.endSession(ctx, by, id, true, audit.SignOut)
}

// RevokeOwn ends a session of the account behind by. Another's is ErrNotFound,
// as if it were not there.
func (s *Service) RevokeOwn(ctx context.Context, by authz.By, id string) error {
	return s.endSession(ctx, by, id, true, audit.SessionRevoke)
}

// RevokeSession ends anyone's session; by must rest on authz.SessionManage.
func (s *Service) RevokeSession(ctx context.Context, by authz.By, id string) error {
	return s.endSession(ctx, by, id, false, audit.SessionRevoke)
}

func (s *Service) endSession(ctx context.Context, by authz.By, id string, own bool, action string) error {
	if protocol.CheckID(id) != nil {
		return ErrNotFound
	}
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row, err := sessionBy(ctx, tx, "id", id)
		if err != nil {
			return err
		}
		if own && row.AccountID != by.AccountID {
			return ErrNotFound
		}
		err = revokeSession(ctx, tx, id, string(by.Kind)+":"+by.ID)
		if errors.Is(err, db.ErrConflict) {
			return nil // ended before: what was asked holds
		}
		if err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: action, ObjectKind: "session", ObjectID: id, Details: map[string]string{"account": row.Account.Name},
		})
	})
}

// Prune removes what is long over: sessions, counts of attempts, challenges,
// notices, addresses. It is for a schedule. The result counts the sessions.
func (s *Service) Prune(ctx context.Context) (int64, error) {
	var n int64
	err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		var err error
		if n, err = deleteSessions(ctx, tx, tx.At().Add(-keepEnded)); err != nil {
			return err
		}
		return deleteOver(ctx, tx)
	})
	return n, err
}
