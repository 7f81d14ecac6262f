package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	typeFleetRoot = "fleet-root"

	// MaxKeys of one set. Two sets together fit into MaxSignatures.
	MaxKeys = 8
	// MaxCAs of each kind: the one in use, the next, and some retiring.
	MaxCAs = 8
)

// KeySet is keys of one purpose and how many of them must sign.
type KeySet struct {
	Keys      []Key `json:"keys"`
	Threshold int   `json:"threshold"`
}

// FleetRoot is what everything that a device believes comes from.
type FleetRoot struct {
	Type             string    `json:"type"`     // "fleet-root"
	FleetID          string    `json:"fleet_id"` // UUID, the same for life
	Version          int64     `json:"version"`  // 1, 2, 3 without gaps
	IssuedAt         time.Time `json:"issued_at"`
	Root             KeySet    `json:"root"`                         // may sign fleet roots
	Policy           KeySet    `json:"policy"`                       // may sign policy bundles
	UpdateRootDigest string    `json:"update_root_digest,omitempty"` // SHA-256 hex of the first root of the update repository
	TrustDomain      string    `json:"trust_domain"`                 // see certs.CheckTrustDomain
	ServerCAs        [][]byte  `json:"server_cas"`                   // DER of the CAs that may issue to servers
	DeviceCAs        [][]byte  `json:"device_cas"`                   // DER of the CAs that may issue to devices
}

// Check holds the root to its rules (ErrRule, ErrKey). It says nothing of who
// signed it.
func (r *FleetRoot) Check() error {
	if r.Type != typeFleetRoot {
		return fmt.Errorf("%w: type is not %s", ErrRule, typeFleetRoot)
	}
	if err := protocol.CheckID(r.FleetID); err != nil {
		return fmt.Errorf("%w: fleet_id: %w", ErrRule, err)
	}
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if err := checkTime("issued_at", r.IssuedAt); err != nil {
		return err
	}
	// One map for both sets: a policy key that is a root key would make the
	// distance between them a matter of form only.
	seen := map[string]bool{}
	if err := r.Root.check(PurposeFleetRoot, seen); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := r.Policy.check(PurposePolicyBundle, seen); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if r.UpdateRootDigest != "" {
		if err := checkDigest("update_root_digest", r.UpdateRootDigest); err != nil {
			return err
		}
	}
	if err := certs.CheckTrustDomain(r.TrustDomain); err != nil {
		return fmt.Errorf("%w: %w", ErrRule, err)
	}
	keys := map[string]bool{}
	if err := checkCAs("server_cas", r.ServerCAs, keys); err != nil {
		return err
	}
	return checkCAs("device_cas", r.DeviceCAs, keys)
}

// SignFleetRoot fills in the type, brings issued_at into form, checks the root
// and signs it with every signer. A first root needs the threshold of its own
// keys; a later one also that of the root before.
func SignFleetRoot(ctx context.Context, r FleetRoot, signers ...Signer) (*Envelope, error) {
	r.Type, r.IssuedAt = typeFleetRoot, stamp(r.IssuedAt)
	if err := r.Check(); err != nil {
		return nil, err
	}
	return seal(ctx, PurposeFleetRoot, r, &FleetRoot{}, signers)
}

func (s *KeySet) check(p Purpose, seen map[string]bool) error {
	if len(s.Keys) > MaxKeys {
		return fmt.Errorf("%w: more than %d keys", ErrRule, MaxKeys)
	}
	if s.Threshold < 1 || s.Threshold > len(s.Keys) {
		return fmt.Errorf("%w: threshold must be 1 to the number of keys", ErrRule)
	}
	return checkKeys(s.Keys, p, seen)
}

// checkKeys refuses records of another purpose and public keys seen before.
func checkKeys(keys []Key, p Purpose, seen map[string]bool) error {
	for _, k := range keys {
		if err := k.Check(); err != nil {
			return err
		}
		if k.Purpose != p {
			return fmt.Errorf("%w: key %s is for %s, not %s", ErrKey, k.ID, k.Purpose, p)
		}
		if seen[string(k.Public)] {
			return fmt.Errorf("%w: the public key of %s stands twice", ErrRule, k.ID)
		}
		seen[string(k.Public)] = true
	}
	return nil
}

// checkCAs keeps the pools of servers and devices apart, by key: the same key
// under two certificates would serve both.
func checkCAs(name string, ders [][]byte, seen map[string]bool) error {
	if len(ders) == 0 || len(ders) > MaxCAs {
		return fmt.Errorf("%w: %s must have 1 to %d certificates", ErrRule, name, MaxCAs)
	}
	list, err := certs.ParseCAs(ders)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrRule, name, err)
	}
	own := map[string]bool{}
	for _, c := range list {
		spki := string(c.RawSubjectPublicKeyInfo) //nolint:staticcheck // SA6001: it is stored below
		if seen[spki] {
			return fmt.Errorf("%w: %s: a key that may issue to servers may not issue to devices", ErrRule, name)
		}
		if own[certs.Fingerprint(c.Raw)] {
			return fmt.Errorf("%w: %s: a certificate stands twice", ErrRule, name)
		}
		own[certs.Fingerprint(c.Raw)] = true
	}
	for _, c := range list {
		seen[string(c.RawSubjectPublicKeyInfo)] = true
	}
	return nil
}
