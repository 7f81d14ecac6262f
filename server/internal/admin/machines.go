package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// The limits of API tokens.
const (
	minAPIToken  = time.Minute
	maxAPIToken  = 366 * 24 * time.Hour
	maxAPITokens = 200
)

// ErrTooManyTokens says that no further API token can be made.
var ErrTooManyTokens = errors.New("there are as many API tokens as there may be; revoke some first")

// APIToken is the identity of a machine that calls the API. It is no account: it
// signs in nowhere and votes on nothing.
type APIToken struct {
	ID          string
	Name        string
	Permissions []authz.Permission
	Maker       string // account name; what the maker may not do any more, the token may not
	CreatedAt   time.Time
	ExpiresAt   time.Time
	UsedAt      time.Time // to about a minute; zero: never
	RevokedAt   time.Time
}

// NewAPIToken is an API token to be made.
type NewAPIToken struct {
	Name        string
	Permissions []authz.Permission
	Life        time.Duration
}

// CreateAPIToken makes an API token and returns its secret, the only time that it is
// known. Its permissions are some of its maker's, and none that only a person may
// use. It needs a fresh sign-in.
func (s *Service) CreateAPIToken(ctx context.Context, by authz.By, n NewAPIToken) (APIToken, string, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return APIToken{}, "", err
	}
	name, ok := normalName(n.Name)
	if !ok {
		return APIToken{}, "", &InvalidError{"name", nameRule}
	}
	if n.Life < minAPIToken || n.Life > maxAPIToken {
		return APIToken{}, "", &InvalidError{"life", "must be one minute to 366 days"}
	}
	permissions, err := normalGrants(n.Permissions)
	if err != nil {
		return APIToken{}, "", err
	}
	if len(permissions) == 0 {
		return APIToken{}, "", &InvalidError{"permissions", "are missing"}
	}
	for _, p := range permissions {
		if !p.ForMachines() {
			return APIToken{}, "", &InvalidError{"permissions", "include " + string(p) + ", which only a person may use"}
		}
	}
	secret := newSecret()
	var made *machineRow
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		maker, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		a := maker.account()
		for _, p := range permissions {
			if !a.May(p) {
				return authz.ErrDenied // nobody hands on what they do not have
			}
		}
		if n, err := liveMachines(ctx, tx); err != nil || n >= maxAPITokens {
			return errors.Join(err, ErrTooManyTokens)
		}
		made = &machineRow{
			ID: tx.NewID(), SecretHash: secretHash(machinePrefix, secret), Name: name, MakerID: maker.ID, Maker: maker,
			CreatedAt: tx.At(), ExpiresAt: tx.At().Add(n.Life),
		}
		if made.Epoch, err = tx.Epoch(ctx); err != nil {
			return err
		}
		if made.Permissions, err = listText(permissions); err != nil {
			return err
		}
		if err := insertMachine(ctx, tx, made); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: audit.APITokenCreate, ObjectKind: "api-token", ObjectID: made.ID,
			Details: map[string]string{"name": name, "permissions": joined(permissions), "expires": made.ExpiresAt.Time().Format(time.RFC3339)},
		})
	})
	if err != nil {
		return APIToken{}, "", err
	}
	return made.token(), machinePrefix + base64.RawURLEncoding.EncodeToString(secret), nil
}

// APITokens lists the API tokens, the newest first.
func (s *Service) APITokens(ctx context.Context) ([]APIToken, error) {
	rows, err := listMachines(ctx, s.d.Read())
	list := make([]APIToken, 0, len(rows))
	for i := range rows {
		list = append(list, rows[i].token())
	}
	return list, err
}

// RevokeAPIToken ends an API token at once. One that ended already is no error.
func (s *Service) RevokeAPIToken(ctx context.Context, by authz.By, id string) error {
	if protocol.CheckID(id) != nil {
		return ErrNotFound
	}
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		row, err := machineBy(ctx, tx, "id", id)
		if err != nil {
			return err
		}
		err = revokeMachine(ctx, tx, id, string(by.Kind)+":"+by.ID)
		if errors.Is(err, db.ErrConflict) {
			return nil
		}
		if err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{
			Action: audit.APITokenRevoke, ObjectKind: "api-token", ObjectID: id, Details: map[string]string{"name": row.Name},
		})
	})
}

// machine finds the machine behind an API token.
func (s *Service) machine(ctx context.Context, secret []byte, now time.Time) (Caller, error) {
	row, err := machineBy(ctx, s.d.Read(), "secret_hash", secretHash(machinePrefix, secret))
	if errors.Is(err, ErrNotFound) || err == nil && !row.live(now) {
		return Caller{}, ErrSignedOut
	}
	if err != nil {
		return Caller{}, err
	}
	if now.Sub(row.UsedAt.Time()) >= time.Minute {
		if err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error { return touchMachine(ctx, tx, row.ID, row.UsedAt) }); err != nil {
			return Caller{}, err
		}
	}
	return Caller{
		Account: Account{Name: row.Name, Person: row.Maker.Person, Grants: row.may(), CreatedAt: row.CreatedAt.Time()},
		Session: Session{ID: row.ID, AccountID: row.MakerID, AccountName: row.Name, CreatedAt: row.CreatedAt.Time(), ExpiresAt: row.ExpiresAt.Time(), Via: ViaProgram, Stage: StageFull, Method: ByAPIToken},
	}, nil
}

// byMachine is a machine's authority for one act that needs p. It has no account; its
// person is its maker's, so that nobody approves what a machine of their own asked
// for.
func (c Caller) byMachine(p authz.Permission, source, requestID string) authz.By {
	who := audit.Actor{Kind: audit.Machine, ID: c.Account.Name, Source: source, RequestID: requestID}
	id := c.Session.ID
	by := authz.NewBy(who, "", c.Account.Person, func(ctx context.Context, tx db.Tx) error {
		row, err := machineBy(ctx, tx, "id", id)
		if errors.Is(err, ErrNotFound) {
			return authz.ErrDenied
		}
		if err != nil {
			return err
		}
		if !row.live(tx.Now) || !slices.Contains(row.may(), p) {
			return authz.ErrDenied
		}
		return nil
	})
	by.MakerID = c.Session.AccountID
	return by
}

// live reports whether the token counts at all.
func (r *machineRow) live(now time.Time) bool {
	return r.RevokedAt == 0 && now.Before(r.ExpiresAt.Time()) && r.Epoch == r.EpochNow && r.Maker.DisabledAt == 0
}

// may lists what the token may do now: what it was given, as far as its maker still
// may, and nothing that only a person may.
func (r *machineRow) may() []authz.Permission {
	maker := r.Maker.account()
	return slices.DeleteFunc(listOf(r.Permissions), func(p authz.Permission) bool { return !p.ForMachines() || !maker.May(p) })
}
