package admin

import (
	"errors"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
)

// Settings of people and their sessions.
type Settings struct {
	JWTSecrets  [][]byte      // the current one first, then those that still verify; at least 32 bytes each
	Idle        time.Duration // a session unused for this long ends
	Lifetime    time.Duration // a session ends after this long, used or not
	MinPassword int           // characters of a new password

	Ring         *seal.Ring    // seals what a code generator knows
	FleetName    string        // as people's authenticator apps show it
	PeopleURL    func() string // where browsers find the server; the origin of passkeys
	PasskeyRoles []authz.Role  // whose accounts must use a passkey once they have one

	CheapHashes bool // of tests: passwords are hashed as good as not at all; no setting of the server's leads here
}

// Service is the domain's one door.
type Service struct {
	d        *db.DB
	refusals *audit.Refusals
	settings Settings
	keys     keyRing
	hasher   *hasher
	rights   Rights // asked before rights are widened; nil: nobody is
}

// New checks the settings and makes the service.
func New(d *db.DB, refusals *audit.Refusals, s Settings) (*Service, error) {
	if s.Ring == nil || s.PeopleURL == nil {
		return nil, errors.New("admin: a key ring and the URL for people are needed")
	}
	if s.Idle <= 0 || s.Lifetime <= 0 || s.MinPassword < 1 {
		return nil, errors.New("admin: idle time, lifetime and password length must be positive")
	}
	keys, err := newKeyRing(s.JWTSecrets)
	if err != nil {
		return nil, err
	}
	c := passwordCost
	if s.CheapHashes {
		c = cheapCost
	}
	return &Service{d: d, refusals: refusals, settings: s, keys: keys, hasher: newHasher(c)}, nil
}
