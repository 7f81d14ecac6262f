// Package pins is what the device believes: the chain of fleet roots from the
// one that was pinned, and the policy bundle in force under it.
//
// They are verified when they come in and again each time they are read from
// disk, against what the journal holds on to: the digest of the first root, and
// version and digest of the newest root and bundle. A file that the journal does
// not name is not believed, however well it is signed.
package pins

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	rootsFile  = "fleet-roots.json" // a JSON array of envelopes, version 1 first
	bundleFile = "policy-bundle.json"
	maxRoots   = signing.MaxRootChain * signing.MaxEnvelope
)

// ErrDamaged means that what lies on the disk is not what the journal says was verified.
var ErrDamaged = errors.New("the stored fleet root or policy is not the one that was verified")

// Pins is a verified chain and bundle.
type Pins struct {
	Root         *signing.PinnedRoot
	Bundle       *signing.PolicyBundle
	BundleDigest string
	Lapsed       bool // the bundle has expired: only signing.AlwaysAllowed is left

	bundle []byte // the envelope
}

// Verify judges a chain and a bundle that came over the wire. firstRoot is the
// digest of version 1 as given out of band, "" for trust on first use; highWater
// is the bundle's version from which on it is taken.
func Verify(roots [][]byte, bundle []byte, firstRoot string, now time.Time, highWater int64) (*Pins, error) {
	root, err := signing.VerifyRootChain(roots, firstRoot)
	if err != nil {
		return nil, err
	}
	env, err := signing.ParseEnvelope(bundle)
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	b, err := signing.VerifyBundle(env, root, now, highWater)
	if err != nil && !errors.Is(err, signing.ErrExpired) {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	return &Pins{Root: root, Bundle: b, BundleDigest: signing.Digest(env.Payload), Lapsed: err != nil, bundle: bundle}, nil
}

// Store writes both files. They count once the journal names them.
func (p *Pins) Store(dir string) error {
	roots := make([]json.RawMessage, len(p.Root.Envelopes))
	for i, env := range p.Root.Envelopes {
		roots[i] = env
	}
	data, err := json.Marshal(roots)
	if err != nil {
		return fmt.Errorf("store the fleet roots: %w", err)
	}
	if err := files.Replace(filepath.Join(dir, rootsFile), data, 0o600); err != nil {
		return fmt.Errorf("store the fleet roots: %w", err)
	}
	if err := files.Replace(filepath.Join(dir, bundleFile), p.bundle, 0o600); err != nil {
		return fmt.Errorf("store the policy bundle: %w", err)
	}
	return nil
}

// Load reads both files and verifies them against the journal. Its errors wrap
// ErrDamaged.
func Load(dir string, e *journal.Enrolled, now time.Time) (*Pins, error) {
	data, err := files.ReadPrivate(filepath.Join(dir, rootsFile), maxRoots)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	bundle, err := files.ReadPrivate(filepath.Join(dir, bundleFile), signing.MaxEnvelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	roots, err := readRoots(data)
	if err != nil {
		return nil, err
	}
	p, err := Verify(roots, bundle, e.FirstRoot, e.Now(now), e.Policy.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if p.RootMark() != e.Root || p.PolicyMark() != e.Policy {
		return nil, fmt.Errorf("%w: the journal names others", ErrDamaged)
	}
	return p, nil
}

func readRoots(data []byte) ([][]byte, error) {
	var list []json.RawMessage
	if err := protocol.Decode(data, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	roots := make([][]byte, len(list))
	for i, env := range list {
		roots[i] = bytes.Clone(env)
	}
	return roots, nil
}

// RootMark and PolicyMark are what the journal holds on to.
func (p *Pins) RootMark() journal.Mark {
	return journal.Mark{Version: p.Root.Root.Version, Digest: p.Root.Digest}
}

// PolicyMark is the bundle's.
func (p *Pins) PolicyMark() journal.Mark {
	return journal.Mark{Version: p.Bundle.Version, Digest: p.BundleDigest}
}

// BundleEnvelope is the bundle with its signatures, as it came.
func (p *Pins) BundleEnvelope() []byte { return bytes.Clone(p.bundle) }

// FirstDigest is the digest of version 1, the pin.
func (p *Pins) FirstDigest() (string, error) {
	env, err := signing.ParseEnvelope(p.Root.Envelopes[0])
	if err != nil {
		return "", err
	}
	return signing.Digest(env.Payload), nil
}

// Floor is the time that these documents prove has come.
func (p *Pins) Floor() time.Time {
	if p.Bundle.IssuedAt.After(p.Root.Root.IssuedAt) {
		return p.Bundle.IssuedAt
	}
	return p.Root.Root.IssuedAt
}

// ServerCAs are the CAs that may issue to servers, DeviceCAs those for devices.
func (p *Pins) ServerCAs() ([]*x509.Certificate, error) { return certs.ParseCAs(p.Root.Root.ServerCAs) }

// DeviceCAs are the CAs that may issue to devices.
func (p *Pins) DeviceCAs() ([]*x509.Certificate, error) { return certs.ParseCAs(p.Root.Root.DeviceCAs) }

// Remove deletes both files.
func Remove(dir string) error {
	for _, name := range []string{rootsFile, bundleFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what the device believed: %w", err)
		}
	}
	return nil
}
