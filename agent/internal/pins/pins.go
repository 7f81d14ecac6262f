// Package pins is what the device believes: the chain of fleet roots from the
// one that was pinned, and the policy bundle in force under it.
//
// They are verified when they come in and again each time they are read from
// disk, against what the journal holds on to: the digest of the first root, and
// version and digest of the newest root and bundle. A file that the journal does
// not name is not believed, however well it is signed: files are written before
// the journal, so after a crash there may be a root more in the chain than it
// names, or another bundle beside the one in force.
//
// A Keeper takes newer documents from the server. The chain grows by one root at a
// time, each signed by the keys of the one before; bundles only rise. Nothing else
// ever replaces what is believed, and what is refused leaves it as it was.
//
// A root that takes away the policy keys which signed the bundle in force leaves
// that bundle void: it allows nothing, until one by the new keys is there.
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
	rootsFile = "fleet-roots.json" // a JSON array of envelopes, version 1 first
	maxRoots  = signing.MaxRootChain * signing.MaxEnvelope

	bundleFile = "policy-bundle.json"
	// nextFile holds a newer bundle until the journal names it, so that the one in
	// force is not lost before.
	nextFile = "policy-bundle-next.json"
)

// ErrDamaged means that what lies on the disk is not what the journal says was verified.
var ErrDamaged = errors.New("the stored fleet root or policy is not the one that was verified")

// Pins is a verified chain and bundle.
type Pins struct {
	Root         *signing.PinnedRoot
	Bundle       *signing.PolicyBundle
	BundleDigest string
	Lapsed       bool // the bundle had expired when it was read: only signing.AlwaysAllowed is left
	Void         bool // the root in force takes the bundle's signers away: nothing is left

	bundle []byte // the envelope
}

// LapsedAt says whether the bundle has expired.
func (p *Pins) LapsedAt(now time.Time) bool { return !now.Before(p.Bundle.ExpiresAt) }

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

// Store writes both files of a device that believes nothing yet. They count once
// the journal names them.
func (p *Pins) Store(dir string) error { return p.store(dir, bundleFile) }

// store writes the chain, which may have more in it than the journal names, and the
// bundle.
func (p *Pins) store(dir, bundle string) error {
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
	if err := files.Replace(filepath.Join(dir, bundle), p.bundle, 0o600); err != nil {
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
	bundle, err := readBundle(dir, e.Policy.Digest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	roots, err := readRoots(data)
	if err != nil {
		return nil, err
	}
	if int64(len(roots)) > e.Root.Version { // what a crash left beyond the journal is not believed
		roots = roots[:e.Root.Version]
	}
	p, err := read(roots, bundle, e, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if p.RootMark() != e.Root || p.PolicyMark() != e.Policy {
		return nil, fmt.Errorf("%w: the journal names others", ErrDamaged)
	}
	return p, nil
}

// readBundle reads the bundle in force: the next one, if the journal names it
// already.
func readBundle(dir, digest string) ([]byte, error) {
	if next, err := files.ReadPrivate(filepath.Join(dir, nextFile), signing.MaxEnvelope); err == nil {
		if env, err := signing.ParseEnvelope(next); err == nil && signing.Digest(env.Payload) == digest {
			return next, nil
		}
	}
	return files.ReadPrivate(filepath.Join(dir, bundleFile), signing.MaxEnvelope)
}

// read verifies what is on the disk. A bundle that the newest root does not bear
// out was believed under one before it, or it is not the one.
func read(roots [][]byte, bundle []byte, e *journal.Enrolled, now time.Time) (*Pins, error) {
	p, err := Verify(roots, bundle, e.FirstRoot, e.Now(now), e.Policy.Version)
	if err == nil || len(roots) < 2 {
		return p, err
	}
	whole, chainErr := signing.VerifyRootChain(roots, e.FirstRoot)
	if chainErr != nil {
		return nil, chainErr
	}
	for n := len(roots) - 1; n > 0; n-- {
		if p, before := Verify(roots[:n], bundle, e.FirstRoot, e.Now(now), e.Policy.Version); before == nil {
			p.Root, p.Void = whole, true
			return p, nil
		}
	}
	return nil, err
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

// Remove deletes what was stored.
func Remove(dir string) error {
	for _, name := range []string{rootsFile, bundleFile, nextFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what the device believed: %w", err)
		}
	}
	return nil
}
