package authz

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ErrDenied says that the caller may not do this, or not any more.
var ErrDenied = errors.New("not permitted")

// By is the authority of one act.
type By struct {
	audit.Actor
	AccountID string // of a person
	Person    string // the human behind the account: two accounts of one are one person
	MakerID   string // of a machine: the account that made it, with whose rights its wishes end

	SessionID string    // of a person
	FullAt    time.Time // when that session's sign-in was complete; zero: it never was

	check func(ctx context.Context, tx db.Tx) error
}

// NewBy makes an authority whose check runs in every transaction that acts on it.
func NewBy(who audit.Actor, accountID, person string, check func(ctx context.Context, tx db.Tx) error) By {
	return By{Actor: who, AccountID: accountID, Person: person, check: check}
}

// System is the server acting for itself, named by the part that acts.
func System(part string) By { return own(audit.System, part) }

// Host is whoever runs a command on the server's host and so owns its files.
func Host(command string) By { return own(audit.Host, command) }

func own(kind audit.ActorKind, id string) By {
	return By{Actor: audit.Actor{Kind: kind, ID: id}, check: func(context.Context, db.Tx) error { return nil }}
}

// Still checks the authority inside the transaction that acts. It is the first
// thing that an act does.
func (b By) Still(ctx context.Context, tx db.Tx) error {
	if b.check == nil {
		return ErrDenied
	}
	return b.check(ctx, tx)
}
