package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/assertion"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Listed is a key of this installation, or a source of one.
type Listed struct {
	Purpose string    `json:"purpose"`
	Key     string    `json:"key,omitempty"`    // id, or the fingerprint of its certificate
	State   string    `json:"state,omitempty"`  //
	Until   time.Time `json:"until,omitzero"`   // when the state ends
	Source  string    `json:"source,omitempty"` // where the private key is
	Note    string    `json:"note,omitempty"`
}

// Where private keys are that no source names.
const (
	withOwner  = "with the fleet's owner"
	inDatabase = "database, sealed"
	inMemory   = "memory, made anew each day"
)

// ListKeys lists the keys of every purpose that this version has a use for.
func (c *Core) ListKeys(ctx context.Context) ([]Listed, error) {
	list, err := c.fleetKeys(ctx)
	if err != nil {
		return nil, err
	}
	authorities, err := c.authorityKeys(ctx)
	if err != nil {
		return nil, err
	}
	list = append(append(list, authorities...), Listed{Purpose: "ocsp", Source: inMemory})
	for _, p := range assertion.Purposes() {
		keys, err := c.assertionKeys(ctx, p)
		if err != nil {
			return nil, err
		}
		list = append(list, keys...)
	}
	return list, nil
}

// fleetKeys are those that the fleet root and the policy bundle in force name.
func (c *Core) fleetKeys(ctx context.Context) (list []Listed, err error) {
	fleet, err := c.Policy.Fleet()
	if err != nil {
		if errors.Is(err, policy.ErrNotFounded) {
			return nil, nil
		}
		return nil, err
	}
	owner := withOwner
	if c.Config.Profile == config.Trial {
		owner = "data directory: a trial"
	}
	for _, k := range fleet.Root.Root.Root.Keys {
		list = append(list, Listed{Purpose: string(k.Purpose), Key: k.ID, State: "in force", Source: owner, Note: "keys ceremony"})
	}
	for _, k := range fleet.Root.Root.Policy.Keys {
		list = append(list, Listed{Purpose: string(k.Purpose), Key: k.ID, State: "in force", Source: owner, Note: "policy sign"})
	}
	sources := c.CommandKeys().Sources()
	if c.Config.SignerCommand.Kind == config.FromNowhere {
		sources = nil
	}
	found := map[string]string{} // key id -> source
	for _, source := range sources {
		pub, err := c.Keys.Public(ctx, string(signing.PurposeCommand), source)
		if err != nil {
			list = append(list, Listed{Purpose: string(signing.PurposeCommand), Source: source.Shown(), Note: err.Error()})
			continue
		}
		key, err := signing.NewKey(signing.PurposeCommand, pub)
		if err != nil {
			return nil, err
		}
		found[key.ID] = source.Shown()
		if !slices.ContainsFunc(fleet.Bundle.CommandKeys, func(k signing.Key) bool { return k.ID == key.ID }) {
			list = append(list, Listed{Purpose: string(signing.PurposeCommand), Key: key.ID, State: "not listed", Source: source.Shown(), Note: "the policy bundle in force does not list it: keys rotate command"})
		}
	}
	for _, k := range fleet.Bundle.CommandKeys {
		l := Listed{Purpose: string(k.Purpose), Key: k.ID, State: "listed", Source: found[k.ID]}
		if l.Source == "" {
			l.Note = "no source that is configured here has it"
		}
		list = append(list, l)
	}
	return list, nil
}

func (c *Core) authorityKeys(ctx context.Context) (list []Listed, err error) {
	authorities, err := c.PKI.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range authorities {
		l := Listed{Purpose: keysource.PurposeOf(a.Kind), Key: a.Fingerprint, State: string(a.State), Until: a.NotAfter, Source: inDatabase}
		if a.External {
			l.Source = c.sourceOf(ctx, a)
		}
		list = append(list, l)
	}
	return list, nil
}

// sourceOf is where an authority's key is, as far as its sources answer.
func (c *Core) sourceOf(ctx context.Context, a pki.Authority) string {
	const unknown = "a key source"
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil { // requested: it has none yet
		return unknown
	}
	for _, s := range c.AuthorityKeys()[a.Kind].Sources() {
		if pub, err := c.Keys.Public(ctx, keysource.PurposeOf(a.Kind), s); err == nil && pki.KeyDigest(pub) == pki.KeyDigest(cert.PublicKey) {
			return s.Shown()
		}
	}
	return unknown
}

func (c *Core) assertionKeys(ctx context.Context, p signing.Purpose) (list []Listed, err error) {
	keys, err := c.Assertions.Keys(ctx, p)
	if err != nil {
		return nil, err
	}
	const unused = "no part of this version issues such assertions yet"
	published := map[string]bool{}
	for _, k := range keys {
		published[k.ID] = true
		list = append(list, Listed{Purpose: string(p), Key: k.ID, State: string(k.State), Until: k.Until, Note: unused})
	}
	for _, source := range c.AssertionKeys()[p].Sources() {
		pub, err := c.Keys.Public(ctx, string(p), source)
		if err != nil {
			list = append(list, Listed{Purpose: string(p), Source: source.Shown(), Note: err.Error()})
			continue
		}
		key, err := signing.NewKey(p, pub)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(list, func(l Listed) bool { return l.Key == key.ID }); i >= 0 {
			list[i].Source = source.Shown()
		} else {
			list = append(list, Listed{Purpose: string(p), Key: key.ID, State: "not published", Source: source.Shown(), Note: "publish it: keys rotate " + string(p)})
		}
	}
	return list, nil
}

// PublishKey publishes the key of the newest source of an assertion's purpose. A key
// that a policy bundle, a fleet root or another setting has for something else is
// refused.
func (c *Core) PublishKey(ctx context.Context, by authz.By, p signing.Purpose) (assertion.Standing, error) {
	var elsewhere [][]byte
	if fleet, err := c.Policy.Fleet(); err == nil {
		for _, list := range [][]signing.Key{fleet.Root.Root.Root.Keys, fleet.Root.Root.Policy.Keys, fleet.Bundle.CommandKeys} {
			for _, k := range list {
				elsewhere = append(elsewhere, k.Public)
			}
		}
	}
	for _, s := range c.configured() {
		if s.purpose == string(p) {
			continue
		}
		if pub, err := c.Keys.Public(ctx, s.purpose, s.source); err == nil { // one that does not answer serves nothing now
			if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
				elsewhere = append(elsewhere, der)
			}
		}
	}
	return c.Assertions.Publish(ctx, by, p, elsewhere...)
}

type configuredKey struct {
	purpose string
	source  config.KeySource
}

// configured are the sources of every purpose.
func (c *Core) configured() (list []configuredKey) {
	add := func(purpose string, s *keysource.Set) {
		for _, source := range s.Sources() {
			list = append(list, configuredKey{purpose, source})
		}
	}
	if c.Config.SignerCommand.Kind != config.FromNowhere {
		add(string(signing.PurposeCommand), c.CommandKeys())
	}
	for _, kind := range []certs.Kind{certs.KindDevice, certs.KindServer} {
		add(keysource.PurposeOf(kind), c.AuthorityKeys()[kind])
	}
	for _, p := range assertion.Purposes() {
		add(string(p), c.AssertionKeys()[p])
	}
	return list
}

// Checked is a source that was asked for a signature.
type Checked struct {
	Purpose string `json:"purpose"`
	Source  string `json:"source"`
	Key     string `json:"key,omitempty"` // SHA-256 of the public key, in hex
	Millis  int64  `json:"milliseconds"`
	Error   string `json:"error,omitempty"`
}

// CheckKeys has every configured source, or those of one purpose, sign a text that means
// nothing.
func (c *Core) CheckKeys(ctx context.Context, purpose string) (list []Checked) {
	for _, s := range c.configured() {
		if purpose != "" && s.purpose != purpose {
			continue
		}
		began := time.Now()
		pub, err := c.tryKey(ctx, s)
		checked := Checked{Purpose: s.purpose, Source: s.source.Shown(), Millis: time.Since(began).Milliseconds()}
		if err != nil {
			checked.Error = err.Error()
		} else {
			checked.Key = pki.KeyDigest(pub)
		}
		list = append(list, checked)
	}
	return list
}

func (c *Core) tryKey(ctx context.Context, s configuredKey) (crypto.PublicKey, error) {
	pub, err := c.Keys.Public(ctx, s.purpose, s.source)
	if err != nil {
		return nil, err
	}
	if _, isECDSA := pub.(*ecdsa.PublicKey); !isECDSA && (s.purpose == keysource.PurposeOf(certs.KindDevice) || s.purpose == keysource.PurposeOf(certs.KindServer)) {
		return nil, pki.ErrAuthorityKey
	}
	signer, err := c.Keys.Signer(s.purpose, s.source, pub)
	if err != nil {
		return nil, err
	}
	_, hash, _, err := extsign.Method(pub)
	if err != nil {
		return nil, err
	}
	text := []byte("sentinel-secure-x: this signs nothing")
	if hash != 0 {
		h := hash.New()
		h.Write(text)
		text = h.Sum(nil)
	}
	if _, err := signer.Sign(rand.Reader, text, hash); err != nil {
		return nil, fmt.Errorf("it did not sign: %w", err)
	}
	return pub, nil
}
