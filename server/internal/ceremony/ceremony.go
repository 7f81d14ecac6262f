// Package ceremony makes what the fleet's owner signs: the certificate root, the
// issuing authorities' certificates, fleet root and policy bundle, version 1 of each.
//
// Later it certifies new authorities, which the next fleet root names (rotate.go).
//
// It takes the server's request (public keys only) and gives back one document to
// install, and needs neither database nor network. In a trial it runs inside the
// server with keys in the data directory; otherwise on another machine, with keys
// that the server never sees.
package ceremony

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Lifetimes that the ceremony gives. The authorities outlive many device
// certificates; a bundle must be signed again within 30 days (the limit that
// devices hold it to).
const (
	rootLife      = 20 * 365 * 24 * time.Hour
	authorityLife = 5 * 365 * 24 * time.Hour
	bundleLife    = 30 * 24 * time.Hour
)

// Request is what the server asks the ceremony to sign: public keys only.
type Request struct {
	FleetID     string             `json:"fleet_id"`
	FleetName   string             `json:"fleet_name"`
	TrustDomain string             `json:"trust_domain"`
	Authorities []AuthorityRequest `json:"authorities"`
	CommandKeys []signing.Key      `json:"command_keys"`
}

// AuthorityRequest is an issuing key to be certified.
type AuthorityRequest struct {
	ID        string     `json:"id"`
	Kind      certs.Kind `json:"kind"`
	PublicKey []byte     `json:"public_key"` // PKIX, DER
}

// Founding is what the ceremony made, to be installed on the server. Nothing in
// it is secret.
type Founding struct {
	RootCertificate []byte                 `json:"root_certificate"`    // DER
	RootList        []byte                 `json:"root_list,omitempty"` // revocation list of the root, DER
	Authorities     []AuthorityCertificate `json:"authorities"`
	FleetRoot       []byte                 `json:"fleet_root"`              // envelope
	PolicyBundle    []byte                 `json:"policy_bundle,omitempty"` // envelope; none in a Rotation
}

// AuthorityCertificate answers an AuthorityRequest.
type AuthorityCertificate struct {
	ID          string `json:"id"`
	Certificate []byte `json:"certificate"` // DER
}

// Owner holds the keys that the fleet's owner signs with.
type Owner struct {
	dir          string
	root, policy signing.Signer
	certificates crypto.Signer
}

// The owner's key files in the directory of a ceremony.
const (
	RootKeyFile        = "fleet-root.key"
	PolicyKeyFile      = "policy.key"
	CertificateKeyFile = "certificate-root.key"
	CertificateFile    = "certificate-root.der" // not secret: the certificate of that key
	ListFile           = "certificate-root.crl" // not secret: its last revocation list, DER
)

// Keys are those of the owner's keys that are not in files of the directory: others
// sign with them. The ones left nil are files.
type Keys struct{ Root, Policy, Certificates crypto.Signer }

// ErrOneKey says that one key was given for two purposes.
var ErrOneKey = errors.New("one key is given for two purposes; each has a key of its own")

// NewOwner makes the owner's keys in dir, which must hold none yet.
func NewOwner(dir string) (*Owner, error) { return NewOwnerWith(dir, Keys{}) }

// NewOwnerWith is NewOwner with some keys that are elsewhere.
func NewOwnerWith(dir string, elsewhere Keys) (*Owner, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return ownerIn(dir, elsewhere, keyfile.NewEd25519, keyfile.NewP256)
}

// ResumeOwner is NewOwner for a founding that may have been broken off, before
// anything that its keys signed was installed: those that were made are taken, the
// others are made.
func ResumeOwner(dir string) (*Owner, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	half, err := filepath.Glob(filepath.Join(dir, ".*.key-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range half { // what a killed writer left of a key
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return ownerIn(dir, Keys{}, orLoad(keyfile.NewEd25519), orLoad(keyfile.NewP256))
}

// orLoad takes the key that stands at a path, or makes it.
func orLoad(create func(path string) (crypto.Signer, error)) func(path string) (crypto.Signer, error) {
	return func(path string) (crypto.Signer, error) {
		key, err := keyfile.Load(path)
		if errors.Is(err, os.ErrNotExist) {
			return create(path)
		}
		return key, err
	}
}

func ownerIn(dir string, keys Keys, ed25519, p256 func(path string) (crypto.Signer, error)) (*Owner, error) {
	for _, k := range []struct {
		into *crypto.Signer
		from func(path string) (crypto.Signer, error)
		file string
	}{
		{&keys.Root, ed25519, RootKeyFile}, {&keys.Policy, ed25519, PolicyKeyFile}, {&keys.Certificates, p256, CertificateKeyFile},
	} {
		if *k.into != nil {
			continue
		}
		key, err := k.from(filepath.Join(dir, k.file))
		if err != nil {
			return nil, err
		}
		*k.into = key
	}
	return newOwner(dir, keys)
}

// LoadOwner loads the owner's keys from dir.
func LoadOwner(dir string) (*Owner, error) { return LoadOwnerWith(dir, Keys{}) }

// LoadOwnerWith is LoadOwner with some keys that are elsewhere.
func LoadOwnerWith(dir string, elsewhere Keys) (*Owner, error) {
	owner, err := ownerIn(dir, elsewhere, keyfile.Load, keyfile.Load)
	if err != nil {
		return nil, fmt.Errorf("the owner's keys: %w", err)
	}
	return owner, nil
}

func newOwner(dir string, keys Keys) (o *Owner, err error) {
	all := []crypto.Signer{keys.Root, keys.Policy, keys.Certificates}
	for i, key := range all {
		for _, other := range all[:i] {
			if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || pub.Equal(other.Public()) {
				return nil, ErrOneKey
			}
		}
	}
	o = &Owner{dir: dir, certificates: keys.Certificates}
	if o.root, err = signing.NewSigner(signing.PurposeFleetRoot, keys.Root); err != nil {
		return nil, err
	}
	o.policy, err = signing.NewSigner(signing.PurposePolicyBundle, keys.Policy)
	return o, err
}

// Hold signs version 1 of everything that the request needs.
func (o *Owner) Hold(ctx context.Context, r Request, now time.Time) (*Founding, error) {
	if len(r.Authorities) == 0 || r.FleetID == "" || r.TrustDomain == "" {
		return nil, errors.New("the request is not complete; make it anew: sentinel-server keys request")
	}
	now = now.UTC().Truncate(time.Second)
	rootCert, err := o.newRootCertificate(r.FleetName, now)
	if err != nil {
		return nil, err
	}
	f := &Founding{RootCertificate: rootCert.Raw}
	if f.RootList, err = o.rootList(rootCert, nil, now); err != nil {
		return nil, err
	}
	doc := signing.FleetRoot{
		Type: "fleet-root", FleetID: r.FleetID, Version: 1, IssuedAt: now, TrustDomain: r.TrustDomain,
		Root:   signing.KeySet{Keys: []signing.Key{o.root.Key()}, Threshold: 1},
		Policy: signing.KeySet{Keys: []signing.Key{o.policy.Key()}, Threshold: 1},
	}
	if f.Authorities, err = o.certify(r, rootCert, now, &doc); err != nil {
		return nil, err
	}
	rootEnvelope, err := signing.SignFleetRoot(ctx, doc, o.root)
	if err != nil {
		return nil, err
	}
	bundle := signing.PolicyBundle{
		Type: "policy-bundle", FleetID: r.FleetID, RootDigest: signing.Digest(rootEnvelope.Payload), Version: 1,
		IssuedAt: now, ExpiresAt: now.Add(bundleLife), CommandKeys: r.CommandKeys,
	}
	for _, k := range signing.AlwaysAllowed {
		bundle.Kinds = append(bundle.Kinds, signing.KindRule{Kind: k})
	}
	bundleEnvelope, err := signing.SignBundle(ctx, bundle, o.policy)
	if err != nil {
		return nil, err
	}
	if f.FleetRoot, err = rootEnvelope.Marshal(); err != nil {
		return nil, err
	}
	f.PolicyBundle, err = bundleEnvelope.Marshal()
	return f, err
}

// certify signs the certificates of the requested authorities and names them in
// the fleet root that is being made.
func (o *Owner) certify(r Request, root *x509.Certificate, now time.Time, doc *signing.FleetRoot) (list []AuthorityCertificate, err error) {
	for _, a := range r.Authorities {
		pub, err := x509.ParsePKIXPublicKey(a.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("the %s authority's public key cannot be read: %w", a.Kind, err)
		}
		name := fmt.Sprintf("%s %s authority", r.FleetName, a.Kind)
		if doc.Version > 1 {
			name += fmt.Sprintf(" %d", doc.Version)
		}
		der, err := certs.NewIssuingCA(a.Kind, name, r.TrustDomain, certs.CA{Certificate: root, Signer: o.certificates}, pub, now, authorityLife)
		if err != nil {
			return nil, err
		}
		list = append(list, AuthorityCertificate{a.ID, der})
		switch a.Kind {
		case certs.KindDevice:
			doc.DeviceCAs = append(doc.DeviceCAs, der)
		case certs.KindServer:
			doc.ServerCAs = append(doc.ServerCAs, der)
		}
	}
	return list, nil
}

// newRootCertificate makes the certificate of the owner's certificate key and
// leaves it beside the keys.
func (o *Owner) newRootCertificate(fleetName string, now time.Time) (*x509.Certificate, error) {
	der, err := certs.NewRootCA(fleetName+" root", o.certificates, now, rootLife)
	if err != nil {
		return nil, err
	}
	if err := files.Replace(filepath.Join(o.dir, CertificateFile), der, 0o600); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
