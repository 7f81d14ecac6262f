package admin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// ErrInvitation is the one answer to an invitation that makes no account, whatever
// the cause.
var ErrInvitation = errors.New("the invitation is not valid, or not for this name")

// The lives of an invitation.
const (
	minInvitation     = time.Minute
	maxInvitation     = 14 * 24 * time.Hour
	defaultInvitation = 3 * 24 * time.Hour
)

// Invitation lets one person make one account, of the name and role that it was
// written for.
type Invitation struct {
	ID        string
	Name      string
	Person    string
	Role      authz.Role
	Grants    []authz.Permission
	Inviter   string // account name
	CreatedAt time.Time
	ExpiresAt time.Time
}

// NewInvitation is an invitation to be written.
type NewInvitation struct {
	Name   string
	Person string // "" takes the name
	Role   authz.Role
	Grants []authz.Permission
	Life   time.Duration // 0 takes three days
}

// Invite writes an invitation and returns its secret, the only time that it is
// known. An older one for the same name dies. It needs a fresh sign-in.
func (s *Service) Invite(ctx context.Context, by authz.By, n NewInvitation) (Invitation, string, error) {
	if n.Life == 0 {
		n.Life = defaultInvitation
	}
	if n.Life < minInvitation || n.Life > maxInvitation {
		return Invitation{}, "", &InvalidError{"life", "must be one minute to 14 days"}
	}
	a, err := NewAccount{Name: n.Name, Person: n.Person, Role: n.Role, Grants: n.Grants}.normal()
	if err != nil {
		return Invitation{}, "", err
	}
	if err := fresh(by, s.d.Now()); err != nil {
		return Invitation{}, "", err
	}
	secret := newSecret()
	var made *invitationRow
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		inviter, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		if _, err := accountBy(ctx, tx, "name", a.Name); !errors.Is(err, ErrNotFound) {
			if err == nil {
				err = ErrNameTaken
			}
			return err
		}
		if err := closeInvitations(ctx, tx, a.Name, "a newer invitation"); err != nil {
			return err
		}
		made = &invitationRow{
			ID: tx.NewID(), SecretHash: secretHash(invitationPrefix, secret), Name: a.Name, Person: a.Person, Role: a.Role,
			InviterID: inviter.ID, Inviter: inviter, CreatedAt: tx.At(), ExpiresAt: tx.At().Add(n.Life),
		}
		if made.Epoch, err = tx.Epoch(ctx); err != nil {
			return err
		}
		if made.Grants, err = listText(a.Grants); err != nil {
			return err
		}
		if err := insertInvitation(ctx, tx, made); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: audit.InvitationCreate, ObjectKind: "account", ObjectID: a.Name,
			Details: map[string]string{"person": a.Person, "role": string(a.Role), "grants": joined(a.Grants)},
		})
	})
	if err != nil {
		return Invitation{}, "", err
	}
	return made.invitation(), invitationPrefix + base64.RawURLEncoding.EncodeToString(secret), nil
}

// Redeeming is the use of an invitation.
type Redeeming struct {
	Source, RequestID, Agent string
	Via                      Via // "" is ViaProgram
	Secret, Name, Password   string
}

// Redeem makes the account of an invitation and signs its owner in. The name must be
// the one that the invitation was written for, and whoever wrote it must still be
// allowed to make accounts. It refuses with ErrInvitation, *InvalidError or a
// *ThrottledError.
func (s *Service) Redeem(ctx context.Context, in Redeeming) (string, Caller, error) {
	from := (&Attempt{Source: in.Source, RequestID: in.RequestID, Agent: in.Agent, Via: in.Via}).from()
	if err := s.take(ctx, func(ctx context.Context, tx db.Tx) (time.Duration, error) {
		return takeAttempt(ctx, tx, bySource, sourceOf(in.Source))
	}); err != nil {
		return "", Caller{}, err
	}
	secret, ok := openSecret(invitationPrefix, in.Secret)
	if !ok {
		return "", Caller{}, errors.Join(ErrInvitation, s.refused(ctx, from, "", "invitation"))
	}
	name, _ := normalName(in.Name)
	hash, err := s.newHash(ctx, in.Password, name)
	if err != nil {
		return "", Caller{}, err
	}
	waits := ""
	token, c, err := s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := s.spendInvitation(ctx, tx, secret, name)
		if err != nil {
			return err
		}
		account := &accountRow{ID: tx.NewID(), Name: row.Name, Person: row.Person, PasswordHash: hash, CreatedAt: tx.At(), CreatedBy: "person:" + row.Inviter.Name}
		inv := row.invitation()
		invited := Account{ID: account.ID, Name: row.Name, Person: row.Person, Role: inv.Role, Grants: inv.Grants}
		adds := widened(&Account{DisabledAt: tx.Now}, &invited)
		if len(adds) > 0 { // whoever invited asks for these; until others agree it is an account that looks
			inv.Role, inv.Grants = authz.Viewer, nil
		}
		if err := account.take(&Account{Role: inv.Role, Grants: inv.Grants, PasswordAt: tx.Now}); err != nil {
			return err
		}
		if err := insertAccount(ctx, tx, account); err != nil {
			return err
		}
		inviter := authz.By{Actor: audit.Actor{Kind: audit.Person, ID: row.Inviter.Name}, AccountID: row.Inviter.ID, Person: row.Inviter.Person}
		if waits, err = s.askFirst(ctx, tx, inviter, account.account(), invited, adds, "invited by "+row.Inviter.Name); err != nil {
			return err
		}
		o.origin, o.account, o.method, o.stage = from, account, ByInvitation, StageFull
		who := audit.Actor{Kind: audit.Person, ID: row.Name, Source: in.Source, RequestID: in.RequestID}
		return audit.Write(ctx, tx, who, audit.Entry{
			Action: audit.AccountCreate, ObjectKind: "account", ObjectID: row.Name,
			Details: map[string]string{"person": row.Person, "role": string(row.Role), "grants": joined(inv.Grants), "invited by": row.Inviter.Name},
		})
	})
	if errors.Is(err, ErrInvitation) || errors.Is(err, ErrNameTaken) {
		return "", Caller{}, errors.Join(ErrInvitation, s.refused(ctx, from, "", "invitation"))
	}
	c.WaitsFor = waits
	return token, c, err
}

// spendInvitation closes the invitation of a secret, once, if it still stands.
func (s *Service) spendInvitation(ctx context.Context, tx db.Tx, secret []byte, name string) (*invitationRow, error) {
	row, err := invitationBy(ctx, tx, secretHash(invitationPrefix, secret))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrInvitation
	}
	if err != nil {
		return nil, err
	}
	epoch, err := tx.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	inviter := row.Inviter.account()
	if !row.stands(&inviter, name, epoch, tx.Now) {
		return nil, ErrInvitation
	}
	err = closeInvitation(ctx, tx, row.ID, "redeemed")
	if errors.Is(err, db.ErrConflict) {
		return nil, ErrInvitation
	}
	return row, err
}

// stands judges an invitation as it is redeemed. Whether it is still open is judged
// by the statement that closes it.
func (r *invitationRow) stands(inviter *Account, name, epoch string, now time.Time) bool {
	return now.Before(r.ExpiresAt.Time()) && r.Epoch == epoch && r.Name == name &&
		invites(inviter)
}

// invites reports whether invitations of an account count. What it wrote ends when it
// does not invite any more, and does not come back.
func invites(a *Account) bool { return a.Active() && a.May(authz.AccountManage) }

// Invitations lists those that can still be redeemed, the newest first.
func (s *Service) Invitations(ctx context.Context) ([]Invitation, error) {
	rows, err := openInvitations(ctx, s.d.Read(), db.At(s.d.Now()))
	list := make([]Invitation, 0, len(rows))
	for i := range rows {
		list = append(list, rows[i].invitation())
	}
	return list, err
}

// Uninvite takes an invitation back. One that is over already is no error.
func (s *Service) Uninvite(ctx context.Context, by authz.By, id string) error {
	if protocol.CheckID(id) != nil {
		return ErrNotFound
	}
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row, err := invitationByID(ctx, tx, id)
		if err != nil {
			return err
		}
		err = closeInvitation(ctx, tx, id, string(by.Kind)+":"+by.ID)
		if errors.Is(err, db.ErrConflict) {
			return nil
		}
		if err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.InvitationRevoke, ObjectKind: "account", ObjectID: row.Name})
	})
}

// The prefixes say what a secret is for to whoever finds one, and no secret of one
// kind is one of another.
const (
	invitationPrefix = "sxi_"
	machinePrefix    = "sxt_"
)

// openSecret reads what a prefix and newSecret make.
func openSecret(prefix, text string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return nil, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	return secret, err == nil
}

func secretHash(prefix string, secret []byte) []byte {
	sum := sha256.Sum256(append([]byte(prefix), secret...))
	return sum[:]
}
