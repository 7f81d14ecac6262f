package admin

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	wire "github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Refusals about passkeys.
var (
	// ErrPasskey is the one answer to every passkey that is not taken.
	ErrPasskey = errors.New("the passkey was not accepted; begin again")
	// ErrNoPasskeys says that this server's address rules passkeys out.
	ErrNoPasskeys  = errors.New("passkeys need a server that is reached by a name over https, or at localhost; set SENTINEL_PEOPLE_URL")
	ErrLastPasskey = errors.New("this is the last passkey of an account that must use one; enroll another first")
	ErrTooMany     = errors.New("the account has as many passkeys as it may have; remove one first")
	// ErrCloned is a passkey whose counter went back: a copy of it is in use.
	errCloned = fmt.Errorf("%w: its counter went back", ErrPasskey)
)

const (
	maxPasskeys      = 10
	maxPasskeyName   = 64
	maxPasskeyAnswer = 16 << 10
	// challengeLife is how long a person has to touch the authenticator.
	challengeLife = 3 * time.Minute
)

// purpose is what a challenge was made for.
type purpose string

const (
	toSignIn   purpose = "sign-in"
	toRegister purpose = "register"
)

// algorithms are those offered, and no other is taken: ES256 and EdDSA, and RS256
// for Windows Hello.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// PasskeyChallenge is what a browser is asked to sign.
type PasskeyChallenge struct {
	ID      string
	Options json.RawMessage // for navigator.credentials, {"publicKey": ...}
}

// PasskeyAttempt is a browser's answer to a challenge.
type PasskeyAttempt struct {
	Source, RequestID, Agent string
	Via                      Via // "" is ViaProgram
	ChallengeID              string
	Response                 []byte
}

// relyingParty is this server as WebAuthn sees it: one origin, and user
// verification always.
func (s *Service) relyingParty() (*webauthn.WebAuthn, error) {
	u, err := url.Parse(s.settings.PeopleURL())
	if err != nil || u.Hostname() == "" {
		return nil, ErrNoPasskeys
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, ErrNoPasskeys // WebAuthn section 5.1.3: an address is no RP ID
	}
	rp, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: s.issuer(), RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPasskeys, err)
	}
	return rp, nil
}

// holder is an account as the library asks for it. The user handle is the account's
// id, which says nothing about the person (WebAuthn section 14.6.1).
type holder struct {
	row  *accountRow
	keys []webauthn.Credential
}

func (h *holder) WebAuthnID() []byte                         { return []byte(h.row.ID) }
func (h *holder) WebAuthnName() string                       { return h.row.Name }
func (h *holder) WebAuthnDisplayName() string                { return h.row.Name }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

func (r *passkeyRow) credential() (webauthn.Credential, error) {
	var c webauthn.Credential
	if err := json.Unmarshal(r.Credential, &c); err != nil {
		return c, fmt.Errorf("passkey %s: %w", r.ID, err)
	}
	c.Authenticator.SignCount = uint32(r.SignCount)
	return c, nil
}

// PasskeyRegistrationOptions begins the enrollment of a passkey by the account
// behind by. It needs a fresh sign-in.
func (s *Service) PasskeyRegistrationOptions(ctx context.Context, by authz.By) (PasskeyChallenge, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return PasskeyChallenge{}, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return PasskeyChallenge{}, err
	}
	row, err := accountBy(ctx, s.d.Read(), "id", by.AccountID)
	if err != nil {
		return PasskeyChallenge{}, err
	}
	before, err := passkeysOf(ctx, s.d.Read(), row.ID)
	if err != nil {
		return PasskeyChallenge{}, err
	}
	if len(before) >= maxPasskeys {
		return PasskeyChallenge{}, ErrTooMany
	}
	h := &holder{row: row}
	for i := range before {
		c, err := before[i].credential()
		if err != nil {
			return PasskeyChallenge{}, err
		}
		h.keys = append(h.keys, c)
	}
	options, session, err := rp.BeginRegistration(h,
		webauthn.WithCredentialParameters(algorithms), webauthn.WithExclusions(webauthn.Credentials(h.keys).CredentialDescriptors()))
	if err != nil {
		return PasskeyChallenge{}, err
	}
	return s.challenge(ctx, challengeRow{Purpose: toRegister, AccountID: row.ID, SessionID: by.SessionID}, options, session, by.Still)
}

// PasskeySignInOptions begins a sign-in with whatever passkey the person chooses:
// no name is asked for, and none is told. No lockout of a password touches it.
func (s *Service) PasskeySignInOptions(ctx context.Context, source string) (PasskeyChallenge, error) {
	rp, err := s.relyingParty()
	if err != nil {
		return PasskeyChallenge{}, err
	}
	if err := s.take(ctx, func(ctx context.Context, tx db.Tx) (time.Duration, error) {
		return takeAttempt(ctx, tx, byPasskeySource, sourceOf(source))
	}); err != nil {
		return PasskeyChallenge{}, err
	}
	options, session, err := rp.BeginDiscoverableLogin()
	if err != nil {
		return PasskeyChallenge{}, err
	}
	return s.challenge(ctx, challengeRow{Purpose: toSignIn}, options, session, nil)
}

func (s *Service) challenge(ctx context.Context, row challengeRow, options, session any, still func(context.Context, db.Tx) error) (PasskeyChallenge, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return PasskeyChallenge{}, err
	}
	if row.Data, err = json.Marshal(session); err != nil {
		return PasskeyChallenge{}, err
	}
	err = s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		if still != nil {
			if err := still(ctx, tx); err != nil {
				return err
			}
		}
		row.ID, row.ExpiresAt = tx.NewID(), tx.At().Add(challengeLife)
		return insertChallenge(ctx, tx, &row)
	})
	return PasskeyChallenge{ID: row.ID, Options: text}, err
}

// spendChallenge takes a challenge out of the database, whatever becomes of the
// answer to it: it is good for one.
func (s *Service) spendChallenge(ctx context.Context, id string, like challengeRow) (*webauthn.SessionData, error) {
	if wire.CheckID(id) != nil {
		return nil, ErrPasskey
	}
	var row *challengeRow
	err := s.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		var err error
		row, err = takeChallenge(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if row == nil || row.Purpose != like.Purpose || row.AccountID != like.AccountID || row.SessionID != like.SessionID || !s.d.Now().Before(row.ExpiresAt.Time()) {
		return nil, ErrPasskey
	}
	session := new(webauthn.SessionData)
	return session, json.Unmarshal(row.Data, session)
}

// RegisterPasskey enrolls the passkey that the browser made for a challenge of
// this very session. It refuses with ErrPasskey, *InvalidError, ErrTooMany or what
// by says.
func (s *Service) RegisterPasskey(ctx context.Context, by authz.By, challengeID, name string, response []byte) (Passkey, error) {
	if err := fresh(by, s.d.Now()); err != nil {
		return Passkey{}, err
	}
	if name == "" || wire.CheckText("name", name, maxPasskeyName) != nil {
		return Passkey{}, &InvalidError{"name", "must be 1 to 64 printable characters"}
	}
	rp, err := s.relyingParty()
	if err != nil {
		return Passkey{}, err
	}
	session, err := s.spendChallenge(ctx, challengeID, challengeRow{Purpose: toRegister, AccountID: by.AccountID, SessionID: by.SessionID})
	if err != nil {
		return Passkey{}, err
	}
	row, err := accountBy(ctx, s.d.Read(), "id", by.AccountID)
	if err != nil {
		return Passkey{}, err
	}
	credential, err := created(rp, &holder{row: row}, session, response)
	if err != nil {
		return Passkey{}, errors.Join(ErrPasskey, s.refusals.Note(ctx, by.Actor, audit.Entry{Action: audit.FactorAdd, ObjectKind: "account", ObjectID: row.Name, Reason: "passkey"}))
	}
	data, err := json.Marshal(credential)
	if err != nil {
		return Passkey{}, err
	}
	key := &passkeyRow{
		ID: base64.RawURLEncoding.EncodeToString(credential.ID), AccountID: row.ID, Name: name, Credential: data, SignCount: int64(credential.Authenticator.SignCount),
	}
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		has, err := factorsOf(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if has.passkeys >= maxPasskeys {
			return ErrTooMany
		}
		key.CreatedAt = tx.At()
		if err := insertPasskey(ctx, tx, key); err != nil {
			return err
		}
		return tell(ctx, tx, by, row, audit.FactorAdd, NoticeFactorAdded, "passkey "+name)
	})
	return key.passkey(), err
}

// created judges the browser's answer to a registration (WebAuthn section 7.1).
func created(rp *webauthn.WebAuthn, h *holder, session *webauthn.SessionData, response []byte) (*webauthn.Credential, error) {
	if len(response) > maxPasskeyAnswer {
		return nil, ErrPasskey
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, err
	}
	credential, err := rp.CreateCredential(h, *session, parsed)
	if err != nil {
		return nil, err
	}
	return credential, checkKey(credential.PublicKey)
}

// checkKey holds an attested key to its algorithm (WebAuthn section 5.8.5): without an
// attestation, nothing else would look at it before the first sign-in.
func checkKey(cose []byte) error {
	key, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return err
	}
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		const p256, size = 1, 32
		if k.Curve != p256 || len(k.XCoord) != size || len(k.YCoord) != size {
			return ErrPasskey
		}
		_, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, k.XCoord, k.YCoord)) // refuses a point that is not on the curve
		return err
	case webauthncose.OKPPublicKeyData:
		const ed25519Curve = 6
		if k.Curve != ed25519Curve || len(k.XCoord) != ed25519.PublicKeySize {
			return ErrPasskey
		}
		return nil
	case webauthncose.RSAPublicKeyData:
		n, e := new(big.Int).SetBytes(k.Modulus), new(big.Int).SetBytes(k.Exponent)
		if n.BitLen() < 2048 || n.BitLen() > 8192 || e.Cmp(big.NewInt(65537)) != 0 {
			return ErrPasskey
		}
		return nil
	}
	return ErrPasskey
}

// RemovePasskey takes a passkey of one's own away.
func (s *Service) RemovePasskey(ctx context.Context, by authz.By, id string) error {
	if err := fresh(by, s.d.Now()); err != nil {
		return err
	}
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		row, err := s.own(ctx, tx, by)
		if err != nil {
			return err
		}
		key, err := passkeyBy(ctx, tx, id)
		if err != nil {
			return err
		}
		if key.AccountID != row.ID {
			return ErrNoFactor
		}
		has, err := factorsOf(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if has.passkeys == 1 && s.mustPasskey(row) {
			return ErrLastPasskey
		}
		if err := removePasskey(ctx, tx, id); err != nil {
			return err
		}
		return tell(ctx, tx, by, row, audit.FactorRemove, NoticeFactorRemoved, "passkey "+key.Name)
	})
}

// PasskeySignIn opens a session for whoever answered a challenge with a passkey.
// It refuses with ErrPasskey.
func (s *Service) PasskeySignIn(ctx context.Context, at PasskeyAttempt) (string, Caller, error) {
	from := (&Attempt{Source: at.Source, RequestID: at.RequestID, Agent: at.Agent, Via: at.Via}).from()
	token, c, known, err := s.passkeySignIn(ctx, from, at)
	switch {
	case errors.Is(err, errCloned):
		return "", Caller{}, errors.Join(ErrPasskey, s.refused(ctx, from, known, "passkey-cloned"))
	case errors.Is(err, ErrPasskey):
		return "", Caller{}, errors.Join(ErrPasskey, s.refused(ctx, from, known, "passkey"))
	}
	return token, c, err
}

func (s *Service) passkeySignIn(ctx context.Context, from origin, at PasskeyAttempt) (token string, c Caller, known string, err error) {
	rp, err := s.relyingParty()
	if err != nil {
		return "", Caller{}, "", err
	}
	session, err := s.spendChallenge(ctx, at.ChallengeID, challengeRow{Purpose: toSignIn})
	if err != nil {
		return "", Caller{}, "", err
	}
	if len(at.Response) > maxPasskeyAnswer {
		return "", Caller{}, "", ErrPasskey
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(at.Response)
	if err != nil {
		return "", Caller{}, "", fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	key, h, err := s.holderOf(ctx, parsed.RawID)
	if err != nil {
		return "", Caller{}, "", err
	}
	credential, err := rp.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, *session, parsed)
	if err != nil {
		return "", Caller{}, h.row.Name, fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	if credential.Authenticator.CloneWarning {
		return "", Caller{}, h.row.Name, errors.Join(errCloned, s.cloned(ctx, from, key, h.row))
	}
	data, err := json.Marshal(credential)
	if err != nil {
		return "", Caller{}, h.row.Name, err
	}
	token, c, err = s.openSession(ctx, func(ctx context.Context, tx db.Tx, o *opening) error {
		row, err := accountBy(ctx, tx, "id", h.row.ID)
		if err != nil {
			return err
		}
		if row.DisabledAt != 0 {
			return ErrPasskey
		}
		err = usePasskey(ctx, tx, key.ID, key.SignCount, int64(credential.Authenticator.SignCount), data)
		if errors.Is(err, db.ErrConflict) {
			return ErrPasskey // removed, or used elsewhere, meanwhile
		}
		if err != nil {
			return err
		}
		o.origin, o.account, o.method, o.stage = from, row, ByPasskey, StageFull
		_, err = forgetAttempts(ctx, tx, attempts{bySecond, row.ID})
		return err
	})
	return token, c, h.row.Name, err
}

// holderOf finds whose passkey it is. What the browser says of the user is compared
// with it later, and chooses nothing.
func (s *Service) holderOf(ctx context.Context, rawID []byte) (*passkeyRow, *holder, error) {
	key, err := passkeyBy(ctx, s.d.Read(), base64.RawURLEncoding.EncodeToString(rawID))
	if errors.Is(err, ErrNoFactor) {
		return nil, nil, ErrPasskey
	}
	if err != nil {
		return nil, nil, err
	}
	row, err := accountBy(ctx, s.d.Read(), "id", key.AccountID)
	if err != nil {
		return nil, nil, err
	}
	credential, err := key.credential()
	return key, &holder{row, []webauthn.Credential{credential}}, err
}

// cloned records that a passkey's counter went back (WebAuthn section 7.2, step 22),
// for the auditor and for the owner.
func (s *Service) cloned(ctx context.Context, from origin, key *passkeyRow, row *accountRow) error {
	return s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := notify(ctx, tx, row.ID, NoticePasskeyCloned, "passkey "+key.Name+": a copy of it may be in use; remove it", from.Source); err != nil {
			return err
		}
		who := audit.Actor{Kind: audit.Anonymous, Source: from.Source, RequestID: from.RequestID}
		return audit.Write(ctx, tx, who, audit.Entry{
			Action: audit.PasskeyCloned, ObjectKind: "account", ObjectID: row.Name, Result: audit.Refused, Reason: "passkey-cloned", Details: map[string]string{"passkey": key.Name},
		})
	})
}
