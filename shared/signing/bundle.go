package signing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	typePolicyBundle = "policy-bundle"

	// MaxBundleLife is the longest from issued_at to expires_at.
	MaxBundleLife = 30 * 24 * time.Hour
	// ClockSkew is how far ahead of the device's clock a bundle may be issued.
	ClockSkew = 5 * time.Minute

	maxCommandKeys = 16
	maxKinds       = 64
	maxName        = 64 // of a kind or a limit
	maxLimits      = 32
	maxApprovals   = 16
)

// AlwaysAllowed are the kinds of command that a device runs with no approval and
// that an expired bundle leaves. They change nothing that matters; the device
// limits their rate.
var AlwaysAllowed = []string{"ping", "collect-facts", "rotate-certificate", "restart-agent"}

// KindRule allows one kind of command.
type KindRule struct {
	Kind      string           `json:"kind"`
	Approvals int              `json:"approvals"`        // by how many persons; 0 for kinds of AlwaysAllowed only
	Limits    map[string]int64 `json:"limits,omitempty"` // of parameters, by name
}

// PolicyBundle is what devices may be told to do, and by which keys.
type PolicyBundle struct {
	Type        string     `json:"type"` // "policy-bundle"
	FleetID     string     `json:"fleet_id"`
	RootDigest  string     `json:"root_digest"` // of the fleet root that it was made under
	Version     int64      `json:"version"`     // rises, gaps are allowed
	IssuedAt    time.Time  `json:"issued_at"`
	ExpiresAt   time.Time  `json:"expires_at"`   // no longer valid at this moment
	CommandKeys []Key      `json:"command_keys"` // may sign commands
	Kinds       []KindRule `json:"kinds"`        // none allows nothing
}

// Rule finds the rule of a kind. Without one the kind is not allowed.
func (b *PolicyBundle) Rule(kind string) (KindRule, bool) {
	i := slices.IndexFunc(b.Kinds, func(k KindRule) bool { return k.Kind == kind })
	if i < 0 {
		return KindRule{}, false
	}
	return b.Kinds[i], true
}

// Check holds the bundle to its rules (ErrRule, ErrKey), whatever the time and
// whoever signed it.
func (b *PolicyBundle) Check() error {
	if b.Type != typePolicyBundle {
		return fmt.Errorf("%w: type is not %s", ErrRule, typePolicyBundle)
	}
	if err := protocol.CheckID(b.FleetID); err != nil {
		return fmt.Errorf("%w: fleet_id: %w", ErrRule, err)
	}
	if err := checkDigest("root_digest", b.RootDigest); err != nil {
		return err
	}
	if err := checkVersion(b.Version); err != nil {
		return err
	}
	if err := checkTime("issued_at", b.IssuedAt); err != nil {
		return err
	}
	if err := checkTime("expires_at", b.ExpiresAt); err != nil {
		return err
	}
	if life := b.ExpiresAt.Sub(b.IssuedAt); life <= 0 || life > MaxBundleLife {
		return fmt.Errorf("%w: a bundle lasts more than nothing and at most %s", ErrRule, MaxBundleLife)
	}
	if len(b.CommandKeys) == 0 || len(b.CommandKeys) > maxCommandKeys {
		return fmt.Errorf("%w: command_keys must have 1 to %d keys", ErrRule, maxCommandKeys)
	}
	if err := checkKeys(b.CommandKeys, PurposeCommand, map[string]bool{}); err != nil {
		return fmt.Errorf("command_keys: %w", err)
	}
	return checkKinds(b.Kinds)
}

func checkKinds(kinds []KindRule) error {
	if kinds == nil || len(kinds) > maxKinds {
		return fmt.Errorf("%w: kinds must be there, with 0 to %d rules", ErrRule, maxKinds)
	}
	seen := map[string]bool{}
	for _, k := range kinds {
		if !validName(k.Kind) || seen[k.Kind] {
			return fmt.Errorf("%w: a kind is not lower-case words joined by '-', or stands twice", ErrRule)
		}
		seen[k.Kind] = true
		if k.Approvals < 0 || k.Approvals > maxApprovals {
			return fmt.Errorf("%w: %s: approvals must be 0 to %d", ErrRule, k.Kind, maxApprovals)
		}
		if k.Approvals == 0 && !slices.Contains(AlwaysAllowed, k.Kind) {
			return fmt.Errorf("%w: %s needs an approval at least", ErrRule, k.Kind)
		}
		if len(k.Limits) > maxLimits {
			return fmt.Errorf("%w: %s: more than %d limits", ErrRule, k.Kind, maxLimits)
		}
		for name, v := range k.Limits {
			if !validName(name) || v < -protocol.MaxCounter || v > protocol.MaxCounter {
				return fmt.Errorf("%w: %s: a limit's name or value has not the form", ErrRule, k.Kind)
			}
		}
	}
	return nil
}

// validName accepts a-z, 0-9 and, between them, '-' and '_'.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		inner := (c == '-' || c == '_') && i > 0 && i < len(s)-1
		if !inner && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// SignBundle fills in the type, brings the times into form, checks the bundle
// and signs it with every signer.
func SignBundle(ctx context.Context, b PolicyBundle, signers ...Signer) (*Envelope, error) {
	b.Type, b.IssuedAt, b.ExpiresAt = typePolicyBundle, stamp(b.IssuedAt), stamp(b.ExpiresAt)
	if err := b.Check(); err != nil {
		return nil, err
	}
	return seal(ctx, PurposePolicyBundle, b, &PolicyBundle{}, signers)
}

// VerifyBundle verifies a bundle against the pinned root at a time. highWater is
// the highest version ever accepted, 0 for none: a lower one is ErrRollback. The
// same version is accepted again, so a caller that holds it compares the digest.
// With ErrExpired and ErrNotYetValid, and only then, the bundle is returned beside
// the error: everything else about it is right. An expired one leaves the kinds of
// AlwaysAllowed in force; no device takes one that is not valid yet.
func VerifyBundle(env *Envelope, root *PinnedRoot, now time.Time, highWater int64) (*PolicyBundle, error) {
	payload, _, err := env.Verify(PurposePolicyBundle, root.Root.Policy.Keys, root.Root.Policy.Threshold)
	if err != nil {
		return nil, err
	}
	var b PolicyBundle
	if err := decode(payload, &b); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	// The keys that decide what is allowed may not also order it.
	seen := map[string]bool{}
	for _, k := range slices.Concat(root.Root.Root.Keys, root.Root.Policy.Keys) {
		seen[string(k.Public)] = true
	}
	if err := checkKeys(b.CommandKeys, PurposeCommand, seen); err != nil {
		return nil, fmt.Errorf("command_keys: %w", err)
	}
	switch {
	case b.FleetID != root.Root.FleetID:
		return nil, ErrFleet
	case !root.Includes(b.RootDigest):
		return nil, ErrRootDigest
	case b.Version < highWater:
		return nil, ErrRollback
	case now.Before(b.IssuedAt.Add(-ClockSkew)):
		return &b, ErrNotYetValid
	case !now.Before(b.ExpiresAt):
		return &b, ErrExpired
	}
	return &b, nil
}
