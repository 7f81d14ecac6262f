package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrSignIn is the one answer to every sign-in that is not let in, whatever the
// cause.
var ErrSignIn = errors.New("name or password is wrong")

// errPasskeyNeeded is a right password of an account that must use its passkey. It
// is told as ErrSignIn: a guess must not learn that it was right.
var errPasskeyNeeded = fmt.Errorf("%w: the account signs in with its passkey", ErrSignIn)

// Attempt is one attempt to sign in.
type Attempt struct {
	Source    string // network address
	RequestID string
	Agent     string // what the client calls itself
	Via       Via    // what the token is to travel in; "" is ViaProgram
	Name      string
	Password  string

	NewPassword string // to be set in a later step, if the password is a one-time password; "": it is not known yet
}

func (at *Attempt) from() origin {
	via := at.Via
	if via == "" {
		via = ViaProgram
	}
	return origin{Source: at.Source, RequestID: at.RequestID, Agent: at.Agent, Via: via}
}

// origin is where a step of a sign-in comes from.
type origin struct {
	Source, RequestID, Agent string
	Via                      Via
}

// SignIn opens a session and returns the token that carries it, the only time
// that it is known. The session's Stage says whether a step is still due. A new
// password that could not be set is an *InvalidError, before anything is looked up or
// used. It refuses with ErrSignIn or a *ThrottledError. An account that does not exist costs the same
// work as one that does, and its name is not written anywhere: people type their
// passwords there.
func (s *Service) SignIn(ctx context.Context, at Attempt) (string, Caller, error) {
	if err := s.checkNext(at.NewPassword, at.Name); err != nil {
		return "", Caller{}, err
	}
	if at.NewPassword != "" && at.NewPassword == at.Password {
		return "", Caller{}, errSamePassword
	}
	from := at.from()
	name, isName := normalName(at.Name) // "" for what is no name: those share one count
	row, err := accountBy(ctx, s.d.Read(), "name", name)
	if errors.Is(err, ErrNotFound) || !isName {
		row, err = nil, nil
	}
	if err != nil {
		return "", Caller{}, err
	}
	id, known := "", ""
	if row != nil {
		id, known = row.ID, row.Name
	}
	counted, err := s.takeSignIn(ctx, at.Source, id, name)
	if errors.Is(err, ErrThrottled) {
		return "", Caller{}, errors.Join(err, s.refused(ctx, from, "", "throttled"))
	}
	if err != nil {
		return "", Caller{}, err
	}
	token, c, err := "", Caller{}, s.verify(ctx, row, at.Password)
	if err == nil {
		token, c, err = s.open(ctx, from, row, counted)
	}
	switch {
	case errors.Is(err, errBusy):
		return "", Caller{}, &ThrottledError{After: maxHashWait}
	case errors.Is(err, errPasskeyNeeded):
		return "", Caller{}, errors.Join(ErrSignIn, s.refused(ctx, from, known, "passkey-needed"))
	case errors.Is(err, ErrSignIn):
		return "", Caller{}, errors.Join(err, s.refused(ctx, from, known, "credentials"))
	}
	return token, c, err
}

// verify does the same work for every name: one hash.
func (s *Service) verify(ctx context.Context, row *accountRow, password string) error {
	hash := s.hasher.dummy
	if row != nil {
		hash = row.PasswordHash
	}
	ok, err := s.hasher.matches(ctx, hash, password[:min(len(password), maxPassword+1)])
	switch {
	case err != nil:
		return err
	case !ok || row == nil || row.DisabledAt != 0 || row.PasswordOnce == oneTimeUsed:
		return ErrSignIn
	}
	return nil
}

// open makes the session of an account whose password was right a moment ago.
func (s *Service) open(ctx context.Context, from origin, checked *accountRow, counted attempts) (string, Caller, error) {
	return s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := accountBy(ctx, tx, "id", checked.ID)
		if err != nil {
			return err
		}
		if row.PasswordHash != checked.PasswordHash || row.PasswordOnce != checked.PasswordOnce || row.DisabledAt != 0 {
			return ErrSignIn // changed while the hash was computed
		}
		has, err := factorsOf(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if s.passkeyOnly(row, has) {
			return errPasskeyNeeded
		}
		if row.PasswordOnce == oneTimeFresh {
			if epoch, err := tx.Epoch(ctx); err != nil || epoch != row.OnceEpoch {
				return errors.Join(err, ErrSignIn)
			}
			row.PasswordOnce = oneTimeUsed
			if err := updateAccount(ctx, tx, row); err != nil {
				return err
			}
		}
		o.origin, o.account, o.method = from, row, ByPassword
		o.stage = due(ByPassword, has.totp, row.PasswordOnce != ownPassword)
		failures, err := forgetAttempts(ctx, tx, counted)
		if err != nil || failures <= 1 { // this one is among them
			return err
		}
		return notify(ctx, tx, row.ID, NoticeFailedSignIns, howMany(failures-1, "attempt")+" with a wrong password", "")
	})
}

// opening is a session about to be made.
type opening struct {
	origin
	account *accountRow
	method  Method
	stage   Stage
}

// openSession makes a session in one transaction with whatever prepare does
// before. Each has a secret of its own: none outlives a step (ASVS 7.2.4).
func (s *Service) openSession(ctx context.Context, prepare func(ctx context.Context, tx db.Tx, o *opening) error) (string, Caller, error) {
	secret := newSecret()
	var session *sessionRow
	var notices []Notice
	err := s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		o := &opening{}
		if err := prepare(ctx, tx, o); err != nil {
			return err
		}
		life := s.settings.Lifetime
		if o.stage != StageFull {
			life = min(life, halfLife)
		}
		session = &sessionRow{
			ID: tx.NewID(), SecretHash: hashSecret(secret), AccountID: o.account.ID, Account: o.account,
			CreatedAt: tx.At(), SeenAt: tx.At(), ExpiresAt: tx.At().Add(life), Source: o.Source, Agent: agentName(o.Agent),
			Via: o.Via, Stage: o.stage, Method: o.method, ToldFrom: o.account.SignedInAt,
		}
		var err error
		if session.Epoch, err = tx.Epoch(ctx); err != nil {
			return err
		}
		ended, err := s.makeRoom(ctx, tx, o.account.ID, o.stage == StageFull)
		if err != nil {
			return err
		}
		if o.stage == StageFull {
			if err := s.complete(ctx, tx, o, session); err != nil {
				return err
			}
		}
		if err := insertSession(ctx, tx, session); err != nil {
			return err
		}
		if notices, err = noticesSince(ctx, tx, o.account.ID, session.ToldFrom); err != nil {
			return err
		}
		who := audit.Actor{Kind: audit.Person, ID: o.account.Name, Source: o.Source, RequestID: o.RequestID}
		entry := audit.Entry{Action: audit.SignIn, ObjectKind: "session", ObjectID: session.ID, Details: map[string]string{"method": string(o.method), "via": string(o.Via)}}
		if o.stage != StageFull {
			entry.Action = audit.SignInStep
			entry.Details["due"] = string(o.stage)
		}
		if ended != "" {
			entry.Details["ended by the session cap"] = ended
		}
		return audit.Write(ctx, tx, who, entry)
	})
	if err != nil {
		return "", Caller{}, err
	}
	token, err := s.keys.sign(secret, session.CreatedAt.Time(), session.ExpiresAt.Time())
	if err != nil {
		return "", Caller{}, err
	}
	c := s.caller(session)
	if session.Stage == StageFull {
		c.Notices = notices
	}
	return token, c, nil
}

// complete is what a sign-in with nothing due leaves behind.
func (s *Service) complete(ctx context.Context, tx db.Tx, o *opening, session *sessionRow) error {
	session.FullAt = tx.At()
	if err := setSignedIn(ctx, tx, o.account.ID); err != nil {
		return err
	}
	o.account.SignedInAt = tx.At()
	return rememberSource(ctx, tx, o.account.ID, sourceOf(o.Source))
}

// makeRoom ends the oldest sessions so that one more keeps within the cap, and
// says for the audit log which.
func (s *Service) makeRoom(ctx context.Context, tx db.Tx, accountID string, full bool) (string, error) {
	keep := maxHalf - 1
	if full {
		keep = maxSessions - 1
	}
	ids, err := oldestSessions(ctx, tx, accountID, full, keep, s.settings.Idle)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	for _, id := range ids {
		if err := revokeSession(ctx, tx, id, "session cap"); err != nil {
			return "", err
		}
	}
	return strings.Join(ids, " "), nil
}

// refused records a refusal. Known and unknown names are gathered alike, so that
// the time to record them tells nothing.
func (s *Service) refused(ctx context.Context, from origin, known, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel() // whoever hangs up early is recorded all the same
	who := audit.Actor{Kind: audit.Anonymous, Source: from.Source, RequestID: from.RequestID}
	return s.refusals.Note(ctx, who, audit.Entry{Action: audit.SignIn, ObjectKind: "account", ObjectID: known, Reason: reason})
}
