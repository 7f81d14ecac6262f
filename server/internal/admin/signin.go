package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrSignIn is the one answer to every sign-in that is not let in, whatever the
// cause.
var ErrSignIn = errors.New("name or password is wrong")

// Attempt is one attempt to sign in.
type Attempt struct {
	Source    string // network address
	RequestID string
	Agent     string // what the client calls itself
	Name      string
	Password  string
}

// SignIn opens a session and returns the token that carries it, the only time
// that it is known. It refuses with ErrSignIn or a *ThrottledError. An account
// that does not exist costs the same work as one that does, and its name is not
// written anywhere: people type their passwords there.
func (s *Service) SignIn(ctx context.Context, at Attempt) (string, Caller, error) {
	name, isName := normalName(at.Name) // "" for what is no name: those share one count
	if err := s.throttle.take(s.d.Now(), at.Source, name); err != nil {
		return "", Caller{}, errors.Join(err, s.refused(ctx, at, "", "throttled"))
	}
	row, err := s.verify(ctx, name, isName, at.Password)
	switch {
	case errors.Is(err, errBusy):
		return "", Caller{}, &ThrottledError{After: maxHashWait}
	case errors.Is(err, ErrSignIn):
		known := ""
		if row != nil {
			known = row.Name
		}
		return "", Caller{}, errors.Join(err, s.refused(ctx, at, known, "credentials"))
	case err != nil:
		return "", Caller{}, err
	}
	token, c, err := s.open(ctx, at, row)
	if err != nil {
		return "", Caller{}, err
	}
	s.throttle.succeeded(name)
	return token, c, nil
}

// verify does the same work for every name: one query, one hash.
func (s *Service) verify(ctx context.Context, name string, isName bool, password string) (*accountRow, error) {
	row, err := accountBy(ctx, s.d.Read(), "name", name)
	if errors.Is(err, ErrNotFound) {
		row, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	hash := s.hasher.dummy
	if row != nil {
		hash = row.PasswordHash
	}
	ok, err := s.hasher.matches(ctx, hash, password[:min(len(password), maxPassword+1)])
	switch {
	case err != nil:
		return nil, err
	case !ok || row == nil || !isName || row.DisabledAt != 0:
		return row, ErrSignIn
	}
	return row, nil
}

// open makes the session of an account whose password was right a moment ago.
func (s *Service) open(ctx context.Context, at Attempt, checked *accountRow) (string, Caller, error) {
	now := s.d.Now()
	secret := newSecret()
	session := sessionRow{
		ID: db.NewID(now), SecretHash: hashSecret(secret), AccountID: checked.ID,
		CreatedAt: db.At(now), SeenAt: db.At(now), ExpiresAt: db.At(now.Add(s.settings.Lifetime)),
		Source: at.Source, Agent: agentName(at.Agent),
	}
	token, err := s.keys.sign(secret, now, session.ExpiresAt.Time())
	if err != nil {
		return "", Caller{}, err
	}
	var row *accountRow
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		var err error
		if row, err = accountBy(ctx, tx, "id", checked.ID); err != nil {
			return err
		}
		if row.PasswordHash != checked.PasswordHash || row.DisabledAt != 0 {
			return ErrSignIn // changed while the hash was computed
		}
		if session.Epoch, err = tx.Epoch(ctx); err != nil {
			return err
		}
		ended, err := s.makeRoom(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if err := insertSession(ctx, tx, &session); err != nil {
			return err
		}
		if err := setSignedIn(ctx, tx, row.ID); err != nil {
			return err
		}
		who := audit.Actor{Kind: audit.Person, ID: row.Name, Source: at.Source, RequestID: at.RequestID}
		return audit.Write(ctx, tx, who, audit.Entry{
			Action: audit.SignIn, ObjectKind: "session", ObjectID: session.ID, Details: ended,
		})
	})
	if err != nil {
		return "", Caller{}, err
	}
	session.Account = row
	return token, s.caller(&session), nil
}

// makeRoom ends the oldest sessions so that one more keeps within the cap, and
// says for the audit log which.
func (s *Service) makeRoom(ctx context.Context, tx db.Tx, accountID string) (map[string]string, error) {
	ids, err := oldestSessions(ctx, tx, accountID, maxSessions-1, s.settings.Idle)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	for _, id := range ids {
		if err := revokeSession(ctx, tx, id, "session cap"); err != nil {
			return nil, err
		}
	}
	return map[string]string{"ended by the session cap": strings.Join(ids, " ")}, nil
}

// refused records a refusal. Known and unknown names are gathered alike, so that
// the time to record them tells nothing.
func (s *Service) refused(ctx context.Context, at Attempt, known, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel() // whoever hangs up early is recorded all the same
	who := audit.Actor{Kind: audit.Anonymous, Source: at.Source, RequestID: at.RequestID}
	return s.refusals.Note(ctx, who, audit.Entry{Action: audit.SignIn, ObjectKind: "account", ObjectID: known, Reason: reason})
}
