package adminapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// Account is one account.
type Account struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Person     string             `json:"person" doc:"Whose it is: two accounts of one person count once."`
	Role       authz.Role         `json:"role"`
	Grants     []authz.Permission `json:"grants" nullable:"false" doc:"Permissions beside those of the role."`
	Active     bool               `json:"active"`
	CreatedAt  time.Time          `json:"created_at"`
	CreatedBy  string             `json:"created_by"`
	PasswordAt time.Time          `json:"password_at" doc:"Last change of the password."`
	SignedInAt time.Time          `json:"signed_in_at,omitzero" doc:"Last sign-in; absent: never."`
	DisabledAt time.Time          `json:"disabled_at,omitzero"`

	MustPasskey bool `json:"must_passkey" doc:"Once it has a passkey, its password opens nothing."`
	OneTime     bool `json:"one_time_password" doc:"Its password is good for one sign-in, which sets another."`

	Waits *Waits `json:"waits,omitempty" doc:"Rights that were asked for, and that others decide on first."`
}

func viewAccount(a *admin.Account) Account {
	return Account{
		ID: a.ID, Name: a.Name, Person: a.Person, Role: a.Role, Grants: append([]authz.Permission{}, a.Grants...), Active: a.Active(),
		CreatedAt: a.CreatedAt, CreatedBy: a.CreatedBy, PasswordAt: a.PasswordAt, SignedInAt: a.SignedInAt, DisabledAt: a.DisabledAt,
		MustPasskey: a.MustPasskey, OneTime: a.OneTime,
	}
}

func (a *API) listAccounts(ctx context.Context, in *struct{ Paging }) (*listOut[Account], error) {
	accounts, next, err := a.deps.Accounts.List(ctx, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(accounts, next, viewAccount), nil
}

type accountOut struct {
	Status int
	Body   Account
}

// accountAnswer is an account after an act, or as it is until others agreed to it.
func accountAnswer(status int, a admin.Account, err error) (*accountOut, error) {
	out := &accountOut{Status: status}
	if w, ok := errors.AsType[*admin.WaitsError](err); ok {
		waits := waiting(w.ApprovalID, 1)
		out.Status, out.Body.Waits = http.StatusAccepted, &waits
		a, err = w.Account, nil
	}
	if err != nil {
		return nil, err
	}
	waits := out.Body.Waits
	out.Body = viewAccount(&a)
	out.Body.Waits = waits
	return out, nil
}

type createAccountIn struct {
	Body struct {
		Name     string             `json:"name" maxLength:"64" doc:"a-z, 0-9, '.', '_', '-' and '@'."`
		Person   string             `json:"person,omitempty" maxLength:"64" doc:"Whose it is; absent: the name."`
		Role     authz.Role         `json:"role" enum:"viewer,operator,approver,security,admin"`
		Grants   []authz.Permission `json:"grants,omitempty" maxItems:"64" nullable:"false"`
		Password string             `json:"password" maxLength:"256" secret:"true"`
		OneTime  bool               `json:"one_time_password,omitempty" doc:"The password is good for one sign-in, which sets another."`

		MustPasskey bool `json:"must_passkey,omitempty" doc:"Once it has a passkey, its password opens nothing."`
	}
}

func (a *API) createAccount(ctx context.Context, in *createAccountIn) (*accountOut, error) {
	b := in.Body
	made, err := a.deps.Accounts.CreateAccount(ctx, acting(ctx), admin.NewAccount{
		Name: b.Name, Person: b.Person, Role: b.Role, Grants: b.Grants, Password: b.Password, OneTime: b.OneTime, MustPasskey: b.MustPasskey,
	})
	return accountAnswer(http.StatusCreated, made, err)
}

type updateAccountIn struct {
	IDPath
	Body struct {
		Role     *authz.Role         `json:"role,omitempty" enum:"viewer,operator,approver,security,admin"`
		Grants   *[]authz.Permission `json:"grants,omitempty" maxItems:"64" nullable:"false" doc:"All grants from now on."`
		Disabled *bool               `json:"disabled,omitempty"`
		Password *string             `json:"password,omitempty" maxLength:"256" secret:"true" doc:"It is good for one sign-in, which sets another."`
		Reason   string              `json:"reason,omitempty" maxLength:"400"`

		MustPasskey *bool `json:"must_passkey,omitempty" doc:"Once it has a passkey, its password opens nothing."`
	}
}

func (a *API) updateAccount(ctx context.Context, in *updateAccountIn) (*accountOut, error) {
	b := in.Body
	after, err := a.deps.Accounts.Update(ctx, acting(ctx), in.ID, admin.Change{
		Role: b.Role, Grants: b.Grants, Disabled: b.Disabled, Password: b.Password, Reason: b.Reason, MustPasskey: b.MustPasskey,
	})
	return accountAnswer(http.StatusOK, after, err)
}
